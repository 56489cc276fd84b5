/** Settings of suggestions, their presets, and the request that they make. */

const KEY = "ogpt.settings";
const PRESETS = "ogpt.presets";

/** Characters before the caret that are sent at most. */
export const CONTEXT = 6000;
const PER_TOKEN = 8; // characters; a long text has about 5

export const DEFAULTS = Object.freeze({
  model: "",
  method: "sampling",
  temperature: 0.9,
  top_p: 0.9,
  top_k: 0,
  beams: 4,
  length: 24,
  count: 3,
  max_time: 10,
});

/** What a preset sets; model, number and length stay. */
export const BUILT_IN = Object.freeze({
  Balanced: { method: "sampling", temperature: 0.9, top_p: 0.9, top_k: 0 },
  Careful: { method: "sampling", temperature: 0.6, top_p: 0.8, top_k: 40 },
  Bold: { method: "sampling", temperature: 1.15, top_p: 0.97, top_k: 0 },
  "Write With Transformer": { method: "sampling", temperature: 1, top_p: 0.9, top_k: 256 },
  "Most probable": { method: "greedy" },
  Beams: { method: "beams", beams: 4 },
});

/** Ranges of the numbers: [least, most, step]. */
export const RANGES = Object.freeze({
  temperature: [0.1, 2, 0.05],
  top_p: [0.05, 1, 0.01],
  top_k: [0, 500, 1],
  beams: [2, 8, 1],
  length: [4, 120, 1],
  count: [1, 6, 1],
  max_time: [1, 60, 1],
});

const NAMES = {
  temperature: "temperature",
  top_p: "top-p",
  top_k: "top-k",
  typical_p: "typical-p",
  penalty_alpha: "penalty alpha",
  best_of: "beams",
  no_repeat_ngram_size: "no-repeat n-gram size",
};
const WITHOUT_EFFECT = { top_p: 1, top_k: 0 };

export class Settings extends EventTarget {
  constructor() {
    super();
    this.values = checked(read(KEY));
    this.own = Object.fromEntries(
      Object.entries(read(PRESETS)).map(([name, values]) => [name, look(checked(values))]),
    );
  }

  set(changes) {
    this.values = checked({ ...this.values, ...changes });
    keep(KEY, this.values);
    this.dispatchEvent(new Event("change"));
  }

  get presets() {
    return { ...BUILT_IN, ...this.own };
  }

  /** Name of the preset that the settings are, or null. */
  get preset() {
    const same = ([, preset]) =>
      Object.entries(preset).every(([name, value]) => this.values[name] === value);
    // the writer's own first: one may be as another that is built in
    const all = [this.own, BUILT_IN].flatMap((presets) => Object.entries(presets));
    return all.find(same)?.[0] ?? null;
  }

  savePreset(name) {
    this.own[name] = look(this.values);
    keep(PRESETS, this.own);
    this.dispatchEvent(new Event("change"));
  }

  deletePreset(name) {
    delete this.own[name];
    keep(PRESETS, this.own);
    this.dispatchEvent(new Event("change"));
  }
}

/**
 * The body of a request for continuations.
 *
 * @param values of the settings
 * @param before the text before the caret
 * @param window context length of the model in tokens
 * @param seed of the request; `n` and `length` differ from the settings for ghost text
 */
export function requestOf(values, before, window, seed, n = values.count, length = values.length) {
  const body = promptOf(values, before, window, seed, n, length);
  if (values.method === "sampling") {
    const { temperature, top_p, top_k } = values;
    return { ...body, temperature, top_p, top_k };
  }
  if (values.method === "beams") {
    return { ...body, use_beam_search: true, best_of: Math.max(values.beams, n) };
  }
  return { ...body, n: 1, temperature: 0 };
}

/** The part of a request that does not say how tokens are chosen; see requestOf. */
export function promptOf(values, before, window, seed, n = 1, length = values.length) {
  const most = Math.min(length, Math.max(1, window - 1));
  const room = Math.max(1, window - most);
  const body = {
    prompt: lastOf(before, room),
    n,
    max_tokens: most,
    truncate_prompt_tokens: room,
    surface: "readable",
    max_time: values.max_time,
    seed,
  };
  if (values.model) body.model = values.model;
  return body;
}

/** The settings of a request that decide which tokens are chosen, but those without effect. */
export function settingsNamed(settings) {
  return Object.entries(NAMES)
    .filter(([name]) => settings[name] !== undefined && settings[name] !== WITHOUT_EFFECT[name])
    .map(([name, shown]) => `${shown} ${settings[name]}`);
}

/** The end of a text, from the beginning of a word: what can be the last `tokens` of it. */
export function lastOf(text, tokens) {
  const most = Math.min(CONTEXT, PER_TOKEN * tokens);
  if (text.length <= most) return text;
  const end = text.slice(-most);
  const space = end.search(/\s/);
  return space < 0 ? end : end.slice(space + 1) || end;
}

export function newSeed() {
  return crypto.getRandomValues(new Uint32Array(1))[0];
}

function look({ method, temperature, top_p, top_k, beams }) {
  return { method, temperature, top_p, top_k, beams };
}

/** Settings inside their ranges, whatever was stored. */
function checked(values) {
  const found = { ...DEFAULTS };
  if (typeof values.model === "string") found.model = values.model;
  if (["sampling", "greedy", "beams"].includes(values.method)) found.method = values.method;
  for (const [name, [least, most]] of Object.entries(RANGES)) {
    const value = Number(values[name] ?? Number.NaN);
    if (Number.isFinite(value)) found[name] = Math.min(most, Math.max(least, value));
  }
  return found;
}

function read(key) {
  try {
    const found = JSON.parse(localStorage.getItem(key));
    return found && typeof found === "object" ? found : {};
  } catch {
    return {};
  }
}

function keep(key, value) {
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch {
    // a full disk is reported where documents are saved
  }
}
