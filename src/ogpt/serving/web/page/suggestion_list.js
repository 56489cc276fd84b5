/**
 * The list of continuations at the caret. Keys and the mouse choose; Tab asks for others.
 *
 * The caret stays in the text: the list is announced through aria-activedescendant.
 */

import { messageOf } from "./api.js";
import { Continuations, insert, nothingToContinue } from "./continuations.js";
import { placeAfter } from "./history.js";
import { newSeed, requestOf } from "./settings.js";

/** How much is read is in the footer, and what cannot be verified is in the dialog for that. */
const SAID_ELSEWHERE = ["text-truncated", "not-reproducible"];

/** Where the focus and clicks leave the list open; the key is asked for because of it. */
const BESIDE = "#suggestions, #editor, footer .actions, #key";

export class SuggestionList {
  constructor(element, context) {
    this.element = element;
    this.context = context; // {editor, settings, models, announcer, failed, onState}
    this.options = element.querySelector(".options");
    this.request = null;
    this.offset = 0;
    this.replaced = null; // {start, end} of what gives way to the suggestion
    this.selected = 0;
    this._selection = null; // of the editor while the list is open
    this._keyboard = false; // the mouse selects only when it moves
    element.addEventListener("pointerdown", (event) => event.preventDefault());
    element.addEventListener("pointermove", () => (this._keyboard = false));
    element.addEventListener("click", (event) => this._clicked(event));
    this.options.addEventListener("pointerover", (event) => this._hovered(event));
    element.querySelector(".again").addEventListener("click", () => this.ask());
    element.querySelector(".stop").addEventListener("click", () => this.stop());
    element.querySelector(".close").addEventListener("click", () => this.close());
    context.editor.addEventListener("change", ({ detail }) => this._follow(detail));
    context.editor.root.addEventListener("compositionstart", () => this.close());
    context.editor.addEventListener("select", () => this._moved());
    for (const name of ["click", "focusin"]) {
      document.addEventListener(name, ({ target }) => {
        if (!target.closest(BESIDE)) this.close();
      });
    }
    window.addEventListener("resize", () => this.place());
    document.addEventListener("scroll", () => this.place(), { passive: true });
  }

  get open() {
    return !this.element.hidden;
  }

  get running() {
    return this.request?.running ?? false;
  }

  /** Ask for continuations at the caret, or for what can replace a range; again: for others. */
  async ask(replaced = this.replaced) {
    const { editor, settings, models, announcer } = this.context;
    const offset = replaced?.start ?? editor.selection.end;
    const before = editor.document.text.slice(0, offset);
    if (before.trim() === "") {
      announcer.show(nothingToContinue(editor.document.text));
      return;
    }
    this.stop();
    this.offset = offset;
    this.replaced = replaced;
    this._selection = editor.selection;
    this.selected = 0;
    const model = models.chosen();
    const body = requestOf(settings.values, before, model.max_model_len, newSeed());
    const request = new Continuations(body, model, () => this._grown(request));
    this.request = request;
    this._fill();
    this.element.hidden = false;
    this.place();
    this._uncover();
    announcer.hide(); // what was said of an earlier request
    announcer.say("Asking for suggestions");
    this.context.onState();
    try {
      await request.run(true);
    } catch (error) {
      const isShown = this.request === request;
      if (!isShown || !request.items.some(({ text }) => text.trim())) {
        if (isShown) this.close();
        this.context.failed(error);
        return;
      }
      request.warnings.push({ message: `It ended early: ${messageOf(error)}` });
    }
    if (this.request === request) this._ended();
  }

  /** End the request; what has arrived stays. */
  stop() {
    this.request?.stop();
  }

  close() {
    if (!this.open) return;
    this.stop();
    this.request = null;
    this.replaced = null;
    this.element.hidden = true;
    this.context.editor.root.removeAttribute("aria-activedescendant");
    this.context.onState();
  }

  /** Put a suggestion into the text. */
  accept(index = this.selected) {
    const { request, offset } = this;
    const text = request?.items[index]?.text ?? "";
    if (text.trim() === "") return;
    const source = request.provenance(index);
    const end = this.replaced?.end ?? offset;
    this.close();
    insert(this.context, offset, end, text, source);
  }

  /** Handle a key of the editor; true if it was for the list. */
  key(event) {
    if (!this.open || event.isComposing || event.ctrlKey || event.metaKey || event.altKey) {
      return false;
    }
    const { key } = event;
    const count = this.request.items.length;
    if (key === "ArrowDown" || key === "ArrowUp") {
      this._keyboard = true;
      this._select((this.selected + (key === "ArrowDown" ? 1 : count - 1)) % count);
    } else if (key === "Enter") {
      this.accept();
    } else if (key === "Escape" && this.running) {
      this.stop();
    } else if (key === "Escape") {
      this.close();
      this.context.announcer.say("Suggestions closed");
    } else if (/^[1-9]$/.test(key) && Number(key) <= count) {
      this.accept(Number(key) - 1);
    } else {
      return false;
    }
    return true;
  }

  /** Below the caret; above it where there is more room. Narrow screens have it at the bottom. */
  place() {
    if (!this.open) return;
    const { style } = this.element;
    if (matchMedia("(max-width: 40rem)").matches) {
      style.removeProperty("left");
      style.removeProperty("top");
      return;
    }
    const caret = this.context.editor.view.rectOf(this.replaced?.end ?? this.offset);
    const { width, height } = this.element.getBoundingClientRect();
    const bottom = document.querySelector("footer").getBoundingClientRect().top;
    const below = caret.bottom + 8 + height <= bottom || caret.top < height + 8;
    const left = Math.max(12, Math.min(caret.left - 16, innerWidth - width - 12));
    style.left = `${left}px`;
    style.top = `${below ? caret.bottom + 8 : caret.top - height - 8}px`;
    this.element.dataset.side = below ? "below" : "above";
  }

  /** A writer who moves the caret would not find there what the list inserts. */
  _moved() {
    if (!this.open) return;
    const { start, end } = this.context.editor.selection;
    if (start !== this._selection.start || end !== this._selection.end) this.close();
  }

  /** Scroll the caret out from under a list at the bottom. */
  _uncover() {
    const { top, left } = this.element.getBoundingClientRect();
    if (left === 0) this.context.editor.view.reveal(this.offset, top - 12);
  }

  /** An edit closes the list; a change of another writer moves it, unless that touches its place. */
  _follow(change) {
    if (!this.open) return;
    const place = change && placeAfter(this.offset, this.replaced?.end ?? this.offset, change);
    if (!place) {
      this.close();
      return;
    }
    this.offset = place.start;
    if (this.replaced) this.replaced = { ...this.replaced, ...place };
    this._selection = this.context.editor.selection;
    this.place();
  }

  _fill() {
    const options = this.request.items.map((item, index) => {
      const option = document.createElement("li");
      option.id = `suggestion-${index + 1}`;
      option.role = "option";
      const number = document.createElement("span");
      number.className = "number";
      number.textContent = index + 1;
      const text = document.createElement("span");
      text.className = "text";
      text.dir = "auto";
      option.append(number, text);
      return option;
    });
    this.options.replaceChildren(...options);
    this.element.setAttribute("aria-busy", "true");
    this._warn("");
    this._select(0);
  }

  _grown(request) {
    if (this.request !== request) return;
    request.items.forEach(({ text, done }, index) => {
      const option = this.options.children[index];
      const ended = done || !request.running;
      option.querySelector(".text").textContent = text.trim() || (ended ? "(nothing)" : "");
      option.classList.toggle("done", ended);
    });
    this.place();
  }

  _ended() {
    const { announcer, onState } = this.context;
    this._grown(this.request);
    const warnings = this.request.warnings.filter(({ code }) => !SAID_ELSEWHERE.includes(code));
    this._warn(warnings.map(({ message }) => message).join(" "));
    this.element.setAttribute("aria-busy", "false");
    this._uncover();
    const count = this.request.items.filter(({ text }) => text.trim()).length;
    const first = this.request.items[this.selected].text.trim();
    announcer.say(`${count} ${count === 1 ? "suggestion" : "suggestions"}. ${first}`);
    onState();
  }

  _warn(text) {
    const warning = this.element.querySelector(".warning");
    warning.textContent = text;
    warning.hidden = text === "";
    this.place();
  }

  _select(index) {
    this.selected = index;
    [...this.options.children].forEach((option, place) => {
      option.setAttribute("aria-selected", String(place === index));
    });
    const option = this.options.children[index];
    option.scrollIntoView({ block: "nearest" });
    this.context.editor.root.setAttribute("aria-activedescendant", option.id);
  }

  _hovered(event) {
    const option = event.target.closest("li");
    if (option && !this._keyboard) this._select([...this.options.children].indexOf(option));
  }

  _clicked(event) {
    const option = event.target.closest("li");
    if (option) this.accept([...this.options.children].indexOf(option));
  }
}
