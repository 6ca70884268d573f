// Up to where each room was read in this browser: what one window has shown is read in all. Each window writes all of
// it, so each takes over from the others what is further than its own.

import { reaches } from "../roomcast.js";
import { kept, recall, remember } from "./storage.js";

const SAVE_MS = 300;

export class Bookmarks {
  /** @type {Record<string, string>} */
  #ids = recall(kept, "read", {});
  #timer = 0;
  #moved;

  /** @param {(name: string, id: string) => void} moved in another window */
  constructor(moved) {
    this.#moved = moved;
    addEventListener("storage", ({ key }) => key === "roomcast.read" && this.#merge() && this.#save());
  }

  /**
   * The newest id that was read of a room.
   * @param {string} name
   */
  of(name) {
    return this.#ids[name] ?? "";
  }

  /**
   * @param {string} name
   * @param {string} id
   */
  put(name, id) {
    this.#ids[name] = id;
    this.#save();
  }

  /** Soon: a storm is read a message at a time. */
  #save() {
    this.#timer ||= setTimeout(() => {
      this.#timer = 0;
      this.#merge();
      remember(kept, "read", this.#ids);
    }, SAVE_MS);
  }

  /** Takes over what was read further elsewhere; gives whether something was read further here. */
  #merge() {
    let further = false;
    for (const [name, id] of Object.entries(recall(kept, "read", /** @type {Record<string, string>} */ ({})))) {
      const own = this.of(name);
      if (own === id) continue;
      if (own && !reaches(id, own)) {
        further ||= reaches(own, id);
        continue;
      }
      this.#ids[name] = id;
      this.#moved(name, id);
    }
    return further;
  }
}
