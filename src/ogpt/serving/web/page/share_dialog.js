/** The dialog of a share link: copy it, open it, or end it. */

import { BASE } from "./api.js";
import { canShare, copyOf, share, unshare } from "./shared_document.js";
import { spansOf } from "./text_document.js";

export class ShareDialog {
  constructor(dialog, button, context) {
    this.dialog = dialog;
    this.button = button;
    this.context = context; // {editor, opened, announcer, failed}
    this.link = dialog.querySelector("input");
    button.addEventListener("click", () => this.open());
    dialog.querySelector(".copy").addEventListener("click", () => this._copy());
    dialog.querySelector(".end").addEventListener("click", () => this._end());
  }

  /** Offer sharing only where the server keeps documents. */
  async offer() {
    this.button.hidden = !(await canShare());
  }

  async open() {
    const { editor, opened, announcer, failed } = this.context;
    if (editor.document.text.trim() === "") {
      announcer.show("There is nothing to share yet.");
      return;
    }
    opened.save();
    const { id, title } = opened.current;
    const again = copyOf(id) !== null;
    try {
      const path = await share(id, title, spansOf(editor.document.slice()));
      this.link.value = new URL(path, BASE).href;
    } catch (error) {
      failed(error);
      return;
    }
    this._state(
      again
        ? "The page for readers shows the text as it is now."
        : "Whoever has this link can read the text. Share again to show later changes.",
    );
    this.dialog.querySelector("a").href = this.link.value;
    this.dialog.showModal();
    this.link.select();
  }

  async _copy() {
    this.link.focus();
    this.link.select();
    try {
      await navigator.clipboard.writeText(this.link.value);
    } catch {
      // not allowed, or plain HTTP, which has no clipboard
      this._state("The link is selected: copy it with Ctrl+C.");
      return;
    }
    this.context.announcer.say("The link was copied");
    this.dialog.querySelector(".copy").textContent = "Copied";
  }

  async _end() {
    const { opened, announcer, failed } = this.context;
    try {
      await unshare(opened.current.id);
      announcer.show("The link no longer works, and the server's copy is deleted.");
    } catch (error) {
      failed(error);
    }
    this.dialog.close();
  }

  _state(text) {
    this.dialog.querySelector(".state").textContent = text;
  }
}
