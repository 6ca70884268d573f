// Untrusted text as elements. It becomes nothing but text nodes, and links that lead where their text says.

import { coloured, isColoured } from "./ansi.js";
import { button, make } from "./dom.js";
import { strings } from "./strings.js";

/** Texts of more characters or lines are folded: laying out 64 KiB takes longer than a frame. */
const LONG = 1500;
const MANY_LINES = /^(?:[^\n]*\n){24}/;

/** Up to white space, quotes, and all that is invisible or changes the direction: a link shows where it leads. */
const LINK = /\bhttps?:\/\/[^\s<>"'`\p{C}\u200b-\u200f\u2028-\u202e\u2060-\u206f]+/giu;
/** Code between fences; an unclosed fence extends to the end. */
const FENCED = /(?:^|\n)```[^\n`]*\n([^]*?)(?:\n?```[ \t]*(?:\n|$)|$)/g;
const VISIBLE = /[^\s\p{C}\p{M}\p{Z}\u115f\u1160\u3164\uffa0]/u;

/**
 * The elements of a message's text; a long one has a button that shows the rest.
 * @param {string} text
 * @param {{whole?: boolean}} item keeps whether it is unfolded, since its element goes when it is out of sight
 * @returns {HTMLElement[]}
 */
export function paragraph(text, item) {
  const p = make("div", isColoured(text) ? "text terminal" : "text");
  p.dir = "auto";
  const end = item.whole ? text.length : folded(text);
  p.append(...written(text.slice(0, end)));
  if (item.whole && folded(text) < text.length) p.tabIndex = 0; // it scrolls
  if (end === text.length) return [p];
  p.append("…");
  const more = button("more", unfold, strings.showAll(text.length));
  function unfold() {
    item.whole = true;
    const whole = paragraph(text, item);
    more.remove();
    p.replaceWith(...whole);
    whole[0]?.focus();
  }
  return [p, more];
}

/**
 * The name, or a text in its place if no character of it can be seen.
 * @param {string} name
 * @returns {string}
 */
export function visible(name) {
  return VISIBLE.test(name) ? name : strings.invisible;
}

/**
 * How much of a text is shown at first.
 * @param {string} text
 */
function folded(text) {
  const end = (MANY_LINES.exec(text)?.[0].length ?? text.length + 1) - 1;
  if (end <= LONG) return end;
  // Not between the two halves of one character.
  return /[\ud800-\udbff]/.test(text[LONG - 1] ?? "") ? LONG - 1 : Math.min(LONG, text.length);
}

/** @param {string} text */
function written(text) {
  /** @type {(string | Node)[]} */
  const parts = [];
  let at = 0;
  for (const { 0: found, 1: code = "", index } of text.matchAll(FENCED)) {
    const shown = make("pre", "code", ...coloured(code, (inside) => [inside]));
    shown.tabIndex = 0; // long lines scroll, with the keyboard too
    parts.push(...coloured(text.slice(at, index), linked), shown);
    at = index + found.length;
  }
  return [...parts, ...coloured(text.slice(at), linked)];
}

/** @param {string} text */
function linked(text) {
  /** @type {(string | Node)[]} */
  const parts = [];
  let at = 0;
  for (const { 0: found, index } of text.matchAll(LINK)) {
    const shown = trimmed(found);
    const href = safe(shown);
    if (!href) continue;
    parts.push(text.slice(at, index), link(href, shown));
    at = index + shown.length;
  }
  return [...parts, text.slice(at)];
}

/**
 * Without the sentence's punctuation, and a bracket that was opened before the link.
 * @param {string} url
 * @returns {string}
 */
function trimmed(url) {
  const end = url.replace(/[.,;:!?…]+$/u, "");
  const [opened, closed] = [end.split(/[([{]/).length, end.split(/[)\]}]/).length];
  return /[)\]}]$/.test(end) && closed > opened ? trimmed(end.slice(0, -1)) : end;
}

/** @param {string} url */
function safe(url) {
  if (!URL.canParse(url)) return undefined;
  const { protocol, username, password, href } = new URL(url);
  // https://bank.example@evil.example/ leads to evil.example.
  return /^https?:$/.test(protocol) && !username && !password ? href : undefined;
}

/**
 * @param {string} href
 * @param {string} shown
 */
function link(href, shown) {
  const a = make("a", "", shown);
  a.href = href;
  a.target = "_blank";
  a.rel = "noopener noreferrer nofollow";
  a.dir = "ltr";
  // Letters of another alphabet may look like those of a well-known name.
  if (/[^\0-\x7f]/.test(shown)) a.title = href;
  return a;
}
