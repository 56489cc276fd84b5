/** Calls of the server that served this page: the key, errors, and streams. */

/** Where the server is. */
export const BASE = new URL("../../", import.meta.url); // this file is static/page/api.js
const KEY = "ogpt.key";
const SENDABLE = /^[\x20-\x7e]+$/; // what the header of a key can hold

/** An answer that is not 2xx; `answer` is all of its JSON. */
export class ApiError extends Error {
  constructor(status, message, param = null, answer = null) {
    super(message);
    this.status = status;
    this.param = param;
    this.answer = answer;
  }
}

/** The server cannot be reached, or its answer was cut off. */
export class ServerAway extends Error {
  constructor() {
    super("the server cannot be reached");
  }
}

/** What to say of an error of a request. */
export function messageOf(error) {
  return error instanceof ServerAway ? "The server cannot be reached." : error.message;
}

/**
 * Set by the page: `askKey(wrong)` returns a promise of a key, or of null; `onKey()` is called when
 * the server has accepted one.
 */
export const hooks = { askKey: async () => null, onKey: () => {}, onAway: () => {} };

let asking = null;

addEventListener("storage", ({ key, newValue }) => {
  if (key === KEY && newValue) hooks.onKey(); // entered in another tab
});

/**
 * Send a request and return the response, which is 2xx.
 *
 * Where the server wants a key, the page asks for it only with `asks`, for what the writer wants
 * now: a dialog that opens by itself would take the words that are being typed.
 */
export async function send(path, { asks, ...options } = {}) {
  for (let wrong = false; ; wrong = true) {
    const response = await reach(path, options);
    if (response.ok) {
      if (wrong) hooks.onKey();
      return response;
    }
    const error = await errorOf(response);
    if (response.status !== 401 || !asks) throw error;
    const sent = localStorage.getItem(KEY);
    asking ??= hooks.askKey(wrong || sent !== null).finally(() => (asking = null));
    const key = await asking;
    if (!key) throw error;
    if (SENDABLE.test(key)) localStorage.setItem(KEY, key);
  }
}

/** Send a request and return the JSON of its answer. */
export async function json(path, options) {
  const response = await send(path, options);
  const body = await away(response.text()); // which may be cut off
  try {
    return JSON.parse(body);
  } catch {
    // a proxy's page, or one that asks to sign in
    throw new ApiError(response.status, "the server's answer could not be read");
  }
}

/** Yield the events of a completion that is streamed. An error event is raised. */
export async function* completions(body, signal, asks) {
  const response = await send("v1/completions", {
    method: "POST",
    body: { ...body, stream: true },
    signal,
    asks,
  });
  let held = "";
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await away(reader.read());
    if (done) throw new ServerAway();
    held += value;
    const events = held.split("\n\n");
    held = events.pop();
    for (const event of events) {
      const data = event.replace(/^data: /, "");
      if (data === "[DONE]") return;
      const found = JSON.parse(data);
      if (found.error) throw new ApiError(500, found.error.message, found.error.param);
      yield found;
    }
  }
}

async function reach(path, { method = "GET", body, headers, signal, keepalive }) {
  const key = localStorage.getItem(KEY);
  const all = { ...headers };
  if (key) all.authorization = `Bearer ${key}`;
  if (body !== undefined) all["content-type"] = "application/json";
  return away(
    fetch(new URL(path, BASE), {
      method,
      headers: all,
      body: body === undefined ? undefined : JSON.stringify(body, wellFormed),
      signal,
      keepalive,
      cache: "no-store",
    }),
  );
}

/** A failed connection becomes ServerAway; a request that the page ended stays AbortError. */
async function away(promise) {
  try {
    return await promise;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    hooks.onAway();
    throw new ServerAway();
  }
}

async function errorOf(response) {
  let message = `the server answered ${response.status}`;
  let param = null;
  let answer = null;
  try {
    answer = await response.json();
    ({ message, param } = answer.error);
  } catch {
    // no error of this server's: a proxy's
  }
  return new ApiError(response.status, message, param, answer);
}

/** Half a surrogate pair, which the server refuses, is sent as a replacement character. */
function wellFormed(_, value) {
  return typeof value === "string" ? value.toWellFormed() : value;
}
