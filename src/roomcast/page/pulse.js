// Messages a second as a small chart, and the delay from storing a message to showing it.

import { element } from "./dom.js";
import { number } from "./language.js";
import { words } from "./words.js";

const SECONDS = 60;
const SAMPLES = 50;
const HEIGHT = 20;

export class Pulse {
  #chart = element("pulse", HTMLElement);
  #line = /** @type {SVGPolylineElement} */ (document.querySelector("#pulse polyline"));
  #delay = element("delay", HTMLElement);
  /** Messages of each second of the last minute. @type {number[]} */
  counts = new Array(SECONDS).fill(0);
  /** The longest delay in each of these seconds, in ms. @type {number[]} */
  delays = new Array(SECONDS).fill(0);
  /** When the last one came, in ms since 1970. */
  last = 0;
  #now = 0;
  #slowest = 0;
  /** The delays of the last messages, in ms. @type {number[]} */
  #delays = [];

  constructor() {
    setInterval(() => this.#tick(), 1000);
    this.#draw();
  }

  /** @param {string} timestamp when it was stored */
  heard(timestamp) {
    this.#now += 1;
    this.last = Date.now();
    // Clocks differ, but a delay is never negative.
    const delay = Math.max(0, this.last - Date.parse(timestamp));
    this.#slowest = Math.max(this.#slowest, delay);
    this.#delays.push(delay);
    if (this.#delays.length > SAMPLES) this.#delays.shift();
  }

  #tick() {
    const quiet = !this.#now && this.counts.every((count) => !count);
    this.counts.push(this.#now);
    this.counts.shift();
    this.delays.push(this.#slowest);
    this.delays.shift();
    this.#now = 0;
    this.#slowest = 0;
    if (!quiet && !document.hidden) this.#draw();
  }

  #draw() {
    const highest = Math.max(4, ...this.counts);
    const points = this.counts.map((count, at) => `${at},${(HEIGHT - 1 - (count / highest) * (HEIGHT - 2)).toFixed(1)}`);
    this.#line.setAttribute("points", points.join(" "));
    const ms = this.#delays.toSorted((a, b) => a - b)[this.#delays.length >> 1];
    this.#chart.ariaLabel = words.pulse(this.counts.at(-1) ?? 0, ms);
    this.#chart.title = this.#chart.ariaLabel;
    this.#delay.textContent = ms === undefined ? "" : `${number(this.counts.at(-1) ?? 0)}/s · ${ms} ms`;
  }
}
