// The rows of a room that are shown: those that match the search and, while paused, those from before the pause.

import { Query } from "./query.js";

/** @import { Item, Room } from "./room.js" */

/** The rows of one room. A change of room makes a new view. */
export class View {
  #room;
  #query = new Query("");
  /** The last row before the pause. @type {Item | undefined} */
  #last;
  /** Whether rows that come now are hidden. */
  isPaused = false;
  /** The number of matching messages, and of all. */
  counts = { fit: 0, all: 0 };

  /** @param {Room} room */
  constructor(room) {
    this.#room = room;
  }

  /** Whether a search is under way, so that rows may be left out. */
  get isFiltered() {
    return !this.#query.isEmpty;
  }

  /** Shows only the messages that match. @param {string} typed the search; "" shows all */
  search(typed) {
    this.#query = new Query(typed);
  }

  /** Hides the rows that come from now on, or shows them again. @param {boolean} on */
  pause(on) {
    this.isPaused = on;
    this.#last = on ? this.#room.items.at(-1) : undefined;
  }

  /** How many messages have come since the pause. */
  get waiting() {
    return this.#room.items.slice(this.#end).filter(({ kind }) => kind === "message").length;
  }

  /** The shown rows, oldest first. While a search is under way it also updates `counts`. */
  get items() {
    const { items } = this.#room;
    const present = this.isPaused ? items.slice(0, this.#end) : items;
    return this.isFiltered ? this.#fitting(present) : present;
  }

  /** How many rows there were before the pause. */
  get #end() {
    const { items } = this.#room;
    return this.isPaused ? items.lastIndexOf(/** @type {Item} */ (this.#last)) + 1 : items.length;
  }

  /** @param {Item[]} items */
  #fitting(items) {
    /** @type {Item[]} */
    const shown = [];
    this.counts = { fit: 0, all: 0 };
    /** Shown only if a row follows it. @type {Item | undefined} */
    let day;
    for (const item of items) {
      if (item.kind === "day") day = item;
      else if (item.kind !== "message") shown.push(item);
      else if (this.#fits(item)) {
        if (day) shown.push(day);
        shown.push(item);
        day = undefined;
      }
    }
    return shown;
  }

  /** Each row is matched once per query. @param {Item & {kind: "message"}} item */
  #fits(item) {
    if (item.query !== this.#query) {
      item.query = this.#query;
      item.fits = this.#query.fits(item.message);
    }
    this.counts.all += 1;
    if (item.fits) this.counts.fit += 1;
    return Boolean(item.fits);
  }
}
