// The rooms that the server lists, in pages, the most recently active first. A message changes only the first page, so
// usually only that one is read again.

import { get } from "../roomcast.js";
import { credential } from "./rights.js";

/** @typedef {{room: string, newest: string | null, followers: number}} Listed */

/** The most rooms kept and shown, those with the newest messages. A stranger can make 40,000. */
const MAX_LISTED = 10_000;
const LIMIT = 1000;
/** One look in this many reads all pages: only that shows which rooms are gone. */
const WHOLE_EVERY = 20;

/** The listed rooms by their names: at most 10,000 after all pages were read. */
export class Catalog {
  /** Whether the server has more rooms than are listed. */
  more = false;
  /** The newest id in all rooms. */
  newest = "";
  /** @type {Map<string, Listed>} */
  #rooms = new Map();
  #reading = false;
  #looks = 0;

  /**
   * Reads the list's first page, or all of it. A failed or concurrent read has no effect: the next one asks again.
   * @param {boolean} all every page, not only the first one
   * @param {(rooms: Map<string, Listed>) => void} tell called with all known rooms by their names
   */
  async read(all, tell) {
    if (this.#reading) return;
    this.#reading = true;
    try {
      await this.#pages(all || this.#looks % WHOLE_EVERY === 0);
      this.#looks += 1;
      tell(this.#rooms);
    } catch {
      // The next look asks again.
    } finally {
      this.#reading = false;
    }
  }

  /** @param {boolean} all not only the first one */
  async #pages(all) {
    /** @type {Map<string, Listed>} */
    const found = new Map();
    let after = "";
    do {
      const { rooms } = await get(new URL(`rooms?sort=newest&limit=${LIMIT}${after && `&after=${after}`}`, document.baseURI), credential);
      if (!after) this.newest = rooms[0]?.newest ?? "";
      for (const row of rooms) if (row.newest && found.size < MAX_LISTED) found.set(row.room, row);
      after = rooms.length < LIMIT ? "" : rooms.at(-1).newest;
    } while (after && all && found.size < MAX_LISTED);
    const isWhole = all || !after;
    if (isWhole) this.more = Boolean(after);
    this.#rooms = isWhole ? found : new Map([...this.#rooms, ...found]);
  }
}
