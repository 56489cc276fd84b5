/**
 * What the browser wants to do to the text, done to the document instead.
 *
 * Text of an input method cannot be held back: it is taken in when it is complete.
 */

import { humanSlice, sliceOf, spansOf } from "./text_document.js";

const MARKED = "application/x-ogpt-spans+json"; // copied text that knows who wrote it

export class EditorInput {
  constructor(editor) {
    this.editor = editor;
    this.composing = false;
    const { root } = editor;
    root.addEventListener("beforeinput", (event) => this._before(event));
    root.addEventListener("input", () => {
      if (!this.composing) editor.takeIn();
    });
    root.addEventListener("compositionstart", () => {
      this.composing = true;
      editor.view.setGhost(null);
    });
    root.addEventListener("compositionend", () => {
      this.composing = false;
      editor.takeIn();
    });
    root.addEventListener("copy", (event) => this._copy(event));
    root.addEventListener("cut", (event) => {
      this._copy(event);
      const { start, end } = editor.selection;
      if (start < end) editor.edit(start, end, humanSlice(""), "cut");
    });
    root.addEventListener("dragstart", (event) => this._fill(event.dataTransfer));
  }

  _before(event) {
    const { inputType: type } = event;
    if (this.composing || type === "insertCompositionText") return;
    event.preventDefault();
    if (type === "historyUndo") this.editor.undo();
    else if (type === "historyRedo") this.editor.redo();
    else if (type.startsWith("delete")) this._delete(event);
    else if (type.startsWith("insert")) this._insert(event);
  }

  _delete(event) {
    const { start, end } = this._target(event);
    if (start === end) return;
    const kind = event.inputType === "deleteContentBackward" ? "delete" : "cut";
    this.editor.edit(start, end, humanSlice(""), kind);
  }

  _insert(event) {
    const breaks = event.inputType === "insertParagraph" || event.inputType === "insertLineBreak";
    const given = breaks ? humanSlice("\n") : inserted(event);
    if (given.text === "") return; // a picture: what is selected stays
    const { start, end } = this._target(event);
    const typed = event.inputType === "insertText" || breaks;
    this.editor.edit(start, end, given, typed ? "type" : "paste");
  }

  /** The part of the document that an event is about. */
  _target(event) {
    const [range] = event.getTargetRanges();
    const { root, view } = this.editor;
    if (!range || !root.contains(range.startContainer) || !root.contains(range.endContainer)) {
      return this.editor.selection;
    }
    const start = view.offsetOf(range.startContainer, range.startOffset);
    const end = view.offsetOf(range.endContainer, range.endOffset);
    return { start: Math.min(start, end), end: Math.max(start, end) };
  }

  _copy(event) {
    event.preventDefault();
    this._fill(event.clipboardData);
  }

  _fill(transfer) {
    const { start, end } = this.editor.selection;
    if (start === end) return;
    const slice = this.editor.document.slice(start, end);
    transfer.setData("text/plain", slice.text);
    transfer.setData(MARKED, JSON.stringify(spansOf(slice)));
  }
}

/** What an event inserts; machine text that was copied here stays machine text. */
function inserted(event) {
  const transfer = event.dataTransfer;
  const plain = (event.data ?? transfer?.getData("text/plain") ?? "").replace(/\r\n?/g, "\n");
  const marked = transfer?.getData(MARKED);
  if (marked) {
    try {
      const slice = sliceOf(JSON.parse(marked));
      if (slice.text === plain) return slice;
    } catch {
      // not from this page: the plain text counts
    }
  }
  return humanSlice(plain);
}
