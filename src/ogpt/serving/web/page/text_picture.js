/**
 * A picture of a text: the model's words are marked, and a caption says how many they are.
 *
 * The browser sets the text itself: an SVG image holds it as XHTML with the fonts and colours of
 * the page, and a canvas makes a PNG of it. Nothing is fetched.
 */

import { TextDocument, markedParts, spansOf } from "./text_document.js";

const WIDTH = 640; // CSS pixels
const TALLEST = 4000; // the same; every browser makes a canvas of twice as many
const SCALE = 2;
const MOST = 20000; // characters that are laid out to find how many fit
const NOT_XML = /[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/g; // with one, the image is unreadable
const OF_PAGE = ["paper", "ink", "quiet", "line", "accent", "tint", "serif", "sans"];

const STYLE = `
.picture {
  box-sizing: border-box;
  width: ${WIDTH}px;
  padding: 56px 64px 36px;
  background: var(--paper);
  color: var(--ink);
  font: 19px/1.7 var(--serif);
  text-rendering: geometricPrecision; /* lines break at the same words at every scale */
  overflow-wrap: anywhere;
  white-space: normal;
}
.title { margin: 0 0 24px; font-size: 26px; line-height: 1.3; }
.text { min-height: 64px; white-space: pre-wrap; unicode-bidi: plaintext; }
mark {
  color: inherit;
  white-space: pre-line; /* so that the space at the end of a line is not underlined */
  background: var(--tint);
  box-decoration-break: clone;
  -webkit-box-decoration-break: clone;
  text-decoration: underline 1px var(--accent);
  text-underline-offset: 5px;
}
.caption {
  margin: 40px 0 0;
  padding-top: 16px;
  border-top: 1px solid var(--line);
  color: var(--quiet);
  font: 14px/1.5 var(--sans);
}
`;

/**
 * Make a picture of a slice, from its start: as many whole words as fit.
 *
 * @param title shown above the text; "" for none
 * @param slice what to show
 * @param all number of words of the document, for the caption of a part
 * @returns {blob, words, isWhole, width, height}: a PNG, the number of words in it, whether it
 *   shows all of the slice, and its size in CSS pixels
 */
export async function pictureOf(title, slice, all) {
  const layout = new Layout();
  try {
    const shown = fitting(slice, (part) => layout.heightOf(sheet(title, part, all)));
    const content = sheet(title, shown, all);
    const height = layout.heightOf(content);
    const blob = await png(svg(content, height), height);
    const isWhole = shown.text.length === slice.text.length;
    return { blob, words: sum(wordsOf(shown)), isWhole, width: WIDTH, height };
  } finally {
    layout.remove();
  }
}

/** What the picture shows. */
function sheet(title, slice, all) {
  const text = element("div", "text");
  const spans = spansOf(slice);
  text.append(...spans.flatMap((span) => (span.by === "machine" ? marked(span) : plain(span.text))));
  const content = element("div", "picture");
  if (title) {
    const head = element("h1", "title", title);
    head.dir = "auto";
    content.append(head);
  }
  content.append(text, element("p", "caption", caption(spans, wordsOf(slice), all)));
  return content;
}

/** How much of the text it is, and who wrote it. */
function caption(spans, words, all) {
  const shown = sum(words);
  const part = shown < all ? `${counted(shown)} of ${counted(all)} words. ` : "";
  if (words.machine === 0) return `${part}Every word was written by a human.`;
  const names = spans.map(({ provenance }) => provenance?.model).filter(Boolean);
  const models = [...new Set(names)].slice(0, 3).map((name) => `“${name}”`);
  const by = models.length ? `the model${models.length > 1 ? "s" : ""} ${models.join(", ")}` : "a model";
  const percent = Math.round((100 * words.machine) / shown);
  return `${part}The underlined words (${percent}%) were written by ${by}.`;
}

/** As much of a slice as fits, up to the end of a word. */
function fitting(slice, heightOf) {
  const { length } = slice.text;
  const whole = new TextDocument(slice);
  let [fits, tooMany] = [0, Math.min(length, MOST) + 1];
  if (length < tooMany && heightOf(slice) <= TALLEST) return slice;
  while (fits + 1 < tooMany) {
    const middle = (fits + tooMany) >> 1;
    if (heightOf(whole.slice(0, middle)) <= TALLEST) fits = middle;
    else tooMany = middle;
  }
  const space = slice.text.slice(0, fits + 1).search(/\s\S*$/);
  return whole.slice(0, space > 0 ? space : fits);
}

/** Lays content out as the picture will, out of sight. */
class Layout {
  constructor() {
    this.host = element("div", "unseen");
    this.host.setAttribute("aria-hidden", "true");
    this.root = this.host.attachShadow({ mode: "closed" });
    const style = new CSSStyleSheet();
    style.replaceSync(STYLE);
    this.root.adoptedStyleSheets = [style];
    document.body.append(this.host);
  }

  heightOf(content) {
    this.root.replaceChildren(content);
    return Math.ceil(content.getBoundingClientRect().height);
  }

  remove() {
    this.host.remove();
  }
}

/** The content as an SVG document. */
function svg(content, height) {
  const space = "http://www.w3.org/2000/svg";
  const root = document.createElementNS(space, "svg");
  root.setAttribute("width", WIDTH * SCALE);
  root.setAttribute("height", height * SCALE);
  root.setAttribute("viewBox", `0 0 ${WIDTH} ${height}`);
  const style = document.createElementNS(space, "style");
  style.textContent = `:root { ${lookOfPage()} }${STYLE}`;
  const frame = document.createElementNS(space, "foreignObject");
  frame.setAttribute("width", WIDTH);
  frame.setAttribute("height", height);
  frame.append(content);
  root.append(style, frame);
  return new XMLSerializer().serializeToString(root);
}

/** Colours and fonts of the page as it looks now. */
function lookOfPage() {
  const { documentElement: root } = document;
  const { theme } = root.dataset;
  const scheme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  const style = getComputedStyle(root);
  const values = OF_PAGE.map((name) => `--${name}: ${style.getPropertyValue(`--${name}`)};`);
  return `color-scheme: ${theme === "auto" ? scheme : theme}; ${values.join(" ")}`;
}

async function png(source, height) {
  const image = new Image();
  // not a blob: address, from which browsers do not give the pixels back
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(source)}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = WIDTH * SCALE;
  canvas.height = height * SCALE;
  const context = canvas.getContext("2d");
  // the content may end within the last line of pixels
  context.fillStyle = getComputedStyle(document.body).backgroundColor;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, 0, 0);
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("no picture"))), "image/png");
  });
}

function marked({ text }) {
  return markedParts(text).map((part, at) => (at % 2 ? element("mark", "", part) : plain(part)));
}

function element(tag, className, text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.append(plain(text));
  return made;
}

function plain(text) {
  return document.createTextNode(text.toWellFormed().replace(NOT_XML, "\ufffd"));
}

function wordsOf(slice) {
  return new TextDocument(slice).words();
}

function sum({ human, machine }) {
  return human + machine;
}

function counted(number) {
  return number.toLocaleString("en");
}
