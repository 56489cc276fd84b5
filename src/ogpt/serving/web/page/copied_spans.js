/**
 * Copied text that knows who wrote it. Every site where it is pasted can read it: it has no prompts,
 * which may hold deleted words. The whole records of the last copy stay in this browser.
 */

import { packed, unpacked } from "./prompt_parts.js";
import { COPIED, newKey } from "./store.js";
import { humanSlice, sliceOf, spansOf } from "./text_document.js";

const MARKED = "application/x-ogpt-spans+json";
let last = null; // as the browser may have no room for it

/** Put a slice into a clipboard, or what is dragged. */
export function copy(transfer, slice) {
  transfer.setData("text/plain", slice.text);
  if (!slice.machine.length) return;
  const spans = spansOf(slice);
  last = { id: newKey(), spans };
  const shown = spans.map(({ provenance, ...span }) =>
    provenance ? { ...span, provenance: { ...provenance, prompt: undefined } } : span,
  );
  transfer.setData(MARKED, JSON.stringify({ id: last.id, spans: shown }));
  try {
    localStorage.setItem(COPIED, JSON.stringify(packed(last)));
  } catch {
    localStorage.removeItem(COPIED);
  }
}

/** The slice of a text that comes from a clipboard or a drag. */
export function pasted(transfer, text) {
  try {
    const { id, spans } = JSON.parse(transfer.getData(MARKED));
    const kept = last?.id === id ? last : unpacked(JSON.parse(localStorage.getItem(COPIED)) ?? {});
    const slice = sliceOf(kept.id === id ? kept.spans : spans);
    if (slice.text === text) return slice;
  } catch {
    // not from a page of ours: the plain text counts
  }
  return humanSlice(text);
}
