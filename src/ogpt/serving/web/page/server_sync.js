/**
 * Sends what is written to the server, and takes in what others changed there.
 *
 * This browser keeps a document until the server has it. A save names the revision that it changes,
 * so that nothing of anybody is overwritten. `place` says where the open document is: "server",
 * "browser" alone, or "waiting" to be sent.
 */

import { ServerAway } from "./api.js";
import { exclusively, newKey, note, renewed, stored, synced, unsynced } from "./store.js";
import {
  Newer,
  changeKey,
  isSmall,
  keepsDocuments,
  readDocument,
  sendDocument,
} from "./server_documents.js";
import { includes } from "./versions.js";

const PAUSE = 1500; // milliseconds between two saves
const LONGEST = 60000; // between two tries, while the server refuses
const POLL = 4000; // between two looks for changes of others
const PATIENCE = 60000;

export class ServerSync extends EventTarget {
  constructor(opened, announcer) {
    super();
    this.opened = opened;
    this.announcer = announcer;
    this.kept = null; // whether the server keeps documents; null: not known yet
    this.refusal = null; // what the server said; "": it is away
    this._pause = PAUSE;
    this._timer = 0;
    this._again = 0; // time, before which the server is not asked for changes
    this._running = null;
    this._checking = false;
    opened.addEventListener("state", () => this._later());
    opened.addEventListener("opened", () => this._opened());
    addEventListener("pagehide", () => this._lastWords());
    addEventListener("focus", () => this._look());
    setInterval(() => this._look(), POLL);
  }

  get place() {
    const { synced, lost } = this.opened.current;
    if (synced) return "server";
    return this.kept && !lost && this.refusal === null ? "waiting" : "browser";
  }

  /** Learn whether the server keeps documents, and send what it does not have. */
  async start() {
    clearTimeout(this._starting);
    try {
      this.kept = await keepsDocuments();
    } catch (error) {
      this._failed(error);
      if (this.refusal !== "") this._starting = setTimeout(() => this.start(), this._pause);
      return;
    }
    this._pause = PAUSE;
    this._said(null);
    await this._opened();
  }

  /** Send the open document now; it is on the server then, or an error is raised. */
  async now() {
    if (this.opened.current.lost) this.opened.leave();
    this.opened.save();
    for (let tries = 0; tries < 5 && !this.opened.current.synced; tries += 1) {
      await this._exchange({ asks: true });
    }
    if (!this.opened.current.synced) throw new Error("the document is not saved there yet");
  }

  /** Learn which documents the server lost, or has as they were before; it gets the latter again. */
  async check() {
    if (!this.kept || this._checking) return;
    this._checking = true;
    try {
      await this._sync();
      for (const id of synced()) await exclusively(id, () => this._check(id));
      for (const { id } of unsynced()) await this._sendLeft(id);
    } catch (error) {
      if (!(error instanceof ServerAway) && !error.status) throw error;
    } finally {
      this._checking = false;
    }
  }

  /** Save a document that the server lost as a new one there. */
  async sendAgain(id) {
    if (id === this.opened.current.id) {
      await this.now();
      return;
    }
    const { id: renamed } = renewed(stored(id));
    this.opened.listChanged();
    await this._sendLeft(renamed);
    if (!stored(renamed)?.synced) throw new Error("the server did not take it");
  }

  /** Make another edit key, so that the edit links so far end. */
  async renewKey() {
    const { id } = this.opened.current;
    await this.now();
    await this._turn(async () => {
      const { opened } = this;
      if (opened.current.id !== id) throw new Error("another document is open now");
      opened.note({ nextKey: newKey() });
      const { nextKey } = opened.current;
      await changeKey(opened.current, patiently());
      opened.note({ key: nextKey, nextKey: null }, id);
    });
  }

  _later() {
    const { current, saved, problem, loading } = this.opened;
    const ready = (saved || problem) && !current.synced && !current.lost && revised(current);
    const waits = this._timer || this._running || this.refusal === "";
    if (!this.kept || waits || !(loading || ready)) return;
    this._timer = setTimeout(() => this._sync(), this._pause);
  }

  async _sync() {
    this.opened.save(); // which asks for an exchange itself
    clearTimeout(this._timer);
    this._timer = 0;
    try {
      await this._exchange();
      // a text for which nobody has room is not sent again at once
      const isStuck = this.opened.problem && !this.opened.current.synced;
      this._pause = isStuck ? Math.min(LONGEST, this._pause * 2) : PAUSE;
      this._said(null);
    } catch (error) {
      this._failed(error);
    }
    this._later();
  }

  _exchange(options = {}) {
    return this._turn(() => this._once(options));
  }

  /** One exchange with the server at a time. */
  _turn(work) {
    const before = (this._running ?? Promise.resolve()).catch(() => {});
    const turn = before.then(() => exclusively(this.opened.current.id, work));
    const ended = () => {
      if (this._running === turn) this._running = null;
    };
    this._running = turn;
    turn.then(ended, ended);
    return turn;
  }

  async _once(options) {
    const { opened } = this;
    opened.refresh();
    opened.save();
    const sent = opened.current;
    const all = { ...options, ...patiently() };
    try {
      const reads = opened.loading || sent.synced || sent.lost || !revised(sent);
      if (reads) await this._read(sent, all);
      else opened.confirmed(sent, await sendDocument(sent, all));
    } catch (error) {
      if (error instanceof Newer) this._take(sent, error.found);
      else if (error.status === 404) await this._missing(sent, options);
      else throw error;
    }
  }

  async _read(known, options) {
    if (!known.revision && !this.opened.loading) return;
    const revision = this.opened.loading || known.lost ? 0 : known.revision;
    const found = await readDocument({ ...known, revision }, options);
    if (found) this._take(known, found);
  }

  _take(sent, found) {
    this.opened.refresh();
    // another document may be open by now: this one is joined when it is opened again
    if (sent.id === this.opened.current.id) this.opened.receive(found);
  }

  /** There is no such document, or the key is another one now. */
  async _missing(sent, options) {
    const { opened, announcer } = this;
    this.kept = await keepsDocuments(); // the server may have been started without them
    if (!this.kept || sent.id !== opened.current.id) return;
    if (sent.nextKey) {
      const works = await opens({ ...sent, key: sent.nextKey });
      opened.note({ nextKey: null, key: works ? sent.nextKey : sent.key }, sent.id);
      if (sent.id === opened.current.id) await this._once(options);
    } else if (opened.loading) {
      opened.forget();
      announcer.show("This link does not work: it was revoked, or the document deleted.", "error");
    } else if (!sent.synced && !sent.lost) {
      opened.leave();
      announcer.show(`${LOST} Your text is now a separate document.`);
    } else if (sent.synced) {
      opened.note({ synced: false, lost: true }); // nothing may take this text for one of the server
      announcer.show(`${LOST} Your copy stays in this browser.`);
    }
  }

  /** Compare a document that is not open with what the server has. */
  async _check(id) {
    const known = stored(id); // it may have been deleted meanwhile
    if (!known?.synced || id === this.opened.current.id) return;
    try {
      const found = await readDocument(known, patiently());
      const isOld = found && includes(known, found) && !includes(found, known);
      const { revision, tag } = found ?? known;
      if (isOld && known.spans) note(id, { revision, tag, synced: false });
    } catch (error) {
      if (error.status !== 404) throw error;
      await this._unknown(known);
    }
  }

  /** The server does not know a document that is not open: its key is another one, or it is lost. */
  async _unknown(known) {
    const { id, nextKey, spans } = known;
    this.kept = await keepsDocuments();
    if (!this.kept) return;
    const renamed = nextKey && (await opens({ ...known, key: nextKey }));
    if (renamed) note(id, { key: nextKey, nextKey: null });
    else note(id, { synced: spans === null, lost: true }); // without a text here, it is gone
    this.opened.listChanged();
  }

  /** A document that was left before the server had it; what others changed waits for its opening. */
  async _sendLeft(id) {
    try {
      await exclusively(id, async () => {
        const left = stored(id); // it may have been deleted meanwhile
        const sends = left?.spans && !left.synced && !left.lost && revised(left);
        if (!sends || id === this.opened.current.id) return;
        try {
          this.opened.confirmed(left, await sendDocument(left, patiently()));
        } catch (error) {
          if (error.status !== 404) throw error;
          await this._unknown(left);
        }
      });
    } catch (error) {
      const known = error instanceof Newer || error instanceof ServerAway || error.status;
      if (!known) throw error;
    }
  }

  /** A document was opened, which others may have changed, and another one left. */
  async _opened() {
    if (this.kept) {
      await this._sync();
      for (const { id } of unsynced()) await this._sendLeft(id);
    }
    if (this.kept === false && this.opened.loading) {
      this.opened.forget();
      const reason = "this server no longer keeps documents.";
      this.announcer.show(`This document cannot be opened: ${reason}`, "error");
    }
  }

  /** Look for changes of others who have the edit link. */
  _look() {
    const { linked, synced } = this.opened.current;
    const asked = this.kept && linked && synced && !this._running && Date.now() >= this._again;
    if (asked && !document.hidden) this._sync();
  }

  /** The page is closed: the browser sends it after that, or the next visit does. */
  _lastWords() {
    const { current } = this.opened;
    if (!this.kept || current.synced || !current.spans || !revised(current)) return;
    if (isSmall(current)) sendDocument(current, { keepalive: true }).catch(() => {});
  }

  _failed(error) {
    this._pause = Math.min(LONGEST, this._pause * 2);
    this._again = Date.now() + this._pause;
    // the page says so itself where the server is away, and starts again then
    const away = error instanceof ServerAway;
    const quiet = away || error.status === 401;
    const { current } = this.opened;
    const waits = revised(current) && !current.synced && error.status !== 429;
    if (!quiet && waits && error.message !== this.refusal) {
      this.announcer.show(`Not saved on the server: ${error.message}`, "error");
    }
    if (away) this._said("");
    else this._said(error.status === 401 ? "the server asks for a key" : error.message);
  }

  _said(refusal) {
    this.refusal = refusal;
    this.dispatchEvent(new Event("state"));
  }
}

const LOST = "This document was deleted, or its edit link revoked.";

function patiently() {
  return { signal: AbortSignal.timeout(PATIENCE) };
}

/** Whether the key of a document is right. */
async function opens(document) {
  try {
    await readDocument({ ...document, revision: 0 }, patiently());
    return true;
  } catch (error) {
    if (error.status === 404) return false;
    throw error;
  }
}

/** Whether a document was ever saved: a new one is nothing yet. */
function revised({ seen }) {
  return Object.keys(seen).length > 0;
}
