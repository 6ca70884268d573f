// The last id read in each room, for this browser: a message shown in one window counts as read in all. Each window
// writes all bookmarks, so it first takes over those of other windows that are further.

import { reaches } from "../roomcast.js";
import { browser, recall, remember } from "./storage.js";

const SAVE_MS = 300;
/** The most rooms remembered, those read last: storage is small, and a stranger may have made 40,000 rooms. */
const MOST = 1000;

/** This window's bookmarks, which follow those of the browser's other windows. */
export class Bookmarks {
  /** The rooms read last are at the end. @type {Map<string, string>} */
  #ids = new Map(stored().slice(-MOST));
  #timer = 0;
  #moved;

  /** @param {(name: string, id: string) => void} moved in another window */
  constructor(moved) {
    this.#moved = moved;
    // In Firefox the storage itself may not have another window's value yet.
    addEventListener("storage", ({ key, newValue }) => key === "roomcast.read" && this.#merge(newValue) && this.#save());
  }

  /** The log's position at the reader's first visit: rooms that were never opened count as read up to there. */
  #first = recall(browser, "first", "");

  /**
   * The newest id read in a room, "" before the first visit.
   * @param {string} name of the room
   * @returns {string}
   */
  of(name) {
    return this.#ids.get(name) ?? this.#first;
  }

  /**
   * Sets the id of the first visit, unless one of the same epoch is set.
   * @param {string} id the newest of the log; "" has no effect
   * @returns {boolean} whether it was set
   */
  begin(id) {
    if (!id || this.#first.split("-")[0] === id.split("-")[0]) return false;
    this.#first = id;
    remember(browser, "first", id);
    return true;
  }

  /**
   * Remembers the newest id read in a room; it is saved within 300 ms.
   * @param {string} name of the room
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
    const [oldest = ""] = this.#ids.keys();
    if (this.#ids.size > MOST) this.#ids.delete(oldest);
  }

  /** Delayed, since a burst is read one message at a time. */
  #save() {
    this.#timer ||= setTimeout(() => {
      this.#timer = 0;
      this.#merge();
      remember(browser, "read", Object.fromEntries(this.#ids));
    }, SAVE_MS);
  }

  /**
   * Takes over bookmarks that are further elsewhere; returns whether any is further here.
   * @param {string | null} [json] the bookmarks elsewhere; by default the stored ones
   */
  #merge(json) {
    let further;
    for (const [name, id] of stored(json)) {
      const own = this.of(name);
      if (own && !reaches(id, own)) further ||= reaches(own, id);
      else if (own !== id) {
        // A bookmark from elsewhere must not push out one of this window.
        if (own || this.#ids.size < MOST) this.#set(name, id);
        this.#moved(name, id);
      }
    }
    return further;
  }
}

/**
 * @param {string | null} [json]
 * @returns {[string, string][]}
 */
function stored(json) {
  return Object.entries(json ? JSON.parse(json) : recall(browser, "read", {}));
}
