/** The models of the server, and the one that is chosen. */

import { json } from "./api.js";

const UNKNOWN = { id: "default", max_model_len: 512, model_hash: null };

export class Models {
  constructor(settings) {
    this.cards = [];
    this._settings = settings;
    this._early = { ...UNKNOWN }; // of requests that were sent before the models were known
  }

  /** Ask for the models; `asks`: for a key too, if one is needed. */
  async load(asks) {
    const { data } = await json("v1/models", { asks });
    this.cards = data;
    const { model } = this._settings.values;
    // one that the server no longer has
    if (model && !data.some(({ id }) => id === model)) this._settings.set({ model: "" });
    await this.learn();
    if (this._early.model_hash === null) Object.assign(this._early, this.chosen());
  }

  /** The card of the chosen model; the first of the server where none is chosen. */
  chosen() {
    const { model } = this._settings.values;
    return this.cards.find(({ id }) => id === model) ?? this.cards[0] ?? this._early;
  }

  /** Ask for the hash of the chosen model's files, for the provenance of its texts. */
  async learn() {
    const card = this.chosen();
    if (card === this._early || card.model_hash) return;
    const path = card.id.split("/").map(encodeURIComponent).join("/");
    const { model_hash: hash } = await json(`v1/models/${path}`);
    card.model_hash = hash ?? null;
  }
}
