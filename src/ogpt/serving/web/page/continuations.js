/**
 * One request for continuations: streams them in, and knows how each came to be.
 *
 * `items` are {text, done}; `onPart` is called whenever one has grown or ended.
 */

import { completions } from "./api.js";
import { machineSlice } from "./text_document.js";

/** What the page says where there is nothing to continue. */
const NO_TEXT = "Write a few words first, or choose an example with Shuffle.";
const NONE_BEFORE = "The model continues what is before the caret: move it after some words.";

export function nothingToContinue(text) {
  return text.trim() === "" ? NO_TEXT : NONE_BEFORE;
}

export class Continuations {
  constructor(body, model, onPart) {
    this.body = body;
    this.items = Array.from({ length: body.n }, () => ({ text: "", done: false }));
    this.warnings = [];
    this.running = true;
    this._model = model;
    this._onPart = onPart;
    this._sources = [];
    this._stop = new AbortController();
  }

  /**
   * Read the stream to its end; what arrived before an error or a stop stays. `asks`: the writer
   * wants it now, so the page may ask for a key.
   */
  async run(asks = false) {
    try {
      for await (const event of completions(this.body, this._stop.signal, asks)) {
        this.warnings.push(...(event.warnings ?? []));
        for (const { index, text, finish_reason: reason } of event.choices) {
          const item = this.items[index];
          item.text += text;
          item.done = reason !== null;
          this._onPart(item);
        }
      }
    } catch (error) {
      if (error.name !== "AbortError") throw error;
    } finally {
      this.running = false;
    }
  }

  stop() {
    this._stop.abort();
  }

  /** Where the text of an item comes from, so that it can be generated again: one object for each. */
  provenance(index) {
    if (!this._sources[index]) {
      const { prompt, seed, model, ...settings } = this.body;
      const card = this._model;
      this._sources[index] = {
        // which may become known later
        get model() {
          return model ?? card.id;
        },
        get model_hash() {
          return card.model_hash ?? null;
        },
        settings,
        seed,
        prompt,
        index,
        created: Date.now() / 1000,
      };
    }
    return this._sources[index];
  }
}

/** Characters at the start of a continuation that the text before it makes needless. */
export function needless(text, before) {
  return before === "" || /\s$/.test(before) ? text.length - text.trimStart().length : 0;
}

/** Put a continuation in the place of [start, end), as text of the model. */
export function insert({ editor, announcer }, start, end, text, source) {
  const before = editor.document.text.slice(0, start);
  const after = editor.document.text.slice(end, end + 1);
  editor.focus();
  editor.edit(start, end, insertion(text, before, after, source), "accept");
  announcer.say(`Inserted: ${text.trim()}`);
}

/** What to insert for a continuation, so that it does not run into the word after the caret. */
export function insertion(text, before, after, source) {
  const slice = machineSlice(text.slice(needless(text, before)), source);
  const touches = /^[\p{L}\p{N}]/u.test(after) && /\S$/.test(slice.text);
  return touches ? { text: `${slice.text} `, machine: slice.machine } : slice;
}
