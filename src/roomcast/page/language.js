/** The language of the page, its dates and its numbers: the first of the browser's that is English or German. */
export const language = navigator.languages.find((one) => /^(de|en)\b/i.test(one)) ?? "en";

/**
 * A number in the page's language.
 * @param {number} n
 * @returns {string}
 */
export function number(n) {
  return n.toLocaleString(language);
}

/** A date and a time, to the second. */
export const TIME = new Intl.DateTimeFormat(language, { dateStyle: "short", timeStyle: "medium" });

const STEPS = /** @type {const} */ ([[86_400_000, "day"], [3_600_000, "hour"], [60_000, "minute"], [1000, "second"]]);

/**
 * A duration in the largest unit that fits, from days to seconds.
 * @param {number} ms
 * @returns {string}
 */
export function span(ms) {
  const [size, unit] = STEPS.find(([each]) => ms >= each) ?? [1000, "second"];
  return new Intl.NumberFormat(language, { style: "unit", unit, unitDisplay: "short" }).format(Math.round(ms / size));
}
