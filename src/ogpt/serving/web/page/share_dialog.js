/** The dialog of the two links, one to read and one to write: make, copy and revoke them. */

import {
  editLink,
  endReadLink,
  makeReadLink,
  readDocument,
  readLink,
} from "./server_documents.js";

export class ShareDialog {
  constructor(dialog, button, context) {
    this.dialog = dialog;
    this.context = context; // {editor, opened, sync, announcer, failed}
    this.document = null; // whose links are asked for, or shown
    this.readers = partsOf(dialog.querySelector(".readers"));
    this.writers = partsOf(dialog.querySelector(".writers"));
    button.addEventListener("click", () => this.open());
    const on = ({ root }, name, act) =>
      root.querySelector(name).addEventListener("click", () => this._try(act));
    on(this.readers, ".make", (isSame) => this._make(isSame));
    on(this.readers, ".revoke", (isSame) => this._endReading(isSame));
    on(this.writers, ".revoke", (isSame) => this._endWriting(isSame));
    for (const part of [this.readers, this.writers]) on(part, ".copy", () => this._copy(part));
    context.opened.addEventListener("opened", () => {
      this.document = null;
      dialog.close();
    });
    // sharing is offered only where the server keeps documents
    context.sync.addEventListener("state", () => (button.hidden = !context.sync.kept));
  }

  async open() {
    const { editor, opened, sync, announcer, failed } = this.context;
    if (editor.document.text.trim() === "") {
      announcer.show("There is nothing to share yet.");
      return;
    }
    this.document = opened.current;
    let found;
    try {
      await sync.now();
      if (!this.document) return; // another one was opened
      this.document = opened.current; // as it is there
      found = await readDocument({ ...this.document, revision: 0 });
    } catch (error) {
      failed(error);
      return;
    }
    if (this.document?.id !== opened.current.id) return;
    opened.note({ linked: true }); // from now on, others may write too
    this._showReading(found.share_id ? readLink(found.share_id) : "");
    this.writers.link.value = editLink(opened.current);
    this._say("");
    this.dialog.showModal();
  }

  async _make(isSame) {
    const link = await makeReadLink(this.context.opened.current);
    if (!isSame()) return;
    this._showReading(link);
    this.readers.link.select();
    this._say("The link always shows the latest version.");
  }

  async _endReading(isSame) {
    await endReadLink(this.context.opened.current);
    if (!isSame()) return;
    this._showReading("");
    this._say("The link for readers no longer works.");
    this.readers.root.querySelector(".make").focus();
  }

  async _endWriting(isSame) {
    await this.context.sync.renewKey();
    if (!isSame()) return;
    this.writers.link.value = editLink(this.context.opened.current);
    this._say("The old edit link no longer works. Here is the new one.");
  }

  async _copy({ link }) {
    link.focus();
    link.select();
    try {
      await navigator.clipboard.writeText(link.value);
    } catch {
      // not allowed, or plain HTTP, which has no clipboard
      this._say("The link is selected: copy it with Ctrl+C.");
      return;
    }
    this._say("The link was copied.");
  }

  /** Do what a button says; the dialog says if it cannot be done. */
  async _try(act) {
    const { document } = this;
    const isSame = () => this.document === document;
    try {
      // the text may have become a separate document meanwhile
      const same = document?.id === this.context.opened.current.id;
      if (!same) throw new Error("another document is open now");
      await act(isSame);
    } catch (error) {
      if (isSame()) this._say(`This did not work: ${error.message}.`);
    }
  }

  _showReading(address) {
    const { root, link } = this.readers;
    link.value = address;
    root.querySelector("a").href = address;
    root.dataset.shared = address ? "yes" : "no";
  }

  _say(text) {
    this.dialog.querySelector(".state").textContent = text;
  }
}

function partsOf(root) {
  return { root, link: root.querySelector("input") };
}
