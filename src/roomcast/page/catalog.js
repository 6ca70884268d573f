// The rooms that the server lists, in pages, the most recently active first. A message changes only the first page, so
// usually only that one is read again.

import { get } from "../roomcast.js";
import { credential } from "./access.js";

/** @typedef {{room: string, newest: string | null, followers: number}} Listed */

/** The most rooms kept and shown, those with the newest messages. A stranger can make 40,000. */
const MAX_LISTED = 10_000;
const LIMIT = 1000;
/** One look in this many reads all pages: only that shows which rooms are gone. */
const WHOLE_EVERY = 20;

export class Catalog {
  /** Whether the server has more rooms than are listed. */
  more = false;
  /** @type {Map<string, Listed>} */
  #rooms = new Map();
  #reading = false;
  #looks = 0;

  /**
   * Reads what is new, or all; calls `tell` with all known rooms.
   * @param {boolean} all
   * @param {(rooms: Map<string, Listed>) => void} tell
   */
  async read(all, tell) {
    if (this.#reading) return;
    this.#reading = true;
    const whole = all || this.#looks % WHOLE_EVERY === 0;
    try {
      const rooms = await this.#pages(whole);
      this.#rooms = rooms.isWhole ? rooms.found : new Map([...this.#rooms, ...rooms.found]);
      this.#looks += 1;
      tell(this.#rooms);
    } catch {
      // The next look asks again.
    } finally {
      this.#reading = false;
    }
  }

  /** @param {boolean} whole */
  async #pages(whole) {
    /** @type {Map<string, Listed>} */
    const found = new Map();
    let after = "";
    for (;;) {
      const { rooms, last } = await this.#page(after);
      for (const row of rooms) if (row.newest && found.size < MAX_LISTED) found.set(row.room, row);
      const isFull = found.size >= MAX_LISTED;
      if (isFull || !last || !whole) {
        if (whole || !last) this.more = isFull && (Boolean(last) || rooms.length > LIMIT);
        return { found, isWhole: isFull || !last };
      }
      after = last;
    }
  }

  /** @param {string} after an id */
  async #page(after) {
    const url = new URL("rooms?sort=newest", document.baseURI);
    url.searchParams.set("limit", String(LIMIT));
    if (after) url.searchParams.set("after", after);
    const { rooms } = await get(url, credential);
    return { rooms, last: rooms.length === LIMIT ? (rooms.at(-1).newest ?? "") : "" };
  }
}
