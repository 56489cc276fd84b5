/**
 * The document that is open: what is written goes into this browser by itself, and what other tabs
 * and the server bring is joined with it. Where both changed the same words, two documents are kept.
 *
 * Events: "state"; "list" when documents were saved; "opened"; "arrived" when the text of one came
 * from the server; "unsaved" when one cannot be left; "apart" when the text became a separate
 * document; "joined" with changes of others; "deleted" in another tab; "missing" when the address
 * names a document that is not in this browser.
 */

import { address, addressed } from "./document_address.js";
import {
  Conflict,
  NoRoom,
  created,
  identity,
  keep,
  keepBased,
  leaveText,
  movedTo,
  note,
  remove,
  save,
  stored,
  watch,
} from "./store.js";
import { differences, merged, mergedTitle } from "./text_merge.js";
import { sliceOf, spansOf } from "./text_document.js";
import { Bases, includes, union } from "./versions.js";

const REST = 400; // milliseconds after a change

export class OpenDocument extends EventTarget {
  constructor(editor, title) {
    super();
    this.editor = editor;
    this.title = title; // the field
    this.current = created(); // as it was last saved, or opened
    this.saved = true;
    this.exported = false; // as it is now
    this.deleted = false; // in another tab, and nothing was written since
    this.problem = null;
    this._bases = new Bases();
    this._timer = 0;
    this._naming = false; // the title is being composed
    this._busy = false; // the page itself changes the text
    editor.addEventListener("change", () => this._changed());
    const named = ({ type, isComposing }) => {
      this._naming = isComposing && type === "input";
      this._changed();
    };
    for (const name of ["input", "compositionend"]) title.addEventListener(name, named);
    addEventListener("pagehide", () => this._saveAll());
    addEventListener("hashchange", () => this.start());
    addEventListener("beforeunload", (event) => this._left() || event.preventDefault());
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this._saveAll();
      else this.refresh(); // a page that slept heard nothing of other tabs
    });
    watch((id) => this._elsewhere(id));
  }

  /** Open what the address names, else the last document, else a new one. */
  start() {
    const { id, key, last } = addressed();
    if (id === this.current.id && !key) return;
    const found = stored(id || last);
    if (!found && id && id !== last && !key) this.dispatchEvent(new Event("missing"));
    if (!key) this.open(found ?? created());
    else if (!found) this.open({ ...created(), id, key, linked: true, spans: null });
    else this.open({ ...found, nextKey: key === found.key ? found.nextKey : key, linked: true });
  }

  /** Open a document; false, with an event "unsaved", if words of this one would be lost. */
  open(found) {
    if (!this._left()) {
      this.dispatchEvent(new Event("unsaved"));
      return false;
    }
    const { nextKey, linked } = found;
    // what is on the page is newer than any copy, and can be undone
    if (found.id === this.current.id) this.current = { ...this.current, nextKey, linked };
    else this._show(found);
    note(found.id, { nextKey, linked });
    this._remember();
    this.listChanged();
    this.dispatchEvent(new Event("opened"));
    return true;
  }

  /** Open a new document with some text; false as `open`. */
  create(title = "", spans = []) {
    if (!this.open(created(title, spans))) return false;
    if (spans.length) this._changed();
    return true;
  }

  /** Whether the text is still on its way from the server. */
  get loading() {
    return this.current.spans === null;
  }

  /** Save now what is not saved. */
  save() {
    clearTimeout(this._timer);
    if (!this.saved && !this._naming) this._attempt(() => this._keep());
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

  /** Note what became known of a document, such as another key. */
  note(changes, id = this.current.id) {
    note(id, changes);
    if (id !== this.current.id) return;
    this.current = { ...this.current, ...changes };
    this._told(this.problem);
  }

  /** The server has this version. */
  confirmed(sent, { revision, tag }) {
    const newest = stored(sent.id);
    if (newest && includes(newest, sent)) {
      note(sent.id, { revision, tag, synced: includes(sent, newest) });
    }
    this.listChanged();
    if (sent.id !== this.current.id) return;
    this.current = { ...this.current, revision, tag, synced: includes(sent, this.current) };
    this._told(this.problem);
  }

  /** Join another version of the server with what was written since; false: not now. */
  receive(found) {
    if (this._composing) return false;
    const { revision, tag } = found;
    if (this.loading) {
      this._show({ ...this.current, title: found.title, spans: found.spans });
      this._settle(found);
      this.dispatchEvent(new Event("arrived"));
    } else if (includes(this.current, found)) {
      this._bases.add(found);
      this.note({ revision, tag, synced: includes(found, this.current), lost: false });
    } else if (this._join(this._bases.common(this.current, found), found)) {
      this._settle(found);
    } else {
      this._split(found);
    }
    return true;
  }

  /** The server has no such document: what is written becomes another one. */
  leave() {
    const { id, seen } = this.current;
    this.current = { ...this.current, ...identity(), seen };
    this.saved = false;
    this.save();
    if (this.saved) remove(id, this.current.id);
    this.listChanged();
  }

  /** Say that other documents were saved, or became known better. */
  listChanged() {
    this.dispatchEvent(new Event("list"));
  }

  /** Take in what another tab saved while this one waited. */
  refresh() {
    const found = stored(this.current.id);
    if (!found) this._follow();
    else if (includes(this.current, found)) this._learn(found);
    else this._elsewhere(found.id);
  }

  get _composing() {
    return this.editor.input.composing || this._naming;
  }

  /** Save also what is being composed. */
  _saveAll() {
    this.editor.settle();
    this._naming = false;
    this.save();
  }

  /** The document as it is on the page. */
  _written() {
    const spans = spansOf(this.editor.document.slice());
    return { ...this.current, title: this.title.value.trim(), spans };
  }

  _keep() {
    const { current } = this;
    try {
      // without room, the version that was made is tried again: the server may have it by now
      if (this.problem && !this._differs(current)) {
        this.current = keep(current);
        return;
      }
      this.current = save({ ...this._written(), synced: false, lost: false });
      this._bases.add(current);
    } catch (error) {
      if (!(error instanceof Conflict)) throw error;
      this._meet(error.stored, true);
    }
  }

  _attempt(save) {
    try {
      save();
    } catch (error) {
      if (!(error instanceof NoRoom)) throw error;
      // the server may have room for it
      if (error.document.id === this.current.id) this.current = error.document;
      this._told("full");
      return;
    }
    this.saved = true;
    this._remember();
    this._told(null);
    this.listChanged();
  }

  /** Join a version of another tab with what is on the page; true if more is to be saved. */
  _meet(found, now) {
    const base = this._bases.common(this.current, found);
    const newer = base === this.current;
    if (!this._join(base, found)) {
      this._apart();
      return false;
    }
    this._bases.add(this.current, found);
    this.current = { ...found, seen: union(found, this.current) };
    this.saved = !this._differs(found);
    // of two versions that are joined, only the saved one is a base for what comes later
    if (this.saved || (newer && !now)) return !this.saved;
    this.current = save({ ...this._written(), synced: false, lost: false });
    return false;
  }

  /** Show what was changed here and in `found` since `base`; false if that cannot be joined. */
  _join(base, found) {
    if (!base?.spans || !found.spans) return false;
    this.editor.settle();
    const mine = this.editor.document.slice();
    const slice = merged(sliceOf(base.spans), mine, sliceOf(found.spans));
    if (!slice) return false;
    const title = this.title.value.trim();
    const joined = mergedTitle(base.title, title, found.title);
    this._busy = true;
    if (joined !== title) this.title.value = joined;
    const changes = differences(mine, slice);
    for (const change of changes.toReversed()) {
      this.editor.takeChange(change.start, change.end, change.slice);
    }
    this._busy = false;
    if (changes.length) this.dispatchEvent(new Event("joined"));
    return true;
  }

  _differs({ title, spans }) {
    const here = this.editor.document.slice();
    return title !== this.title.value.trim() || differences(here, sliceOf(spans)).length > 0;
  }

  /** Save what is on the page, which is based on a document of the server. */
  _settle(found) {
    this._bases.add(this.current, found);
    this.saved = false;
    const same = !this._differs(found);
    this._attempt(() => (this.current = keepBased(found, this._written(), same)));
  }

  /** The document becomes what the server has; what is on the page becomes a separate one. */
  _split(found) {
    const theirs = { ...this.current, title: found.title, spans: found.spans };
    this._attempt(() => {
      this._apart();
      keepBased(found, theirs, true);
    });
  }

  /** What is on the page becomes a separate document: the other one stays as it is. */
  _apart() {
    const title = `${this.title.value.trim() || "Untitled"} (second version)`;
    const mine = { ...this._written(), ...identity(), title, created: Date.now() / 1000 };
    this.current = save(mine);
    this._bases.clear();
    this.title.value = title;
    this.saved = true;
    this.dispatchEvent(new Event("apart"));
  }

  /** Whether the document can be left: it is saved, or exported as it is. */
  _left() {
    this._saveAll();
    if (this.saved || this.exported) return true;
    // the key stays here: without it, the text on the server could not be opened again
    return this.current.synced && !this._differs(this.current) && leaveText(this.current);
  }

  _changed() {
    if (this._busy || this.loading) return;
    this.saved = this.deleted = false;
    this.exported = false;
    clearTimeout(this._timer);
    this._timer = setTimeout(() => this.save(), REST);
    this._told(this.problem);
  }

  /** Another tab saved or deleted a document. Of versions that came one by one, the last counts. */
  _elsewhere(id) {
    this.listChanged();
    if (id !== this.current.id) return;
    const found = stored(id);
    if (!found) this._follow() || this._deleted();
    else if (this.loading) this._loaded(found);
    else if (includes(this.current, found)) this._learn(found);
    else if (!this._composing) {
      let more = false;
      this._attempt(() => (more = this._meet(found, false)));
      if (more) this._changed();
    }
  }

  /** Another tab made it another document: this tab has it too, but if a link named the old one. */
  _follow() {
    const found = !this.loading && stored(movedTo(this.current.id));
    if (!found) return false;
    const { id, key, nextKey, revision, tag, lost } = found;
    this.current = { ...this.current, id, key, nextKey, revision, tag, synced: false, lost };
    this._remember();
    this._elsewhere(id);
    return true;
  }

  /** Deleted in another tab: what is written from now on is another document. */
  _deleted() {
    if (this.loading) this.forget();
    this.current = { ...this.current, ...identity() };
    this._bases.clear();
    this.deleted = this.saved;
    this._remember();
    if (this.saved) this._told(null);
    else this._changed();
    this.dispatchEvent(new Event("deleted"));
  }

  /** Another tab got the text for which this one waits. */
  _loaded(found) {
    if (!found.spans) return;
    const { key } = this.current;
    this._show({ ...found, nextKey: key === found.key ? found.nextKey : key, linked: true });
    this._remember();
    this.dispatchEvent(new Event("arrived"));
  }

  /** Take what another tab knows of the same version, or of an older one. */
  _learn(found) {
    const { key, nextKey, linked, revision, tag } = found;
    this._bases.add(found);
    if (revision < this.current.revision) return;
    const same = includes(found, this.current);
    const [synced, lost] = [same && found.synced, same && found.lost];
    this.current = { ...this.current, key, nextKey, linked, revision, tag, synced, lost };
    this._told(this.problem);
  }

  _show(found) {
    this._busy = true;
    this.current = found;
    this._bases.clear();
    this._naming = false;
    this.title.value = found.title;
    this.editor.open(sliceOf(found.spans ?? []));
    this.title.readOnly = this.loading;
    this.editor.root.contentEditable = String(!this.loading);
    this._busy = false;
    this.saved = true;
    this.exported = this.deleted = false;
    this._told(null);
  }

  _remember() {
    address(this.current, this.loading && !stored(this.current.id));
  }

  _told(problem) {
    this.problem = problem;
    this.dispatchEvent(new Event("state"));
  }
}
