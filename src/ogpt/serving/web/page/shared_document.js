/**
 * Sharing: a copy of the document on the server, with a link for readers.
 *
 * The key to change the copy stays in this browser. Sharing again updates what readers see.
 */

import { ApiError, json, send } from "./api.js";

const PREFIX = "ogpt.shared.";

/** Whether the server keeps documents. */
export async function canShare() {
  return (await json("documents")).kept;
}

/** What this browser knows of the copy of a document: {id, edit_key, revision}, or null. */
export function copyOf(id) {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + id));
  } catch {
    return null;
  }
}

/** Share a document, or update its copy; return the path of the page for readers. */
export async function share(id, title, spans) {
  const body = sendable(title, spans);
  const copy = (await updated(copyOf(id), body)) ?? (await made(body));
  localStorage.setItem(PREFIX + id, JSON.stringify(copy));
  const { share_id: shared } = await json(`documents/${copy.id}/share`, {
    method: "POST",
    headers: { "Edit-Key": copy.edit_key },
    asks: true,
  });
  return `share/${shared}`;
}

/** Delete the copy: the link no longer works then. */
export async function unshare(id) {
  const copy = copyOf(id);
  if (copy) {
    try {
      const headers = { "Edit-Key": copy.edit_key };
      await send(`documents/${copy.id}`, { method: "DELETE", headers, asks: true });
    } catch (error) {
      if (error.status !== 404) throw error; // it is gone already
    }
  }
  localStorage.removeItem(PREFIX + id);
}

async function made(body) {
  const { id, edit_key, revision } = await json("documents", { method: "POST", body, asks: true });
  return { id, edit_key, revision };
}

/** The copy with its new content; null if the server has it no longer. */
async function updated(copy, body) {
  if (!copy) return null;
  const { id, edit_key } = copy;
  const headers = { "Edit-Key": edit_key };
  try {
    // another tab may have shared it since: the text of this one is what its writer sees
    const { revision: newest } = await json(`documents/${id}`, { headers, asks: true });
    const { revision } = await json(`documents/${id}`, {
      method: "PUT",
      body,
      headers: { ...headers, "If-Match": `"${newest}"` },
    });
    return { id, edit_key, revision };
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return null;
    throw error;
  }
}

/** A document as the server takes it: whole characters, and no half of a provenance. */
function sendable(title, spans) {
  const whole = spans.map(({ text, by, provenance }) =>
    verifiable(provenance) ? { text, by, provenance } : { text, by },
  );
  const wellFormed = (_, value) => (typeof value === "string" ? value.toWellFormed() : value);
  return JSON.parse(JSON.stringify({ title, spans: whole }, wellFormed));
}

/** Whether a model's text can be generated again from what is known of it. */
function verifiable(source) {
  const texts = [source?.model, source?.model_hash, source?.prompt];
  return texts.every((each) => typeof each === "string") && Number.isInteger(source.seed);
}
