/** Joining two texts that come from one. Nothing here touches the page. */

import { TextDocument } from "./text_document.js";

const ANCHOR = 16; // characters that both texts have between two changes, at least
const MOST = 4e6; // comparisons of characters; longer changes are one change

/**
 * What makes another slice of one: [{start, end, slice}] in order, each a part of the first that
 * gives way to a slice of the second. Who wrote a character counts too.
 */
export function differences(one, other) {
  const names = new Map([["", 0]]);
  const [ours, theirs] = [writersOf(one, names), writersOf(other, names)];
  const equal = (at, to) => one.text[at] === other.text[to] && ours[at] === theirs[to];
  const [length, longer] = [one.text.length, other.text.length];
  const most = Math.min(length, longer);
  let start = 0;
  while (start < most && equal(start, start)) start += 1;
  if (start === length && start === longer) return [];
  if (isHigh(one.text[start - 1])) start -= 1; // no character is cut in two
  let tail = 0;
  while (tail < most - start && equal(length - 1 - tail, longer - 1 - tail)) tail += 1;
  if (tail && isLow(one.text[length - tail])) tail -= 1;
  const whole = { start, end: length - tail, from: start, to: longer - tail };
  const second = new TextDocument(other);
  return split(whole, equal, (at) => isLow(one.text[at])).map(({ start: first, end, from, to }) => {
    return { start: first, end, slice: second.slice(from, to) };
  });
}

/** Both changes of a text in one; null if both changed the same words. */
export function merged(base, mine, theirs) {
  const [ours, others] = [differences(base, mine), differences(base, theirs)];
  if (!ours.length || !others.length) return ours.length ? mine : theirs;
  if (!differences(mine, theirs).length) return mine;
  // what both put at one place: theirs first
  const changes = [...others, ...ours];
  changes.sort((one, other) => one.start - other.start || one.end - other.end);
  const whole = new TextDocument(base);
  let before = Infinity;
  for (const { start, end, slice } of changes.reverse()) {
    if (end > before) return null;
    whole.replace(start, end, slice);
    before = start;
  }
  return whole.slice();
}

/** Of titles, both are kept. */
export function mergedTitle(base, mine, theirs) {
  if (mine === base || mine === theirs) return theirs;
  return theirs === base ? mine : `${theirs} / ${mine}`;
}

/** A change as those on both sides of the longest text that it leaves as it is. */
function split(change, equal, isCut) {
  const { start, end, from, to } = change;
  const same = longest(change, equal);
  if (same && isCut(same.start)) Object.assign(same, shorter(same, 1, 0));
  if (same && isCut(same.start + same.length)) Object.assign(same, shorter(same, 0, 1));
  if (!same) return start === end && from === to ? [] : [change];
  const { start: place, from: copy, length } = same;
  return [
    ...split({ start, end: place, from, to: copy }, equal, isCut),
    ...split({ start: place + length, end, from: copy + length, to }, equal, isCut),
  ];
}

function shorter({ start, from, length }, first, last) {
  return { start: start + first, from: from + first, length: length - first - last };
}

/** The longest text that both sides of a change have: {start, from, length}, or null. */
function longest({ start, end, from, to }, equal) {
  if ((end - start) * (to - from) > MOST) return null;
  let best = { length: ANCHOR - 1 };
  let before = new Uint32Array(to - from + 1); // lengths of what ends at the character before
  for (let at = start; at < end; at += 1) {
    const here = new Uint32Array(to - from + 1);
    for (let place = 0; place < to - from; place += 1) {
      if (!equal(at, from + place)) continue;
      const length = before[place] + 1;
      here[place + 1] = length;
      if (length > best.length) {
        best = { start: at + 1 - length, from: from + place + 1 - length, length };
      }
    }
    before = here;
  }
  return best.length >= ANCHOR ? best : null;
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
