/** The form of the settings. */

import { BUILT_IN, RANGES } from "./settings.js";

const WORDS = { top_k: (value) => (value === 0 ? "all" : String(value)) };
const UNITS = { length: " tokens", max_time: " s" };

export class SettingsPanel {
  constructor(form, settings) {
    this.form = form;
    this.settings = settings;
    for (const [name, [least, most, step]] of Object.entries(RANGES)) {
      Object.assign(this._field(name), { min: least, max: most, step });
    }
    form.addEventListener("input", (event) => this._changed(event.target));
    form.addEventListener("submit", (event) => event.preventDefault());
    this._field("save").addEventListener("click", () => this._save());
    this._field("preset_name").addEventListener("input", ({ target }) => {
      target.setCustomValidity("");
    });
    this._field("preset_name").addEventListener("keydown", (event) => {
      if (event.key === "Enter") this._save();
    });
    this._field("forget").addEventListener("click", () => {
      settings.deletePreset(this._field("preset").value);
    });
    settings.addEventListener("change", () => this.show());
    this.show();
  }

  /** Offer the models of the server. */
  setModels(cards) {
    const model = this._field("model");
    model.replaceChildren(...cards.map(({ id }) => new Option(id, id)));
    this.form.querySelector(".model-row").hidden = cards.length < 2;
    this.show();
  }

  show() {
    const { values } = this.settings;
    for (const name of Object.keys(RANGES)) {
      this._field(name).value = values[name];
      const shown = (WORDS[name] ?? String)(values[name]) + (UNITS[name] ?? "");
      this.form.querySelector(`output[for="${name}"]`).value = shown;
    }
    this._field("method").value = values.method;
    if (values.model) this._field("model").value = values.model;
    this.form.dataset.method = values.method;
    this._showPresets();
  }

  _showPresets() {
    const [preset, forget] = [this._field("preset"), this._field("forget")];
    const chosen = this.settings.preset;
    const names = Object.keys(this.settings.presets);
    const options = names.map((name) => new Option(name, name));
    if (!chosen) options.unshift(new Option("Custom", ""));
    preset.replaceChildren(...options);
    preset.value = chosen ?? "";
    forget.hidden = !chosen || chosen in BUILT_IN;
  }

  _changed({ name, value }) {
    if (name === "preset") {
      if (value) this.settings.set(this.settings.presets[value]);
    } else if (name === "method" || name === "model") {
      this.settings.set({ [name]: value });
    } else if (name in RANGES) {
      this.settings.set({ [name]: Number(value) });
    }
  }

  _save() {
    const field = this._field("preset_name");
    const name = field.value.trim().slice(0, 40);
    field.setCustomValidity(Object.hasOwn(BUILT_IN, name) ? "This name is taken: choose another." : "");
    if (!name || !field.reportValidity()) return;
    this.settings.savePreset(name);
    field.value = "";
  }

  /** A field by its name: `elements.length` would be their number. */
  _field(name) {
    return this.form.elements.namedItem(name);
  }
}
