/**
 * Documents in this browser, which keeps what is written until the server has it, and beyond.
 *
 * A document is {id, key, title, spans, created, updated, seen, revision, tag, synced, linked, nextKey}:
 * - key: the edit key; nextKey: another one, which the server may have in its place
 * - created, updated: times in seconds
 * - seen: its version. For each tab that saved it, the number of saves that are part of it (a
 *   version vector), so that of two versions each tab knows whether one is based on the other
 * - revision, tag: of the server's version that this one is based on; 0 and null: it has none
 * - synced: whether the server has this version
 * - linked: others may have its edit link
 * - lost: the server no longer has it, or the key is revoked: this is the last copy
 */

import { packed, unpacked } from "./prompt_parts.js";
import { folded, includes, union } from "./versions.js";

const PREFIX = "ogpt.document.";
export const COPIED = "ogpt.copied"; // records of the text that was copied last
const MOVED = "ogpt.moved.";
const TAB = newToken(8);
let saves = 0; // of this tab

/** The stored document has changes that the saved one is not based on. */
export class Conflict extends Error {
  constructor(stored) {
    super("another tab changed this document");
    this.stored = stored;
  }
}

/** The browser has no room, or keeps nothing. */
export class NoRoom extends Error {
  constructor(document) {
    super("this browser has no room for the document");
    this.document = document; // as it should have been saved
  }
}

/** All documents without their text, the last changed first. */
export function listed() {
  const found = all().map(({ id, title, updated, linked, lost, spans, start }) => {
    const isHere = spans !== null;
    return { id, title, updated, linked, lost, isHere, start: isHere ? startOf(spans) : start };
  });
  return found.sort((one, other) => other.updated - one.updated);
}

/** A document, or null. Its spans are null if only the server has them. */
export function stored(id) {
  const found = read(localStorage.getItem(PREFIX + id));
  return found && unpacked(found);
}

/** Documents that the server does not have as they are here. */
export function unsynced() {
  return all().filter(({ synced, lost }) => !synced && !lost);
}

/** The ids of documents that the server has, as far as this browser knows. */
export function synced() {
  return all().filter((each) => each.synced && !each.lost).map(({ id }) => id);
}

/** Save a document as another one, and return that; raises as `save`. */
export function renewed(document) {
  const made = save({ ...document, ...identity(), seen: document.seen });
  remove(document.id, made.id);
  return made;
}

/** A document that is saved with its first words. */
export function created(title = "", spans = []) {
  return { ...identity(), title, spans, created: now(), updated: now() };
}

/** What makes a document another one, which neither a tab nor the server knows. */
export function identity() {
  const none = { seen: {}, revision: 0, tag: null, synced: false, linked: false, nextKey: null };
  return { id: newToken(16), key: newToken(24), ...none, lost: false };
}

export function newKey() {
  return newToken(24);
}

/**
 * Save a new version and return it.
 *
 * Raises Conflict if the stored one is not among those that it is based on, and NoRoom.
 */
export function save(document) {
  const { [TAB]: _, ...others } = document.seen;
  saves += 1;
  return keep({ ...document, updated: now() }, folded({ ...others, [TAB]: saves }));
}

/** Store a version as it is. Raises as `save`. */
export function keep(document, seen = document.seen) {
  const before = stored(document.id);
  if (before && !includes(document, before)) throw new Conflict(before);
  const kept = { ...document, seen };
  put(kept);
  return kept;
}

/** Store a document that is based on a version of the server; `same`: it has the same text. */
export function keepBased(found, document, same) {
  const { revision, tag, updated } = found;
  const seen = union(document, found);
  // only one that counts the same saves is the server's
  const synced = same && includes(found, { seen });
  const kept = { ...document, revision, tag, updated, seen, synced, lost: false };
  return synced ? keep(kept) : save(kept);
}

/** Note what became known of a document; its text and version stay as they are. */
export function note(id, changes) {
  const found = stored(id);
  if (!found) return;
  try {
    put({ ...found, ...changes });
  } catch (error) {
    if (!(error instanceof NoRoom)) throw error; // it is asked for again
  }
}

/** Remove a document; `to`: the one that it has become, for other tabs that have it open. */
export function remove(id, to = null) {
  try {
    if (to) localStorage.setItem(MOVED + id, to);
  } catch {
    // without room, other tabs take it for deleted
  }
  localStorage.removeItem(PREFIX + id);
}

/** The id of the document that another one has become, or null. */
export function movedTo(id) {
  return localStorage.getItem(MOVED + id);
}

/** Call `changed(id)` when another tab saves or deletes a document. */
export function watch(changed) {
  window.addEventListener("storage", ({ key }) => {
    if (key?.startsWith(PREFIX)) changed(key.slice(PREFIX.length));
  });
}

/** Of two tabs that want to send a document to the server, one waits (plain HTTP has no locks). */
export function exclusively(id, work) {
  return navigator.locks ? navigator.locks.request(PREFIX + id, work) : work();
}

function all() {
  const keys = Object.keys(localStorage).filter((key) => key.startsWith(PREFIX));
  return keys.map((key) => read(localStorage.getItem(key))).filter(Boolean);
}

function read(text) {
  try {
    const found = JSON.parse(text);
    const whole = Array.isArray(found?.spans) || (found?.spans === null && found.synced);
    return whole ? { ...identity(), ...found } : null;
  } catch {
    return null;
  }
}

function put(document) {
  const text = JSON.stringify(packed(document));
  for (;;) {
    try {
      localStorage.setItem(PREFIX + document.id, text);
      return;
    } catch {
      if (!madeRoom(document.id)) throw new NoRoom(document);
    }
  }
}

/** Leave the text of the oldest document that the server has to the server. */
function madeRoom(except) {
  if (localStorage.getItem(COPIED) !== null) {
    localStorage.removeItem(COPIED);
    return true;
  }
  const left = all().filter(({ id, synced, spans }) => synced && spans && id !== except);
  const [oldest] = left.sort((one, other) => one.updated - other.updated);
  return oldest !== undefined && leaveText(oldest);
}

/** Leave the text of a document to the server, which has it; false without room for the rest. */
export function leaveText(document) {
  const start = startOf(document.spans);
  const left = { ...document, spans: null, prompts: undefined, start };
  try {
    localStorage.setItem(PREFIX + document.id, JSON.stringify(left));
  } catch {
    return false;
  }
  return true;
}

function startOf(spans) {
  const words = spans.slice(0, 4).map(({ text }) => text);
  return words.join("").slice(0, 120);
}

/** Random bytes in hexadecimal. `crypto.randomUUID` is missing where the page comes by HTTP. */
function newToken(length) {
  const bytes = crypto.getRandomValues(new Uint8Array(length));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function now() {
  return Date.now() / 1000;
}
