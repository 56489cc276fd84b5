/**
 * The dialog that verifies machine text: each passage is generated again from its model, prompt,
 * settings and seed, and compared byte by byte.
 */

import { json } from "./api.js";
import { described } from "./document_files.js";
import { verifiable } from "./server_documents.js";

const RESULTS = {
  equal: "Verified: the model writes these bytes.",
  part: "Found in part: the model writes these words, and others too.",
  different:
    "Different: the model writes something else. The text was changed, or another decoder or " +
    "processor wrote it.",
  other_model: "Not checked: this server does not have the model.",
  chosen:
    "Not checked: it was picked by hand from the model's alternatives, and cannot be generated " +
    "again.",
  unknown: "Not checked: it is not known how it was generated.",
};
const LOOSE = " This server's decoder does not promise the same bytes.";

export class VerifyDialog {
  constructor(dialog, { editor, failed }) {
    this.dialog = dialog;
    this.editor = editor;
    this.failed = failed;
    this.list = dialog.querySelector("ol");
    this.state = dialog.querySelector(".state");
    this._stop = null;
    dialog.addEventListener("close", () => {
      this._stop?.abort();
      // the button of the menu, which had the focus, is hidden
      if (document.activeElement === document.body) editor.focus();
    });
    this.list.addEventListener("click", (event) => this._clicked(event));
  }

  /** Verify the passage at the caret. */
  one() {
    const range = this.editor.document.sourceAt(this.editor.selection.end);
    if (range) this._open([range]);
  }

  /** Verify all machine text of the document. */
  all() {
    this._open(this.editor.document.machine);
  }

  async _open(ranges) {
    const { text } = this.editor.document;
    this._ranges = ranges.map(({ start, end }) => ({ start, end }));
    const items = ranges.map(({ start, end, source }) => item(text.slice(start, end), source));
    this.list.replaceChildren(...items);
    this.state.textContent = ranges.length ? "" : "No word of this text was written by a model.";
    this._stop = new AbortController();
    const { signal } = this._stop;
    this.dialog.showModal();
    const found = [];
    for (const [index, { start, end, source }] of ranges.entries()) {
      this.state.textContent = `Generating passage ${index + 1} of ${ranges.length}…`;
      const result = await this._result(text.slice(start, end), source, signal);
      if (signal.aborted) return;
      show(items[index], result);
      found.push(result);
    }
    const loose = found.some(({ warned }) => warned) ? LOOSE : "";
    if (ranges.length) this.state.textContent = summary(found.map(({ name }) => name)) + loose;
  }

  async _result(text, source, signal) {
    if (!verifiable(source)) return { name: "unknown", said: RESULTS.unknown };
    const span = { text, by: "machine", provenance: source };
    try {
      const body = { span };
      const options = { method: "POST", body, signal, asks: true };
      const { result, warnings = [] } = await json("v1/verify", options);
      const warned = warnings.some(({ code }) => code === "not-reproducible");
      return { name: result, said: RESULTS[result], warned };
    } catch (error) {
      return { name: "failed", said: `Not checked: ${error.message}.` };
    }
  }

  /** Show a passage in the text. */
  _clicked(event) {
    const button = event.target.closest("button");
    if (!button) return;
    const { start, end } = this._ranges[[...this.list.querySelectorAll("button")].indexOf(button)];
    this.dialog.close();
    this.editor.focus();
    this.editor.select(start, end);
  }
}

function item(text, source) {
  const made = document.createElement("li");
  const passage = document.createElement("button");
  passage.type = "button";
  passage.className = "passage";
  passage.dir = "auto";
  passage.textContent = text.trim() || text;
  const said = document.createElement("span");
  said.className = "said quiet";
  said.textContent = "…";
  const origin = document.createElement("span");
  origin.className = "origin quiet";
  origin.textContent = described(source);
  made.append(passage, origin, said);
  return made;
}

function show(element, { name, said }) {
  element.dataset.result = name;
  element.querySelector(".said").textContent = said;
}

function summary(found) {
  const [verified, part, different] = ["equal", "part", "different"].map(
    (name) => found.filter((each) => each === name).length,
  );
  const left = found.length - verified - part - different;
  const parts = [`${verified} of ${found.length} verified`];
  if (part) parts.push(`${part} in part`);
  if (different) parts.push(`${different} different`);
  if (left) parts.push(`${left} not checked`);
  return `${parts.join(", ")}.`;
}
