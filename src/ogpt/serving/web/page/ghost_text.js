/**
 * Ghost text: one continuation, shown in grey after the caret after a rest in typing.
 *
 * Tab takes all of it, Ctrl+Right the next word, Shift+Tab asks for another, Escape hides it. Tab
 * is left to the browser where the writer wants that.
 */

import { ServerAway } from "./api.js";
import { Continuations, insertion, needless } from "./continuations.js";
import { placeAfter } from "./history.js";
import { newSeed, requestOf } from "./settings.js";
import { machineSlice } from "./text_document.js";

const REST = 700; // milliseconds without a key

export class GhostText {
  constructor(context) {
    this.context = context; // {editor, settings, models, announcer, failed, onState}
    this.enabled = false;
    this.tab = true; // whether Tab is for the ghost
    this._timer = 0;
    this._request = null;
    this._offset = 0; // where its continuation begins
    this._taken = 0; // characters of the continuation that are in the text
    context.editor.addEventListener("change", ({ detail }) => {
      const place = detail && placeAfter(this._offset, this._offset + this._taken, detail);
      if (place) this._offset = place.start;
      this._rest();
    });
    context.editor.addEventListener("select", () => {
      const { ghost } = context.editor.view;
      if (ghost && context.editor.selection.start !== ghost.offset) this.hide();
    });
  }

  get shown() {
    return this.context.editor.view.ghost !== null;
  }

  get running() {
    return this._request?.running ?? false;
  }

  enable(enabled, tab) {
    this.enabled = enabled;
    this.tab = tab;
    if (!enabled) this.hide();
  }

  hide() {
    clearTimeout(this._timer);
    this._request?.stop();
    this._request = null;
    if (this.shown) this.context.editor.view.setGhost(null);
  }

  /** Ask for a continuation at the caret; `asks`: the writer wants it now. */
  async ask(asks = false) {
    const { editor, settings, models, announcer, failed, onState } = this.context;
    const { start, end } = editor.selection;
    const before = editor.document.text.slice(0, end);
    this.hide();
    if (start !== end || before.trim() === "") return;
    const model = models.chosen();
    const body = requestOf(settings.values, before, model.max_model_len, newSeed(), 1);
    const request = new Continuations(body, model, () => this._show(request));
    this._request = request;
    this._offset = end;
    this._taken = 0;
    onState();
    try {
      await request.run(asks);
      if (this._request === request && this.shown) {
        const how = this.tab ? "Tab inserts it." : "Control Right inserts its next word.";
        announcer.say(`Suggestion: ${editor.view.ghost.text.trim()}. ${how}`);
      }
    } catch (error) {
      if (!(error instanceof ServerAway)) failed(error); // the page says so itself
    }
    onState();
  }

  /** Take the whole ghost, or its next word, into the text. */
  accept(word = false) {
    const { editor, announcer } = this.context;
    const { offset, text } = editor.view.ghost;
    const part = word ? text.match(/^\s*\S+/)?.[0] ?? text : text;
    const rest = text.slice(part.length);
    const request = this._request;
    if (!word) request.stop();
    editor.view.setGhost(null);
    const source = request.provenance(0);
    const { text: whole } = editor.document;
    const last = insertion(part, whole.slice(0, offset), whole[offset] ?? "", source);
    editor.edit(offset, offset, rest.trim() ? machineSlice(part, source) : last, "accept");
    clearTimeout(this._timer);
    if (rest.trim()) {
      this._request = request;
      this._taken += part.length;
      editor.view.setGhost({ offset: offset + part.length, text: rest });
      this._keepCaret();
    } else {
      this.hide();
      this._rest();
    }
    announcer.say(`Inserted: ${part.trim()}`);
  }

  /** Handle a key of the editor; true if it was for the ghost. */
  key(event) {
    if (!this.shown || event.isComposing) return false;
    const forward = event.key === "ArrowRight" && (event.ctrlKey || event.altKey);
    if (event.key === "Tab" && this.tab && !event.ctrlKey && !event.altKey) {
      if (event.shiftKey) this.ask(true);
      else this.accept();
    } else if (forward) {
      this.accept(true);
    } else if (event.key === "Escape") {
      this.hide();
    } else {
      if (!["Shift", "Control", "Alt", "Meta"].includes(event.key)) this.hide();
      return false;
    }
    return true;
  }

  _rest() {
    clearTimeout(this._timer);
    if (!this.shown) {
      this._request?.stop();
      this._request = null;
    }
    if (!this.enabled) return;
    this._timer = setTimeout(() => {
      const { editor } = this.context;
      const writing = document.activeElement === editor.root && !editor.input.composing;
      if (writing && !this.shown) this.ask();
    }, REST);
  }

  _show(request) {
    if (this._request !== request) return;
    const { editor } = this.context;
    const whole = request.items[0].text;
    const skipped = needless(whole, editor.document.text.slice(0, this._offset));
    const at = this._offset + this._taken;
    const text = whole.slice(skipped + this._taken);
    if (!text || editor.input.composing || editor.selection.start !== at) return;
    editor.view.setGhost({ offset: at, text });
    this._keepCaret();
  }

  /** The caret belongs before the ghost. */
  _keepCaret() {
    const { editor } = this.context;
    editor.select(editor.view.ghost.offset);
  }
}
