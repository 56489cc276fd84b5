/** The line below the text: words by writer, where the text at the caret comes from, saving. */

import { surprise } from "./alternatives_card.js";
import { described } from "./document_files.js";

const REST = 250;

export class StatusLine {
  constructor(context, opened) {
    this.editor = context.editor;
    this.inside = context.inside;
    this.opened = opened;
    this.source = null; // of the text at the caret
    this._timer = 0;
    this.parts = Object.fromEntries(
      ["share", "words", "origin", "saved"].map((id) => [id, document.getElementById(id)]),
    );
    this.editor.addEventListener("change", () => this._later());
    opened.addEventListener("state", () => this._showSaved());
    this._count();
  }

  /** Where the text at the caret comes from. */
  show() {
    const { selection } = this.editor;
    this.source = this.editor.document.sourceAt(selection.end)?.source ?? null;
    const token = this.inside.enabled ? this.inside.tokenAt(selection.end) : null;
    const facts = [this.source ? described(this.source) : "", token ? surprise(token) : ""];
    this.parts.origin.value = facts.filter(Boolean).join("; ");
    this.parts.origin.title = this.parts.origin.value;
  }

  _later() {
    clearTimeout(this._timer);
    this._timer = setTimeout(() => this._count(), REST);
  }

  _count() {
    const { human, machine } = this.editor.document.words();
    const all = human + machine;
    const percent = all ? Math.round((100 * machine) / all) : 0;
    const words = `${all.toLocaleString("en")} ${all === 1 ? "word" : "words"}`;
    this.parts.words.value = machine ? `${words}, ${percent} % by the model` : words;
    this.parts.words.title = `${human} by you, ${machine} by the model`;
    this.parts.share.style.setProperty("--machine", percent);
  }

  _showSaved() {
    const { problem, saved, editor } = this.opened;
    const { saved: output } = this.parts;
    output.dataset.kind = problem ?? "";
    if (problem === "full") output.value = "Not saved: this browser has no room. Export the text.";
    else if (editor.document.length === 0) output.value = "";
    else output.value = saved ? "Saved" : "Saving…";
  }
}
