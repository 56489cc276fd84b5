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
    this.input = new EditorInput(this);
    this.open(EMPTY);
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

  /**
   * Take in what an input method composes, and end that. The page does so before it changes the
   * text. Returns the change, {start, end, added}, or null.
   */
  settle() {
    return this.input.settle();
  }

  /** Show another document. */
  open(slice) {
    this.settle();
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
    const composed = this.settle();
    if (composed) {
      const { start: from, end: to, added } = composed;
      [start, end] = [moved(start, from, to, added), moved(end, from, to, added)];
    }
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
    this.settle();
    const edit = this.history.undo();
    if (!edit) return false;
    this._replace(edit.start, edit.start + edit.inserted.text.length, edit.removed);
    this._moved(edit.before);
    return true;
  }

  redo() {
    this.settle();
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

  /**
   * Take in what the browser changed in the page by itself: text of an input method. Returns the
   * change, {start, end, added}.
   */
  takeIn() {
    const { text: shown, caret } = this.view.shown();
    this.view.setGhost(null);
    const { text } = this.document;
    const { start, tail } = changeAt(text, shown, caret ?? shown.length);
    const added = shown.slice(start, shown.length - tail);
    const removed = this.document.replace(start, text.length - tail, humanSlice(added));
    this._moveTokens(start, removed.text, added.length);
    const end = start + removed.text.length;
    this.view.takeOver(start, removed.text.length, added.length);
    if (removed.text || added) {
      const before = { start: end };
      this.history.add({ start, removed, inserted: humanSlice(added), kind: "compose", before });
    }
    this.select(caret ?? start + added.length);
    this._told("change");
    return { start, end, added: added.length };
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

/**
 * Where a text differs from what it was, as {start, tail}: lengths of what is the same. Letters that
 * were added may begin as those after them do: the added ones end at the caret.
 */
function changeAt(before, now, caret) {
  const most = Math.min(before.length, now.length);
  const same = (first, last) => {
    let at = first;
    while (at < last && before[at] === now[at]) at += 1;
    return at;
  };
  const least = same(0, Math.max(0, Math.min(most, caret, caret - (now.length - before.length))));
  let tail = 0;
  while (tail < most - least && before.at(-1 - tail) === now.at(-1 - tail)) tail += 1;
  return { start: same(least, most - tail), tail };
}
