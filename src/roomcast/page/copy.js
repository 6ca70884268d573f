// Texts with a button that copies them.

import { make } from "./dom.js";
import { words } from "./words.js";

const TOLD_MS = 2000;

/**
 * @param {string} title
 * @param {() => string} text
 * @param {Node} [shown] is selected, for the keys, where copying is not allowed (no TLS)
 */
export function copyButton(title, text, shown) {
  const button = make("button", "small copy", title);
  button.type = "button";
  button.addEventListener("click", async () => {
    const copied = await put(text(), shown ?? button);
    button.textContent = copied ? words.copied : title;
    setTimeout(() => (button.textContent = title), TOLD_MS);
  });
  return button;
}

/**
 * @param {string} text
 * @param {Node} shown
 */
async function put(text, shown) {
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
 */
export function snippet(title, text) {
  const code = make("pre", "", make("code", "", text));
  code.tabIndex = 0; // long lines scroll, with the keyboard too
  const copy = copyButton(words.copy, () => text, code);
  copy.ariaLabel = `${words.copy}: ${title}`;
  return make("section", "snippet", make("h3", "", title), copy, code);
}
