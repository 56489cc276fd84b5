/** Joining two texts that come from one. Nothing here touches the page. */

import { TextDocument } from "./text_document.js";

/**
 * Where a slice differs from another: {start, end, slice}, the part of the first that gives way to
 * a slice of the second; null if both are equal, in who wrote them too.
 */
export function difference(one, other) {
  const names = new Map([["", 0]]);
  const [ours, theirs] = [writersOf(one, names), writersOf(other, names)];
  const equal = (at, to) => one.text[at] === other.text[to] && ours[at] === theirs[to];
  const [length, longer] = [one.text.length, other.text.length];
  const most = Math.min(length, longer);
  let start = 0;
  while (start < most && equal(start, start)) start += 1;
  if (start === length && start === longer) return null;
  if (isHigh(one.text[start - 1])) start -= 1; // no character is cut in two
  let tail = 0;
  while (tail < most - start && equal(length - 1 - tail, longer - 1 - tail)) tail += 1;
  if (tail && isLow(one.text[length - tail])) tail -= 1;
  return { start, end: length - tail, slice: new TextDocument(other).slice(start, longer - tail) };
}

/** Both changes of a text in one; null if both changed the same words. */
export function merged(base, mine, theirs) {
  const [ours, other] = [difference(base, mine), difference(base, theirs)];
  if (!ours || !other || !difference(mine, theirs)) return ours ? mine : theirs;
  // what both put at one place: theirs first
  const changes = [other, ours].sort((one, two) => one.start - two.start || one.end - two.end);
  const [first, second] = changes;
  if (first.end > second.start) return null;
  const whole = new TextDocument(base);
  whole.replace(second.start, second.end, second.slice);
  whole.replace(first.start, first.end, first.slice);
  return whole.slice();
}

/** Of titles, both are kept. */
export function mergedTitle(base, mine, theirs) {
  if (mine === base || mine === theirs) return theirs;
  return theirs === base ? mine : `${theirs} / ${mine}`;
}

/** For each character the number of its writer: 0 is a person. */
function writersOf({ text, machine }, names) {
  const found = new Uint32Array(text.length);
  for (const { start, end, source } of machine) {
    // what the server keeps of a source that cannot be verified is nothing
    const { model, model_hash: hash, seed, index, prompt } = source ?? {};
    const name = hash ? JSON.stringify([model, hash, seed, index, prompt]) : "unknown";
    if (!names.has(name)) names.set(name, names.size);
    found.fill(names.get(name), start, end);
  }
  return found;
}

function isHigh(unit) {
  return unit >= "\ud800" && unit <= "\udbff";
}

function isLow(unit) {
  return unit >= "\udc00" && unit <= "\udfff";
}
