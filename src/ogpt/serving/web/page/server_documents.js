/** Documents on the server: saved, read, shared and deleted, each with its edit key. */

import { BASE, json, send } from "./api.js";
import { packed, unpacked } from "./prompt_parts.js";
import { isPrompt } from "./text_document.js";

/** The server has changes of a document that the sent one may not be based on. */
export class Newer extends Error {
  constructor(found) {
    super("somebody else changed this document");
    this.found = found;
  }
}

/** Whether the server keeps documents. */
export async function keepsDocuments() {
  return (await json("documents")).kept;
}

/** Save a document, make it if it is new, and return what the server has now. Raises Newer. */
export async function sendDocument(document, options = {}) {
  const headers = { "If-Match": versionOf(document) };
  try {
    const body = sendable(document);
    return await call(document, "", { method: "PUT", headers, body, ...options });
  } catch (error) {
    if (error.status === 409 && error.answer?.document) {
      throw new Newer(unpacked(error.answer.document));
    }
    throw error;
  }
}

/** Whether a page that is closed can still send a document: browsers send 64 KiB then. */
export function isSmall(document) {
  return new Blob([JSON.stringify(sendable(document))]).size < 60000;
}

/** Read a document; null if it is the version that is known. */
export async function readDocument(document, options = {}) {
  const headers = { "If-None-Match": versionOf(document) };
  try {
    return unpacked(await call(document, "", { headers, ...options }));
  } catch (error) {
    if (error.status === 304) return null;
    throw error;
  }
}

/** Delete a document with its links; false if there is none, or it has another edit key. */
export async function deleteDocument({ id, key, nextKey }) {
  for (const each of [nextKey, key].filter(Boolean)) {
    const headers = { "Edit-Key": each };
    try {
      await send(`documents/${id}`, { method: "DELETE", headers, asks: true });
      return true;
    } catch (error) {
      if (error.status !== 404) throw error;
    }
  }
  return false;
}

/** Make a link for readers, or return the one there is. */
export async function makeReadLink(document) {
  const { share_id: id } = await call(document, "/share", { method: "POST", asks: true });
  return readLink(id);
}

export async function endReadLink({ id, key }) {
  const headers = { "Edit-Key": key };
  await send(`documents/${id}/share`, { method: "DELETE", headers, asks: true });
}

export function readLink(shareId) {
  return new URL(`share/${shareId}`, BASE).href;
}

/** The link for writers. What follows # is never sent to a server, so that none logs the key. */
export function editLink({ id, key }) {
  return new URL(`#${id}.${key}`, BASE).href;
}

/** Replace the edit key by `nextKey`; it may be asked for again. */
export async function changeKey({ id, key, nextKey }, options = {}) {
  const all = { method: "PUT", headers: { "Edit-Key": key }, body: { edit_key: nextKey } };
  await send(`documents/${id}/edit-key`, { ...all, ...options });
}

/** A version of the server: a restored database may have the same revision of other words. */
function versionOf({ revision, tag }) {
  return tag ? `"${revision}-${tag}"` : `"${revision}"`;
}

function call({ id, key }, end, { headers, ...options }) {
  return json(`documents/${id}${end}`, { headers: { "Edit-Key": key, ...headers }, ...options });
}

/** A document as the server takes it: without half of a provenance. */
function sendable({ title, spans, seen, revision }) {
  const whole = spans.map(({ text, by, provenance }) =>
    verifiable(provenance) ? { text, by, provenance } : { text, by },
  );
  return { ...packed({ title, spans: whole }), seen, changes: revision };
}

/** Whether a model's text can be generated again from what is known of it. */
export function verifiable(source) {
  const texts = [source?.model, source?.model_hash];
  const isNamed = texts.every((each) => typeof each === "string") && isPrompt(source.prompt);
  return isNamed && Number.isInteger(source.seed);
}
