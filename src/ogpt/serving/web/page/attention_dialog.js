/**
 * The attention of a token: how much of each token up to it counts, by layer and head.
 *
 * Shares are numbers and lines besides colours. A map shows all heads at once, for the mouse: what
 * it chooses, the sliders choose too.
 */

import { json, messageOf } from "./api.js";
import { chip } from "./seen_by_model.js";

const STEPS = [0.01, 0.05, 0.15, 0.4]; // shares at which the next colour begins
const STRONGEST = 3;

export class AttentionDialog {
  constructor(dialog, context) {
    this.dialog = dialog;
    this.context = context; // {models}
    this._ids = [];
    this._index = 0; // of the token in them
    this._found = null; // {tokens, attentions}
    this._asked = null;
    this._layer = dialog.querySelector("#layer");
    this._head = dialog.querySelector("#head"); // 0: the mean of all
    this._layer.addEventListener("input", () => this._show());
    this._head.addEventListener("input", () => this._show());
    this._map = dialog.querySelector(".map");
    this._map.addEventListener("click", ({ target }) => this._choose(target.dataset));
    this._previous = dialog.querySelector(".previous");
    this._next = dialog.querySelector(".next");
    this._previous.addEventListener("click", () => this._ask(this._index - 1));
    this._next.addEventListener("click", () => this._ask(this._index + 1));
    dialog.querySelector(".close").addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => this._asked?.abort());
  }

  /** Show the dialog for a token of tokenScores. */
  open({ ids, index }) {
    this._ids = ids;
    this._found = null;
    this._title("Attention");
    this.dialog.showModal();
    this._ask(index);
  }

  async _ask(index) {
    this._asked?.abort();
    const asked = new AbortController();
    this._asked = asked;
    this._index = index;
    this._showSteps();
    this.dialog.setAttribute("aria-busy", "true");
    const model = this.context.models.chosen();
    const first = Math.max(0, index + 1 - model.max_model_len); // a longer context is refused
    const body = { model: model.id, prompt: this._ids.slice(first, index + 1) };
    let problem = null;
    try {
      const options = { method: "POST", body, signal: asked.signal, asks: true };
      this._found = await json("v1/attention", options);
    } catch (error) {
      if (error.name === "AbortError") return;
      problem = error;
    }
    this.dialog.setAttribute("aria-busy", "false");
    this._showProblem(problem);
    if (!problem) this._fill();
  }

  _fill() {
    const { tokens, attentions } = this._found;
    const isFirst = this._layer.max !== String(attentions.length);
    this._layer.max = attentions.length;
    if (isFirst) this._layer.value = attentions.length;
    const shown = tokens.map(chip);
    this._title(`Attention of “${shown.at(-1).textContent}”`);
    shown.at(-1).setAttribute("aria-current", "true");
    shown.forEach((item) => {
      const share = document.createElement("span");
      share.className = "amount";
      item.append(share);
    });
    const list = this.dialog.querySelector(".tokens");
    list.replaceChildren(...shown);
    this._fillMap(attentions, shown);
    this._show();
    list.scrollTop = list.scrollHeight;
  }

  _fillMap(attentions, shown) {
    const cells = attentions.map((heads, layer) => {
      const row = document.createElement("div");
      const made = heads.map((shares, head) => {
        const cell = document.createElement("span");
        const most = Math.max(...shares);
        const token = shown[shares.indexOf(most)].firstChild.textContent;
        cell.dataset.part = partOf(most);
        cell.dataset.layer = layer + 1;
        cell.dataset.head = head + 1;
        cell.title = `Layer ${layer + 1}, head ${head + 1}: “${token}” ${percent(most)}`;
        return cell;
      });
      row.append(...made);
      return row;
    });
    this._map.replaceChildren(...cells);
  }

  _choose({ layer, head }) {
    if (!layer) return; // between two cells
    this._layer.value = layer;
    this._head.max = this._found.attentions[layer - 1].length;
    this._head.value = head;
    this._show();
  }

  /** Show the chosen layer and head. */
  _show() {
    if (!this._found) return;
    const layer = Number(this._layer.value);
    const heads = this._found.attentions[layer - 1];
    this._head.max = heads.length;
    const head = Number(this._head.value);
    this._say("layer", `${layer} of ${this._layer.max}`);
    this._say("head", head === 0 ? `mean of ${heads.length}` : `${head} of ${heads.length}`);
    const shares = head === 0 ? meanOf(heads) : heads[head - 1];
    for (const cell of this._map.querySelectorAll("span")) {
      const { layer: itsLayer, head: itsHead } = cell.dataset;
      const isShown = itsLayer === String(layer) && (head === 0 || itsHead === String(head));
      cell.classList.toggle("shown", isShown);
    }
    const items = [...this.dialog.querySelectorAll(".tokens li")];
    items.forEach((item, index) => {
      item.dataset.part = partOf(shares[index]);
      const isShown = shares[index] >= STEPS[0];
      item.querySelector(".amount").textContent = isShown ? percent(shares[index]) : "";
    });
    const order = shares.map((_, index) => index).sort((one, other) => shares[other] - shares[one]);
    const strongest = order.slice(0, STRONGEST).filter((index) => shares[index] >= STEPS[0]);
    const named = strongest.map(
      (index) => `“${items[index].firstChild.textContent}” ${percent(shares[index])}`,
    );
    this.dialog.querySelector(".strongest").textContent = `Strongest: ${named.join(", ")}`;
  }

  /** Say why there is no attention; null: there is. */
  _showProblem(problem) {
    const without = problem?.param === "model" && problem.status === 400; // 404: unknown model
    this.dialog.querySelector(".found").hidden = problem !== null;
    this.dialog.querySelector(".without").hidden = !without;
    this.dialog.querySelector(".dialog-foot").hidden = without;
    const wrong = this.dialog.querySelector(".wrong");
    wrong.hidden = problem === null || without;
    wrong.textContent = problem ? messageOf(problem) : "";
  }

  _title(text) {
    this.dialog.querySelector("h2").textContent = text;
  }

  /** Which steps there are; a button that ends gives the focus to the other one. */
  _showSteps() {
    const focused = document.activeElement;
    this._previous.disabled = this._index === 0;
    this._next.disabled = this._index === this._ids.length - 1;
    if (focused === this._previous && focused.disabled) this._next.focus();
    else if (focused === this._next && focused.disabled) this._previous.focus();
  }

  _say(name, text) {
    this.dialog.querySelector(`output[for="${name}"]`).value = text;
  }
}

function meanOf(heads) {
  const sums = heads[0].map((_, index) => heads.reduce((sum, head) => sum + head[index], 0));
  return sums.map((sum) => sum / heads.length);
}

/** The colour of a share. */
function partOf(share) {
  return STEPS.filter((step) => share >= step).length;
}

function percent(share) {
  return `${Math.round(100 * share)}%`;
}
