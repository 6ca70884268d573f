// Where the connection stands, in words and a colour; the countdown; the button that tries at once.

import { element } from "./dom.js";

/** @import { State, StateName } from "./follower.js" */

/** @type {Record<StateName, string>} */
const WORDS = {
  connecting: "Connecting…",
  "catching-up": "Catching up…",
  live: "Live",
  reconnecting: "Reconnecting…",
  stopped: "Stopped",
};

/** A browser opens six connections to one HTTP/1 server; a seventh tab waits without a word. */
const SLOW = "Still connecting. Many tabs open on this server? A browser lets only six of them connect.";
const SLOW_AFTER_MS = 8000;

/** The line in the header. */
export class Connection {
  #line = element("connection", HTMLElement);
  #state = element("state", HTMLElement);
  #text = element("state-text", HTMLElement);
  #countdown = element("countdown", HTMLElement);
  #again = element("again", HTMLButtonElement);
  /** @type {number | undefined} */
  #timer;

  /** @param {() => void} retry */
  constructor(retry) {
    this.#again.addEventListener("click", retry);
  }

  /** @param {State} state */
  show({ name, why, seconds = 0 }) {
    clearInterval(this.#timer);
    this.#state.dataset.state = name;
    this.#say(why ? `${WORDS[name].replace("…", "")}: ${why}` : WORDS[name]);
    this.#line.classList.toggle("explained", Boolean(why));
    this.#again.hidden = name !== "reconnecting" && name !== "stopped";
    this.#count(seconds);
    if (seconds) this.#timer = setInterval(() => this.#count(--seconds), 1000);
    else if (name === "connecting") this.#timer = setTimeout(() => this.#say(SLOW), SLOW_AFTER_MS);
  }

  /** @param {number} seconds */
  #count(seconds) {
    this.#countdown.hidden = seconds <= 0;
    this.#countdown.textContent = `again in ${seconds} s`;
  }

  /** @param {string} text */
  #say(text) {
    // Only changes: a screen reader reads aloud whatever is set.
    if (this.#text.textContent !== text) this.#text.textContent = text;
  }
}
