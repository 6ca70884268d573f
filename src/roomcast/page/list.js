// The list of lines. Bounded, drawn at most once a frame, and never moved under someone who reads further up.

import { KEPT } from "./api.js";
import { element } from "./dom.js";

/** Pixels from the end that still count as the end: zoomed pages stop at fractions of a pixel. */
const NEAR = 32;

export class List {
  #scroller = element("messages", HTMLElement);
  #lines = element("lines", HTMLOListElement);
  #older = element("older", HTMLElement);
  #newer = element("newer", HTMLButtonElement);
  /** Lines to be made at the next frame. A hidden tab has no frames, so this is bounded as well. */
  /** @type {(() => HTMLLIElement)[]} */
  #waiting = [];
  /** Whether the reader is at the end, and new lines are scrolled to. */
  #following = true;
  /** Lines below that the reader has not been to. */
  #unseen = 0;

  constructor() {
    this.#scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.#newer.addEventListener("click", () => this.toEnd());
    // A phone's keyboard makes the list shorter: the end stays in view.
    new ResizeObserver(() => this.#following && this.toEnd()).observe(this.#scroller);
  }

  /** @param {() => HTMLLIElement} line makes the line once it is to be seen */
  append(line) {
    if (this.#waiting.push(line) === 1) requestAnimationFrame(() => this.#draw());
    if (this.#waiting.length > 2 * KEPT) this.#waiting = this.#waiting.slice(-KEPT);
  }

  clear() {
    this.#waiting = [];
    this.#lines.replaceChildren();
    this.#older.hidden = true;
    this.toEnd();
  }

  toEnd() {
    this.#following = true;
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#count(0);
  }

  #draw() {
    const fragment = document.createDocumentFragment();
    const lines = this.#waiting.slice(-KEPT);
    this.#waiting = [];
    fragment.append(...lines.map((line) => line()));
    this.#lines.append(fragment);
    this.#trim();
    if (this.#following) this.toEnd();
    else this.#count(this.#unseen + lines.length);
  }

  #trim() {
    const surplus = this.#lines.childElementCount - KEPT;
    if (surplus <= 0) return;
    this.#older.hidden = false;
    for (const line of Array.from(this.#lines.children).slice(0, surplus)) line.remove();
  }

  #scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    this.#following = scrollHeight - scrollTop - clientHeight < NEAR;
    if (this.#following) this.#count(0);
  }

  /** @param {number} unseen */
  #count(unseen) {
    this.#unseen = unseen;
    this.#newer.hidden = unseen === 0;
    this.#newer.textContent = `${Math.min(unseen, KEPT).toLocaleString()} new`;
  }
}
