// A row of the list: a message, one that is on its way, a gap, or a new day.

import { density } from "./density.js";
import { button, make } from "./dom.js";
import { data as dataOf } from "./json.js";
import { language } from "./language.js";
import { paragraph, visible } from "./text.js";
import { strings } from "./strings.js";

/** @import { Item } from "./room.js" */
/** @import { Entry } from "./outbox.js" */

/**
 * The actions of a row's buttons.
 * @typedef {object} Actions
 * @property {() => void} retry
 * @property {(entry: Entry) => void} edit
 * @property {(entry: Entry) => void} discard
 * @property {() => boolean} several whether the list shows several rooms
 */

// Made once: a formatter costs more than a thousand of its uses.
const TIME = new Intl.DateTimeFormat(language, { timeStyle: "short" });
const EXACT = new Intl.DateTimeFormat("en-GB", {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  fractionalSecondDigits: 3,
});
const FULL = new Intl.DateTimeFormat(language, { dateStyle: "full", timeStyle: "long" });
const DAY = new Intl.DateTimeFormat(language, { dateStyle: "full" });
/** A message within these ms of the author's last one continues it. */
const TOGETHER_MS = 300_000;

/**
 * The element of an item, made anew at each call.
 * @param {Item} item
 * @param {Actions} actions
 * @returns {HTMLLIElement}
 */
export function rowOf(item, actions) {
  if (item.kind === "message") return messageRow(item, item.message, actions);
  if (item.kind === "pending") return pendingRow(item, item.entry, actions);
  if (item.kind === "gap") return make("li", "row gap", make("p", "", strings.gap(item.gap)));
  if (item.kind === "start") return make("li", "row start", strings.noOlder);
  return make("li", "row day", make("span", "", dayName(item.timestamp)));
}

/**
 * Whether a row continues the one before it: its name and picture are not repeated.
 * @param {Item} item
 * @param {Item} [before]
 * @returns {boolean}
 */
export function joins(item, before) {
  const [one, other] = [said(item), said(before)];
  if (!one || !other || one.user !== other.user || one.room !== other.room || one.type !== undefined || other.type !== undefined) return false;
  return Date.parse(one.timestamp) - Date.parse(other.timestamp) < TOGETHER_MS;
}

/**
 * @param {Item} [item]
 * @returns {{user: string, room: string, timestamp: string, type?: string} | undefined}
 */
function said(item) {
  if (item?.kind === "message") return item.message;
  return item?.kind === "pending" ? item.entry : undefined;
}

/**
 * @param {Item} item
 * @param {import("../roomcast.js").Message} message
 * @param {Actions} actions
 */
function messageRow(item, { id, room, user, timestamp, text, type, data }, actions) {
  const body = make("div", "body");
  const row = make("li", item.isNew ? "row message new" : "row message", avatar(user), meta(user, timestamp, type, actions.several() ? room : ""), body);
  row.dataset.id = id;
  row.tabIndex = -1; // reached with the arrow keys
  if (item.isNew) row.addEventListener("animationend", () => (item.isNew = false));
  if (text !== undefined) body.append(...paragraph(text, item));
  if (data !== undefined) body.append(dataOf(String(data), item));
  return row;
}

/**
 * @param {Item} item
 * @param {Entry} entry
 * @param {Actions} actions
 */
function pendingRow(item, entry, actions) {
  const body = make("div", "body", ...(entry.text === undefined ? [] : paragraph(entry.text, item)));
  if (entry.data !== undefined) body.append(dataOf(entry.data, item));
  body.append(status(entry, actions));
  return make("li", "row message pending", avatar(entry.user), meta(entry.user, entry.timestamp, entry.type), body);
}

/**
 * @param {Entry} entry
 * @param {Actions} actions
 */
function status(entry, actions) {
  const line = make("div", "status");
  if (entry.refused) {
    line.classList.add("bad");
    line.append(make("span", "", strings.refused(entry.refused.message)));
    line.append(button("small", () => actions.edit(entry), strings.edit), button("small", () => actions.discard(entry), strings.discard));
  } else if (entry.until) {
    const seconds = Math.max(0, Math.ceil((entry.until - Date.now()) / 1000));
    line.append(make("span", "", strings.because(`${strings.notSent}, ${strings.countdown(seconds)}`, entry.why ?? "")));
    line.append(button("small", actions.retry, strings.again), button("small", () => actions.edit(entry), strings.cancel));
  } else line.append(make("span", "", entry.id ? strings.sent : strings.pending));
  return line;
}

/**
 * @param {string} user
 * @param {string} timestamp
 * @param {string} [type]
 * @param {string} [room]
 */
function meta(user, timestamp, type, room) {
  const name = make("bdi", "user", visible(user));
  const line = make("div", "meta", coloured(name, user), time(timestamp));
  if (room) line.append(from(room));
  if (type !== undefined) line.append(tag(type));
  return line;
}

/** A link to the room that a message is from. @param {string} room */
function from(room) {
  const link = make("a", "from", make("bdi", "", visible(room)));
  link.href = `?${new URLSearchParams({ room })}`;
  link.dataset.room = room;
  return link;
}

/** The coloured tag of a message's type. @param {string} type @returns {HTMLElement} */
export function tag(type) {
  const made = coloured(make("bdi", "type", visible(type)), type);
  made.dataset.type = type;
  return made;
}

/** @param {string} user */
function avatar(user) {
  const circle = make("span", "avatar", (Array.from(user)[0] ?? "").toUpperCase());
  circle.ariaHidden = "true";
  return coloured(circle, user);
}

/** @param {string} timestamp */
function time(timestamp) {
  const date = new Date(timestamp);
  const [, clock = "", half = ""] = /^(\S+)(.*)/.exec((density.name === "log" ? EXACT : TIME).format(date)) ?? [];
  const shown = make("time", "", clock, make("span", "half-day", half));
  shown.dateTime = timestamp;
  shown.title = FULL.format(date);
  return shown;
}

/** @param {string} timestamp */
function dayName(timestamp) {
  const date = new Date(timestamp);
  const now = new Date();
  if (date.toDateString() === now.toDateString()) return strings.today;
  now.setDate(now.getDate() - 1);
  return date.toDateString() === now.toDateString() ? strings.yesterday : DAY.format(date);
}

/**
 * @param {HTMLElement} shown
 * @param {string} name
 */
function coloured(shown, name) {
  shown.style.setProperty("--hue", String(hue(name)));
  return shown;
}

/**
 * The same colour for the same name on every page; `user1` and `user2` get distant ones.
 * @param {string} user
 */
function hue(user) {
  let hash = 0;
  for (const letter of user) hash = (hash * 31 + (letter.codePointAt(0) ?? 0)) % 9973;
  return (hash * 137) % 360;
}
