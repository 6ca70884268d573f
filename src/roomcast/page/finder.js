// The bar over the list: the search, the pause, the jump to a time, the density.

import { DENSITIES, choose, density } from "./density.js";
import { element, set } from "./dom.js";
import { words } from "./words.js";

/** @import { View } from "./view.js" */

/**
 * @typedef {object} Audience
 * @property {(typed: string) => void} look
 * @property {(on: boolean) => void} pause
 * @property {(time: string) => void} jump to an RFC 3339 time
 * @property {() => void} denser the density changed
 * @property {() => void} further the search goes on
 */

export class Finder {
  #field = element("find", HTMLInputElement);
  #count = element("found", HTMLElement);
  #further = element("further", HTMLButtonElement);
  #pause = element("pause", HTMLButtonElement);
  #jump = element("jump", HTMLFormElement);
  #when = element("when", HTMLInputElement);
  #audience;

  /** @param {Audience} audience */
  constructor(audience) {
    this.#audience = audience;
    this.#field.addEventListener("input", () => audience.look(this.#field.value));
    this.#field.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.look("");
    });
    this.#pause.addEventListener("click", () => audience.pause(this.#pause.ariaPressed !== "true"));
    this.#further.addEventListener("click", () => audience.further());
    this.#jump.addEventListener("submit", (event) => this.#jumped(event));
    for (const name of DENSITIES) {
      element(`density-${name}`, HTMLButtonElement).addEventListener("click", () => {
        choose(name);
        this.#press();
        audience.denser();
      });
    }
    choose(density.name);
    this.#press();
  }

  focus() {
    this.#field.focus();
    this.#field.select();
  }

  /** @param {string} typed */
  look(typed) {
    if (this.#field.value === typed) return;
    this.#field.value = typed;
    this.#audience.look(typed);
  }

  /**
   * Adds a term to the search.
   * @param {string} term
   */
  add(term) {
    if (!this.#field.value.includes(term)) this.look(`${this.#field.value} ${term}`.trim());
  }

  /**
   * @param {View} view
   * @param {boolean} isWhole whether all that is kept was looked at
   * @param {boolean} isStopped whether the search waits for a word
   */
  show({ isFiltered, isPaused, waiting, counts }, isWhole, isStopped) {
    this.#field.classList.toggle("on", isFiltered);
    set(this.#count, isFiltered ? words.found(counts.fit, counts.all, isWhole) : "");
    this.#further.hidden = !isFiltered || isWhole || !isStopped;
    this.#pause.ariaPressed = String(isPaused);
    set(this.#pause, isPaused ? words.goOn(waiting) : words.pause);
  }

  #press() {
    for (const name of DENSITIES) element(`density-${name}`, HTMLButtonElement).ariaPressed = String(name === density.name);
  }

  /** @param {SubmitEvent} event */
  #jumped(event) {
    event.preventDefault();
    const time = new Date(this.#when.value);
    if (Number.isNaN(time.getTime())) return;
    this.#jump.hidePopover();
    this.#audience.jump(time.toISOString());
  }
}
