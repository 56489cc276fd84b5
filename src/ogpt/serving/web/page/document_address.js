/** Which document the address of the page names, and which one was open last in this browser. */

const LAST = "ogpt.last";

/** Id and edit key of the address, and the id of the document that was open last. */
export function addressed() {
  const [id, key] = location.hash.slice(1).split(".");
  return { id, key, last: localStorage.getItem(LAST) };
}

/** Make a document the one that the address names; `needed`: its key is nowhere else. */
export function address({ id, key }, needed) {
  history.replaceState(null, "", needed ? `#${id}.${key}` : `#${id}`);
  try {
    localStorage.setItem(LAST, id);
  } catch {
    // a full disk is reported where documents are saved
  }
}
