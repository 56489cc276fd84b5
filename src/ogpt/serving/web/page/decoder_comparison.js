/**
 * Decoders side by side: one prompt and one seed, and a column for each way to choose tokens.
 *
 * A few requests run at a time, so that the page keeps connections for saving and for other tabs.
 */

import { insert, nothingToContinue } from "./continuations.js";
import { DecoderColumn } from "./decoder_column.js";
import { newSeed, promptOf, requestOf } from "./settings.js";

const AT_ONCE = 3;
const SHOWN = 120; // characters of the text before the caret
const MAX_SEED = 2 ** 32 - 1;

/** Fields of a request, by the name of the decoder. */
export const DECODERS = Object.freeze({
  Greedy: { temperature: 0 },
  "Beam search": { use_beam_search: true, best_of: 4 },
  "Beam search without repeats": {
    use_beam_search: true,
    best_of: 4,
    no_repeat_ngram_size: 2,
  },
  Sampling: { temperature: 1 },
  "Top-k": { temperature: 1, top_k: 40 },
  "Top-p": { temperature: 1, top_p: 0.9 },
  Typical: { temperature: 1, typical_p: 0.9 },
  Contrastive: { penalty_alpha: 0.6, top_k: 4 },
});
const OWN = "Your settings";

export class DecoderComparison {
  constructor(dialog, context) {
    this.dialog = dialog;
    this.context = context; // {editor, settings, models, announcer}
    this.columns = [OWN, ...Object.keys(DECODERS)].map(
      (name) => new DecoderColumn(name, (column) => this._insert(column)),
    );
    this._before = "";
    this._run = null; // {waiting}: the columns that have not begun
    this._seed = dialog.querySelector("[name=seed]");
    this._seed.max = MAX_SEED;
    dialog.querySelector(".columns").append(...this.columns.map(({ element }) => element));
    dialog.querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.run();
    });
    dialog.querySelector(".other").addEventListener("click", () => {
      this._seed.value = newSeed();
      this.run();
    });
    dialog.querySelector(".stop").addEventListener("click", () => this.stop());
    dialog.querySelector(".close").addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => this.stop());
  }

  /** Show the dialog, and continue the text before the caret with every decoder. */
  open() {
    const { editor, announcer } = this.context;
    this._before = editor.document.text.slice(0, editor.selection.end);
    if (this._before.trim() === "") {
      announcer.show(nothingToContinue(editor.document.text));
      editor.focus();
      return;
    }
    const end = this._before.trimEnd();
    const last = end.length > SHOWN ? `… ${end.slice(-SHOWN).replace(/^\S*\s+/, "")}` : end;
    this.dialog.querySelector(".before").textContent = last.trim();
    this._seed.value = newSeed();
    this.dialog.showModal();
    this.run();
  }

  /** Run all decoders with the seed of the form. */
  async run() {
    this.stop();
    const { settings, models } = this.context;
    const model = models.chosen();
    const seed = Math.min(MAX_SEED, Math.max(0, Math.trunc(Number(this._seed.value) || 0)));
    this._seed.value = seed;
    const given = [settings.values, this._before, model.max_model_len, seed];
    const waiting = this.columns.map((column) => {
      const fields = DECODERS[column.name];
      const body = fields ? { ...promptOf(...given), ...fields } : requestOf(...given, 1);
      column.prepare(body);
      return { column, body };
    });
    const run = { waiting };
    this._run = run;
    this._showState(`${this.columns.length} decoders, ${settings.values.length} tokens each`, true);
    const next = async () => {
      while (run.waiting.length) {
        const { column, body } = run.waiting.shift();
        await column.run(body, model);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, next));
    if (this._run === run) this._ended();
  }

  /** End what runs; what has arrived stays. */
  stop() {
    if (!this._run) return;
    this._run.waiting = [];
    this._run = null;
    this.columns.forEach((column) => column.stop());
    this._ended();
  }

  _ended() {
    this._run = null;
    const count = this.columns.filter(({ state }) => state === "done").length;
    this._showState(`${count} of ${this.columns.length} finished`, false);
  }

  _showState(text, running) {
    const stop = this.dialog.querySelector(".stop");
    const focused = stop === document.activeElement;
    this.dialog.querySelector(".state").textContent = text;
    stop.hidden = !running;
    if (focused && !running) this._seed.focus();
    this.dialog.querySelector(".columns").setAttribute("aria-busy", String(running));
  }

  /** Put a continuation into the text, where the caret is. */
  _insert(column) {
    const { text } = column;
    const source = column.request.provenance(0);
    this.dialog.close();
    const { end } = this.context.editor.selection;
    insert(this.context, end, end, text, source);
  }
}
