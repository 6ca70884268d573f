// The bar over the list: the search, the pause, the jump to a time, the density.

import { DENSITIES, choose, density } from "./density.js";
import { element, onClick, set } from "./dom.js";
import { strings } from "./strings.js";

/** @import { View } from "./view.js" */

/**
 * @typedef {object} FinderCallbacks
 * @property {(typed: string) => void} search
 * @property {(on: boolean) => void} pause
 * @property {(time: string) => void} jump to an RFC 3339 time
 * @property {() => void} densityChanged
 * @property {() => void} searchFurther loads more rows
 */

/** The bar's controls. They act by callbacks. */
export class Finder {
  #field = element("find", HTMLInputElement);
  #count = element("found");
  #further = element("further");
  #none = element("none");
  #pause = element("pause");
  #jump = element("jump", HTMLFormElement);
  #when = element("when", HTMLInputElement);
  #callbacks;

  /** @param {FinderCallbacks} callbacks */
  constructor(callbacks) {
    this.#callbacks = callbacks;
    this.#field.addEventListener("input", () => callbacks.search(this.#field.value));
    this.#field.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.search("");
    });
    onClick("pause", () => callbacks.pause(this.#pause.ariaPressed !== "true"));
    onClick("further", callbacks.searchFurther);
    this.#jump.addEventListener("submit", (event) => this.#jumped(event));
    // In a narrow window the button is a sign without words.
    element("jump-open").title = element("jump-open").textContent;
    for (const name of DENSITIES) {
      onClick(`density-${name}`, () => {
        choose(name);
        this.#press();
        callbacks.densityChanged();
      });
    }
    choose(density.name);
    this.#press();
  }

  /** Gives the keyboard focus to the search. */
  focus() {
    this.#field.focus();
    this.#field.select();
  }

  /** Searches for a text as if the reader had typed it. @param {string} typed */
  search(typed) {
    if (this.#field.value === typed) return;
    this.#field.value = typed;
    this.#callbacks.search(typed);
  }

  /**
   * Adds a term to the search.
   * @param {string} term
   */
  add(term) {
    if (!this.#field.value.includes(term)) this.search(`${this.#field.value} ${term}`.trim());
  }

  /**
   * Shows the number of matches, and whether the list is paused.
   * @param {View} view
   * @param {boolean} isWhole whether everything that is kept was searched
   * @param {boolean} isStopped whether the search has reached its limit
   */
  show({ isFiltered, isPaused, waiting, counts }, isWhole, isStopped) {
    this.#field.classList.toggle("on", isFiltered);
    set(this.#count, isFiltered ? strings.found(counts.fit, counts.all, isWhole) : "");
    this.#further.hidden = !isFiltered || isWhole || !isStopped;
    this.#none.hidden = !isFiltered || counts.fit > 0;
    this.#pause.ariaPressed = String(isPaused);
    this.#pause.title = strings.pause;
    set(this.#pause, isPaused ? strings.goOn(waiting) : strings.pause);
  }

  #press() {
    for (const name of DENSITIES) element(`density-${name}`).ariaPressed = String(name === density.name);
  }

  /** @param {SubmitEvent} event */
  #jumped(event) {
    event.preventDefault();
    const time = new Date(this.#when.value);
    if (Number.isNaN(time.getTime())) return;
    this.#jump.hidePopover();
    this.#callbacks.jump(time.toISOString());
  }
}
