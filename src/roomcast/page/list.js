// The list of many rows. Only those in sight, and a screen more, are in the document. It is drawn at most once a frame,
// and never moves while the reader is further up.

import { element, onClick } from "./dom.js";
import { density } from "./density.js";
import { Layout } from "./layout.js";
import { joins, rowOf } from "./row.js";
import { strings } from "./strings.js";

/** @import { Item } from "./room.js" */

/** Pixels from the end that still count as the end: zoomed pages stop at fractions of a pixel. */
const NEAR = 32;
/** Pixels above and below the window whose rows are in the document as well. */
const BEYOND = 600;
/** Rounds of drawing per frame: rows that are lower than guessed make room for more rows, fewer each time. */
const TURNS = 8;

/** The drawn rows. The caller owns the array of items, and reports its changes. */
export class List {
  #scroller = element("messages");
  #rows = element("lines");
  #newer = element("newer");
  /** @type {Item[]} */
  #items = [];
  /** @type {Layout<Item>} */
  #layout = new Layout(heightOf);
  /** @type {Map<Item, HTMLLIElement>} */
  #drawn = new Map();
  /** @type {Map<Element, Item>} */
  #itemOf = new Map();
  /** The index of the first drawn row. */
  #first = 0;
  /** The size of the window over the list, in px. */
  #height = 0;
  #width = 0;
  /** How far the list is scrolled, in px. */
  #top = 0;
  /** Whether the next frame draws the list. */
  #due = false;
  /** Whether the reader is at the end, and new rows are scrolled to. */
  following = true;
  /** Messages below that the reader has not reached. */
  #unseen = 0;
  /** How many of them came since the last frame. */
  #added = 0;
  /** The selected row. @type {Item | undefined} */
  #picked;
  /** The position that the next frame must show. @type {{item: Item, above: number} | undefined} */
  #goal;
  #actions;
  #callbacks;

  /**
   * @param {import("./row.js").Actions} actions what a row's buttons do
   * @param {{atEnd: () => void, nearStart: () => void, picked: (item: Item, open: boolean) => void}} callbacks
   */
  constructor(actions, callbacks) {
    this.#actions = actions;
    this.#callbacks = callbacks;
    this.#scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    onClick("newer", () => {
      this.toEnd();
      this.#scroller.focus(); // the button disappears, and must not take the focus with it
    });
    this.#scroller.addEventListener("keydown", (event) => this.#pressed(event));
    this.#rows.addEventListener("click", (event) => this.#clicked(event));
    new ResizeObserver(() => this.#resized()).observe(this.#scroller);
    this.#observer = new ResizeObserver((entries) => this.#grown(entries));
  }

  #observer;

  /**
   * Shows these rows, from their end. The caller keeps the array and reports its changes with `changed`.
   * @param {Item[]} items
   */
  show(items) {
    this.#items = items;
    for (const item of this.#drawn.keys()) this.#remove(item);
    this.toEnd();
  }

  /** Redraws in the next frame, since the shown array has changed. @param {number} added messages at the end */
  changed(added = 0) {
    this.#added += added;
    this.#schedule();
  }

  /**
   * Shows these rows instead of the present ones; some may be in both.
   * @param {Item[]} items
   */
  swap(items) {
    this.#items = items;
    this.#schedule();
  }

  /** Rebuilds all rows, since their look has changed. */
  redraw() {
    for (const item of this.#items) item.height = 0;
    for (const item of this.#drawn.keys()) this.#remove(item);
    this.#schedule();
  }

  /**
   * Scrolls to a row, and selects it.
   * @param {Item} item
   */
  reveal(item) {
    this.following = false;
    this.#goal = { item, above: -this.#height / 3 };
    this.pick(item);
    this.#schedule();
  }

  /**
   * Selects a row, from which the arrow keys continue.
   * @param {Item | undefined} item none: no row is selected
   */
  pick(item) {
    const before = this.#picked;
    this.#picked = item;
    for (const one of [before, item]) if (one) this.#mark(one);
  }

  /** @param {Item} item */
  #mark(item) {
    const row = this.#drawn.get(item);
    if (!row) return;
    row.classList.toggle("picked", item === this.#picked);
    row.ariaCurrent = item === this.#picked ? "true" : null;
  }

  /**
   * Rebuilds the row of an item.
   * @param {Item} item
   */
  renew(item) {
    if (this.#drawn.has(item)) this.#remove(item);
    this.#schedule();
  }

  /** Rebuilds the names of the days: today has become yesterday. */
  renewDays() {
    for (const item of this.#drawn.keys()) if (item.kind === "day") this.renew(item);
  }

  /** Scrolls to the end, and stays there as rows come. */
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
    // The visible rows stay in place, whatever comes or goes above them.
    const anchor = this.following ? undefined : (this.#goal ?? this.#anchor());
    this.#goal = undefined;
    if (!this.following) this.#count(this.#unseen + this.#added);
    this.#added = 0;
    this.#lay(anchor);
    for (let turn = 0; turn < TURNS && this.#fill(); turn += 1) this.#lay(anchor, this.#first);
    this.#rows.style.blockSize = `${this.#layout.end}px`;
    if (Math.abs(this.#scroller.scrollTop - this.#top) >= 1) this.#scroller.scrollTop = this.#top;
    if (this.following) this.#callbacks.atEnd();
    if (this.#top < BEYOND) this.#callbacks.nearStart();
  }

  /**
   * The top row, and how much of it is above the window. Skips rows that disappear, or change their height, when older
   * ones come: days, and the first message.
   */
  #anchor() {
    const first = this.#layout.rows.findIndex(({ kind }) => kind === "message");
    let index = Math.max(this.#layout.indexAt(this.#top), first + 1);
    while (this.#layout.rows[index]?.kind === "day") index += 1;
    const item = this.#layout.rows[index];
    return item && { item, above: this.#top - this.#layout.topOf(index) };
  }

  /**
   * @param {{item: Item, above: number} | undefined} anchor
   * @param {number} [from] the first row whose height has changed
   */
  #lay(anchor, from) {
    this.#layout.lay(this.#items, from);
    this.#top = this.#wanted(anchor);
  }

  /** @param {{item: Item, above: number} | undefined} anchor */
  #wanted(anchor) {
    const last = Math.max(0, this.#layout.end + this.#padding - this.#height);
    if (!anchor) return this.following ? last : Math.min(this.#top, last);
    const index = this.#items.indexOf(anchor.item);
    if (index < 0) return Math.min(this.#top, last);
    return Math.max(0, Math.min(this.#layout.topOf(index) + anchor.above, last));
  }

  /** Draws the rows for the document; returns whether a height differed from its guess. */
  #fill() {
    const first = this.#layout.indexAt(this.#top - BEYOND);
    const last = Math.min(this.#items.length - 1, this.#layout.indexAt(this.#top + this.#height + BEYOND));
    this.#first = first;
    const wanted = this.#items.slice(first, last + 1);
    const kept = new Set(wanted);
    for (const item of this.#drawn.keys()) if (!kept.has(item)) this.#remove(item);
    const fresh = this.#put(wanted, first);
    this.#rows.style.paddingBlockStart = `${this.#layout.topOf(first)}px`;
    return this.#measure(fresh);
  }

  /**
   * Puts these rows in order; returns those that are new or look different.
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
        row = rowOf(item, this.#actions);
        this.#drawn.set(item, row);
        this.#itemOf.set(row, item);
        this.#mark(item);
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
  #remove(item) {
    const row = this.#drawn.get(item);
    if (!row) return;
    // If the focus was in it, the keys must still scroll.
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

  /** The space above and below the rows, in px. */
  #padding = 0;

  #resized() {
    const { clientHeight, clientWidth } = this.#scroller;
    const { paddingBlockStart, paddingBlockEnd } = getComputedStyle(this.#scroller);
    this.#padding = Number.parseFloat(paddingBlockStart) + Number.parseFloat(paddingBlockEnd);
    this.#height = clientHeight;
    // A new width breaks lines elsewhere: rows out of sight are measured when they come into sight.
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
    // A change of size, of which the observer learns later, also scrolls; it was not the reader.
    if (clientHeight === this.#height) this.following = scrollHeight - scrollTop - clientHeight < NEAR;
    if (this.following) this.#count(0);
    this.#schedule();
  }

  /**
   * Jumps to either end: rows are measured on the way, which would stop a browser's smooth scrolling.
   * @param {KeyboardEvent} event
   */
  #pressed(event) {
    const isRow = event.target instanceof Element && event.target.matches(".row");
    if ((event.target !== this.#scroller && !isRow) || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "End") this.toEnd();
    else if (event.key === "Home") this.#scroller.scrollTop = 0;
    else if (event.key === "ArrowDown" || event.key === "ArrowUp") this.#step(event.key === "ArrowDown" ? 1 : -1);
    else if (event.key === "Enter" && this.#picked) this.#callbacks.picked(this.#picked, true);
    else return;
    event.preventDefault();
  }

  /** To the next message, or the one before. @param {1 | -1} by */
  #step(by) {
    const from = this.#picked ? this.#items.indexOf(this.#picked) : -1;
    let index = from < 0 ? this.#layout.indexAt(this.#top + this.#height - NEAR) : from + by;
    while (this.#items[index] && this.#items[index]?.kind !== "message") index += by;
    const item = this.#items[index];
    if (!item) return;
    this.pick(item);
    const [top, end] = [this.#layout.topOf(index), this.#layout.topOf(index + 1)];
    if (top < this.#top || end > this.#top + this.#height - this.#padding) {
      this.following = false;
      this.#goal = { item, above: top < this.#top ? 0 : end - top - this.#height + this.#padding };
      this.#draw();
    }
    this.#drawn.get(item)?.focus({ preventScroll: true });
    this.#callbacks.picked(item, false);
  }

  /** A click on a message, but not one that selects text or hits a control in it. @param {MouseEvent} event */
  #clicked(event) {
    const { target } = event;
    if (!(target instanceof Element) || target.closest("a, button, summary, .type") || !getSelection()?.isCollapsed) return;
    const item = this.#itemOf.get(target.closest(".row") ?? target);
    if (item?.kind !== "message") return;
    this.pick(item);
    this.#callbacks.picked(item, true);
  }

  /** @param {number} unseen */
  #count(unseen) {
    if (unseen === this.#unseen) return;
    this.#unseen = unseen;
    this.#newer.hidden = unseen === 0;
    this.#newer.textContent = strings.newer(unseen);
  }
}

/** @param {Item} item */
function heightOf(item) {
  return item.height || density.guess;
}
