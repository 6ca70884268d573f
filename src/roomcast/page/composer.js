// The form that sends: a text for people; a type, data and a key for developers. An unsent message survives a reload,
// for each room.

import { bodyOf, lines } from "./compose.js";
import { copyButton } from "./copy.js";
import { EXAMPLE } from "./curl.js";
import { element, set } from "./dom.js";
import { kept, recall, remember, tab } from "./storage.js";
import { visible } from "./text.js";
import { words } from "./words.js";

/** @import { Access } from "./access.js" */
/** @import { Fields } from "./compose.js" */
/** @import { Draft, Entry } from "./outbox.js" */

export class Composer {
  #form = element("send", HTMLFormElement);
  #text = element("text", HTMLTextAreaElement);
  #user = element("user", HTMLInputElement);
  #type = element("type", HTMLInputElement);
  #data = element("data", HTMLTextAreaElement);
  #key = element("key", HTMLInputElement);
  #more = element("developer", HTMLElement);
  #open = element("developer-open", HTMLButtonElement);
  #wrong = element("data-error", HTMLElement);
  #error = element("send-error", HTMLElement);
  #submit = element("submit", HTMLButtonElement);
  #room = "";
  #several = false;
  #access;
  #send;

  /**
   * @param {Access} access
   * @param {(draft: Draft) => void} send
   */
  constructor(access, send) {
    this.#access = access;
    this.#send = send;
    this.#user.value = recall(kept, "user", "");
    this.#form.addEventListener("submit", (event) => this.#submitted(event));
    this.#form.addEventListener("input", () => this.#typed());
    this.#text.addEventListener("keydown", (event) => this.#pressed(event));
    this.#open.addEventListener("click", () => this.#unfold(this.#more.hidden));
    this.#unfold(recall(kept, "developer", false));
    const copies = /** @type {const} */ (["curl", "python", "javascript"]).map((name) =>
      copyButton({ curl: words.copyCurl, python: words.copyPython, javascript: words.copyJavascript }[name], () => this.#lines()[name]),
    );
    element("send-copies", HTMLElement).append(...copies);
  }

  /**
   * @param {string} room
   * @param {string} [prefix] of several seen as one: there is none to write to
   */
  open(room, prefix) {
    this.#room = room;
    this.#several = prefix !== undefined;
    this.#say("");
    this.#text.value = recall(tab, `draft.${room}`, "");
    this.allow();
  }

  /** Enables the form only if the server would accept the message. */
  allow() {
    const may = this.#access.publishes(this.#room) && !this.#several;
    const { user } = this.#access;
    const isNew = !recall(kept, "sent", false);
    const why = this.#several ? words.writeToOne : words.readOnly(visible(this.#room));
    this.#text.placeholder = may ? (isNew ? EXAMPLE : words.writeTo(visible(this.#room))) : why;
    for (const field of [this.#text, this.#type, this.#data, this.#key]) field.readOnly = !may;
    this.#submit.disabled = !may;
    this.#user.readOnly = Boolean(user);
    if (user) this.#user.value = user;
  }

  focus() {
    this.#text.focus();
  }

  /** Sends the example message. */
  sendExample() {
    this.#text.value = EXAMPLE;
    this.#form.requestSubmit();
  }

  /**
   * Puts an unsent message back into the form; false if something else is being written.
   * @param {Entry} entry
   */
  restore({ room, text, user, type, data, refused }) {
    if (room !== this.#room || this.#text.value.trim()) return false;
    this.#text.value = text ?? "";
    this.#user.value = this.#access.user || (user === "anonymous" ? "" : user);
    this.#type.value = type ?? "";
    this.#data.value = data ?? "";
    if (type || data) this.#unfold(true);
    this.#saveDraft();
    this.#say(refused ? words.refused(refused.message) : "");
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
    const draft = this.#draft();
    if ((draft.text === undefined && !draft.data) || this.#submit.disabled || this.#isWrong()) return;
    this.#text.value = "";
    this.#data.value = "";
    this.#key.value = "";
    this.#typed();
    remember(kept, "sent", true);
    if (!this.#user.readOnly) remember(kept, "user", this.#user.value.trim());
    this.allow();
    this.#text.focus();
    this.#send(draft);
  }

  /** @returns {Draft} */
  #draft() {
    const [text, user] = [this.#text.value, this.#user.value.trim()];
    const draft = { room: this.#room, user: user || "anonymous", ...(text && { text }) };
    if (this.#more.hidden) return { ...draft, body: bodyOf(this.#fields()) };
    const [type, data, key] = [this.#type.value.trim(), this.#data.value.trim(), this.#key.value.trim()];
    return { ...draft, ...(type && { type }), ...(data && { data }), ...(key && { key }), body: bodyOf(this.#fields()) };
  }

  /** @returns {Fields} */
  #fields() {
    const values = { room: this.#room, text: this.#text.value, user: this.#user.value.trim(), type: this.#more.hidden ? "" : this.#type.value.trim() };
    /** @type {Fields} */
    const fields = Object.entries(values).flatMap(([name, value]) => (value ? [[name, JSON.stringify(value)]] : []));
    const data = this.#more.hidden ? "" : this.#data.value.trim();
    return data ? [...fields, ["data", data]] : fields;
  }

  #lines() {
    return lines(this.#fields(), this.#access.counts, this.#key.value.trim());
  }

  #typed() {
    this.#say("");
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
      wrong = words.noJson(error instanceof Error ? error.message.replace(/^JSON\.parse: /, "") : "");
    }
    set(this.#wrong, wrong);
    this.#data.ariaInvalid = wrong ? "true" : null;
    return Boolean(wrong);
  }

  /** @param {boolean} on */
  #unfold(on) {
    this.#more.hidden = !on;
    this.#open.ariaExpanded = String(on);
    remember(kept, "developer", on);
  }

  #saveDraft() {
    remember(tab, `draft.${this.#room}`, this.#text.value);
  }

  /** @param {string} text */
  #say(text) {
    set(this.#error, text);
  }
}
