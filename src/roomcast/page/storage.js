// The memory of this browser. Storage that is switched off or full throws; the page works without it.

/** Of this browser: name, theme, rooms, what was read. */
export const browser = /** @type {const} */ ("localStorage");
/** Of this tab, over reloads: drafts, and what is being sent. */
export const tab = /** @type {const} */ ("sessionStorage");

/**
 * @template T
 * @param {typeof browser | typeof tab} where
 * @param {string} name
 * @param {T} otherwise
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
 * @param {typeof browser | typeof tab} where
 * @param {string} name
 * @param {unknown} value
 */
export function remember(where, name, value) {
  try {
    globalThis[where].setItem(`roomcast.${name}`, JSON.stringify(value));
  } catch {}
}
