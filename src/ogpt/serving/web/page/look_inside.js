/**
 * Looking inside: colours every token of the text in view by its surprisal, whoever wrote it.
 *
 * Scores are asked for after a rest in typing or scrolling. Until they come, an edit moves the
 * colours after it; what is said of a token always belongs to the text as it is.
 */

import { ServerAway } from "./api.js";
import { CONTEXT } from "./settings.js";
import { tokenScores } from "./token_scores.js";

const REST = 600;

export class LookInside {
  constructor(context) {
    this.context = context; // {editor, settings, models, failed, onState}
    this.enabled = false;
    this._timer = 0;
    this._asked = null;
    this._last = null;
    context.editor.addEventListener("change", () => {
      this._last = null; // an edit and its undoing give the same text, and other tokens
      this._later();
    });
    context.settings.addEventListener("change", () => this._later());
    document.addEventListener("scroll", () => this._later(), { passive: true });
  }

  enable(enabled) {
    this.enabled = enabled;
    this._last = null;
    if (enabled) {
      this.score();
    } else {
      this._asked?.abort();
      this.context.editor.view.setTokens([]);
    }
  }

  /** The token before an offset or around it, or null. */
  tokenAt(offset) {
    const at = ({ start, end, stale }) => !stale && start < offset && offset <= end;
    return this.context.editor.view.tokens.find(at) ?? null;
  }

  /** The token after an offset or around it, or null. */
  tokenFrom(offset) {
    const from = ({ start, end, stale }) => !stale && start <= offset && offset < end;
    return this.context.editor.view.tokens.find(from) ?? null;
  }

  _later() {
    clearTimeout(this._timer);
    if (this.enabled) this._timer = setTimeout(() => this.score(), REST);
  }

  async score() {
    const { editor, models, failed } = this.context;
    const { start, end } = this._part();
    const text = editor.document.text.slice(start, end);
    const key = `${models.chosen().id} ${start} ${text}`;
    if (key === this._last || editor.input.composing) return;
    this._asked?.abort();
    if (text.trim() === "") return;
    this._last = key;
    const asked = new AbortController();
    this._asked = asked;
    try {
      const tokens = await tokenScores(text, models.chosen(), asked.signal);
      if (editor.input.composing) {
        this._last = null; // painting now would erase the composed word: its end scores again
        return;
      }
      const same = editor.document.text.slice(start, end) === text;
      if (!this.enabled || this._asked !== asked || !same) return;
      editor.view.setTokens(
        tokens.map((token) => ({ ...token, start: token.start + start, end: token.end + start })),
      );
      this.context.onState();
    } catch (error) {
      if (error.name === "AbortError") return;
      this._last = null;
      const { view } = editor;
      // no scores replace those of the text before the edit
      if (!editor.input.composing) view.setTokens(view.tokens.filter(({ stale }) => !stale));
      if (!(error instanceof ServerAway)) failed(error);
    }
  }

  /** What is in view, and the text before it that the model needs. */
  _part() {
    const { view, document } = this.context.editor;
    const end = view.lineEndAbove(innerHeight);
    let start = Math.max(0, end - CONTEXT);
    while (start > 0 && start < end && !/\s/.test(document.text[start - 1])) start += 1;
    return { start, end };
  }
}
