/**
 * The card of a token: how surprising it was, and what else was probable. A click swaps it.
 *
 * It opens under the pointer or a finger, and with Alt+Down at the caret, where it takes the focus.
 */

import { TOP } from "./token_scores.js";
import { machineSlice } from "./text_document.js";

const DELAY = 150;
const LONGEST = 200; // characters of a word
const LETTER = /[\p{L}\p{N}\p{M}]/u;
const WORD_START = /^(?:n['’]t\b|[\p{L}\p{N}\p{M}]*)/iu;
const WORD_END = /[\p{L}\p{N}\p{M}]*$/u;

export class AlternativesCard {
  constructor(card, context) {
    this.card = card;
    this.context = context; // {editor, inside, announcer, attention}
    this.token = null;
    this._timer = 0;
    const { root } = context.editor;
    root.addEventListener("pointermove", (event) => this._pointed(event));
    for (const element of [root, card]) {
      element.addEventListener("pointerleave", ({ pointerType }) => {
        if (pointerType !== "touch") this._later(null); // a finger that is lifted leaves too
      });
    }
    root.addEventListener("click", (event) => this._tapped(event));
    card.addEventListener("pointerenter", () => clearTimeout(this._timer));
    card.addEventListener("click", (event) => this._clicked(event));
    card.addEventListener("keydown", (event) => this._key(event));
    context.editor.addEventListener("change", ({ detail }) => {
      // what another writer changes after the token leaves it as it is
      if (!detail || !this.token || detail.start <= this.token.end) this.hide();
    });
    document.addEventListener("scroll", () => this.hide(), { passive: true });
  }

  /** Open it for the token at the caret; false if there is none. */
  openAtCaret() {
    const { editor, inside } = this.context;
    const { end } = editor.selection;
    const token = inside.tokenAt(end) ?? inside.tokenFrom(end);
    if (!token) return false;
    this.show(token);
    this.card.querySelector("button").focus();
    return true;
  }

  show(token) {
    clearTimeout(this._timer);
    const { editor } = this.context;
    this.token = token;
    const { text } = editor.document;
    const shown = text.slice(token.start, token.end);
    this.card.querySelector(".token").textContent = shown;
    const head = token.beginsWord ? "" : text.slice(0, token.start).match(WORD_END)[0];
    this.card.querySelector(".word-before").textContent = head;
    this.card.querySelector(".word-after").textContent = restOfWord(text, token);
    this.card.querySelector(".bits").textContent = surprise(token);
    const items = token.alternatives.map((each, at) => this._item(each, at + 1 === token.rank));
    this.card.querySelector("ol").replaceChildren(...items);
    this.card.hidden = false;
    const place = editor.view.rectOf(token.start);
    const { width, height } = this.card.getBoundingClientRect();
    const below = place.bottom + height + 12 < innerHeight;
    this.card.style.left = `${Math.max(8, Math.min(place.left, innerWidth - width - 8))}px`;
    this.card.style.top = `${Math.max(8, below ? place.bottom + 2 : place.top - height - 2)}px`;
  }

  hide() {
    clearTimeout(this._timer);
    if (this.card.contains(document.activeElement)) this.context.editor.focus();
    this.card.hidden = true;
    this.token = null;
  }

  _item({ text, probability, name, endsWord }, isCurrent) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    const word = document.createElement("span");
    const plain = text.trim() || name.replace("</w>", "").trim() || "line break";
    word.textContent = endsWord ? plain : `${plain}…`;
    const bar = document.createElement("span");
    bar.className = "chance";
    bar.style.setProperty("--part", probability);
    const number = document.createElement("span");
    number.className = "percent";
    number.textContent = percent(probability);
    button.append(word, bar, number);
    if (!endsWord) button.setAttribute("aria-disabled", "true");
    if (isCurrent) button.setAttribute("aria-current", "true");
    item.append(button);
    return item;
  }

  _pointed(event) {
    if (!this.context.inside.enabled || event.buttons || event.pointerType === "touch") return;
    const token = this._under(event);
    if (token !== this.token) this._later(token);
  }

  _tapped(event) {
    if (!this.context.inside.enabled || event.pointerType !== "touch") return;
    const token = this._under(event);
    if (token) this.show(token);
    else this.hide();
  }

  /** The token under the pointer, or null. */
  _under({ clientX, clientY }) {
    const { editor, inside } = this.context;
    const place = document.caretPositionFromPoint?.(clientX, clientY);
    if (!place || !editor.root.contains(place.offsetNode)) return null;
    return inside.tokenFrom(editor.view.offsetOf(place.offsetNode, place.offset));
  }

  _later(token) {
    clearTimeout(this._timer);
    this._timer = setTimeout(() => {
      if (token) this.show(token);
      else if (!this.card.contains(document.activeElement)) this.hide();
    }, DELAY);
  }

  _clicked(event) {
    if (event.target.closest(".attend")) {
      const { token } = this;
      this.hide();
      this.context.attention.open(token);
      return;
    }
    const button = event.target.closest("li button");
    if (!button) return;
    const index = [...this.card.querySelectorAll("li button")].indexOf(button);
    const { editor, announcer } = this.context;
    const { token } = this;
    const chosen = token.alternatives[index];
    if (!chosen.text.trim()) return;
    if (!chosen.endsWord) {
      announcer.show(`“${chosen.text.trim()}” only begins a word. Choose one without “…”.`);
      return;
    }
    const { start, end, text } = swapped(editor.document.text, token, chosen.text.trim());
    const before = editor.document.text.slice(start, end);
    const source = provenance(token, index);
    this.hide();
    editor.focus();
    editor.edit(start, end, machineSlice(text, source), "swap");
    announcer.say(`${before} became ${text.trim()}`);
  }

  _key(event) {
    const buttons = [...this.card.querySelectorAll("button")];
    const at = buttons.indexOf(document.activeElement);
    if (event.key === "Escape") {
      this.hide();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      const step = event.key === "ArrowDown" ? 1 : buttons.length - 1;
      buttons[(at + step) % buttons.length].focus();
    } else {
      return;
    }
    event.preventDefault();
  }
}

/** What follows of the word that a token is in. */
function restOfWord(text, { start, end }) {
  const inWord = WORD_END.exec(text.slice(start, end))[0] !== "";
  return inWord ? text.slice(end, end + LONGEST).match(WORD_START)[0] : "";
}

/** The edit that puts an alternative in the place of a token and of the rest of its word. */
function swapped(text, token, chosen) {
  const { start, beginsWord } = token;
  const rest = restOfWord(text, token);
  const end = token.end + rest.length;
  const isUpper = /^\p{Lu}/u.test(text.slice(start, end));
  let shown = isUpper ? chosen[0].toUpperCase() + chosen.slice(1) : chosen;
  // in the place of a sign between two words
  if (LETTER.test(shown.at(-1)) && LETTER.test(text[end] ?? "")) shown = `${shown} `;
  const touches = beginsWord && LETTER.test(text[start - 1] ?? "");
  if (touches && LETTER.test(shown[0]) && !/['’]/.test(shown)) shown = ` ${shown}`;
  return { start, end, text: shown };
}

/** Where an alternative comes from. A person has chosen it: no prompt generates it again. */
function provenance({ model }, index) {
  return {
    model: model.id,
    model_hash: model.model_hash ?? null,
    settings: {},
    seed: 0,
    prompt: "",
    index: 0,
    alternative: index + 1,
    created: Date.now() / 1000,
  };
}

/** Surprisal in words. */
export function surprise({ bits, rank }) {
  const ordinal = ["1st", "2nd", "3rd"][rank - 1] ?? `${rank}th`;
  const place = rank ? `the model's ${ordinal} choice` : `not in the model's top ${TOP}`;
  return `${bits.toFixed(1)} bits of surprise, ${place}`;
}

function percent(probability) {
  const value = 100 * probability;
  return value < 0.1 ? "< 0.1%" : `${value.toFixed(value < 10 ? 1 : 0)}%`;
}
