// The page's texts in English or German, by the browser's language: only one language is fetched.

import { language } from "./language.js";

/** @type {Promise<typeof import("./english.js")>} */
const spoken = import(/^de/i.test(language) ? "./german.js" : "./english.js");
export const { words } = await spoken;

/** Puts the words into index.html: as the text, the label or the title of each element that names one. */
export function translate() {
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-word]")) element.textContent = word(element, "data-word");
  for (const element of document.querySelectorAll("[data-label]")) element.ariaLabel = word(element, "data-label");
  for (const element of document.querySelectorAll("[data-placeholder]")) element.setAttribute("placeholder", word(element, "data-placeholder"));
}

/**
 * @param {Element} element
 * @param {string} attribute
 */
function word(element, attribute) {
  const found = words[/** @type {keyof typeof words} */ (element.getAttribute(attribute))];
  if (typeof found !== "string") throw new Error(`no word ${element.getAttribute(attribute)}`);
  return found;
}
