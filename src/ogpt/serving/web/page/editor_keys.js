/** Keys of the editor, for the list and the ghost first. */

export class EditorKeys {
  constructor(context) {
    this.context = context; // {editor, list, ghost, card, preferences, announcer}
    this._leaving = false; // Escape lets the next Tab leave the text
    context.editor.root.addEventListener("keydown", (event) => this._key(event));
    context.editor.root.addEventListener("focus", () => (this._leaving = false));
  }

  _key(event) {
    const { editor, list, ghost, card, preferences, announcer } = this.context;
    if (event.isComposing) return;
    const command = event.ctrlKey || event.metaKey;
    const tab = event.key === "Tab" && !command && !event.altKey;
    if (list.key(event) || ghost.key(event)) {
      event.preventDefault();
    } else if (event.key === "ArrowDown" && event.altKey && card.openAtCaret()) {
      event.preventDefault();
    } else if (event.key === " " && event.ctrlKey) {
      event.preventDefault();
      ghost.hide();
      list.ask();
    } else if (tab && !event.shiftKey && preferences.values.tab && !this._leaving) {
      event.preventDefault();
      if (ghost.enabled && !list.open) ghost.ask(true);
      else list.ask();
    } else if (event.key === "Escape") {
      this._leaving = true;
      announcer.say("Tab leaves the text now");
    } else if (command && event.key.toLowerCase() === "z") {
      event.preventDefault();
      if (event.shiftKey) editor.redo();
      else editor.undo();
    } else if (command && event.key.toLowerCase() === "y") {
      event.preventDefault();
      editor.redo();
    } else if (!tab) {
      this._leaving = false;
    }
  }
}
