/**
 * Documents in this browser. A document is {id, title, spans, revision, created, updated}, with
 * times in seconds.
 *
 * Two tabs may have one document open: a tab that saves over a revision that it has not seen gets
 * a Conflict, and nothing is lost.
 */

const PREFIX = "ogpt.document.";

/** The stored document is newer than the one that was changed. */
export class Conflict extends Error {
  constructor(stored) {
    super("another tab changed this document");
    this.stored = stored;
  }
}

/** The browser has no room, or keeps nothing. */
export class NoRoom extends Error {}

/** All documents without their text, the last changed first. */
export function listed() {
  const found = [];
  for (const key of keys()) {
    const document = stored(key.slice(PREFIX.length));
    if (document) found.push(summary(document));
  }
  return found.sort((one, other) => other.updated - one.updated);
}

export function stored(id) {
  try {
    const found = JSON.parse(localStorage.getItem(PREFIX + id));
    return found && Array.isArray(found.spans) ? found : null;
  } catch {
    return null;
  }
}

/** A document that is saved with its first words. */
export function created(title = "", spans = []) {
  return { id: newId(), title, spans, revision: 0, created: now(), updated: now() };
}

/**
 * Save a document and return it with its new revision.
 *
 * Raises Conflict if the stored one is not the revision that was changed, and NoRoom.
 */
export function save(document) {
  const before = stored(document.id);
  if (before && before.revision !== document.revision) throw new Conflict(before);
  const saved = { ...document, revision: document.revision + 1, updated: now() };
  try {
    localStorage.setItem(PREFIX + document.id, JSON.stringify(saved));
  } catch {
    throw new NoRoom("this browser has no room for the document");
  }
  return saved;
}

export function remove(id) {
  localStorage.removeItem(PREFIX + id);
}

/** Call `changed(document)` when another tab saves a document; with null where it is deleted. */
export function watch(changed) {
  window.addEventListener("storage", ({ key }) => {
    if (!key?.startsWith(PREFIX)) return;
    const id = key.slice(PREFIX.length);
    changed(id, stored(id));
  });
}

function keys() {
  return Object.keys(localStorage).filter((key) => key.startsWith(PREFIX));
}

function summary({ id, title, spans, updated }) {
  const start = spans
    .slice(0, 4)
    .map(({ text }) => text)
    .join("");
  return { id, title, updated, start: start.slice(0, 120) };
}

/** 128 random bits. `crypto.randomUUID` is missing where the page comes by plain HTTP. */
function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function now() {
  return Date.now() / 1000;
}
