// Messages per second, and the delay from storing a message to showing it: in the header now, and in the panel of the
// connection for the last minute.

import { element } from "./dom.js";
import { number } from "./language.js";
import { strings } from "./strings.js";

const SECONDS = 60;

/** The figures of the last minute, updated each second. */
export class Traffic {
  #header = element("traffic");
  /** The longest delay in each second of the last minute, in ms. @type {number[]} */
  delays = new Array(SECONDS).fill(0);
  /** When the last message came, in ms since 1970. */
  last = 0;
  /** The messages of the present second, and the longest of their delays in ms. */
  #count = 0;
  #delay = 0;

  constructor() {
    setInterval(() => this.#tick(), 1000);
  }

  /** Counts a live message at the moment when it is shown. @param {string} timestamp RFC 3339, when it was stored */
  add(timestamp) {
    this.#count += 1;
    this.last = Date.now();
    // The two clocks differ, but a delay is never negative.
    this.#delay = Math.max(this.#delay, this.last - Date.parse(timestamp));
  }

  #tick() {
    this.delays = [...this.delays.slice(1), this.#delay];
    if (this.last) this.#show();
    this.#count = this.#delay = 0;
  }

  #show() {
    // In a second without messages, the delay of the last one still stands.
    const ms = this.delays.findLast(Boolean) ?? 0;
    this.#header.role = "img";
    this.#header.textContent = `${number(this.#count)}/s · ${number(ms)} ms`;
    this.#header.ariaLabel = this.#header.title = strings.traffic(this.#count, ms);
  }
}
