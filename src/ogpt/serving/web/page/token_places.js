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
