// Announces new messages to screen readers: a few one by one, many by their number. The list itself is silent, as its
// rows come and go with scrolling.

import { plain } from "./ansi.js";
import { element } from "./dom.js";
import { visible } from "./text.js";
import { strings } from "./strings.js";

/** @import { Message } from "../roomcast.js" */

const EVERY_MS = 2000;
/** More messages than this are announced by their number. */
const FEW = 3;
/** The most characters of a message that are read aloud. */
const LONG = 300;

/** The region that screen readers read aloud. */
export class Announcer {
  /** @type {Message[]} */
  #waiting = [];

  /** Announces a message within half a second, together with others of that time. @param {Message} message */
  add(message) {
    if (this.#waiting.push(message) === 1) setTimeout(() => this.#announce(), EVERY_MS / 4);
  }

  #announce() {
    const messages = this.#waiting;
    this.#waiting = [];
    const few = messages.slice(0, FEW).map(({ user, text, type }) => `${visible(user)}: ${plain(text ?? type ?? strings.data).slice(0, LONG)}`);
    const many = strings.announced(messages.length, messages[0]?.room ?? "");
    element("announced").textContent = messages.length > FEW ? many : few.join("\n");
  }
}
