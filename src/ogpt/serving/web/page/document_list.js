/** The list of documents in this browser. */

import { deleteDocument } from "./server_documents.js";
import { exclusively, listed, remove, stored } from "./store.js";

export class DocumentList {
  constructor(panel, { opened, sync, announcer }) {
    this.panel = panel;
    this.items = panel.querySelector(".documents");
    this.opened = opened;
    this.sync = sync;
    this.announcer = announcer;
    this._asked = null; // id of the document that is deleted with the next click
    panel.querySelector(".new").addEventListener("click", () => opened.create());
    this.items.addEventListener("click", (event) => this._clicked(event));
    opened.addEventListener("list", () => {
      if (!panel.hidden) this.show();
    });
  }

  show() {
    const found = listed();
    const focused = this._focused();
    this.items.replaceChildren(...found.map((each) => this._item(each)));
    this.panel.querySelector(".none").hidden = found.length > 0;
    if (focused) this._focus(focused);
  }

  /** Which button has the focus: a new list would lose it. */
  _focused() {
    const button = document.activeElement;
    const item = button.closest(".documents > li");
    if (!item) return null;
    const place = [...this.items.children].indexOf(item);
    return { id: item.dataset.id, className: button.className, place };
  }

  /** The same button, or a neighbour of the document that is gone. */
  _focus({ id, className, place }) {
    const items = [...this.items.children];
    const same = items.find((item) => item.dataset.id === id);
    const found =
      same?.querySelector(`.${className}`) ??
      (items[place] ?? items.at(-1))?.querySelector(".open") ??
      this.panel.querySelector(".new");
    found.focus({ preventScroll: true });
  }

  /** Delete a document on the server first: nothing else could end its links. */
  async _delete(id) {
    this._asked = null;
    let known = stored(id)?.revision > 0; // the server had it, and may have it still
    try {
      if (this.sync.kept !== false) {
        await exclusively(id, async () => {
          const found = stored(id);
          if (found && (await deleteDocument(found))) known = false;
          remove(id); // before another tab sends it again
        });
      }
    } catch {
      this.announcer.show("Not deleted: the server did not delete its copy. Try again.", "error");
      this.show();
      return;
    }
    remove(id);
    if (id === this.opened.current.id) this.opened.forget();
    else this.opened.save(); // there may be room for it now
    this.show();
    this.announcer.show(known ? UNKNOWN : "The document was deleted.");
  }

  /** Save a document that the server lost there again. */
  async _sendAgain(id) {
    try {
      await this.sync.sendAgain(id);
      this.announcer.show("The document is on the server again, with new links.");
    } catch (error) {
      this.announcer.show(`Not saved on the server: ${error.message}`, "error");
    }
    this.show();
  }

  _item({ id, title, start, updated, linked, lost, isHere }) {
    const item = document.createElement("li");
    item.dataset.id = id;
    const open = document.createElement("button");
    open.className = "open";
    open.type = "button";
    const name = document.createElement("strong");
    name.textContent = title || start.trim().slice(0, 60) || "Untitled";
    const when = document.createElement("time");
    when.dateTime = new Date(updated * 1000).toISOString();
    when.textContent = shortTime(updated);
    open.append(name, when);
    if (lost) open.append(element("span", "where", isHere ? ONLY_HERE : LOST));
    if (id === this.opened.current.id) open.setAttribute("aria-current", "true");
    const gone = document.createElement("button");
    gone.className = "delete";
    gone.type = "button";
    gone.textContent = "Delete";
    if (id === this._asked) {
      gone.textContent = linked ? "Delete for everybody?" : "Delete for good?";
      gone.dataset.sure = "yes";
    }
    gone.setAttribute("aria-label", `${gone.textContent} ${name.textContent}`);
    item.append(open, gone);
    if (lost && isHere && this.sync.kept) {
      const again = element("button", "again", "Save on the server again");
      again.type = "button";
      item.append(again);
    }
    return item;
  }

  _clicked(event) {
    const button = event.target.closest("button");
    const id = button?.closest("li")?.dataset.id;
    if (!id) return;
    if (button.className === "open") {
      const found = stored(id);
      if (found) this.opened.open(found);
    } else if (button.className === "again") {
      this._sendAgain(id);
    } else if (id === this._asked) {
      this._delete(id);
    } else {
      this._asked = id;
      this.show();
      this.announcer.say("Press again to delete the document");
    }
  }
}

const ONLY_HERE = "Only in this browser";
const LOST = "The server lost its text";
const UNKNOWN =
  "Removed from this browser. If the server still has a copy, this browser's key cannot delete it.";

function element(tag, className, text) {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

function shortTime(seconds) {
  const date = new Date(seconds * 1000);
  const today = date.toDateString() === new Date().toDateString();
  return today
    ? date.toLocaleTimeString([], { hour: "numeric", minute: "2-digit" })
    : date.toLocaleDateString([], { day: "numeric", month: "short", year: "numeric" });
}
