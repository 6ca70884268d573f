// The position of each row of the list: the sum of the heights before it, measured or guessed.

import { density } from "./density.js";

/** @import { Item } from "./room.js" */

export class Layout {
  /** The rows of the last layout: a copy, since rows come and go between frames. @type {Item[]} */
  #items = [];
  /** Where each row begins, and at last where all end. */
  #tops = new Float64Array(256);

  /** @param {Item[]} items */
  lay(items) {
    const { length } = items;
    if (this.#tops.length <= length) this.#tops = new Float64Array(2 * length + 2);
    let top = 0;
    for (let index = 0; index < length; index += 1) {
      this.#tops[index] = top;
      top += heightOf(/** @type {Item} */ (items[index]));
    }
    this.#tops[length] = top;
    if (this.#items.length !== length || this.#items[0] !== items[0] || this.#items.at(-1) !== items.at(-1)) {
      this.#items = items.slice();
    }
  }

  get end() {
    return this.topOf(this.#items.length);
  }

  /** @param {number} index */
  topOf(index) {
    return this.#tops[index] ?? 0;
  }

  /**
   * The last row that begins at or above this height.
   * @param {number} top
   */
  indexAt(top) {
    let low = 0;
    let high = Math.max(0, this.#items.length - 1);
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.topOf(middle) <= top) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /**
   * The row at this height, and how much of it is above. Skips rows that disappear, or change their height, when older
  * ones come: days, and the first message.
   * @param {number} top
   */
  at(top) {
    const first = this.#items.findIndex(({ kind }) => kind === "message");
    let index = Math.max(this.indexAt(top), first + 1);
    while (this.#items[index]?.kind === "day") index += 1;
    const item = this.#items[index];
    return item && { item, above: top - this.topOf(index) };
  }
}

/** @param {Item} item */
export function heightOf(item) {
  return item.height || density.guess;
}
