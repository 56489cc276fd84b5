/** Joining two texts that come from one. Nothing here touches the page. */

import { TextDocument } from "./text_document.js";

const ANCHOR = 16; // characters that both texts have between two changes, at least
const MOST = 4e6; // comparisons of words; longer changes are one change

// no change begins or ends inside a word; scripts that leave no spaces have no words here
const PLAIN = String.raw`(?![\p{scx=Han}\p{scx=Hira}\p{scx=Kana}\p{scx=Thai}])[\p{L}\p{N}]`;
const LETTER = `(?:${PLAIN}|\\p{M})`;
const WORDS = new RegExp(`${LETTER}+|.`, "gsu");
const INSIDE = new RegExp(`(?<=${LETTER})${LETTER}`, "uy");

/**
 * What makes another slice of one: [{start, end, slice}] in order, each a part of the first that
 * gives way to a slice of the second. Who wrote a character counts too.
 */
export function differences(one, other) {
  return compared(one, other).map(({ change }) => change);
}

/** Both changes of a text in one; null if both changed the same words. */
export function merged(base, mine, theirs) {
  const [ours, others] = [compared(base, mine), compared(base, theirs)];
  if (!ours.length || !others.length) return ours.length ? mine : theirs;
  if (!compared(mine, theirs).length) return mine;
  // what both put at one place: theirs first
  const all = [...others, ...ours];
  all.sort((one, other) => one.start - other.start || one.end - other.end);
  const whole = new TextDocument(base);
  let before = Infinity;
  for (const { start, end, change } of all.reverse()) {
    if (end > before) return null;
    whole.replace(change.start, change.end, change.slice);
    // two words that both wrote do not become one
    const seam = change.start + change.slice.text.length + end - change.end;
    if (end === before && isInside(whole.text, seam)) return null;
    before = start;
  }
  return whole.slice();
}

/** Of titles, both are kept. */
export function mergedTitle(base, mine, theirs) {
  if (mine === base || mine === theirs) return theirs;
  return theirs === base ? mine : `${theirs} / ${mine}`;
}

/** Whole words that differ: [{start, end, change}], where `change` is what differs of them. */
function compared(one, other) {
  const names = new Map([["", 0]]);
  const [ours, theirs] = [writersOf(one, names), writersOf(other, names)];
  const equal = (at, to) => one.text[at] === other.text[to] && ours[at] === theirs[to];
  const [length, longer] = [one.text.length, other.text.length];
  const cuts = (at, to) => isInside(one.text, at) || isInside(other.text, to);
  const most = Math.min(length, longer);
  let start = 0;
  while (start < most && equal(start, start)) start += 1;
  if (start === length && start === longer) return [];
  while (cuts(start, start)) start -= 1;
  let tail = 0;
  while (tail < most - start && equal(length - 1 - tail, longer - 1 - tail)) tail += 1;
  while (cuts(length - tail, longer - tail)) tail -= 1;
  const numbers = new Map();
  const first = wordsOf(one.text, ours, start, length - tail, numbers);
  const second = wordsOf(other.text, theirs, start, longer - tail, numbers);
  const whole = { start: 0, end: first.length, from: 0, to: second.length };
  const target = new TextDocument(other);
  return split(whole, first, second).map((found) => {
    const [begin, end] = [first.places[found.start], first.places[found.end]];
    const [from, to] = [second.places[found.from], second.places[found.to]];
    const left = shortened({ start: begin, end, from, to }, equal, one.text);
    const slice = target.slice(left.from, left.to);
    return { start: begin, end, change: { start: left.start, end: left.end, slice } };
  });
}

/** A change of words without the letters that stay: their writer stays as well. */
function shortened({ start, end, from, to }, equal, text) {
  let [first, last] = [0, 0];
  const most = Math.min(end - start, to - from);
  while (first < most && equal(start + first, from + first)) first += 1;
  if (first && isLow(text[start + first])) first -= 1;
  while (last < most - first && equal(end - 1 - last, to - 1 - last)) last += 1;
  if (last && isLow(text[end - last])) last -= 1;
  return { start: start + first, end: end - last, from: from + first, to: to - last };
}

/** The words of a part of a text, as numbers: equal ones, of the same writers, have the same. */
function wordsOf(text, writers, from, to, numbers) {
  const found = { numbers: [], places: [], length: 0 };
  for (const { 0: word, index } of text.slice(from, to).matchAll(WORDS)) {
    const place = from + index;
    const name = `${word} ${writers.subarray(place, place + word.length)}`;
    if (!numbers.has(name)) numbers.set(name, numbers.size);
    found.numbers.push(numbers.get(name));
    found.places.push(place);
  }
  found.length = found.numbers.length;
  found.places.push(to);
  return found;
}

/** A change as those on both sides of the longest text that it leaves as it is. */
function split(change, first, second) {
  const { start, end, from, to } = change;
  if (start === end && from === to) return [];
  const same = longest(change, first, second);
  if (!same) return [change];
  const { start: place, from: copy, length } = same;
  return [
    ...split({ start, end: place, from, to: copy }, first, second),
    ...split({ start: place + length, end, from: copy + length, to }, first, second),
  ];
}

/** The longest text that both sides of a change have, in words: {start, from, length}, or null. */
function longest({ start, end, from, to }, { numbers, places }, second) {
  if ((end - start) * (to - from) > MOST) return null;
  let best = null;
  let most = 0; // characters
  let before = new Uint32Array(to - from + 1); // lengths of what ends at the word before
  for (let at = start; at < end; at += 1) {
    const here = new Uint32Array(to - from + 1);
    for (let place = 0; place < to - from; place += 1) {
      if (numbers[at] !== second.numbers[from + place]) continue;
      const length = before[place] + 1;
      here[place + 1] = length;
      const characters = places[at + 1] - places[at + 1 - length];
      if (characters > most) {
        most = characters;
        best = { start: at + 1 - length, from: from + place + 1 - length, length };
      }
    }
    before = here;
  }
  // where all stays that was there, only new words were put around it
  return most >= ANCHOR || best?.length === end - start ? best : null;
}

/** For each character the number of its writer: 0 is a person. */
function writersOf({ text, machine }, names) {
  const found = new Uint32Array(text.length);
  for (const { start, end, source } of machine) {
    // what the server keeps of a source that cannot be verified is nothing
    const { model, model_hash: hash, seed, index, created } = source ?? {};
    const name = hash ? JSON.stringify([model, hash, seed, index, created]) : "unknown";
    if (!names.has(name)) names.set(name, names.size);
    found.fill(names.get(name), start, end);
  }
  return found;
}

/** Whether an offset is inside a word, or a character. */
function isInside(text, at) {
  if (at <= 0 || at >= text.length) return false;
  INSIDE.lastIndex = at;
  return isLow(text[at]) || INSIDE.test(text);
}

function isLow(unit) {
  return unit >= "\udc00" && unit <= "\udfff";
}
