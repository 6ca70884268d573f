// The density of messages: as in a chat, one line each, or one line of a log with milliseconds.

import { browser, recall, remember } from "./storage.js";

export const DENSITIES = /** @type {const} */ (["chat", "compact", "log"]);
/** @typedef {typeof DENSITIES[number]} Density */

/** The present density, and the assumed height in px of an unmeasured row. */
export const density = { name: /** @type {Density} */ (recall(browser, "density", "chat")), guess: 44 };
const GUESSES = { chat: 44, compact: 28, log: 22 };

/** Chooses a density and remembers it. The caller redraws the list. @param {Density} name */
export function choose(name) {
  density.name = name;
  density.guess = GUESSES[name] ?? GUESSES.chat;
  remember(browser, "density", name);
  document.documentElement.dataset.density = name;
}
