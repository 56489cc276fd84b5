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
    this.problem = null;
    this._timer = 0;
    this._loading = false;
    editor.addEventListener("change", () => this._changed());
    title.addEventListener("input", () => this._changed());
    addEventListener("pagehide", () => this.save());
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

  open(found) {
    this.save();
    this._show(found);
    this._remember();
    this.dispatchEvent(new Event("list"));
  }

  /** Open a new document with some text. */
  create(title = "", spans = []) {
    this.open(created(title, spans));
    if (spans.length) this._changed();
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
      return save(this._apart(changed));
    }
  }

  /** Ours becomes a document of its own: the other tab's stays as it is. */
  _apart(changed) {
    const { id, created: time } = created();
    this.title.value = `${changed.title || "Untitled"} (this tab)`;
    this.dispatchEvent(new Event("apart"));
    return { ...changed, id, created: time, revision: 0, title: this.title.value };
  }

  _changed() {
    if (this._loading) return;
    this.saved = false;
    clearTimeout(this._timer);
    this._timer = setTimeout(() => this.save(), REST);
    this._told(this.problem);
  }

  _elsewhere(id, found) {
    this.dispatchEvent(new Event("list"));
    if (id !== this.current.id || !found || found.revision === this.current.revision) return;
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
