// Up to where each room was read in this browser: what one window has shown is read in all. Each window writes all of
// it, so each takes over from the others what is further than its own.

import { reaches } from "../roomcast.js";
import { kept, recall, remember } from "./storage.js";

const SAVE_MS = 300;
/** Rooms remembered, those that were read last: storage is small, and a stranger may have made 40,000. */
const MOST = 1000;

export class Bookmarks {
  /** Those read last are at the end. @type {Map<string, string>} */
  #ids = new Map(stored().slice(-MOST));
  #timer = 0;
  #moved;

  /** @param {(name: string, id: string) => void} moved in another window */
  constructor(moved) {
    this.#moved = moved;
    addEventListener("storage", ({ key }) => key === "roomcast.read" && this.#merge() && this.#save());
  }

  /** Where the log stood at the reader's first visit: rooms that were never opened are read up to there. */
  #first = recall(kept, "first", "");

  /**
   * The newest id that was read of a room.
   * @param {string} name
   */
  of(name) {
    return this.#ids.get(name) ?? this.#first;
  }

  /**
   * Takes an id for that of the first visit, unless there was one; gives whether it is.
   * @param {string} id
   */
  begin(id) {
    if (!id || this.#first.split("-")[0] === id.split("-")[0]) return false;
    this.#first = id;
    remember(kept, "first", id);
    return true;
  }

  /**
   * @param {string} name
   * @param {string} id
   */
  put(name, id) {
    this.#set(name, id);
    this.#save();
  }

  /**
   * @param {string} name
   * @param {string} id
   */
  #set(name, id) {
    this.#ids.delete(name);
    this.#ids.set(name, id);
    for (const oldest of this.#ids.keys()) {
      if (this.#ids.size <= MOST) break;
      this.#ids.delete(oldest);
    }
  }

  /** Soon: a storm is read a message at a time. */
  #save() {
    this.#timer ||= setTimeout(() => {
      this.#timer = 0;
      this.#merge();
      remember(kept, "read", Object.fromEntries(this.#ids));
    }, SAVE_MS);
  }

  /** Takes over what was read further elsewhere; gives whether something was read further here. */
  #merge() {
    let further = false;
    for (const [name, id] of stored()) {
      const own = this.of(name);
      if (own === id) continue;
      if (own && !reaches(id, own)) {
        further ||= reaches(own, id);
        continue;
      }
      // One that is new here must not push out what was read here.
      if (own || this.#ids.size < MOST) this.#set(name, id);
      this.#moved(name, id);
    }
    return further;
  }
}

function stored() {
  return Object.entries(recall(kept, "read", /** @type {Record<string, string>} */ ({})));
}
