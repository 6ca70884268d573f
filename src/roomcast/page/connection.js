// The state of the connection as a text and a colour. While it is down, a note over the list (which does not move) has the
// reason, the time of the next try and a button that tries at once. Keeps the last states, for the panel.

import { element, onClick, set } from "./dom.js";
import { strings } from "./strings.js";

/** @import { State } from "../roomcast.js" */

/**
 * After this time the note advises to close other tabs: if tabs cannot share a stream (no TLS, another machine), the
 * seventh waits without any error.
 */
const SLOW_AFTER_MS = 8000;
const REMEMBERED = 50;

/**
 * A state in a few words, in the reader's language.
 * @param {State["name"]} name
 * @param {number} [messages] that have come so far, while catching up
 * @returns {string}
 */
export function named(name, messages = 0) {
  return name === "catching-up" ? strings.catchingUp(messages) : strings[name];
}

/** The state for the header. */
export class Connection {
  #text = element("state-text");
  #outage = element("outage");
  #reason = element("reason");
  #countdown = element("countdown");
  #again = element("again");
  /** @type {number | undefined} */
  #timer;
  /** @type {string | undefined} */
  #why;
  /** States and their reasons, the newest last. @type {{at: number, name: State["name"], why: string}[]} */
  history = [];

  /** @param {() => void} retry */
  constructor(retry) {
    onClick("again", retry);
  }

  /** The state in words. */
  get text() {
    return this.#text.textContent;
  }

  /** Since when, in ms since 1970. */
  get since() {
    return this.history.at(-1)?.at ?? Date.now();
  }

  /** Shows a new state in the header, and a note over the list while the connection is down. @param {State} state */
  show({ name, why, until, messages, status }) {
    clearInterval(this.#timer);
    this.#note(name, why ?? "");
    // While it retries, the last reason still holds.
    const again = name === "reconnecting" && !until;
    if (again) why ??= this.#why;
    this.#why = why;
    element("state").dataset.state = name;
    const denied = status === 401 || status === 403;
    if (denied || name === "stopped") why = undefined; // the list's place shows it
    set(this.#text, denied ? strings.noAccess : named(name, messages));
    const waits = Boolean(until || (again && why));
    // The keyboard focus goes on in the list.
    if (!waits && document.activeElement === this.#again) element("messages").focus();
    set(this.#reason, why ? strings.reason(why) : "");
    this.#outage.hidden = !waits && !why;
    this.#again.hidden = !waits;
    this.#countdown.hidden = !waits;
    this.#count(until);
    if (until) this.#timer = setInterval(() => this.#count(until), 1000);
    else if (name === "connecting") {
      this.#timer = setTimeout(() => {
        set(this.#reason, strings.slow);
        this.#outage.hidden = false;
      }, SLOW_AFTER_MS);
    }
  }

  /**
   * @param {State["name"]} name
   * @param {string} why
   */
  #note(name, why) {
    const last = this.history.at(-1);
    if (last?.name === name) {
      if (why) last.why = why;
    } else this.history.push({ at: Date.now(), name, why });
    if (this.history.length > REMEMBERED) this.history.shift();
  }

  /** @param {number} [until] */
  #count(until = 0) {
    const seconds = Math.ceil((until - Date.now()) / 1000);
    set(this.#countdown, seconds > 0 ? strings.countdown(seconds) : strings.connecting);
  }
}
