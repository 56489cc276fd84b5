/** How much of the model's context the text before the caret fills. */

import { ServerAway, json } from "./api.js";
import { lastOf } from "./settings.js";

const REST = 500;

export class TokenCount {
  constructor(element, context) {
    this.element = element;
    this.context = context; // {editor, settings, models}
    this._timer = 0;
    this._asked = null;
    this._last = null;
    for (const name of ["change", "select"]) {
      context.editor.addEventListener(name, () => this._later());
    }
    context.settings.addEventListener("change", () => this._later());
  }

  _later() {
    clearTimeout(this._timer);
    this._timer = setTimeout(() => this.count(), REST);
  }

  async count() {
    const { editor, settings, models } = this.context;
    const before = editor.document.text.slice(0, editor.selection.end);
    const card = models.chosen();
    const room = Math.max(1, card.max_model_len - settings.values.length);
    const prompt = lastOf(before, room);
    const key = `${card.id} ${room} ${prompt}`;
    if (key === this._last) return;
    this._last = key;
    this._asked?.abort();
    if (prompt.trim() === "") {
      this._show(0, room, false);
      return;
    }
    this._asked = new AbortController();
    try {
      const body = { prompt, model: card.id };
      const { signal } = this._asked;
      const { count } = await json("tokenize", { method: "POST", body, signal });
      this._show(count, room, prompt.length < before.length);
    } catch (error) {
      this._last = null;
      if (error.name !== "AbortError" && !(error instanceof ServerAway)) this.element.value = "";
    }
  }

  _show(count, room, more) {
    const full = more || count > room;
    this.element.value = full ? `last ${Math.min(count, room)} tokens read` : `${count} of ${room} tokens`;
    this.element.dataset.full = full;
    this.element.parentElement.title = full
      ? `The text before the caret is longer: the model reads its last ${room} tokens. Click to see them.`
      : `The model can read ${room} tokens before the caret. Click to see them.`;
  }
}
