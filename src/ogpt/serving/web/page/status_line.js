/** The line below the text: words by writer, where the text at the caret comes from, saving. */

import { surprise } from "./alternatives_card.js";
import { described } from "./document_files.js";

const REST = 250;

export class StatusLine {
  constructor(context, opened, sync) {
    this.editor = context.editor;
    this.inside = context.inside;
    this.opened = opened;
    this.sync = sync;
    this.announcer = context.announcer;
    this.source = null; // of the text at the caret
    this._timer = 0;
    this.parts = Object.fromEntries(
      ["share", "words", "origin", "saved"].map((id) => [id, document.getElementById(id)]),
    );
    this.editor.addEventListener("change", () => this._later());
    opened.addEventListener("state", () => this._showSaved());
    sync.addEventListener("state", () => this._showSaved());
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
    this.parts.words.value = machine ? `${words}, ${percent}% by the model` : words;
    this.parts.words.title = `${human} by you, ${machine} by the model`;
    this.parts.share.style.setProperty("--machine", percent);
  }

  _showSaved() {
    const { problem, editor, loading } = this.opened;
    const { saved: output } = this.parts;
    const { refusal } = this.sync;
    const before = output.dataset.kind;
    output.dataset.kind = problem ?? (refusal ? "refused" : "");
    if (loading) output.value = "Opening…";
    else if (editor.document.length === 0) output.value = "";
    else output.value = this._place();
    output.title = refusal ?? "";
    // not every save, but whether there are any
    if (before !== undefined && before !== output.dataset.kind) this.announcer.say(output.value);
  }

  _place() {
    const { problem, saved, deleted, current } = this.opened;
    if (deleted) return "Not saved: deleted in another tab";
    if (current.lost && saved) return "Saved in this browser only";
    const { place, refusal } = this.sync;
    if (problem === "full" && place === "server") return "Saved on the server only";
    if (problem === "full") return "Not saved: this browser's storage is full. Export the text.";
    if (!saved || place === "waiting") return "Saving…";
    if (place === "server") return "Saved";
    return refusal ? `Saved in this browser only: ${refusal}` : "Saved in this browser";
  }
}
