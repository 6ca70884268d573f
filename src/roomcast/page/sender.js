// The form that sends: one message at a time. Until it is stored or refused its text stays, locked, and what
// is tried again is the very same request under the same Idempotency-Key: it is stored once.

import { publish } from "./api.js";
import { element } from "./dom.js";

/** @import { Failure } from "./api.js" */

const RETRY_SECONDS = 3;
const LONGEST_SECONDS = 60;

export class Sender {
  #form = element("send", HTMLFormElement);
  #text = element("text", HTMLTextAreaElement);
  #user = element("user", HTMLInputElement);
  #submit = element("submit", HTMLButtonElement);
  #cancel = element("send-cancel", HTMLButtonElement);
  #error = element("send-error", HTMLElement);
  /** The request that is not known to be stored. Sent again unchanged, it keeps its key. */
  #request = { body: "", key: "" };
  /** @type {AbortController | undefined} */
  #sending;
  #room;

  /** @param {() => string} room where to send */
  constructor(room) {
    this.#room = room;
    this.#user.value = rememberedName();
    this.#form.addEventListener("submit", (event) => this.#submitted(event));
    this.#text.addEventListener("keydown", (event) => this.#pressed(event));
    this.#cancel.addEventListener("click", () => this.#sending?.abort());
    this.#text.select();
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    // Enter also ends a composition (Japanese, Chinese, Korean); Safari tells so only by the code 229.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    this.#form.requestSubmit();
  }

  /** @param {SubmitEvent} event */
  async #submitted(event) {
    event.preventDefault();
    if (this.#sending) return;
    this.#sending = new AbortController();
    this.#lock(true);
    const failure = await this.#deliver(this.#next(), this.#sending.signal);
    this.#sending = undefined;
    this.#lock(false);
    if (failure) this.#refused(failure);
    else this.#stored();
    this.#text.focus();
  }

  /** The request in the fields: the last one again where they are as they were. */
  #next() {
    const user = this.#user.value.trim();
    const body = JSON.stringify({ text: this.#text.value, room: this.#room(), ...(user && { user }) });
    if (body !== this.#request.body) this.#request = { body, key: newKey() };
    return this.#request;
  }

  /**
   * Sends until it is stored (null), refused, or given up.
   * @param {{body: string, key: string}} request
   * @param {AbortSignal} stop
   * @returns {Promise<Failure | null>}
   */
  async #deliver({ body, key }, stop) {
    for (;;) {
      const failure = await publish(body, key, stop);
      if (!failure?.passing) return failure;
      const seconds = Math.min(failure.retryAfter ?? RETRY_SECONDS, LONGEST_SECONDS);
      this.#say(`Not sent yet (tried again every ${seconds} s): ${failure.why}`);
      this.#cancel.hidden = false;
      await pause(seconds, stop);
      if (stop.aborted) return { why: "you stopped it; the server may have it all the same", passing: false };
    }
  }

  /** @param {Failure} failure */
  #refused({ why, pointer }) {
    this.#say(`Not sent: ${why}`);
    (pointer === "/user" ? this.#user : this.#text).ariaInvalid = "true";
  }

  #stored() {
    this.#say("");
    this.#request = { body: "", key: "" };
    this.#text.value = "";
    rememberName(this.#user.value.trim());
  }

  /** @param {boolean} on */
  #lock(on) {
    // readOnly rather than disabled: the focus stays where it is.
    for (const field of [this.#text, this.#user]) {
      field.readOnly = on;
      field.ariaInvalid = "false";
    }
    this.#submit.ariaDisabled = String(on);
    this.#cancel.hidden = true;
  }

  /** @param {string} text */
  #say(text) {
    // Only changes: a screen reader reads aloud whatever is set.
    if (this.#error.textContent !== text) this.#error.textContent = text;
  }
}

/** 128 random bits. Not crypto.randomUUID, which is missing wherever the page is served without TLS. */
function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * @param {number} seconds
 * @param {AbortSignal} stop
 * @returns {Promise<void>}
 */
function pause(seconds, stop) {
  return new Promise((resolve) => {
    setTimeout(resolve, seconds * 1000);
    stop.addEventListener("abort", () => resolve());
  });
}

const NAME = "roomcast.user";

// Storage may be switched off, and then throws. The name is a convenience.
function rememberedName() {
  try {
    return localStorage.getItem(NAME) ?? "";
  } catch {
    return "";
  }
}

/** @param {string} name */
function rememberName(name) {
  try {
    localStorage.setItem(NAME, name);
  } catch {}
}
