/**
 * Finds the tokens of a model in the text as the writer typed it.
 *
 * A tokenizer may lower-case text, replace typographic signs, and split or join spaces. So both are
 * compared folded, without white space. What is not found has no place.
 */

const FOLDED = { "“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "–": "-", "—": "-", "…": "..." };
const FAR = 40; // characters that may be skipped to find a token

/** Places of the pieces in a text: for each {start, end}, or null. */
export function tokenPlaces(pieces, text) {
  const { folded, starts, ends } = fold(text);
  let at = 0;
  return pieces.map((piece) => {
    const wanted = fold(piece).folded;
    if (wanted === "") return null;
    const found = folded.slice(at, at + FAR + wanted.length).indexOf(wanted);
    if (found < 0) return null;
    const first = at + found;
    at = first + wanted.length;
    return { start: starts[first], end: ends[at - 1] };
  });
}

/**
 * The places of tokens after an edit, which has put `added` characters in the place of a text.
 *
 * Tokens of the words that it touches are gone. Those after them move and are `stale`: they were
 * scored after another text.
 */
export function movedTokens(tokens, text, start, removed, added) {
  if (tokens.length === 0) return tokens; // a word without end takes time
  let [first, last] = [start, start + added]; // the words that the edit touches
  const isWord = (sign) => sign !== undefined && /\S/u.test(sign);
  if (isWord(removed[0]) || isWord(text[first])) {
    while (isWord(text[first - 1])) first -= 1;
  }
  if (isWord(removed.at(-1)) || isWord(text[last - 1])) {
    while (isWord(text[last])) last += 1;
  }
  const shift = added - removed.length;
  return tokens.flatMap((token) => {
    if (token.end <= first) return [token];
    const moved = { ...token, start: token.start + shift, end: token.end + shift, stale: true };
    return moved.start >= last ? [moved] : [];
  });
}

function fold(text) {
  let folded = "";
  const starts = [];
  const ends = [];
  let at = 0;
  for (const sign of text) {
    const plain = (FOLDED[sign] ?? sign.toLowerCase().normalize("NFKC")).replace(/\s/gu, "");
    for (let index = 0; index < plain.length; index += 1) {
      starts.push(at);
      ends.push(at + sign.length);
    }
    folded += plain;
    at += sign.length;
  }
  return { folded, starts, ends };
}
