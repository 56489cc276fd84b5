/**
 * Prompts of a document as parts of one text. Those of neighbouring passages overlap almost wholly:
 * each kept whole, they would have many times the size of the text itself.
 *
 * In a stored document, `prompts` is that text, and a prompt is {parts: [[start, length], …]}.
 */

const BLOCK = 32; // characters that are looked up at once
const MOST = 16; // parts of a prompt that is not kept whole
const LONGEST = 2 ** 20; // characters of a prompt in parts, as on the server

/** A document whose prompts are kept in parts. */
export function packed(document) {
  const text = new SharedText();
  const spans = document.spans?.map((span) => {
    const { prompt } = span.provenance ?? {};
    if (typeof prompt !== "string" || !prompt) return span;
    return { ...span, provenance: { ...span.provenance, prompt: { parts: text.add(prompt) } } };
  });
  return text.whole ? { ...document, spans, prompts: text.whole } : document;
}

/** A document whose prompts are whole again; one with parts that are not there is left out. */
export function unpacked(document) {
  const { prompts = "", ...rest } = document;
  const spans = rest.spans?.map((span) => {
    const { parts } = span?.provenance?.prompt ?? {};
    if (!Array.isArray(parts)) return span;
    const prompt = isIn(prompts, parts)
      ? parts.map(([start, length]) => prompts.slice(start, start + length)).join("")
      : undefined;
    return { ...span, provenance: { ...span.provenance, prompt } };
  });
  return spans ? { ...rest, spans } : rest;
}

function isIn(prompts, parts) {
  let whole = 0;
  for (const part of parts) {
    if (!Array.isArray(part) || !part.every((each) => Number.isSafeInteger(each) && each >= 0)) {
      return false;
    }
    const [start, length] = part;
    whole += length;
    if (!(start + length <= prompts.length && whole <= LONGEST)) return false;
  }
  return true;
}

/** A text to which only what it does not have is added. */
class SharedText {
  constructor() {
    this._pieces = [];
    this._units = new Uint16Array(1024); // a string would be copied with each piece
    this._length = 0;
    this._places = new Map(); // where each block was last
    this._indexed = 0;
  }

  get whole() {
    return this._pieces.join("");
  }

  /** The parts that a prompt is made of. */
  add(prompt) {
    const found = this._known(prompt);
    const parts = [];
    let at = 0;
    // one of many parts is kept whole: then the prompts that follow have few
    for (const { start, from, length } of found.length > MOST ? [] : found) {
      this._append(parts, prompt.slice(at, from));
      join(parts, start, length);
      at = from + length;
    }
    this._append(parts, prompt.slice(at));
    return parts;
  }

  /** What the text has of a prompt. */
  _known(prompt) {
    const found = [];
    let [end, at] = [0, 0]; // of what was found; what is looked up
    while (at + BLOCK <= prompt.length) {
      const next = this._longest(prompt, at, end);
      if (next) {
        found.push(next);
        end = at = next.from + next.length;
      } else {
        at += BLOCK;
      }
    }
    return found;
  }

  _append(parts, text) {
    if (!text) return;
    join(parts, this._length, text.length);
    this._pieces.push(text);
    const length = this._length + text.length;
    if (length > this._units.length) {
      const larger = new Uint16Array(2 * length);
      larger.set(this._units);
      this._units = larger;
    }
    for (let at = 0; at < text.length; at += 1) this._units[this._length + at] = text.charCodeAt(at);
    this._length = length;
    for (; this._indexed + BLOCK <= length; this._indexed += BLOCK) {
      const units = this._units.subarray(this._indexed, this._indexed + BLOCK);
      this._places.set(String.fromCharCode(...units), this._indexed);
    }
  }

  /**
   * The longest part of the text that the prompt has around one of the next places where blocks may
   * begin; it does not begin before `least`.
   */
  _longest(prompt, offset, least) {
    let best = null;
    const last = Math.min(offset + BLOCK, prompt.length - BLOCK + 1);
    for (let from = offset; from < last; from += 1) {
      const start = this._places.get(prompt.slice(from, from + BLOCK));
      if (start === undefined) continue;
      if (best && start - from === best.start - best.from) continue; // the same text
      let length = BLOCK;
      while (this._equal(start + length, prompt, from + length)) length += 1;
      if (!best || length > best.length) best = { start, from, length };
    }
    while (best?.from > least && this._equal(best.start - 1, prompt, best.from - 1)) {
      best = { start: best.start - 1, from: best.from - 1, length: best.length + 1 };
    }
    return best;
  }

  _equal(place, prompt, offset) {
    return place < this._length && this._units[place] === prompt.charCodeAt(offset);
  }
}

/** Add a part, or make the last one longer. */
function join(parts, start, length) {
  const last = parts.at(-1);
  if (last && last[0] + last[1] === start) last[1] += length;
  else parts.push([start, length]);
}
