/** Undo and redo of edits, whoever made them. */

const MOST = 2000; // edits that are remembered
const PAUSE = 1500; // milliseconds of rest that end a run of typing

export class History {
  constructor() {
    this.clear();
  }

  clear() {
    this._done = [];
    this._undone = [];
  }

  get canUndo() {
    return this._done.length > 0;
  }

  get canRedo() {
    return this._undone.length > 0;
  }

  /** Remember an edit: {start, removed, inserted, kind, before}, with slices and the selection. */
  add(edit, now = performance.now()) {
    this._undone = [];
    const last = this._done.at(-1);
    if (last && continues(last, edit, now)) {
      merge(last, edit, now);
      return;
    }
    this._done.push({ ...edit, time: now });
    if (this._done.length > MOST) this._done.shift();
  }

  /** The next edit to undo, or null. */
  undo() {
    return move(this._done, this._undone);
  }

  /** The next edit to redo, or null. */
  redo() {
    return move(this._undone, this._done);
  }
}

function move(from, to) {
  const edit = from.pop() ?? null;
  if (edit) to.push({ ...edit, time: -Infinity });
  return edit;
}

/** Whether typing continues the word before, or deleting the deletion before. */
function continues(last, edit, now) {
  if (edit.kind !== last.kind || now - last.time > PAUSE) return false;
  if (edit.kind === "type") {
    const end = last.start + last.inserted.text.length;
    const newWord = /\s$/.test(last.inserted.text) && /\S/.test(edit.inserted.text);
    return edit.start === end && edit.removed.text === "" && !newWord;
  }
  return edit.kind === "delete" && edit.start + edit.removed.text.length === last.start;
}

function merge(last, edit, now) {
  if (edit.kind === "type") {
    last.inserted = { text: last.inserted.text + edit.inserted.text, machine: [] };
  } else {
    const shift = edit.removed.text.length;
    const moved = last.removed.machine.map(({ start, end, source }) => ({
      start: start + shift,
      end: end + shift,
      source,
    }));
    last.removed = {
      text: edit.removed.text + last.removed.text,
      machine: [...edit.removed.machine, ...moved],
    };
    last.start = edit.start;
  }
  last.time = now;
}
