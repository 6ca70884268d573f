// The form that sends: a text for people; a type, data and a key for developers. An unsent text survives a reload, for
// each room.

import { copyButton } from "./copy.js";
import { element, onClick, set } from "./dom.js";
import { EXAMPLE, bodyOf, publishing } from "./examples.js";
import * as rights from "./rights.js";
import { browser, recall, remember, tab } from "./storage.js";
import { visible } from "./text.js";
import { strings } from "./strings.js";

/** @import { Fields } from "./examples.js" */
/** @import { Draft, Entry } from "./outbox.js" */

/** The form of the open room. It sends by a callback, and keeps the drafts of all rooms. */
export class Composer {
  #form = element("send", HTMLFormElement);
  #text = element("text", HTMLTextAreaElement);
  #user = element("user", HTMLInputElement);
  #type = element("type", HTMLInputElement);
  #data = element("data", HTMLTextAreaElement);
  #key = element("key", HTMLInputElement);
  #more = element("developer");
  #open = element("developer-open");
  #wrong = element("data-error");
  #error = element("send-error");
  #submit = element("submit", HTMLButtonElement);
  #room = "";
  #several = false;
  #send;

  /** @param {(draft: Draft) => void} send */
  constructor(send) {
    this.#send = send;
    this.#user.value = recall(browser, "user", "");
    this.#form.addEventListener("submit", (event) => this.#submitted(event));
    this.#form.addEventListener("input", () => this.#typed());
    this.#text.addEventListener("keydown", (event) => this.#pressed(event));
    this.#open.title = this.#open.textContent ?? "";
    onClick("developer-open", () => this.#unfold(this.#more.hidden));
    this.#unfold(recall(browser, "developer", false));
    const languages = publishing(this.#fields()).map(([language]) => language);
    element("send-copies").append(...languages.map((language, index) => copyButton(language, () => this.#example(index))));
  }

  /**
   * Shows the draft of a room, and whether the reader may write to it.
   * @param {string} room
   * @param {string} [prefix] of several rooms shown as one: then nothing can be written
   */
  open(room, prefix) {
    this.#room = room;
    this.#several = prefix !== undefined;
    set(this.#error, "");
    this.#text.value = recall(tab, `draft.${room}`, "");
    this.allow();
  }

  /** Enables the form only if the server would accept the message. */
  allow() {
    const may = rights.publishes(this.#room) && !this.#several;
    const user = rights.user();
    const isNew = !recall(browser, "sent", false);
    const why = this.#several ? strings.writeToOne : strings.readOnly(visible(this.#room));
    this.#text.placeholder = may ? (isNew ? EXAMPLE : strings.writeTo(visible(this.#room))) : why;
    for (const field of [this.#text, this.#type, this.#data, this.#key]) field.readOnly = !may;
    this.#submit.disabled = !may;
    this.#user.readOnly = Boolean(user);
    if (user) this.#user.value = user;
  }

  /** Gives the keyboard focus to the text. */
  focus() {
    this.#text.focus();
  }

  /** Sends the example message. */
  sendExample() {
    this.#text.value = EXAMPLE;
    this.#form.requestSubmit();
  }

  /**
   * Puts an unsent message back into the form.
   * @param {Entry} entry
   * @returns {boolean} false if the form shows another room, or something else is being written
   */
  restore({ room, text, user, type, data, refused }) {
    if (room !== this.#room || this.#text.value.trim()) return false;
    this.#text.value = text ?? "";
    this.#user.value = rights.user() || (user === "anonymous" ? "" : user);
    this.#type.value = type ?? "";
    this.#data.value = data ?? "";
    if (type || data) this.#unfold(true);
    this.#saveDraft();
    set(this.#error, refused ? strings.refused(refused.message) : "");
    const [field = this.#text] = [this.#user, this.#type, this.#data].filter(({ id }) => refused?.errors[0]?.pointer === `/${id}`);
    field.ariaInvalid = String(Boolean(refused));
    field.focus();
    return true;
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    // Enter also ends a composition (Japanese, Chinese, Korean); Safari shows that only by the code 229.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    this.#form.requestSubmit();
  }

  /** @param {SubmitEvent} event */
  #submitted(event) {
    event.preventDefault();
    /** @type {Draft} */
    const draft = { room: this.#room, user: "anonymous", ...this.#values(), body: bodyOf(this.#fields()) };
    if ((!draft.text && !draft.data) || this.#submit.disabled || this.#isWrong()) return;
    this.#text.value = "";
    this.#data.value = "";
    this.#key.value = "";
    this.#typed();
    remember(browser, "sent", true);
    if (!this.#user.readOnly) remember(browser, "user", this.#user.value.trim());
    this.allow();
    this.#text.focus();
    this.#send(draft);
  }

  /** The typed values, without empty fields. */
  #values() {
    const message = { room: this.#room, text: this.#text.value, user: this.#user.value.trim() };
    const more = this.#more.hidden ? {} : { type: this.#type.value.trim(), data: this.#data.value.trim(), key: this.#key.value.trim() };
    return Object.fromEntries(Object.entries({ ...message, ...more }).filter(([, value]) => value));
  }

  /** @returns {Fields} */
  #fields() {
    const { key, ...message } = this.#values();
    return Object.entries(message).map(([name, value]) => [name, name === "data" ? value : JSON.stringify(value)]);
  }

  /** The code that publishes what is typed. @param {number} language */
  #example(language) {
    return publishing(this.#fields(), this.#values().key)[language]?.[1] ?? "";
  }

  #typed() {
    set(this.#error, "");
    for (const field of [this.#text, this.#user, this.#type]) field.ariaInvalid = null;
    this.#isWrong();
    this.#saveDraft();
  }

  /** Says, while typing, why the data is not JSON. */
  #isWrong() {
    const json = this.#more.hidden ? "" : this.#data.value.trim();
    let wrong = "";
    try {
      if (json) JSON.parse(json);
    } catch (error) {
      wrong = strings.noJson(error instanceof Error ? error.message.replace(/^JSON\.parse: /, "") : "");
    }
    set(this.#wrong, wrong);
    this.#data.ariaInvalid = wrong ? "true" : null;
    return Boolean(wrong);
  }

  /** @param {boolean} on */
  #unfold(on) {
    this.#more.hidden = !on;
    this.#open.ariaExpanded = String(on);
    remember(browser, "developer", on);
  }

  #saveDraft() {
    remember(tab, `draft.${this.#room}`, this.#text.value);
  }
}
