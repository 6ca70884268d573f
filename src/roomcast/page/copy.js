// Texts with a button that copies them.

import { button, make, scrolling } from "./dom.js";
import { strings } from "./strings.js";

/** How long a button says that it has copied, in ms. */
const COPIED_MS = 2000;

/**
 * A button that copies a text.
 * @param {string} title of the button
 * @param {() => string} text called at each click
 * @param {Node} [shown] selected if a script may not copy (without TLS), so that the reader can copy with the keyboard
 * @returns {HTMLButtonElement}
 */
export function copyButton(title, text, shown) {
  const made = button("small copy", copy, title);
  async function copy() {
    if (await write(text(), shown ?? made)) made.textContent = strings.copied;
    setTimeout(() => (made.textContent = title), COPIED_MS);
  }
  return made;
}

/**
 * @param {string} text
 * @param {Node} shown
 */
async function write(text, shown) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    if (shown instanceof HTMLButtonElement) prompt("", text);
    else getSelection()?.selectAllChildren(shown);
    return false;
  }
}

/**
 * A title, the lines, and the button that copies them.
 * @param {string} title
 * @param {string} text
 * @returns {HTMLElement}
 */
export function snippet(title, text) {
  const code = scrolling(make("code", "", text));
  const copy = copyButton(strings.copy, () => text, code);
  copy.ariaLabel = `${strings.copy}: ${title}`;
  return make("section", "snippet", make("b", "", title), copy, code);
}
