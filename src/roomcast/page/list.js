// The list: a window onto rows that may be many. Only what is in sight, and a screen more, is in the document; it is
// drawn at most once a frame, and never moved under someone who reads further up.

import { element } from "./dom.js";
import { Layout, heightOf } from "./layout.js";
import { joins, rowOf } from "./line.js";
import { words } from "./words.js";

/** @import { Item } from "./room.js" */

/** Pixels from the end that still count as the end: zoomed pages stop at fractions of a pixel. */
const NEAR = 32;
const BEYOND = 600;
/** Rows that are lower than expected make room for more of them, and so on, each time for less. */
const TURNS = 8;

export class List {
  #scroller = element("messages", HTMLElement);
  #rows = element("lines", HTMLOListElement);
  #newer = element("newer", HTMLButtonElement);
  /** @type {Item[]} */
  #items = [];
  #layout = new Layout();
  /** @type {Map<Item, HTMLLIElement>} */
  #drawn = new Map();
  /** @type {Map<Element, Item>} */
  #itemOf = new Map();
  #height = 0;
  #width = 0;
  #top = 0;
  #due = false;
  /** Whether the reader is at the end, and new rows are scrolled to. */
  following = true;
  /** Messages below that the reader has not been to. */
  #unseen = 0;
  /** Those of them that came since the last frame. */
  #added = 0;
  #context;
  #audience;

  /**
   * @param {import("./line.js").Actions} context what a row's buttons do
   * @param {{atEnd: () => void, nearStart: () => void}} audience
   */
  constructor(context, audience) {
    this.#context = context;
    this.#audience = audience;
    this.#scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.#newer.addEventListener("click", () => {
      this.toEnd();
      this.#scroller.focus(); // the button goes, and must not take the keyboard's place with it
    });
    this.#scroller.addEventListener("keydown", (event) => this.#pressed(event));
    new ResizeObserver(() => this.#resized()).observe(this.#scroller);
    this.#observer = new ResizeObserver((entries) => this.#grown(entries));
  }

  #observer;

  /**
   * Shows these rows, from their end. The array stays the caller's; `changed` tells that it is another.
   * @param {Item[]} items
   */
  show(items) {
    this.#items = items;
    for (const item of this.#drawn.keys()) this.#take(item);
    this.toEnd();
  }

  /** @param {number} added messages at the end */
  changed(added = 0) {
    this.#added += added;
    this.#schedule();
  }

  /**
   * Makes the row of an item anew.
   * @param {Item} item
   */
  renew(item) {
    if (this.#drawn.has(item)) this.#take(item);
    this.#schedule();
  }

  /** Makes the names of the days anew: what was today is yesterday. */
  renewDays() {
    for (const item of this.#drawn.keys()) if (item.kind === "day") this.renew(item);
  }

  toEnd() {
    this.following = true;
    this.#count(0);
    this.#schedule();
  }

  #schedule() {
    if (this.#due) return;
    this.#due = true;
    requestAnimationFrame(() => {
      this.#due = false;
      this.#draw();
    });
  }

  #draw() {
    // What the reader looks at stays where it is, whatever comes or goes above it.
    const anchor = this.following ? undefined : this.#layout.at(this.#top);
    if (!this.following) this.#count(this.#unseen + this.#added);
    this.#added = 0;
    this.#lay(anchor);
    for (let turn = 0; turn < TURNS && this.#fill(); turn += 1) this.#lay(anchor);
    this.#rows.style.blockSize = `${this.#layout.end}px`;
    if (Math.abs(this.#scroller.scrollTop - this.#top) >= 1) this.#scroller.scrollTop = this.#top;
    if (this.following) this.#audience.atEnd();
    if (this.#top < BEYOND) this.#audience.nearStart();
  }

  /** @param {{item: Item, above: number} | undefined} anchor */
  #lay(anchor) {
    this.#layout.lay(this.#items);
    this.#top = this.#wanted(anchor);
  }

  /** @param {{item: Item, above: number} | undefined} anchor */
  #wanted(anchor) {
    const last = Math.max(0, this.#layout.end + this.#padding - this.#height);
    if (!anchor) return this.following ? last : Math.min(this.#top, last);
    const index = this.#items.indexOf(anchor.item);
    return index < 0 ? Math.min(this.#top, last) : this.#layout.topOf(index) + anchor.above;
  }

  /** Draws what is to be in the document; gives whether a height was other than expected. */
  #fill() {
    const first = this.#layout.indexAt(this.#top - BEYOND);
    const last = Math.min(this.#items.length - 1, this.#layout.indexAt(this.#top + this.#height + BEYOND));
    const wanted = this.#items.slice(first, last + 1);
    const kept = new Set(wanted);
    for (const item of this.#drawn.keys()) if (!kept.has(item)) this.#take(item);
    const fresh = this.#put(wanted, first);
    this.#rows.style.paddingBlockStart = `${this.#layout.topOf(first)}px`;
    return this.#measure(fresh);
  }

  /**
   * Puts these rows in their order; gives those that are new, or look other than before.
   * @param {Item[]} items
   * @param {number} first
   */
  #put(items, first) {
    /** @type {Set<Item>} */
    const fresh = new Set();
    let next = this.#rows.firstElementChild;
    for (const [offset, item] of items.entries()) {
      let row = this.#drawn.get(item);
      if (!row) {
        row = rowOf(item, this.#context);
        this.#drawn.set(item, row);
        this.#itemOf.set(row, item);
        fresh.add(item);
        this.#rows.insertBefore(row, next);
      } else if (row === next) next = next.nextElementSibling;
      else this.#rows.insertBefore(row, next);
      const continued = joins(item, this.#items[first + offset - 1]);
      if (row.classList.contains("continued") !== continued) {
        row.classList.toggle("continued", continued);
        fresh.add(item);
      }
      row.ariaPosInSet = String(first + offset + 1);
      row.ariaSetSize = String(this.#items.length);
    }
    return fresh;
  }

  /** @param {Iterable<Item>} items */
  #measure(items) {
    let other = false;
    for (const item of items) {
      const row = this.#drawn.get(item);
      if (!row) continue;
      const { height } = row.getBoundingClientRect();
      other ||= Math.abs(height - heightOf(item)) >= 0.5;
      item.height = height;
      this.#observer.observe(row);
    }
    return other;
  }

  /** @param {Item} item */
  #take(item) {
    const row = this.#drawn.get(item);
    if (!row) return;
    // Where the focus was in it, the keys still scroll.
    if (row.contains(document.activeElement)) this.#scroller.focus({ preventScroll: true });
    this.#observer.unobserve(row);
    this.#itemOf.delete(row);
    this.#drawn.delete(item);
    row.remove();
  }

  /** @param {ResizeObserverEntry[]} entries */
  #grown(entries) {
    for (const { target } of entries) {
      const item = this.#itemOf.get(target);
      if (!item) continue;
      const { height } = target.getBoundingClientRect();
      if (!height || Math.abs(height - item.height) < 0.5) continue;
      item.height = height;
      this.#schedule();
    }
  }

  #padding = 0;

  #resized() {
    const { clientHeight, clientWidth } = this.#scroller;
    const { paddingBlockStart, paddingBlockEnd } = getComputedStyle(this.#scroller);
    this.#padding = Number.parseFloat(paddingBlockStart) + Number.parseFloat(paddingBlockEnd);
    this.#height = clientHeight;
    // Another width breaks lines elsewhere: what is out of sight is measured when it comes.
    if (clientWidth !== this.#width) {
      for (const item of this.#items) if (!this.#drawn.has(item)) item.height = 0;
    }
    this.#width = clientWidth;
    this.#schedule();
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    if (Math.abs(scrollTop - this.#top) < 1) return; // our own doing
    this.#top = scrollTop;
    // Where its size changed, which the observer is told later, it was not the reader who scrolled.
    if (clientHeight === this.#height) this.following = scrollHeight - scrollTop - clientHeight < NEAR;
    if (this.following) this.#count(0);
    this.#schedule();
  }

  /**
   * To either end at once: on the way there rows get their heights, which would stop a browser's smooth scrolling.
   * @param {KeyboardEvent} event
   */
  #pressed(event) {
    if (event.target !== this.#scroller || !/^(Home|End)$/.test(event.key)) return;
    event.preventDefault();
    if (event.key === "End") this.toEnd();
    else this.#scroller.scrollTop = 0;
  }

  /** @param {number} unseen */
  #count(unseen) {
    if (unseen === this.#unseen) return;
    this.#unseen = unseen;
    this.#newer.hidden = unseen === 0;
    this.#newer.textContent = words.newer(unseen);
  }
}
