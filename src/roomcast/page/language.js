/** The language of the page, and of its dates and numbers: the first of the browser's that it speaks. */
export const language = navigator.languages.find((one) => /^(de|en)\b/i.test(one)) ?? "en";

/** @param {number} n */
export function number(n) {
  return n.toLocaleString(language);
}
