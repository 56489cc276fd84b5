/** The list of documents in this browser. */

import { unshare } from "./shared_document.js";
import { listed, remove, stored } from "./store.js";

export class DocumentList {
  constructor(panel, open, announcer) {
    this.panel = panel;
    this.items = panel.querySelector(".documents");
    this.open = open;
    this.announcer = announcer;
    panel.querySelector(".new").addEventListener("click", () => open.create());
    this.items.addEventListener("click", (event) => this._clicked(event));
    open.addEventListener("list", () => {
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

  /** Delete a document after its copy on the server: nothing else could end the share link. */
  async _delete(id) {
    try {
      await unshare(id);
    } catch {
      this.announcer.show("Not deleted: the server did not end its share link. Try again.", "error");
      this.show();
      return;
    }
    remove(id);
    if (id === this.open.current.id) this.open.forget();
    else this.open.save(); // there may be room for it now
    this.show();
    this.announcer.show("The document was deleted.");
  }

  _item({ id, title, start, updated }) {
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
    if (id === this.open.current.id) open.setAttribute("aria-current", "true");
    const gone = document.createElement("button");
    gone.className = "delete";
    gone.type = "button";
    gone.textContent = "Delete";
    gone.setAttribute("aria-label", `Delete ${name.textContent}`);
    item.append(open, gone);
    return item;
  }

  _clicked(event) {
    const button = event.target.closest("button");
    const id = button?.closest("li")?.dataset.id;
    if (!id) return;
    if (button.className === "open") {
      const found = stored(id);
      if (found) this.open.open(found);
    } else if (button.dataset.sure) {
      this._delete(id);
    } else {
      button.dataset.sure = "yes";
      button.textContent = "Really delete?";
      this.announcer.say("Press again to delete the document");
    }
  }
}

function shortTime(seconds) {
  const date = new Date(seconds * 1000);
  const today = date.toDateString() === new Date().toDateString();
  return today
    ? date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })
    : date.toLocaleDateString([], { day: "numeric", month: "short", year: "numeric" });
}
