// Where the connection stands, in words and a colour; the countdown; the button that tries at once.

import { element } from "./dom.js";
import { words } from "./words.js";

/** @import { State } from "../roomcast.js" */

/** Where tabs cannot share a stream (no TLS, another machine), the seventh waits without a word. */
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
  /** @type {string | undefined} */
  #why;

  /** @param {() => void} retry */
  constructor(retry) {
    this.#again.addEventListener("click", retry);
  }

  /** @param {State} state */
  show({ name, why, until, messages, status }) {
    clearInterval(this.#timer);
    // While it tries again, why it must is still true: a line that comes and goes with each try would move the list.
    const again = name === "reconnecting" && !until;
    if (again) why ??= this.#why;
    this.#why = why;
    this.#state.dataset.state = name;
    const denied = status === 401 || status === 403;
    if (denied) why = undefined; // it is said beside the field that helps
    const state = denied ? words.noAccess : name === "catching-up" ? words.catchingUp(messages ?? 0) : words[name];
    this.#say(why ? words.because(state, why) : state);
    this.#line.classList.toggle("explained", Boolean(why));
    const waits = Boolean(until || (again && why));
    const hidden = !waits && name !== "stopped";
    // Whoever pressed it goes on in the list.
    if (hidden && document.activeElement === this.#again) element("messages", HTMLElement).focus();
    this.#again.hidden = hidden;
    this.#countdown.hidden = !waits;
    this.#count(until);
    if (until) this.#timer = setInterval(() => this.#count(until), 1000);
    else if (name === "connecting") this.#timer = setTimeout(() => this.#say(words.slow), SLOW_AFTER_MS);
  }

  /** @param {number} [until] */
  #count(until = 0) {
    const seconds = Math.ceil((until - Date.now()) / 1000);
    this.#countdown.textContent = seconds > 0 ? words.countdown(seconds) : words.connecting;
  }

  /** @param {string} text */
  #say(text) {
    // Only changes: a screen reader reads aloud whatever is set.
    if (this.#text.textContent !== text) this.#text.textContent = text;
  }
}
