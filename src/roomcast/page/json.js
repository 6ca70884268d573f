// A message's data: one line of coloured JSON that opens into a tree. Every token is as it was sent, numbers to the digit.

import { button, make } from "./dom.js";
import { number } from "./language.js";
import { tokens } from "./exact.js";
import { strings } from "./strings.js";

/** Characters of the one line; more would not be visible. */
const LINE = 400;
/** Members that are shown at a time. */
const MANY = 100;

/** A value: a token, or members in brackets. @typedef {string | {opens: string, members: {key: string, value: JsonValue}[]}} JsonValue */

/**
 * A line of JSON; a click opens the tree below it.
 * @param {string} json
 * @param {{open: boolean}} item keeps whether the tree is open, since its element goes when it is out of sight
 * @returns {HTMLDivElement}
 */
export function data(json, item) {
  const line = button("json", toggle, ...coloured(json));
  const made = make("div", "data", line);
  const show = () => {
    line.ariaExpanded = String(item.open);
    if (item.open) made.append(tree(json));
    else made.querySelector(".tree")?.remove();
  };
  function toggle() {
    item.open = !item.open;
    show();
  }
  show();
  return made;
}

/**
 * The tree of a value, with its first level unfolded.
 * @param {string} json
 * @returns {HTMLDivElement}
 */
export function tree(json) {
  return make("div", "tree", valueOf(parsed(json), "", true));
}

/** @param {string} json */
function coloured(json) {
  /** @type {(string | Node)[]} */
  const parts = [];
  let length = 0;
  let before = "";
  for (const token of tokens(json)) {
    if (length > LINE) return [...parts, "…"];
    if (before === "," || before === ":") parts.push(" ");
    // A string is a key if a colon follows, which is known one token later.
    if (token === ":" && parts.at(-1) instanceof HTMLElement) /** @type {HTMLElement} */ (parts.at(-1)).className = "key";
    parts.push(leaf(token));
    length += token.length + 1;
    before = token;
  }
  return parts;
}

/** @param {string} token */
function leaf(token) {
  if (/^[,:[\]{}]$/.test(token)) return token;
  const shown = token.length > LINE ? `${token.slice(0, LINE)}…` : token;
  return make("span", token[0] === '"' ? "string" : /^[-\d]/.test(token) ? "number" : "word", shown);
}

/**
 * @param {string} json
 * @returns {JsonValue}
 */
function parsed(json) {
  /** @type {{opens: string, members: {key: string, value: JsonValue}[]}[]} */
  const open = [{ opens: "", members: [] }];
  let [key, string] = ["", ""];
  /** @param {JsonValue} value */
  const put = (value) => {
    open.at(-1)?.members.push({ key, value });
    key = "";
  };
  for (const token of [...tokens(json), ","]) {
    if (string && token !== ":") put(string);
    if (token === ":") key = string;
    string = "";
    if (token === "{" || token === "[") {
      const made = { opens: token, members: [] };
      put(made);
      open.push(made);
    } else if (token === "}" || token === "]") open.pop();
    else if (token[0] === '"') string = token;
    else if (!/^[,:]$/.test(token)) put(token);
  }
  return open[0]?.members[0]?.value ?? "";
}

/**
 * @param {JsonValue} value
 * @param {string} key
 * @param {boolean} unfolded
 * @returns {HTMLElement}
 */
function valueOf(value, key, unfolded) {
  const name = key ? [make("span", "key", key), ": "] : [];
  if (typeof value === "string") return make("div", "leaf", ...name, whole(value));
  const { opens, members } = value;
  const closes = opens === "{" ? "}" : "]";
  if (!members.length) return make("div", "leaf", ...name, opens + closes);
  const summary = make("summary", "", ...name, opens, make("small", "", `${number(members.length)}`), closes);
  const made = make("details", "", summary);
  made.open = unfolded;
  const fill = () => made.open && made.childElementCount === 1 && more(made, members, 0, opens === "[");
  made.addEventListener("toggle", fill);
  fill();
  return made;
}

/** A leaf with all of its letters. @param {string} token */
function whole(token) {
  const made = leaf(token);
  if (made instanceof HTMLElement) made.textContent = token;
  return made;
}

/**
 * @param {HTMLElement} into
 * @param {{key: string, value: JsonValue}[]} members
 * @param {number} from
 * @param {boolean} isList
 */
function more(into, members, from, isList) {
  const shown = members.slice(from, from + MANY);
  into.append(...shown.map(({ key, value }, at) => valueOf(value, isList ? String(from + at) : key, false)));
  const rest = members.length - from - shown.length;
  if (!rest) return;
  const next = button("more", append, strings.moreMembers(rest));
  function append() {
    next.remove();
    more(into, members, from + MANY, isList);
  }
  into.append(next);
}
