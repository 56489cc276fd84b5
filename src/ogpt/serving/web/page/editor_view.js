/**
 * The document on the page: one block for each line, so that a keystroke lays out one block.
 *
 * Text enters the page as text nodes only, so no document can bring markup. Offsets of the document
 * and places of the DOM are translated here and nowhere else.
 */

import { markedParts } from "./text_document.js";

export class EditorView {
  constructor(root) {
    this.root = root;
    this.ghost = null; // {offset, text}: shown, and no part of the document
    this.tokens = []; // [{start, end, level}]: colours of looking inside
    this._document = null;
    this._lines = []; // blocks
    this._starts = []; // offset of each
  }

  /** Show a document from scratch. */
  show(document) {
    this._document = document;
    this._lines = [];
    this._starts = startsOf(document.text);
    const blocks = this._starts.map(() => newLine());
    this._lines = blocks;
    blocks.forEach((_, index) => this._paint(index));
    this.root.replaceChildren(...blocks);
    this._markEmpty();
  }

  /** Show an edit that was made: `removed` and `added` characters at `start`. */
  update(start, removed, added) {
    const first = this.lineAt(start);
    const last = this.lineAt(start + removed);
    const text = this._document.text;
    const shift = added - removed;
    const inserted = startsOf(text.slice(start, start + added)).slice(1);
    const starts = [this._starts[first], ...inserted.map((each) => each + start)];
    const after = this._starts.slice(last + 1);
    for (let index = 0; index < after.length; index += 1) after[index] += shift;
    const kept = this._lines.slice(first, last + 1);
    const blocks = starts.map((_, index) => kept[index] ?? newLine());
    kept.slice(blocks.length).forEach((block) => block.remove());
    blocks.slice(kept.length).reduce((before, block) => {
      before.after(block);
      return block;
    }, kept.at(-1));
    this._starts = [...this._starts.slice(0, first), ...starts, ...after];
    this._lines.splice(first, kept.length, ...blocks);
    blocks.forEach((_, index) => this._paint(first + index));
    this._markEmpty();
  }

  /** As `update`, where the browser has made the edit, maybe with nodes of its own. */
  takeOver(start, removed, added) {
    const children = [...this.root.childNodes];
    const ours = children.length === this._lines.length;
    if (ours && children.every((child, index) => child === this._lines[index])) {
      this.update(start, removed, added);
    } else {
      this.show(this._document);
    }
  }

  /** Show a ghost, or none: {offset, text}. */
  setGhost(ghost) {
    if (!this.ghost && !ghost) return;
    const places = [this.ghost, ghost].filter(Boolean).map(({ offset }) => this.lineAt(offset));
    this.ghost = ghost;
    this._repaint(new Set(places));
  }

  /** Show colours of tokens: [{start, end, level, ...}] in order; [] for none. */
  setTokens(tokens) {
    const places = new Set();
    for (const { start, end } of [...this.tokens, ...tokens]) {
      if (start >= this._document.length) continue;
      places.add(this.lineAt(start)).add(this.lineAt(Math.max(start, end - 1)));
    }
    this.tokens = tokens;
    this._repaint(places);
  }

  /** Index of the line that holds an offset. */
  lineAt(offset) {
    let low = 0;
    let high = this._starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this._starts[middle] <= offset) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** Offset of the end of the last line that begins above a height of the window. */
  lineEndAbove(height) {
    let low = 0;
    let high = this._lines.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this._lines[middle].getBoundingClientRect().top <= height) low = middle;
      else high = middle - 1;
    }
    return (this._starts[low + 1] ?? this._document.length + 1) - 1;
  }

  /** The text that the page shows, which the browser may have changed, and the caret in it. */
  shown() {
    const hasGhost = this.root.querySelector(".ghost") !== null;
    const read = hasGhost ? textOf : ({ textContent }) => textContent; // which is quick
    const blocks = [...this.root.childNodes];
    const lines = blocks.map(read);
    const { focusNode: node, focusOffset: offset } = document.getSelection();
    const index = blocks.findIndex((block) => block.contains(node));
    const before = lines.slice(0, index).join("\n").length + (index > 0 ? 1 : 0);
    const caret = index < 0 ? null : before + lengthBefore(blocks[index], node, offset);
    return { text: lines.join("\n"), caret };
  }

  /** The selection as {start, end, backward}, or null if it is elsewhere. */
  selection() {
    const found = document.getSelection();
    if (!found.rangeCount || !this.root.contains(found.anchorNode)) return null;
    if (!this.root.contains(found.focusNode)) return null;
    const anchor = this.offsetOf(found.anchorNode, found.anchorOffset);
    const focus = this.offsetOf(found.focusNode, found.focusOffset);
    return {
      start: Math.min(anchor, focus),
      end: Math.max(anchor, focus),
      backward: focus < anchor,
    };
  }

  select({ start, end = start, backward = false }) {
    const [first, last] = [this.placeOf(start), this.placeOf(end)];
    const [anchor, focus] = backward ? [last, first] : [first, last];
    document.getSelection().setBaseAndExtent(...anchor, ...focus);
  }

  /** Where an offset is in the DOM: [node, offset]. */
  placeOf(offset) {
    const index = this.lineAt(Math.min(offset, this._document.length));
    const line = this._lines[index];
    let left = offset - this._starts[index];
    let place = [line, 0];
    for (const node of textNodes(line)) {
      place = [node, Math.min(left, node.length)];
      if (left <= node.length) break;
      left -= node.length;
    }
    return place;
  }

  /** The offset of a place in the DOM. */
  offsetOf(node, offset) {
    if (node === this.root) {
      return this._starts[offset] ?? this._document.length;
    }
    let line = node;
    while (line.parentNode !== this.root) line = line.parentNode;
    const index = this._lines.indexOf(line);
    return (this._starts[index] ?? 0) + lengthBefore(line, node, offset);
  }

  /** Rectangle of an offset, for what is placed beside the caret. */
  rectOf(offset) {
    const range = document.createRange();
    range.setStart(...this.placeOf(offset));
    const [first] = range.getClientRects();
    return first ?? this._lines[this.lineAt(offset)].getBoundingClientRect();
  }

  /**
   * Scroll an offset into view, above a height of the window: the browser does so only after edits
   * of its own.
   */
  reveal(offset, height = innerHeight) {
    const { scrollPaddingTop, scrollPaddingBottom } = getComputedStyle(document.documentElement);
    const { top, bottom } = this.rectOf(offset);
    const above = top - parseFloat(scrollPaddingTop);
    const below = bottom - Math.min(height, innerHeight - parseFloat(scrollPaddingBottom));
    if (below > 0) scrollBy(0, below);
    else if (above < 0) scrollBy(0, above);
  }

  /** Paint lines whose text is the same: nodes change, and the caret stays where it is. */
  _repaint(places) {
    const kept = document.activeElement === this.root ? this.selection() : null;
    places.forEach((index) => this._paint(index));
    if (!kept) return; // the editor puts the caret back when it gets the focus
    const now = this.selection();
    if (now?.start !== kept.start || now.end !== kept.end) this.select(kept);
  }

  _markEmpty() {
    this.root.classList.toggle("empty", this._document.length === 0);
  }

  _paint(index) {
    const line = this._lines[index];
    const start = this._starts[index];
    const next = this._starts[index + 1];
    const end = next === undefined ? this._document.length : next - 1;
    const runs = this._runs(start, end);
    const children = [...line.childNodes];
    runs.forEach((run, place) => paintRun(line, children[place], run));
    children.slice(runs.length).forEach((child) => child.remove());
    if (!runs.length) line.replaceChildren(document.createElement("br"));
  }

  /** The parts of a model's text in a line that are marked. */
  _marked(range, lineStart, lineEnd) {
    let start = Math.max(range.start, lineStart);
    const parts = markedParts(this._document.text.slice(start, Math.min(range.end, lineEnd)));
    const places = parts.map((part) => ({ start, end: (start += part.length) }));
    return places.filter((_, index) => index % 2);
  }

  /** The line in pieces that look alike: {text, className, tag}. */
  _runs(start, end) {
    const cuts = new Set([start, end]);
    const add = (range) => {
      if (range.start > start && range.start < end) cuts.add(range.start);
      if (range.end > start && range.end < end) cuts.add(range.end);
    };
    const touches = (range) => range.start < end && range.end > start;
    const machine = this._document.machine.filter(touches).flatMap((range) => this._marked(range, start, end));
    const tokens = this.tokens.filter(touches);
    machine.forEach(add);
    tokens.forEach(add);
    const { ghost } = this;
    const ghostly = ghost && ghost.offset >= start && ghost.offset <= end;
    if (ghostly) cuts.add(ghost.offset);
    const edges = [...cuts].sort((one, other) => one - other);
    const runs = [];
    edges.forEach((from, place) => {
      if (ghostly && ghost.offset === from) {
        runs.push({ text: ghost.text, className: "ghost", tag: "SPAN" });
      }
      const to = edges[place + 1];
      if (to === undefined || to === from) return;
      const covers = (range) => range.start <= from && range.end >= to;
      const token = tokens.find(covers);
      const names = [machine.some(covers) ? "machine" : "", token ? `level-${token.level}` : ""];
      const className = names.filter(Boolean).join(" ");
      const tag = className.startsWith("machine") ? "MARK" : className ? "SPAN" : null;
      runs.push({ text: this._document.text.slice(from, to), className, tag });
    });
    return runs;
  }
}

function newLine() {
  const line = document.createElement("div");
  line.className = "line";
  line.dir = "auto";
  return line;
}

/** Make a child of a line show a run, with as little change as possible: the caret may be there. */
function paintRun(line, child, { text, className, tag }) {
  if (child && looks(child, tag, className)) {
    const node = tag ? child.firstChild : child;
    if (node.data !== text) node.data = text;
    return;
  }
  const made = tag ? document.createElement(tag) : document.createTextNode(text);
  if (tag) {
    made.className = className;
    made.append(text);
  }
  if (className === "ghost") {
    made.contentEditable = "false";
    made.setAttribute("aria-hidden", "true");
  }
  if (child) child.replaceWith(made);
  else line.append(made);
}

function looks(child, tag, className) {
  if (!tag) return child.nodeType === Node.TEXT_NODE;
  const whole = child.childNodes.length === 1 && child.firstChild.nodeType === Node.TEXT_NODE;
  return child.nodeName === tag && child.className === className && whole;
}

/** Offsets of the lines of a text. */
function startsOf(text) {
  const starts = [0];
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) starts.push(at + 1);
  return starts;
}

const ofDocument = (node) =>
  node.nodeType === Node.ELEMENT_NODE && node.classList.contains("ghost")
    ? NodeFilter.FILTER_REJECT
    : node.nodeType === Node.TEXT_NODE
      ? NodeFilter.FILTER_ACCEPT
      : NodeFilter.FILTER_SKIP;

/** Text nodes of the document below a node; ghosts are none. */
function* textNodes(node) {
  const walker = document.createTreeWalker(
    node,
    NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT,
    ofDocument,
  );
  while (walker.nextNode()) yield walker.currentNode;
}

/** Characters of the document between the start of a block and a place in it. */
function lengthBefore(block, node, offset) {
  if (block === node && block.nodeType === Node.TEXT_NODE) return offset;
  const range = document.createRange();
  range.setStart(block, 0);
  range.setEnd(node, offset);
  let length = 0;
  for (const text of textNodes(block)) {
    if (text === node) length += offset;
    else if (range.comparePoint(text, text.length) === 0) length += text.length;
  }
  return length;
}

function textOf(node) {
  if (node.nodeType === Node.TEXT_NODE) return node.data;
  return [...textNodes(node)].map(({ data }) => data).join("");
}
