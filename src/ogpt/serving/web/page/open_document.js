/** The document that is open: saved by itself, and kept apart from what another tab makes of it. */

import { Conflict, NoRoom, created, save, stored, watch } from "./store.js";
import { sliceOf, spansOf } from "./text_document.js";

const LAST = "ogpt.last";
const REST = 400; // milliseconds after a change

export class OpenDocument extends EventTarget {
  constructor(editor, title) {
    super();
    this.editor = editor;
    this.title = title; // the field
    this.current = created();
    this.saved = true;
    this.exported = false; // as it is now
    this.problem = null;
    this._timer = 0;
    this._loading = false;
    editor.addEventListener("change", () => this._changed());
    title.addEventListener("input", () => this._changed());
    addEventListener("pagehide", () => this.save());
    addEventListener("beforeunload", (event) => {
      if (!this._left()) event.preventDefault();
    });
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this.save();
    });
    watch((id, found) => this._elsewhere(id, found));
  }

  /** Open what the address names, else the last document, else a new one. */
  start() {
    const id = location.hash.slice(1) || localStorage.getItem(LAST);
    this.open((id && stored(id)) || created());
  }

  /** Open a document; false, with an event "unsaved", if words of this one would be lost. */
  open(found) {
    if (!this._left()) {
      this.dispatchEvent(new Event("unsaved"));
      return false;
    }
    this._show(found);
    this._remember();
    this.dispatchEvent(new Event("list"));
    return true;
  }

  /** Open a new document with some text; false as `open`. */
  create(title = "", spans = []) {
    if (!this.open(created(title, spans))) return false;
    if (spans.length) this._changed();
    return true;
  }

  /** Save now what is not saved. */
  save() {
    clearTimeout(this._timer);
    if (this.saved) return;
    const { editor, title } = this;
    const changed = {
      ...this.current,
      title: title.value.trim(),
      spans: spansOf(editor.document.slice()),
    };
    try {
      this.current = this._kept(changed);
    } catch (error) {
      if (!(error instanceof NoRoom)) throw error;
      this._told("full");
      return;
    }
    this.saved = true;
    this._remember();
    this._told(null);
    this.dispatchEvent(new Event("list"));
  }

  /** The writer has the document as a file: it may be left without room for it. */
  markExported() {
    this.exported = true;
  }

  /** Leave a document that was deleted. */
  forget() {
    clearTimeout(this._timer);
    this._show(created());
    this._remember();
  }

  _kept(changed) {
    try {
      return save(changed);
    } catch (error) {
      if (!(error instanceof Conflict)) throw error;
      return this._apart(changed);
    }
  }

  /** Ours becomes a separate document: the other tab's stays as it is. */
  _apart(changed) {
    const { id, created: time } = created();
    const title = `${changed.title || "Untitled"} (this tab)`;
    const kept = save({ ...changed, id, created: time, revision: 0, title });
    this.title.value = title;
    this.dispatchEvent(new Event("apart"));
    return kept;
  }

  /** Whether the document can be left: it is saved, or exported as it is. */
  _left() {
    this.save();
    return this.saved || this.exported;
  }

  _changed() {
    if (this._loading) return;
    this.saved = false;
    this.exported = false;
    clearTimeout(this._timer);
    this._timer = setTimeout(() => this.save(), REST);
    this._told(this.problem);
  }

  _elsewhere(id, found) {
    this.dispatchEvent(new Event("list"));
    if (id !== this.current.id || !found || found.revision === this.current.revision) return;
    if (this.editor.input.composing) return; // saved as a separate document later
    if (this.saved) this._show(found);
    else this.save();
  }

  _show(found) {
    this._loading = true;
    const { selection } = this.editor;
    const same = found.id === this.current.id;
    this.current = found;
    this.title.value = found.title;
    this.editor.open(sliceOf(found.spans));
    if (same) this.editor.select(Math.min(selection.end, this.editor.document.length));
    this._loading = false;
    this.saved = true;
    this.exported = false;
    this._told(null);
  }

  _remember() {
    history.replaceState(null, "", `#${this.current.id}`);
    try {
      localStorage.setItem(LAST, this.current.id);
    } catch {
      // a full disk is reported where documents are saved
    }
  }

  _told(problem) {
    this.problem = problem;
    this.dispatchEvent(new Event("state"));
  }
}
