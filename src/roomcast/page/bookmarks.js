// Up to where each room was read in this browser: what one window has shown is read in all.

import { kept, recall, remember } from "./storage.js";

const SAVE_MS = 300;

export class Bookmarks {
  /** @type {Record<string, string>} */
  #ids = recall(kept, "read", {});
  #timer = 0;

  /** @param {(name: string, id: string) => void} moved in another window */
  constructor(moved) {
    addEventListener("storage", ({ key }) => key === "roomcast.read" && this.#reread(moved));
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
    this.#timer ||= setTimeout(() => {
      this.#timer = 0;
      remember(kept, "read", this.#ids);
    }, SAVE_MS);
  }

  /** @param {(name: string, id: string) => void} moved */
  #reread(moved) {
    for (const [name, id] of Object.entries(recall(kept, "read", /** @type {Record<string, string>} */ ({})))) {
      if (!id || id === this.#ids[name]) continue;
      this.#ids[name] = id;
      moved(name, id);
    }
  }
}
