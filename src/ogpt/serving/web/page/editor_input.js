/**
 * What the browser wants to do to the text, done to the document instead.
 *
 * Text of an input method cannot be held back: it is taken in when it is complete, or before the
 * page changes anything. Where the page paints the line of a composition, the browser drops it and
 * sends no event: no flag is believed against `isComposing`.
 */

import { copy, pasted } from "./copied_spans.js";
import { TextDocument, humanSlice } from "./text_document.js";

export class EditorInput {
  constructor(editor) {
    this.editor = editor;
    this.composing = false;
    this._taken = null; // the change of the last composition
    this._dragged = null; // {start, end} of what is dragged from here
    const { root } = editor;
    root.addEventListener("beforeinput", (event) => this._before(event));
    root.addEventListener("input", (event) => {
      if (!this.composing || !isComposed(event)) this._takeIn();
    });
    root.addEventListener("compositionstart", () => {
      this.composing = true;
      editor.view.setGhost(null);
    });
    root.addEventListener("compositionend", () => this._takeIn());
    // a button that takes no focus does not end a composition
    const outside = ({ target }) => {
      if (!root.contains(target)) this.settle();
    };
    for (const name of ["pointerdown", "click"]) document.addEventListener(name, outside, true);
    root.addEventListener("copy", (event) => this._copy(event));
    root.addEventListener("cut", (event) => {
      this._copy(event);
      const { start, end } = editor.selection;
      if (start < end) editor.edit(start, end, humanSlice(""), "cut");
    });
    root.addEventListener("dragstart", ({ dataTransfer }) => {
      dataTransfer.clearData(); // the browser's own HTML, whose style the policy refuses
      this._dragged = editor.selection;
      this._fill(dataTransfer);
    });
    root.addEventListener("dragend", () => (this._dragged = null));
    root.addEventListener("drop", (event) => this._drop(event));
  }

  /** Take in what is being composed, and end that; returns the change, or null. */
  settle() {
    if (!this.composing) return null;
    const { root } = this.editor;
    const focused = document.activeElement === root;
    root.blur(); // which ends it, with an event
    if (this.composing) this._takeIn();
    if (focused) root.focus({ preventScroll: true });
    return this._taken;
  }

  _takeIn() {
    this.composing = false;
    this._taken = this.editor.takeIn();
  }

  _before(event) {
    const { inputType: type } = event;
    if (isComposed(event)) return;
    if (this.composing) this._takeIn();
    event.preventDefault();
    if (type === "historyUndo") this.editor.undo();
    else if (type === "historyRedo") this.editor.redo();
    else if (type.startsWith("delete")) this._delete(event);
    else if (type.startsWith("insert")) this._insert(event);
  }

  /** Text that is dragged here: one edit, also where it comes from another place of the text. */
  _drop(event) {
    const { editor } = this;
    const place = document.caretPositionFromPoint?.(event.clientX, event.clientY);
    if (event.dataTransfer.files.length || !editor.root.contains(place?.offsetNode ?? null)) return;
    event.preventDefault();
    const given = inserted(event);
    const at = editor.view.offsetOf(place.offsetNode, place.offset);
    const { start, end } = event.dataTransfer.dropEffect === "copy" ? {} : (this._dragged ?? {});
    this._dragged = null;
    if (given.text === "" || (start <= at && at <= end)) return;
    editor.focus();
    if (start === undefined) {
      editor.edit(at, at, given, "drop");
      return;
    }
    const [first, last] = [Math.min(start, at), Math.max(end, at)];
    const part = new TextDocument(editor.document.slice(first, last));
    const put = () => part.replace(at - first, at - first, given);
    const take = () => part.replace(start - first, end - first, humanSlice(""));
    for (const act of at < start ? [take, put] : [put, take]) act(); // the later place first
    editor.edit(first, last, part.slice(), "drop");
    const from = at < start ? at : at - (end - start);
    editor.select(from, from + given.text.length);
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
    copy(transfer, this.editor.document.slice(start, end));
  }
}

/** Whether an event is of an input method, which has the text now. */
function isComposed({ isComposing, inputType }) {
  return isComposing || inputType.includes("Composition");
}

/** What an event inserts; machine text that was copied here stays machine text. */
function inserted(event) {
  const transfer = event.dataTransfer;
  const plain = (event.data ?? transfer?.getData("text/plain") ?? "").replace(/\r\n?/g, "\n");
  return transfer ? pasted(transfer, plain) : humanSlice(plain);
}
