// The position of each row of a list: the sum of the heights before it.

/**
 * The positions of the rows of the last `lay`, in px.
 * @template {object} Row
 */
export class Layout {
  #heightOf;
  /** The rows of the last layout: a copy, since rows come and go between frames. @type {Row[]} */
  rows = [];
  /** Where each row begins, and after these where the last row ends. */
  #tops = new Float64Array(256);

  /** @param {(row: Row) => number} heightOf in px, measured or guessed */
  constructor(heightOf) {
    this.#heightOf = heightOf;
  }

  /**
   * Computes the positions of rows.
   * @param {Row[]} rows
   * @param {number} [from] index of the first row that has changed since the last layout
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

  /** Where the last row ends, in px. */
  get end() {
    return this.topOf(this.rows.length);
  }

  /**
   * Where a row begins.
   * @param {number} index
   * @returns {number} in px; for an index equal to the number of rows, where the last row ends
   */
  topOf(index) {
    return this.#tops[index] ?? 0;
  }

  /**
   * The last row that begins at or above a position.
   * @param {number} top in px
   * @returns {number} its index; 0 if there is none
   */
  indexAt(top) {
    return lastIndex(this.rows.length, (index) => this.topOf(index) <= top);
  }
}

/**
 * The last index that fits, by binary search.
 * @param {number} length the number of indexes
 * @param {(index: number) => boolean} fits if it is true for an index, it is true for all before it
 * @returns {number} 0 if none fits
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
