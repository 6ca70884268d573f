// A line of the list: a message, or a gap.

import { make } from "./dom.js";

/** @import { Gap, Message } from "./api.js" */

// Made once: a formatter costs more than a thousand of its uses.
const TIME = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const DAY_AND_TIME = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

/** @type {Record<string, string>} */
const REASONS = {
  trimmed: "they were no longer retained",
  epoch: "the server’s log was started anew or restored",
  future: "the server’s log does not reach as far as this page had read",
  malformed: "the server could not read where this page had left off",
};

/** @param {Message} message */
export function messageLine(message) {
  const { id, user, text, data } = message;
  const line = make("li", "message", avatar(user), meta(message));
  line.dataset.id = id;
  line.style.setProperty("--hue", String(hue(user)));
  if (text !== undefined) line.append(paragraph(text));
  if (data !== undefined) line.append(details(data, text === undefined));
  return line;
}

/** @param {Gap} gap */
export function gapLine({ lost_at_most: lost, reason }) {
  const why = REASONS[reason] ?? reason;
  if (lost === null) return make("li", "gap", `Messages may have been lost here: ${why}.`);
  const messages = lost === 1 ? "1 message was" : `${lost.toLocaleString()} messages were`;
  return make("li", "gap", `Up to ${messages} lost here, ${why}.`);
}

/** @param {Message} message */
function meta({ user, timestamp, type }) {
  const line = make("div", "meta", make("bdi", "user", user), time(timestamp));
  if (type !== undefined) line.append(make("bdi", "type", type));
  return line;
}

/** @param {string} user */
function avatar(user) {
  const circle = make("span", "avatar", (Array.from(user)[0] ?? "").toUpperCase());
  circle.ariaHidden = "true";
  return circle;
}

/** @param {string} text */
function paragraph(text) {
  const p = make("p", "text", text);
  p.dir = "auto";
  return p;
}

/** @param {string} timestamp */
function time(timestamp) {
  const date = new Date(timestamp);
  const today = date.toDateString() === new Date().toDateString();
  const shown = make("time", "", (today ? TIME : DAY_AND_TIME).format(date));
  shown.dateTime = timestamp;
  shown.title = FULL.format(date);
  return shown;
}

/**
 * @param {unknown} data
 * @param {boolean} open
 */
function details(data, open) {
  const pretty = make("pre", "", JSON.stringify(data, null, 2));
  pretty.tabIndex = 0; // long data scrolls, with the keyboard too
  const made = make("details", "data", make("summary", "", "data"), pretty);
  made.open = open;
  return made;
}

/**
 * The same colour for the same name on every page, and a distant one for `user2` than for `user1`.
 * @param {string} user
 */
function hue(user) {
  let hash = 0;
  for (const letter of user) hash = (hash * 31 + (letter.codePointAt(0) ?? 0)) % 9973;
  return (hash * 137) % 360;
}
