// The form for a token, offered where one would help, and the reader's name below the rooms.

import { element, onClick, set } from "./dom.js";
import { explain, hasToken, keepToken, needsToken, who } from "./rights.js";
import { strings } from "./strings.js";

/** The form. A new token reloads the page. */
export class TokenForm {
  #form = element("access");
  #why = element("access-why");
  #field = element("token", HTMLInputElement);

  /** @param {() => void} reload loads the page anew */
  constructor(reload) {
    /** @param {string} token */
    const take = (token) => {
      keepToken(token);
      reload();
    };
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      take(this.#field.value.trim());
    });
    onClick("access-forget", () => take(""));
    onClick("access-open", () => this.#open());
    element("access-forget").hidden = !hasToken;
    this.showReader();
  }

  /** Called when the reader's rights are known. */
  showReader() {
    element("identity").hidden = !needsToken();
    element("who").textContent = who();
  }

  /**
   * Offers the form if a credential would help, and closes it otherwise.
   * @param {{status?: number, message: string}} [refused]
   */
  offer(refused) {
    if (refused?.status !== 401 && refused?.status !== 403) return this.#close();
    this.#say(refused.status === 403 ? strings.tokenLacks : explain(refused));
    this.#form.hidden = false;
  }

  #open() {
    this.#say("");
    this.#form.hidden = false;
    this.#field.focus();
  }

  #close() {
    if (!this.#why.textContent) return; // opened by the reader
    this.#say("");
    this.#form.hidden = true;
  }

  /** @param {string} text */
  #say(text) {
    set(this.#why, text);
    this.#field.ariaInvalid = text && hasToken ? "true" : null;
  }
}
