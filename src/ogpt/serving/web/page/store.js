/**
 * Documents in this browser, which keeps what is written until the server has it, and beyond.
 *
 * A document is {id, key, title, spans, created, updated, seen, revision, synced, linked, nextKey}:
 * - key: the edit key; nextKey: another one, which the server may have in its place
 * - created, updated: times in seconds
 * - seen: its version. For each tab that saved it, the number of saves that are part of it (a
 *   version vector), so that of two versions each tab knows whether one is based on the other
 * - revision: of the server; 0: the server has none. synced: whether the server has this version
 * - linked: others may have its edit link
 */

const PREFIX = "ogpt.document.";
const TAB = newToken(8);
const TABS = 50; // that a version remembers

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
  const found = all().map(({ id, title, updated, linked, spans, start }) => {
    return { id, title, updated, linked, start: spans ? startOf(spans) : start };
  });
  return found.sort((one, other) => other.updated - one.updated);
}

/** A document, or null. Its spans are null if only the server has them. */
export function stored(id) {
  return read(localStorage.getItem(PREFIX + id));
}

/** Documents that the server does not have as they are here. */
export function unsynced() {
  return all().filter(({ synced }) => !synced);
}

/** A document that is saved with its first words. */
export function created(title = "", spans = []) {
  return { ...identity(), title, spans, created: now(), updated: now() };
}

/** What makes a document another one, which neither a tab nor the server knows. */
export function identity() {
  const none = { seen: {}, revision: 0, synced: false, linked: false, nextKey: null };
  return { id: newToken(16), key: newToken(24), ...none };
}

export function newKey() {
  return newToken(24);
}

/** Whether a version is based on another one, or is the same. */
export function includes({ seen }, { seen: other }) {
  const saves = Object.entries(other ?? {});
  return saves.length > 0 && saves.every(([tab, count]) => seen[tab] >= count);
}

/** The version that is based on two others. */
export function union({ seen }, other) {
  const both = { ...seen };
  for (const [tab, count] of Object.entries(other?.seen ?? {})) {
    both[tab] = Math.max(count, both[tab] ?? 0);
  }
  return both;
}

/**
 * Save a new version and return it.
 *
 * Raises Conflict if the stored one is not among those that it is based on, and NoRoom.
 */
export function save(document) {
  const before = stored(document.id);
  if (before && !includes(document, before)) throw new Conflict(before);
  const { [TAB]: count = 0, ...others } = document.seen;
  const seen = { ...Object.fromEntries(Object.entries(others).slice(1 - TABS)), [TAB]: count + 1 };
  const saved = { ...document, seen, updated: now() };
  put(saved);
  return saved;
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

export function remove(id) {
  localStorage.removeItem(PREFIX + id);
}

/** Call `changed(id, document)` when another tab saves a document; with null if it is deleted. */
export function watch(changed) {
  window.addEventListener("storage", ({ key, newValue }) => {
    if (key?.startsWith(PREFIX)) changed(key.slice(PREFIX.length), read(newValue));
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
  for (;;) {
    try {
      localStorage.setItem(PREFIX + document.id, JSON.stringify(document));
      return;
    } catch {
      if (!madeRoom(document.id)) throw new NoRoom(document);
    }
  }
}

/** Leave the text of the oldest document that the server has to the server. */
function madeRoom(except) {
  const left = all().filter(({ id, synced, spans }) => synced && spans && id !== except);
  const [oldest] = left.sort((one, other) => one.updated - other.updated);
  if (!oldest) return false;
  const start = startOf(oldest.spans);
  try {
    localStorage.setItem(PREFIX + oldest.id, JSON.stringify({ ...oldest, spans: null, start }));
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
