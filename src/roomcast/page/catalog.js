// The rooms that the server lists, in pages, the newest first. What it says of itself changes with each message, so most
// of the time only the first page is read again.

import { get } from "../roomcast.js";
import { credential } from "./access.js";

/** @typedef {{room: string, newest: string | null, followers: number}} Listed */

/** Rooms kept and shown, those with the newest messages. A stranger can make 40,000. */
const MAX_LISTED = 10_000;
const LIMIT = 1000;
/** Each so many looks is at all rooms: those that are gone are in no page. */
const WHOLE_EVERY = 20;

export class Catalog {
  /** Whether the server has more rooms than are listed. */
  more = false;
  /** @type {Map<string, Listed>} */
  #rooms = new Map();
  #reading = false;
  #looks = 0;

  /**
   * Reads what is new, or all; `tell` hears of all that is known.
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
      // It is asked again with the next look.
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
