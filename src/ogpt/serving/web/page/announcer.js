/** Messages for people who hear the page, and short ones that everybody sees. */

const TIME = 5000; // milliseconds that a message is shown, and more for each of its characters
const READING = 50;

export class Announcer {
  constructor(live, note) {
    this._live = live;
    this._note = note;
    this._timer = 0;
  }

  /** For screen readers. */
  say(text) {
    // the same text twice in a row is read out twice
    this._live.textContent = this._live.textContent === text ? `${text}\u00a0` : text;
  }

  /** For everybody. */
  show(text, kind = "note") {
    this._note.textContent = text;
    this._note.dataset.kind = kind;
    this._note.hidden = false;
    this.say(text);
    clearTimeout(this._timer);
    this._timer = setTimeout(() => this.hide(), TIME + READING * text.length);
  }

  hide() {
    this._note.hidden = true;
  }
}
