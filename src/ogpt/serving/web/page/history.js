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

  /**
   * Another writer replaced [start, end) by `added` characters: undo leaves that alone. Edits of
   * the same words, and those before them, cannot be undone then.
   */
  rebase(start, end, added) {
    const kept = [];
    for (const edit of this._done.toReversed()) {
      const grown = edit.inserted.text.length - edit.removed.text.length;
      if (end <= edit.start) {
        const [from, to] = [edit.before.start, edit.before.end ?? edit.before.start];
        const before = {
          start: moved(from, start, end, added),
          end: moved(to, start, end, added),
        };
        kept.push({ ...edit, start: edit.start + added - (end - start), before });
      } else if (start >= edit.start + edit.inserted.text.length) {
        kept.push(edit);
        start -= grown; // where it would be without this edit
        end -= grown;
      } else {
        break;
      }
    }
    this._done = kept.reverse();
    this._undone = [];
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

/** Where an offset is after [start, end) was replaced by `added` characters. */
export function moved(offset, start, end, added) {
  if (offset <= start) return offset;
  return offset < end ? start : offset + added - (end - start);
}

/** Where [from, to] is after a change {start, end, added}; null if that touched it. */
export function placeAfter(from, to, { start, end, added }) {
  if (start <= to && end >= from) return null;
  return { start: moved(from, start, end, added), end: moved(to, start, end, added) };
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
