/** A decoder of the comparison: its name, its settings, and its continuation as it streams in. */

import { messageOf } from "./api.js";
import { Continuations } from "./continuations.js";
import { settingsNamed } from "./settings.js";

export class DecoderColumn {
  /** `onInsert` is called with the column. */
  constructor(name, onInsert) {
    this.name = name;
    this.request = null;
    this.element = document.createElement("li");
    this._parts = {};
    for (const [part, tag] of [["name", "h3"], ["settings", "p"], ["text", "p"]]) {
      this._parts[part] = document.createElement(tag);
      this._parts[part].className = part;
    }
    this._parts.name.textContent = name;
    this._parts.settings.classList.add("quiet");
    this._parts.text.dir = "auto";
    this._insert = document.createElement("button");
    this._insert.type = "button";
    this._insert.textContent = "Insert";
    this._insert.setAttribute("aria-label", `Insert: ${name}`);
    this._insert.addEventListener("click", () => onInsert(this));
    this.element.append(...Object.values(this._parts), this._insert);
  }

  /** "waiting", "running", "done", "stopped" or "failed". */
  get state() {
    return this.element.dataset.state;
  }

  /** The continuation so far. */
  get text() {
    return this.request?.items[0].text ?? "";
  }

  /** Show what will be asked for. */
  prepare(body) {
    this.request = null;
    this._parts.settings.textContent = settingsNamed(body).join(", ");
    this._show("waiting", "");
  }

  /** Ask for a continuation; it ends with one, an error on the page, or a stop. */
  async run(body, model) {
    const request = new Continuations(body, model, () => this._show("running", this.text));
    this.request = request;
    this._show("running", "");
    try {
      await request.run(true);
    } catch (error) {
      if (this.request === request) this._show("failed", messageOf(error));
      return;
    }
    if (this.request !== request) return;
    const { done } = request.items[0];
    const none = done ? "(nothing)" : "(stopped)";
    this._show(done ? "done" : "stopped", this.text.trim() ? this.text : none);
  }

  /** End the request, or give up waiting; what has arrived stays. */
  stop() {
    this.request?.stop();
    if (this.state === "waiting") this._show("stopped", "(stopped)");
  }

  _show(state, text) {
    this.element.dataset.state = state;
    this._parts.text.textContent = text.trim();
    this._insert.disabled = state === "failed" || this.text.trim() === "";
  }
}
