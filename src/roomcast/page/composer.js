// The field that sends. What was typed and not sent is there again after a reload, for each room.

import { element } from "./dom.js";
import { kept, recall, remember, tab } from "./storage.js";
import { visible } from "./text.js";
import { words } from "./words.js";

/** @import { Access } from "./access.js" */
/** @import { Entry } from "./outbox.js" */

const EXAMPLE = "was geht ab in buxtehude?";

export class Composer {
  #form = element("send", HTMLFormElement);
  #text = element("text", HTMLTextAreaElement);
  #user = element("user", HTMLInputElement);
  #error = element("send-error", HTMLElement);
  #submit = element("submit", HTMLButtonElement);
  #room = "";
  #several = false;
  #access;
  #send;

  /**
   * @param {Access} access
   * @param {(room: string, user: string, text: string) => void} send
   */
  constructor(access, send) {
    this.#access = access;
    this.#send = send;
    this.#user.value = recall(kept, "user", "");
    this.#form.addEventListener("submit", (event) => this.#submitted(event));
    this.#form.addEventListener("input", () => this.#typed());
    this.#text.addEventListener("keydown", (event) => this.#pressed(event));
  }

  /**
   * @param {string} room
   * @param {string} [prefix] of several seen as one: there is none to write to
   */
  open(room, prefix) {
    this.#room = room;
    this.#several = prefix !== undefined;
    this.#say("");
    // The example is for who has never sent anything from here.
    const example = recall(kept, "sent", false) || !this.#access.publishes(room) ? "" : EXAMPLE;
    this.#text.value = recall(tab, `draft.${room}`, example);
    this.allow();
  }

  /** Lets write what the server would take. */
  allow() {
    const may = this.#access.publishes(this.#room) && !this.#several;
    const { user } = this.#access;
    const why = this.#several ? words.writeToOne : words.readOnly(visible(this.#room));
    this.#text.placeholder = may ? words.writeTo(visible(this.#room)) : why;
    if (!may && this.#text.value === EXAMPLE) this.#text.value = "";
    this.#text.readOnly = !may;
    this.#submit.disabled = !may;
    this.#user.readOnly = Boolean(user);
    if (user) this.#user.value = user;
  }

  focus() {
    this.#text.select();
  }

  /**
   * Gives a message back that was not sent; false where something else is being written.
   * @param {Entry} entry
   */
  restore({ room, text, body, refused }) {
    if (room !== this.#room || this.#text.value.trim()) return false;
    this.#text.value = text;
    this.#user.value = this.#access.user || (JSON.parse(body).user ?? "");
    this.#saveDraft();
    this.#say(refused ? words.refused(refused.message) : "");
    const atFault = refused?.errors[0]?.pointer === "/user" ? this.#user : this.#text;
    atFault.ariaInvalid = String(Boolean(refused));
    atFault.focus();
    return true;
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    // Enter also ends a composition (Japanese, Chinese, Korean); Safari tells so only by the code 229.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    this.#form.requestSubmit();
  }

  /** @param {SubmitEvent} event */
  #submitted(event) {
    event.preventDefault();
    if (!this.#text.value || this.#submit.disabled) return;
    const user = this.#user.value.trim();
    const text = this.#text.value;
    this.#text.value = "";
    this.#typed();
    remember(kept, "sent", true);
    if (!this.#user.readOnly) remember(kept, "user", user);
    this.#text.focus();
    this.#send(this.#room, user, text);
  }

  #typed() {
    this.#say("");
    for (const field of [this.#text, this.#user]) field.ariaInvalid = null;
    this.#saveDraft();
  }

  #saveDraft() {
    remember(tab, `draft.${this.#room}`, this.#text.value);
  }

  /** @param {string} text */
  #say(text) {
    // Only changes: a screen reader reads aloud whatever is set.
    if (this.#error.textContent !== text) this.#error.textContent = text;
  }
}
