// The memory of this browser. Storage that is switched off or full throws; the page works without it.

/** Shared by all tabs of this browser: name, theme, rooms, ids that were read. */
export const browser = /** @type {const} */ ("localStorage");
/** Of this tab, also after a reload: drafts, and messages that are being sent. */
export const tab = /** @type {const} */ ("sessionStorage");

/**
 * The stored value of a name.
 * @template T
 * @param {typeof browser | typeof tab} where
 * @param {string} name
 * @param {T} otherwise the result if nothing is stored, or storage is refused
 * @returns {T}
 */
export function recall(where, name, otherwise) {
  try {
    return JSON.parse(globalThis[where].getItem(`roomcast.${name}`) ?? "null") ?? otherwise;
  } catch {
    return otherwise;
  }
}

/**
 * Stores a value, unless storage is refused or full.
 * @param {typeof browser | typeof tab} where
 * @param {string} name
 * @param {unknown} value becomes JSON
 */
export function remember(where, name, value) {
  try {
    globalThis[where].setItem(`roomcast.${name}`, JSON.stringify(value));
  } catch {}
}
