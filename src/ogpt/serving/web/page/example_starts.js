/** Beginnings for a page that is still empty. */

export const STARTS = Object.freeze([
  "The lighthouse had been dark for eleven years when someone lit the lamp.",
  "Every clock in the house stopped at a different hour, and my grandmother knew why.",
  "\"You have come a long way,\" said the ferryman, \"to ask me something so small.\"",
  "On the first morning of the strike, the bakers still woke at three.",
  "She kept the letter for a year before she opened it.",
  "The map showed a village where there was only the lake.",
  "Nobody in our street had ever seen the new neighbour by daylight.",
  "It was the last train north, and the man opposite me was reading my diary.",
  "The orchard belonged to my uncle, but the bees belonged to themselves.",
  "When the river came back, it brought things that we had thrown away long ago.",
  "There were three rules in the library, and I had broken two of them by noon.",
  "The doctor looked at the picture for a long time and then asked who had painted it.",
]);

/** Whether nothing was written yet, or only a beginning was put there. */
export function isStart(text) {
  return text.trim() === "" || STARTS.includes(text);
}

/** Another beginning than the last one. */
export function nextStart(last) {
  const others = STARTS.filter((start) => start !== last);
  return others[Math.floor(Math.random() * others.length)];
}
