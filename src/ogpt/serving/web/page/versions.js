/** Versions of a document: which saves of which tabs are part of each. */

/** Whether a version is based on another one, or is the same. */
export function includes({ seen }, { seen: other }) {
  const saves = Object.entries(other ?? {});
  return saves.length > 0 && saves.every(([tab, count]) => seen?.[tab] >= count);
}

/** The version that is based on two others. */
export function union({ seen }, other) {
  const both = { ...seen };
  for (const [tab, count] of Object.entries(other?.seen ?? {})) {
    both[tab] = Math.max(count, both[tab] ?? 0);
  }
  return both;
}

/**
 * The version on which two others may be joined: words that both have, and it has not, would be
 * doubled. `bases` may be null, and are part of `one`. Undefined if none is certainly right.
 */
export function commonBase(one, other, bases) {
  if (includes(other, one)) return one;
  return bases.find((base) => base && includes(other, base) && isNewest(base, one, other));
}

/** Whether two versions have no save in common that `base` does not have. */
export function isNewest(base, { seen }, { seen: other }) {
  return Object.entries(seen).every(
    ([tab, count]) => Math.min(count, other?.[tab] ?? 0) <= (base.seen?.[tab] ?? 0),
  );
}
