/** Shows the text before the caret as the model reads it: token by token. */

import { json } from "./api.js";
import { lastOf } from "./settings.js";

let latest = null; // of several clicks, the last one is answered

export async function showSeen(dialog, { editor, settings, models, failed }) {
  const card = models.chosen();
  const room = Math.max(1, card.max_model_len - settings.values.length);
  const before = lastOf(editor.document.text.slice(0, editor.selection.end), room);
  const list = dialog.querySelector(".tokens");
  const asked = (latest = {});
  let found = { token_strs: [] };
  try {
    if (before.trim()) {
      const body = { prompt: before, model: card.id, return_token_strs: true };
      found = await json("tokenize", { method: "POST", body, asks: true });
    }
  } catch (error) {
    failed(error);
    return;
  }
  if (latest !== asked) return;
  const tokens = found.token_strs.slice(-room);
  dialog.querySelector(".count").textContent =
    tokens.length < found.token_strs.length
      ? `The model reads the last ${tokens.length} tokens before the caret.`
      : `The model reads ${tokens.length} tokens before the caret.`;
  list.replaceChildren(...tokens.map(chip));
  dialog.showModal();
  list.scrollTop = list.scrollHeight;
}

/** An item of the list for a token of the vocabulary. */
export function chip(token) {
  const item = document.createElement("li");
  item.textContent = token.replace("</w>", "") || "␣";
  item.classList.toggle("whole", token.endsWith("</w>"));
  return item;
}
