/**
 * A text, and which parts of it a model wrote. Nothing here touches the page.
 *
 * A slice is {text, machine}, where machine is [{start, end, source}] in order: `source` says how
 * the model came to write the part. All offsets are UTF-16 units, as in the DOM.
 */

const SPACE = /\s/;

export const EMPTY = Object.freeze({ text: "", machine: Object.freeze([]) });

/** What a person typed or pasted. */
export function humanSlice(text) {
  return { text, machine: [] };
}

/** What a model wrote. */
export function machineSlice(text, source) {
  return { text, machine: text ? [{ start: 0, end: text.length, source }] : [] };
}

export class TextDocument {
  constructor(slice = EMPTY) {
    this.text = slice.text;
    this.machine = slice.machine.map((range) => ({ ...range }));
    this._words = this._count(0, this.length);
  }

  get length() {
    return this.text.length;
  }

  /** A part of the document. */
  slice(start = 0, end = this.length) {
    return { text: this.text.slice(start, end), machine: within(this.machine, start, end, -start) };
  }

  /** Replace a part and return what was there: `replace` with that undoes it. */
  replace(start, end, slice) {
    const removed = this.slice(start, end);
    const added = slice.text.length;
    const { first, last } = this._around(start, end);
    const before = this._count(first, last);
    this.text = this.text.slice(0, start) + slice.text + this.text.slice(end);
    this.machine = joined([
      ...within(this.machine, 0, start, 0),
      ...within(slice.machine, 0, added, start),
      ...within(this.machine, end, Infinity, start + added - end),
    ]);
    const after = this._count(first, last + start + added - end);
    for (const by of ["human", "machine"]) this._words[by] += after[by] - before[by];
    return removed;
  }

  /** The part of a model around an offset, or null. At an edge, the part that ends there. */
  sourceAt(offset) {
    return this.machine.find(({ start, end }) => start < offset && offset <= end) ?? null;
  }

  /** Words by who wrote their first letter. */
  words() {
    return { ...this._words };
  }

  /** A part with the whole words around it: an edit changes the count of no others. */
  _around(start, end) {
    let [first, last] = [start, end];
    while (first > 0 && !SPACE.test(this.text[first - 1])) first -= 1;
    while (last < this.length && !SPACE.test(this.text[last])) last += 1;
    return { first, last };
  }

  /** Words that begin in [from, to), which cuts no word. */
  _count(from, to) {
    const found = { human: 0, machine: 0 };
    const word = /[\p{L}\p{N}][\p{L}\p{N}\p{M}'’-]*/gu;
    word.lastIndex = from;
    let next = 0;
    for (const { index } of this.text.matchAll(word)) {
      if (index >= to) break;
      while (next < this.machine.length && this.machine[next].end <= index) next += 1;
      const by = next < this.machine.length && this.machine[next].start <= index;
      found[by ? "machine" : "human"] += 1;
    }
    return found;
  }
}

/** The parts of ranges inside [from, to), moved by `shift`. */
function within(ranges, from, to, shift) {
  const found = [];
  for (const { start, end, source } of ranges) {
    const first = Math.max(start, from);
    const last = Math.min(end, to);
    if (first < last) found.push({ start: first + shift, end: last + shift, source });
  }
  return found;
}

/** Neighbours of the same source become one range. */
function joined(ranges) {
  const found = [];
  for (const range of ranges) {
    const before = found.at(-1);
    if (before && before.end === range.start && before.source === range.source) {
      before.end = range.end;
    } else {
      found.push({ ...range });
    }
  }
  return found;
}

/**
 * A text in parts, of which those at odd places are marked where a model wrote it: words and the
 * single spaces between them. Other spaces would be underlined beyond the words.
 */
export function markedParts(text) {
  return text.split(/(\S+(?:[^\S\n\t]\S+)*)/);
}

/** A slice as the spans of a saved document. */
export function spansOf(slice) {
  const spans = [];
  let at = 0;
  const human = (end) => {
    if (at < end) spans.push({ text: slice.text.slice(at, end), by: "human" });
  };
  for (const { start, end, source } of slice.machine) {
    human(start);
    spans.push({ text: slice.text.slice(start, end), by: "machine", provenance: source });
    at = end;
  }
  human(slice.text.length);
  return spans;
}

const isText = (value) => typeof value === "string";
const isCount = (value) => Number.isSafeInteger(value) && value >= 0;

/** What is known of a model's text, as the server takes it; its settings come beside. */
const FACTS = Object.freeze({
  model: isText,
  model_hash: isText,
  seed: isCount,
  index: isCount,
  alternative: (value) => isCount(value) && value > 0,
  created: Number.isFinite,
});

/**
 * The slice of a saved document. Whatever else a file holds is left out: a text that is no string
 * makes it an error, and only "machine" is machine.
 */
export function sliceOf(spans) {
  let text = "";
  const machine = [];
  for (const span of spans) {
    if (typeof span?.text !== "string") throw new TypeError("a span has no text");
    const start = text.length;
    text += span.text.replace(/\r\n?/g, "\n");
    if (span.by === "machine" && text.length > start) {
      machine.push({ start, end: text.length, source: sourceOf(span.provenance) });
    }
  }
  return { text, machine };
}

/** Whether a value is a prompt as the server takes it: a text, or token ids. */
export function isPrompt(value) {
  return typeof value === "string" || (Array.isArray(value) && value.every(Number.isSafeInteger));
}

function sourceOf(given) {
  const known = Object.entries(FACTS).filter(([name, isRight]) => isRight(given?.[name]));
  if (isPrompt(given?.prompt)) known.push(["prompt"]);
  const settings = Object.entries(given?.settings ?? {}).filter(([, value]) =>
    [value].flat().every((each) => isText(each) || typeof each === "boolean" || Number.isFinite(each)),
  );
  return {
    ...Object.fromEntries(known.map(([name]) => [name, given[name]])),
    settings: Object.fromEntries(settings),
  };
}
