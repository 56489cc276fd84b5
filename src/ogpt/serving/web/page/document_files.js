/** Documents as files: text, Markdown, and one HTML page that keeps who wrote what. */

import { packed, unpacked } from "./prompt_parts.js";
import { settingsNamed } from "./settings.js";
import { markedParts, sliceOf, spansOf } from "./text_document.js";

const DATA = /<script type="application\/json" id="ogpt-document">([\s\S]*?)<\/script>/;
const LETTER_FIRST = /^[^\s\p{P}\p{S}]/u;
const LETTER_LAST = /[^\s\p{P}\p{S}]$/u;
const EXCERPT = 60; // characters of a passage
const LONGEST = 200; // characters of a title, as in its field
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

/** A file of other data than text. */
export class NotText extends Error {
  constructor({ name }) {
    super(`${name} is not a text file`);
  }
}

/**
 * Read a file: {title, spans}. A page of ours keeps its marks; all else is text of a person.
 *
 * Raises TooLarge, NotText, and other errors if the data of a page of ours is damaged.
 */
export async function readFile(file) {
  if (file.size > LARGEST_PAGE) throw new TooLarge(file, LARGEST);
  const text = decoded(new Uint8Array(await file.arrayBuffer()), file);
  const found = text.match(DATA);
  if (found) {
    const { title, spans } = unpacked(JSON.parse(found[1]));
    return { title: shortened(typeof title === "string" ? title : ""), spans: spansOf(sliceOf(spans)) };
  }
  if (file.size > LARGEST) throw new TooLarge(file, LARGEST);
  const title = shortened(file.name.replace(/\.[^.]*$/, ""));
  return { title, spans: [{ text: text.replace(/\r\n?/g, "\n"), by: "human" }] };
}

function decoded(bytes, file) {
  const [first, second] = bytes;
  let encodings = ["utf-8", "windows-1252"];
  if (first === 0xff && second === 0xfe) encodings = ["utf-16le"];
  if (first === 0xfe && second === 0xff) encodings = ["utf-16be"];
  for (const encoding of encodings) {
    try {
      const text = new TextDecoder(encoding, { fatal: true }).decode(bytes);
      // every byte is a character there: those of pictures too
      if (encoding !== "windows-1252" || !text.includes("\0")) return text;
    } catch {
      // the next one
    }
  }
  throw new NotText(file);
}

function shortened(title) {
  return title.slice(0, LONGEST).replace(/[\ud800-\udbff]$/, "");
}

/** Machine text is bold, as Write With Transformer showed it. */
export function markdown({ title, slice }) {
  const spans = [];
  for (const { text, by } of spansOf(slice)) {
    if (spans.at(-1)?.by === by) spans.at(-1).text += text;
    else spans.push({ text, by });
  }
  const parts = spans.map(({ text, by }, at) => {
    const plain = markdownText(text);
    return by === "machine" ? bold(plain, spans[at - 1]?.text, spans[at + 1]?.text) : plain;
  });
  const body = parts.join("").replace(/\n+/g, "\n\n");
  return title ? `# ${markdownText(title)}\n\n${body}\n` : `${body}\n`;
}

/**
 * Markdown of bold text between two others. Where a letter touches it, signs at its edge stay
 * outside: CommonMark takes no `**` between a letter and a sign for bold.
 */
function bold(text, before = "", after = "") {
  const lines = text.split("\n");
  const marked = lines.map((line, at) => {
    const first = at === 0 && LETTER_LAST.test(before) && !/^\s/.test(line);
    const last = at === lines.length - 1 && LETTER_FIRST.test(after) && !/\s$/.test(line);
    const start = line.match(first ? /^[\s\p{P}\p{S}]*/u : /^\s*/u)[0].length;
    const rest = line.slice(start);
    const end = rest.length - rest.match(last ? /[\s\p{P}\p{S}]*$/u : /\s*$/u)[0].length;
    return end ? `${line.slice(0, start)}**${rest.slice(0, end)}**${rest.slice(end)}` : line;
  });
  return marked.join("\n");
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
  const spans = spansOf(sliceOf(spansOf(slice))); // in the order in which a file is read
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

const PROMPTS =
  "This file also holds the text before each passage that the model read, to verify it: that may " +
  "include deleted words.";

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
  return `<p>Underlined text was written by a model. ${PROMPTS}</p>\n${list}`;
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
