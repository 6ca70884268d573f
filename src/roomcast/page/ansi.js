// Terminal colours (ECMA-48, SGR), as in the logs of builds. All other sequences are removed.

import { make } from "./dom.js";

const SEQUENCE = /\x1b(?:\[([\d;:]*)m|\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|\[[\d;:]*$|$)/g;
/** @type {Record<number, string>} */
const STYLES = { 1: "bold", 2: "dim", 3: "italic", 4: "under", 7: "inverse", 9: "struck" };
/** The codes that end styles. @type {Record<number, string[]>} */
const ENDS = { 22: ["bold", "dim"], 23: ["italic"], 24: ["under"], 27: ["inverse"], 29: ["struck"] };

/** @typedef {{styles: Set<string>, colour: string, ground: string}} Pen */

/**
 * Whether a text has control sequences of a terminal, such as those of colours.
 * @param {string} text
 * @returns {boolean}
 */
export function isColoured(text) {
  return text.includes("\x1b[");
}

/**
 * The text without any sequences.
 * @param {string} text
 * @returns {string}
 */
export function plain(text) {
  return text.replaceAll(SEQUENCE, "");
}

/**
 * The nodes of a text: one span for each run of equal style.
 * @param {string} text
 * @param {(text: string) => (string | Node)[]} inside makes the nodes of one run, whose text has no sequences
 * @returns {(string | Node)[]}
 */
export function coloured(text, inside) {
  /** @type {Pen} */
  const pen = { styles: new Set(), colour: "", ground: "" };
  /** @type {(string | Node)[]} */
  const parts = [];
  let at = 0;
  for (const { 0: found, 1: codes, index } of text.matchAll(SEQUENCE)) {
    parts.push(...written(pen, inside(text.slice(at, index))));
    at = index + found.length;
    if (codes !== undefined) turn(pen, codes.split(/[;:]/).map(Number));
  }
  return [...parts, ...written(pen, inside(text.slice(at)))];
}

/**
 * @param {Pen} pen
 * @param {(string | Node)[]} parts
 */
function written({ styles, colour, ground }, parts) {
  if (!(styles.size || colour || ground) || !parts.some(Boolean)) return parts;
  const span = make("span", [...styles, colour && "colour", ground && "ground"].filter(Boolean).join(" "), ...parts);
  if (colour) span.style.setProperty("--colour", colour);
  if (ground) span.style.setProperty("--ground", ground);
  return [span];
}

/**
 * @param {Pen} pen
 * @param {number[]} codes
 */
function turn(pen, codes) {
  for (let at = 0; at < codes.length; at += 1) {
    const code = codes[at] ?? 0;
    if (code === 0) Object.assign(pen, { styles: new Set(), colour: "", ground: "" });
    else if (STYLES[code]) pen.styles.add(STYLES[code]);
    else if (ENDS[code]) for (const style of ENDS[code]) pen.styles.delete(style);
    else if (code === 38 || code === 48) {
      const [colour, taken] = mixed(codes.slice(at + 1));
      pen[code === 38 ? "colour" : "ground"] = colour;
      at += taken;
    } else if (code >= 30 && code <= 39) pen.colour = named(code - 30);
    else if (code >= 40 && code <= 49) pen.ground = named(code - 40);
    else if (code >= 90 && code <= 97) pen.colour = named(code - 90);
    else if (code >= 100 && code <= 107) pen.ground = named(code - 100);
  }
}

/** One of eight colours; 9 is the default one. @param {number} n */
function named(n) {
  return n > 7 ? "" : (["gray", "red", "green", "#b58900", "#36f", "#c3c", "#0aa", "gray"][n] ?? "");
}

/**
 * One of 256 colours, or an RGB colour, and the number of codes that it takes.
 * @param {number[]} codes
 * @returns {[string, number]}
 */
function mixed([kind, a = 0, b = 0, c = 0]) {
  if (kind === 2) return [`rgb(${a} ${b} ${c})`, 4];
  if (a < 16) return [named(a % 8), 2];
  if (a > 231) return ["gray", 2];
  const [red, green, blue] = [Math.floor((a - 16) / 36), Math.floor((a - 16) / 6) % 6, (a - 16) % 6];
  return [`rgb(${red * 51} ${green * 51} ${blue * 51})`, 2];
}
