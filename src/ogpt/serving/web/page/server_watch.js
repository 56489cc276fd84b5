/** Says when the server is away, and when it is back. */

import { hooks, json } from "./api.js";

const FIRST = 1000;
const LONGEST = 15000;

export class ServerWatch {
  constructor(banner, announcer, opened, onBack) {
    this.banner = banner;
    this.announcer = announcer;
    this.opened = opened;
    this.onBack = onBack;
    this.away = false;
    this._wait = FIRST;
    hooks.onAway = () => this._lost();
    opened.addEventListener("state", () => {
      banner.querySelector(".safe").hidden = opened.problem !== null;
    });
    addEventListener("online", () => {
      if (this.away) this._ask();
    });
    addEventListener("offline", () => this._lost());
  }

  _lost() {
    if (this.away) return;
    this.away = true;
    this.banner.hidden = false;
    const safe = this.opened.problem ? "" : " Your text is safe in this browser.";
    this.announcer.say(`The server cannot be reached.${safe}`);
    this._wait = FIRST;
    this._later();
  }

  _later() {
    clearTimeout(this._timer);
    this._timer = setTimeout(() => this._ask(), this._wait);
    this._wait = Math.min(LONGEST, this._wait * 1.5);
  }

  async _ask() {
    try {
      await json("health", { signal: AbortSignal.timeout(LONGEST) });
    } catch {
      this._later();
      return;
    }
    this.away = false;
    this.banner.hidden = true;
    this.announcer.show("The server is back.");
    this.onBack();
  }
}
