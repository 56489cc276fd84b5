/** Documents as files: text, Markdown, and one HTML page that keeps who wrote what. */

import { packed, unpacked } from "./prompt_parts.js";
import { settingsNamed } from "./settings.js";
import { markedParts, sliceOf, spansOf } from "./text_document.js";

const DATA = /<script type="application\/json" id="ogpt-document">([\s\S]*?)<\/script>/;
const EXCERPT = 60; // characters of a passage
const LARGEST = 4e6; // bytes of a text: a browser has room for 5 MB, the server takes 4 at once
const LARGEST_PAGE = 2 * LARGEST; // which holds the text twice

export const FORMATS = Object.freeze({
  txt: { type: "text/plain", make: ({ slice }) => slice.text },
  md: { type: "text/markdown", make: markdown },
  html: { type: "text/html", make: page },
});

/** Offer a document as a download. */
export function download(title, slice, format) {
  const { type, make } = FORMATS[format];
  const blob = new Blob([make({ title, slice })], { type: `${type};charset=utf-8` });
  offer(blob, title || slice.text, format);
}

/** Offer a file as a download, with a name from some text. */
export function offer(blob, text, ending) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${fileName(text)}.${ending}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** A file that is larger than a document can be. */
export class TooLarge extends Error {
  constructor({ name, size }, most) {
    super(`${name} has ${megabytes(size)}; allowed: at most ${megabytes(most)}`);
  }
}

/**
 * Read a file: {title, spans}. A page of ours keeps its marks; all else is text of a person.
 *
 * Raises TooLarge, and other errors if the data of a page of ours is damaged.
 */
export async function readFile(file) {
  if (file.size > LARGEST_PAGE) throw new TooLarge(file, LARGEST);
  const text = await file.text();
  const found = text.match(DATA);
  if (found) {
    const { title, spans } = unpacked(JSON.parse(found[1]));
    return { title: String(title ?? ""), spans: spansOf(sliceOf(spans)) };
  }
  if (file.size > LARGEST) throw new TooLarge(file, LARGEST);
  const title = file.name.replace(/\.[^.]*$/, "");
  return { title, spans: [{ text: text.replace(/\r\n?/g, "\n"), by: "human" }] };
}

/** Machine text is bold, as Write With Transformer showed it. */
export function markdown({ title, slice }) {
  const parts = spansOf(slice).map(({ text, by }) => {
    const plain = markdownText(text);
    return by === "machine" ? plain.replace(/\S(?:.*\S)?/g, "**$&**") : plain;
  });
  const body = parts.join("").replace(/\n+/g, "\n\n");
  return title ? `# ${markdownText(title)}\n\n${body}\n` : `${body}\n`;
}

/** Markdown that shows a text as it is: no markup, and no lists or code at the start of a line. */
function markdownText(text) {
  return text
    .replace(/[\\`*_[\]<>#&|~]/g, "\\$&")
    .replace(/^( *)([-+=])/gm, "$1\\$2")
    .replace(/^( *\d+)([.)])/gm, "$1\\$2")
    .replace(/^(?: {4}|\t)/gm, (start) => `&#${start.charCodeAt(0)};${start.slice(1)}`);
}

/** A page that needs no server and runs no script. */
export function page({ title, slice }) {
  const spans = spansOf(slice);
  const body = spans.map(({ text, by, provenance }) =>
    by === "machine" ? marked(text, escaped(described(provenance))) : escaped(text),
  );
  const data = JSON.stringify(packed({ title, spans })).replaceAll("<", "\\u003c");
  const name = escaped(title || "Untitled");
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${name}</title>
<style>
:root { color-scheme: light dark; background: light-dark(#fbfaf7, #181715); color: light-dark(#211f1b, #e9e4da); }
body { max-width: 38rem; margin: 4rem auto; padding: 0 1.25rem; font: 1.15rem/1.7 ui-serif, Georgia, serif; }
article { white-space: pre-wrap; overflow-wrap: anywhere; }
mark { color: inherit; white-space: pre-line; background: light-dark(#e6efe9, #22352f); text-decoration: underline; text-decoration-color: light-dark(#2f6b5b, #8fc7b5); text-decoration-thickness: 1px; text-underline-offset: 0.2em; }
footer { margin-top: 4rem; font: 0.85rem/1.5 ui-sans-serif, system-ui, sans-serif; }
</style>
</head>
<body>
<h1 dir="auto">${name}</h1>
<article dir="auto">${body.join("")}</article>
<footer>${passages(spans)}</footer>
<script type="application/json" id="ogpt-document">${data}</script>
</body>
</html>
`;
}

function marked(text, title) {
  const parts = markedParts(text).map(escaped);
  return parts.map((part, at) => (at % 2 ? `<mark title="${title}">${part}</mark>` : part)).join("");
}

/** What the footer of a page says of each passage of a model. */
function passages(spans) {
  const items = spans
    .filter(({ by }) => by === "machine")
    .map(({ text, provenance }) => {
      const start = text.trim();
      const shown = start.length > EXCERPT ? `${start.slice(0, EXCERPT)}…` : start;
      return `<li><q dir="auto">${escaped(shown)}</q> ${escaped(described(provenance))}</li>`;
    });
  if (!items.length) return "All words were written by a human.";
  const list = `<details><summary>How each passage was generated</summary><ol>${items.join("")}</ol></details>`;
  return `<p>Underlined text was written by a model.</p>\n${list}`;
}

/** One line on how a model came to write a text. */
export function described(source) {
  const { model, model_hash: hash, seed, alternative, settings = {} } = source ?? {};
  const parts = [model === undefined ? "model unknown" : `model “${model}”`];
  if (hash) parts.push(`hash ${String(hash).slice(0, 12)}`);
  if (alternative === undefined) {
    parts.push(...settingsNamed(settings));
    if (seed !== undefined) parts.push(`seed ${seed}`);
  } else {
    parts.push(`alternative ${alternative}, picked by hand`);
  }
  return parts.join(", ");
}

function megabytes(size) {
  return `${(size / 1e6).toLocaleString("en", { maximumFractionDigits: 1 })} MB`;
}

function escaped(text) {
  const names = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
  return text.replace(/[&<>"']/g, (sign) => names[sign]);
}

function fileName(text) {
  const words = text.trim().slice(0, 60).replace(/[^\p{L}\p{N}]+/gu, "-");
  return words.replace(/^-+|-+$/g, "").toLowerCase() || "untitled";
}
