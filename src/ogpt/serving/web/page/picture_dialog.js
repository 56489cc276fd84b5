/** The dialog of a picture of the text: look at it, copy it, save it. */

import { offer } from "./document_files.js";
import { pictureOf } from "./text_picture.js";

export class PictureDialog {
  constructor(dialog, button, context) {
    this.dialog = dialog;
    this.context = context; // {editor, title, announcer}
    this.image = dialog.querySelector("img");
    this.blob = null;
    const copy = dialog.querySelector(".copy");
    copy.hidden = !navigator.clipboard?.write; // plain HTTP has no clipboard
    copy.addEventListener("click", () => this._copy());
    button.addEventListener("click", () => this.open());
    dialog.querySelector(".save").addEventListener("click", () => this._save());
    dialog.addEventListener("close", () => URL.revokeObjectURL(this.image.src));
  }

  /** Show a picture of what is selected, or else of the whole text. */
  async open() {
    const { editor, title, announcer } = this.context;
    const { document, selection } = editor;
    const isPart = selection.start < selection.end;
    const slice = isPart ? document.slice(selection.start, selection.end) : document.slice();
    if (slice.text.trim() === "") {
      announcer.show("There is nothing to show yet.");
      return;
    }
    const { human, machine } = document.words();
    let made;
    try {
      made = await pictureOf(title.value.trim(), slice, human + machine);
    } catch {
      announcer.show("This browser cannot make a picture of the text.", "error");
      return;
    }
    this.blob = made.blob;
    this.image.src = URL.createObjectURL(made.blob);
    this.image.width = made.width;
    this.image.height = made.height;
    if (!made.isWhole) this._state(`Only the first ${made.words.toLocaleString("en")} words fit.`);
    else if (isPart) this._state("It shows the selected part.");
    else this._state("To show only a part, select that part first.");
    this.dialog.showModal();
  }

  async _copy() {
    try {
      await navigator.clipboard.write([new ClipboardItem({ "image/png": this.blob })]);
      this._state("The picture was copied.");
    } catch {
      this._state("The browser does not allow copying: save the picture.");
    }
  }

  _save() {
    const { editor, title } = this.context;
    offer(this.blob, title.value || editor.document.text, "png");
  }

  _state(text) {
    this.dialog.querySelector(".state").textContent = text;
  }
}
