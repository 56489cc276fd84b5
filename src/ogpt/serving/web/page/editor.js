/**
 * The editor: one document, its history and its view. Every change goes through `edit`.
 *
 * Events: "change" after an edit or another document, "select" when the caret moves. The detail of a
 * "change" is the change of another writer, {start, end, added}, or null.
 */

import { EditorInput } from "./editor_input.js";
import { EditorView } from "./editor_view.js";
import { History, moved, placeAfter } from "./history.js";
import { EMPTY, TextDocument, humanSlice } from "./text_document.js";
import { movedTokens } from "./token_places.js";

export class Editor extends EventTarget {
  constructor(root) {
    super();
    this.root = root;
    this.view = new EditorView(root);
    this.history = new History();
    this.document = null;
    this._selection = { start: 0, end: 0, backward: false };
    this.open(EMPTY);
    this.input = new EditorInput(this);
    root.addEventListener("focus", () => this.view.select(this._lastSelection()));
    document.addEventListener("selectionchange", () => {
      if (!this.input.composing && this.view.selection()) this._told("select");
    });
  }

  /** The selection; of an editor without focus, the last one, whatever was painted since. */
  get selection() {
    if (document.activeElement === this.root) {
      this._selection = this.view.selection() ?? this._selection;
    }
    return this._lastSelection();
  }

  _lastSelection() {
    const { length } = this.document;
    const { start, end, backward } = this._selection;
    return { start: Math.min(start, length), end: Math.min(end, length), backward };
  }

  /** Show another document. */
  open(slice) {
    this.document = new TextDocument(slice);
    this.history.clear();
    this.view.ghost = null;
    this.view.tokens = [];
    this.view.show(this.document);
    this.select(this.document.length);
    this.view.reveal(this.document.length);
    this._told("change");
  }

  /**
   * Replace a part of the document and put the caret behind what was inserted.
   * `kind` is "type", "delete" or another word; runs of the first two are undone together.
   */
  edit(start, end, slice, kind = "other") {
    const before = this.selection;
    const removed = this._replace(start, end, slice);
    this.history.add({ start, removed, inserted: slice, kind, before });
    this.select(start + slice.text.length);
    this.view.reveal(start + slice.text.length);
    this._told("change");
  }

  /** Make a change of another writer: caret, view and undo leave it alone. */
  takeChange(start, end, slice) {
    const { start: from, end: to } = this.selection;
    const added = slice.text.length;
    const { ghost } = this.view;
    const place = ghost && placeAfter(ghost.offset, ghost.offset, { start, end, added });
    this._replace(start, end, slice);
    if (place) this.view.setGhost({ ...ghost, offset: place.start });
    this.history.rebase(start, end, added);
    this.select(moved(from, start, end, added), moved(to, start, end, added));
    this._told("change", { start, end, added });
  }

  undo() {
    const edit = this.history.undo();
    if (!edit) return false;
    this._replace(edit.start, edit.start + edit.inserted.text.length, edit.removed);
    this._moved(edit.before);
    return true;
  }

  redo() {
    const edit = this.history.redo();
    if (!edit) return false;
    this._replace(edit.start, edit.start + edit.removed.text.length, edit.inserted);
    this._moved({ start: edit.start + edit.inserted.text.length });
    return true;
  }

  select(start, end = start) {
    this._selection = { start, end, backward: false };
    if (this.root.contains(document.activeElement)) this.view.select(this._selection);
  }

  focus() {
    const selection = this.selection;
    this.root.focus({ preventScroll: true });
    this.view.select(selection);
  }

  /** Take in what the browser changed in the page by itself: text of an input method. */
  takeIn() {
    const shown = this.view.shownText();
    this.view.setGhost(null);
    const { text } = this.document;
    const most = Math.min(shown.length, text.length);
    let start = 0;
    while (start < most && shown[start] === text[start]) start += 1;
    let tail = 0;
    while (tail < most - start && shown.at(-1 - tail) === text.at(-1 - tail)) tail += 1;
    const added = shown.slice(start, shown.length - tail);
    const removed = this.document.replace(start, text.length - tail, humanSlice(added));
    this._moveTokens(start, removed.text, added.length);
    const caret = start + added.length;
    this.view.takeOver(start, removed.text.length, added.length);
    if (removed.text || added) {
      const before = { start: start + removed.text.length };
      this.history.add({ start, removed, inserted: humanSlice(added), kind: "compose", before });
    }
    this.select(caret);
    this._told("change");
  }

  _replace(start, end, slice) {
    // an edit before a ghost, or at it, takes it away
    if (start <= this.view.ghost?.offset) this.view.setGhost(null);
    const removed = this.document.replace(start, end, slice);
    this._moveTokens(start, removed.text, slice.text.length);
    this.view.update(start, end - start, slice.text.length);
    return removed;
  }

  _moveTokens(start, removed, added) {
    this.view.tokens = movedTokens(this.view.tokens, this.document.text, start, removed, added);
  }

  _moved({ start, end = start }) {
    this.focus();
    this.select(start, end);
    this.view.reveal(end);
    this._told("change");
  }

  _told(name, detail = null) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
