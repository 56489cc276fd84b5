/** The two panels at the sides: one button shows and hides each, Escape hides it. */

const PANELS = ["documents", "settings"];

export class Panels {
  constructor(editor, onDocuments) {
    this.editor = editor;
    this.onDocuments = onDocuments;
  }

  start() {
    for (const name of PANELS) {
      const { button, panel } = partsOf(name);
      button.addEventListener("click", () => this.show(name, panel.hidden));
      panel.querySelector(".close").addEventListener("click", () => this.show(name, false));
      panel.addEventListener("keydown", (event) => {
        if (event.key === "Escape") this.show(name, false);
      });
    }
    this.editor.root.addEventListener("pointerdown", () => {
      if (isBeside()) return;
      PANELS.filter((name) => !partsOf(name).panel.hidden).forEach((name) => hide(name));
    });
  }

  /** The text has the focus: a document was opened. */
  leave() {
    if (!isBeside()) PANELS.forEach(hide);
    this.editor.focus();
  }

  show(name, shown) {
    PANELS.forEach(hide);
    const { button, panel } = partsOf(name);
    if (!shown) {
      button.focus();
      return;
    }
    panel.hidden = false;
    button.setAttribute("aria-expanded", "true");
    if (name === "documents") this.onDocuments();
    panel.querySelector(".close").focus();
  }
}

/** Whether there is room for the text beside a panel. */
function isBeside() {
  return matchMedia("(min-width: 64rem)").matches;
}

function hide(name) {
  const { button, panel } = partsOf(name);
  panel.hidden = true;
  button.setAttribute("aria-expanded", "false");
}

function partsOf(name) {
  return {
    button: document.getElementById(`toggle-${name}`),
    panel: document.getElementById(`${name}-panel`),
  };
}
