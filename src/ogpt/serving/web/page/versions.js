/**
 * Versions of a document: which saves of which tabs are part of each (a version vector).
 *
 * Of many tabs, the first ones become one entry, named after a hash of their entries. A version that
 * has all of these, and nothing else, is still known to be part of it; of any other one this is not
 * certain, so that its text is kept apart.
 */

const TABS = 50; // entries of a version, at most
const BASES = 20; // versions on which texts are joined, at most
const FOLDED = "folded-";

/** Whether a version is based on another one, or is the same. */
export function includes(version, other) {
  if (Object.keys(other.seen ?? {}).length === 0) return false;
  const left = missing(version, other);
  return left.length === 0 || version.seen?.[nameOf(left)] !== undefined;
}

/** The version that is based on two others. */
export function union({ seen }, other) {
  const both = { ...seen };
  for (const [tab, count] of Object.entries(other?.seen ?? {})) {
    both[tab] = Math.max(count, both[tab] ?? 0);
  }
  return both;
}

/** The entries of a version, of which the first ones are made one if they are too many. */
export function folded(seen) {
  const all = Object.entries(seen);
  if (all.length <= TABS) return seen;
  const first = all.splice(0, TABS / 2);
  return { [nameOf(first)]: first.length, ...Object.fromEntries(all) };
}

/** Versions that are part of the one that a page has, the last first. */
export class Bases {
  constructor(...versions) {
    this._all = versions;
  }

  add(...versions) {
    this._all = [...versions.filter(({ spans }) => spans), ...this._all].slice(0, BASES);
  }

  clear() {
    this._all = [];
  }

  /**
   * The version on which two others may be joined, of which a page has the first: words that both
   * have, and it has not, would be doubled. Undefined if none is certainly right.
   */
  common(one, other) {
    if (includes(other, one)) return one;
    return this._all.find((base) => includes(other, base) && isNewest(base, one, other));
  }
}

/** Whether two versions certainly have no save in common that `base` does not have. */
function isNewest(base, one, other) {
  if (![one, other].every((version) => isSpelledOut(version, base))) return false;
  return Object.entries(one.seen).every(
    ([tab, count]) => Math.min(count, other.seen?.[tab] ?? 0) <= (base.seen?.[tab] ?? 0),
  );
}

/** Whether `base` says what each folded entry of a version consists of. */
function isSpelledOut(version, base) {
  const names = Object.keys(version.seen ?? {}).filter((tab) => tab.startsWith(FOLDED));
  const unknown = names.filter((name) => base.seen?.[name] === undefined);
  return unknown.every((name) => name === nameOf(missing(version, base)));
}

/** The entries of one version that another one has not as such. */
function missing({ seen }, { seen: entries }) {
  return Object.entries(entries ?? {}).filter(([tab, count]) => !(seen?.[tab] >= count));
}

function nameOf(entries) {
  const text = entries.map((entry) => entry.join(" ")).toSorted().join();
  let hash = 0xcbf29ce484222325n; // FNV-1a
  for (const sign of text) {
    hash = BigInt.asUintN(64, (hash ^ BigInt(sign.codePointAt(0))) * 0x100000001b3n);
  }
  return FOLDED + hash.toString(16);
}
