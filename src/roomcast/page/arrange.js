// The rooms in display order: pinned ones, then the others by name or activity, grouped by common prefixes. During a
// search: the rooms that match, the best first.

import { lastIndex } from "./layout.js";
import { language } from "./language.js";

/** @import { Room } from "./room.js" */

/**
 * A row of the list: a room, or the common prefix of several. `short`: the room's name without the prefix.
 * @typedef {{room: Room, short: boolean} | {prefix: string, rooms: Room[], folded: boolean}} Row
 */
/** @typedef {{sort: string, pins: Set<string>, folded: Set<string>}} Preferences */

/** Fewer new rooms than this are inserted one by one. */
const FEW = 50;
/** The most prefixes shown above the matching rooms. */
const MAX_GROUPS = 3;
/** Made once: `localeCompare` with a language makes a new one for each comparison. */
const ORDER = new Intl.Collator(language, { numeric: true });

/**
 * The rows of a search: up to three common prefixes that match, folded, then the rooms that match, the best first.
 * @param {Iterable<Room>} rooms
 * @param {string} typed
 * @returns {Row[]}
 */
export function matching(rooms, typed) {
  const wanted = typed.toLowerCase();
  const found = [...rooms].map((room) => ({ room, short: false, score: fit(room.name.toLowerCase(), wanted) }));
  const fitting = found.filter(({ score }) => score).sort((a, b) => b.score - a.score);
  const groups = grouped(fitting.map(({ room }) => room)).filter(({ prefix }) => prefix && fit(prefix.toLowerCase(), wanted));
  return [...groups.slice(0, MAX_GROUPS).map((group) => ({ ...group, folded: true })), ...fitting];
}

/** The rooms by name. Comparing names in a language is slow, so of 10,000 rooms only new ones are sorted in. */
export class Order {
  /** @type {Room[]} */
  #rooms = [];
  #version = -1;

  /**
   * The rooms of a map, sorted. With the version of the last call it returns the same array.
   * @param {Map<string, Room>} all
   * @param {number} version differs whenever the map's keys do
   * @returns {Room[]} to be read only
   */
  of(all, version) {
    if (version === this.#version) return this.#rooms;
    this.#version = version;
    const present = this.#rooms.filter((room) => all.get(room.name) === room);
    const known = new Set(present);
    const fresh = [...all.values()].filter((room) => !known.has(room));
    if (fresh.length < FEW) for (const room of fresh) present.splice(place(present, room), 0, room);
    // They are almost sorted, so few comparisons are left.
    else present.push(...fresh.sort((a, b) => (a.name < b.name ? -1 : 1)));
    this.#rooms = fresh.length < FEW ? present : present.sort(byName);
    return this.#rooms;
  }
}

/**
 * @param {Room[]} rooms by name
 * @param {Room} room
 */
function place(rooms, room) {
  return lastIndex(rooms.length + 1, (index) => byName(/** @type {Room} */ (rooms[index - 1]), room) < 0);
}

/**
 * The rows without a search: pinned rooms, then the others in their groups.
 * @param {Room[]} rooms by name
 * @param {Preferences} preferences
 * @returns {Row[]}
 */
export function arranged(rooms, { sort, pins, folded }) {
  const all = sort === "activity" ? byActivity(rooms) : rooms;
  const pinned = all.filter(({ name }) => pins.has(name));
  const groups = grouped(all.filter(({ name }) => !pins.has(name)));
  return [...pinned.map((room) => ({ room, short: false })), ...groups.flatMap((group) => rowsOf(group, folded))];
}

/** @param {Room[]} rooms */
function byActivity(rooms) {
  return rooms
    .map((room) => ({ room, activity: room.activity }))
    .sort((a, b) => b.activity - a.activity)
    .map(({ room }) => room);
}

/** @param {Room} a @param {Room} b */
function byName(a, b) {
  return ORDER.compare(a.name, b.name);
}

/** Each group stands where its first room would; a single room is no group. @param {Room[]} rooms */
function grouped(rooms) {
  /** @type {Map<string, Room[]>} */
  const groups = new Map();
  for (const room of rooms) {
    const prefix = prefixOf(room.name);
    const group = groups.get(prefix);
    if (group) group.push(room);
    else groups.set(prefix, [room]);
  }
  return [...groups].flatMap(([prefix, members]) =>
    prefix && members.length > 1 ? [{ prefix, rooms: members }] : members.map((room) => ({ prefix: "", rooms: [room] })),
  );
}

/**
 * @param {{prefix: string, rooms: Room[]}} group
 * @param {Set<string>} folded
 * @returns {Row[]}
 */
function rowsOf({ prefix, rooms }, folded) {
  const members = rooms.map((room) => ({ room, short: Boolean(prefix) }));
  if (!prefix) return members;
  const isFolded = folded.has(prefix);
  return [{ prefix, rooms, folded: isFolded }, ...(isFolded ? [] : members)];
}

/**
 * The name up to and including the last slash that stands between two characters; "" if there is none.
 * @param {string} name
 * @returns {string}
 */
export function prefixOf(name) {
  const at = name.lastIndexOf("/", name.length - 2);
  return at > 0 ? name.slice(0, at + 1) : "";
}

/**
 * How well a name matches the typed letters, which it must have in their order; adjacent letters and beginnings of words
 * score best. 0 if it does not match.
 * @param {string} name in lower case
 * @param {string} typed in lower case
 */
function fit(name, typed) {
  const at = name.indexOf(typed);
  if (at >= 0) return 2000 - Math.min(at, 500) - Math.min(name.length, 400) + (at === 0 || isEdge(name, at) ? 1000 : 0);
  let [score, from] = [1000 - Math.min(name.length, 400), -1];
  for (const letter of typed.replaceAll(/\s/g, "")) {
    const found = name.indexOf(letter, from + 1);
    if (found < 0) return 0;
    score -= isEdge(name, found) ? 0 : Math.min(found - from - 1, 20);
    from = found;
  }
  return Math.max(1, score);
}

/**
 * @param {string} name
 * @param {number} at
 */
function isEdge(name, at) {
  return /[\s/._:-]/.test(name[at - 1] ?? "/");
}
