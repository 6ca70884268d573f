// The position of each row of a list: the sum of the heights before it.

/** @template {object} Row */
export class Layout {
  #heightOf;
  /** The rows of the last layout: a copy, since rows come and go between frames. @type {Row[]} */
  rows = [];
  /** Where each row begins, and at last where all end. */
  #tops = new Float64Array(256);

  /** @param {(row: Row) => number} heightOf in px, measured or guessed */
  constructor(heightOf) {
    this.#heightOf = heightOf;
  }

  /**
   * @param {Row[]} rows
   * @param {number} [from] the first row that has changed since the last layout
   */
  lay(rows, from = 0) {
    const { length } = rows;
    if (this.#tops.length <= length) this.#tops = new Float64Array(2 * length + 2);
    let top = from && this.topOf(from);
    for (let index = from; index < length; index += 1) {
      this.#tops[index] = top;
      top += this.#heightOf(/** @type {Row} */ (rows[index]));
    }
    this.#tops[length] = top;
    if (this.rows.length !== length || this.rows[0] !== rows[0] || this.rows.at(-1) !== rows.at(-1)) {
      this.rows = rows.slice();
    }
  }

  get end() {
    return this.topOf(this.rows.length);
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
    return lastIndex(this.rows.length, (index) => this.topOf(index) <= top);
  }
}

/**
 * The last of so many indexes that fits, by halving: if one fits, those before it do. 0 if none does.
 * @param {number} length
 * @param {(index: number) => boolean} fits
 */
export function lastIndex(length, fits) {
  let [low, high] = [0, Math.max(0, length - 1)];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (fits(middle)) low = middle;
    else high = middle - 1;
  }
  return low;
}
