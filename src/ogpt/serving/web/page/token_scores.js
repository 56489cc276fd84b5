/** How the model saw a text: each token with its surprisal and what else was probable. */

import { json } from "./api.js";
import { tokenPlaces } from "./token_places.js";

/** Alternatives of a token. */
export const TOP = 6;
const STEPS = [3, 6, 9, 12]; // bits at which the next colour begins

/**
 * Score a text. Returns tokens in order: {start, end, bits, level, rank, beginsWord,
 * alternatives, ids, index, model}, with places in the text. Alternatives are {text, probability,
 * endsWord}, the most probable first. `ids` are those of all tokens, and `index` is the place of
 * this one among them.
 */
export async function tokenScores(text, model, signal) {
  const body = {
    model: model.id,
    prompt: text,
    max_tokens: 0,
    echo: true,
    logprobs: TOP,
    prompt_logprobs: TOP,
    return_token_ids: true,
  };
  const { choices } = await json("v1/completions", { method: "POST", body, signal });
  const [{ logprobs, prompt_logprobs: candidates, prompt_token_ids: ids }] = choices;
  const pieces = ids.map(
    (id, index) => candidates[index]?.[id].decoded_token ?? logprobs.tokens[index].replace("</w>", ""),
  );
  return tokenPlaces(pieces, text).flatMap((place, index) => {
    const logProb = logprobs.token_logprobs[index];
    if (!place || logProb === null) return [];
    const bits = -logProb / Math.LN2;
    const own = logprobs.tokens[index];
    const others = alternatives(logprobs.top_logprobs[index], candidates[index]);
    const more = others.findIndex(({ name }) => name === own);
    return [
      {
        ...place,
        bits,
        level: STEPS.filter((step) => bits >= step).length,
        rank: more < TOP ? more + 1 : null,
        beginsWord: logprobs.tokens[index - 1].endsWith("</w>"),
        alternatives: others.slice(0, TOP),
        ids,
        index,
        model,
      },
    ];
  });
}

/** Entries of the vocabulary and their texts come apart; equal log-probabilities join them. */
function alternatives(top, candidates) {
  const names = Object.entries(top).sort(([, one], [, other]) => other - one);
  const texts = Object.values(candidates).sort((one, other) => other.logprob - one.logprob);
  return names.slice(0, texts.length).map(([name, logProb], index) => ({
    name,
    text: texts[index].decoded_token,
    probability: Math.exp(logProb),
    endsWord: name.endsWith("</w>"),
  }));
}
