// The page's texts in English or German, by the browser's language: only one of the two is fetched. `strings` has the
// texts that scripts set. index.html is in English, so German also has `fixed`, its translation.

import { language } from "./language.js";

/** @type {Promise<{strings: typeof import("./english.js").strings, fixed?: Record<string, string>}>} */
const module = import(/^de/i.test(language) ? "./german.js" : "./english.js");
export const { strings, fixed } = await module;

/** Translates index.html: the text, the label or the placeholder of each element that names one. */
export function translate() {
  document.documentElement.lang = language;
  if (!fixed) return;
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = textOf(element, "data-text");
  for (const element of document.querySelectorAll("[data-label]")) element.ariaLabel = textOf(element, "data-label");
  for (const element of document.querySelectorAll("[data-hint]")) element.setAttribute("placeholder", textOf(element, "data-hint"));
}

/**
 * @param {Element} element
 * @param {string} attribute
 */
function textOf(element, attribute) {
  return fixed?.[element.getAttribute(attribute) ?? ""] ?? "";
}
