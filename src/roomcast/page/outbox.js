// Outgoing messages, sent one after the other, each under one Idempotency-Key until it is answered. They survive a
// reload, and are stored once.

import { Refused, publish, randomKey } from "../roomcast.js";
import { credential } from "./rights.js";
import { recall, remember, tab } from "./storage.js";

/** @import { Message } from "../roomcast.js" */

/**
 * An outgoing message. `data` is JSON.
 * @typedef {{room: string, user: string, text?: string, type?: string, data?: string, body: string, key?: string}} Draft
 */

/**
 * @typedef {object} Entry
 * @property {string} key
 * @property {string} body the request, the same each time
 * @property {string} room
 * @property {string} [text]
 * @property {string} user
 * @property {string} [type]
 * @property {string} [data] as JSON
 * @property {string} timestamp when it was written
 * @property {string} [id] its id, once it is stored
 * @property {number} [until] the time of the next try, in ms since 1970
 * @property {string} [why] the reason for it
 * @property {Refused} [refused] the server's refusal
 */

/**
 * @typedef {object} OutboxCallbacks
 * @property {(entry: Entry) => void} added
 * @property {(entry: Entry) => void} changed
 * @property {(entry: Entry) => void} refused
 * @property {(entry: Entry) => void} removed
 * @property {(entry: Entry) => boolean} isHere whether the page has received it
 */

/** The unsent messages of this tab, in the order in which they were written. */
export class Outbox {
  /** @type {Entry[]} */
  #entries = [];
  #callbacks;
  #sending = false;
  /** The message that is being sent. @type {Entry | undefined} */
  #sent;
  /** Ends the present request or its wait. */
  #stop = new AbortController();

  /** @param {OutboxCallbacks} callbacks */
  constructor(callbacks) {
    this.#callbacks = callbacks;
    for (const entry of recall(tab, "outbox", /** @type {Entry[]} */ ([]))) this.#add(entry);
    addEventListener("online", () => this.retry());
    this.#send();
  }

  /** Sends a message after those that are waiting. @param {Draft} draft */
  add(draft) {
    this.#add({ ...draft, key: draft.key ?? randomKey(), timestamp: new Date().toISOString() });
    this.#save();
    this.#send();
  }

  /**
   * Called with each message that arrives: if it is one of these, its row goes.
   * @param {Message} message
   * @param {boolean} live whether it was published after the page had caught up, so that it can be one of these
   */
  arrived(message, live) {
    const entry = this.#entries.find((one) => one.room === message.room && same(one, message, live));
    if (!entry) return;
    // Before its own answer, an arrived message may be somebody else's equal one, so this one is still being sent.
    if (entry.id) this.#remove(entry);
    else this.#callbacks.removed(entry);
  }

  /** Retries waiting messages at once. */
  retry() {
    if (this.#entries.some(({ until = 0 }) => until > Date.now())) this.#stop.abort();
  }

  /**
   * Removes an unsent message. The server may have stored it already.
   * @param {Entry} entry
   */
  discard(entry) {
    this.#remove(entry);
    if (entry === this.#sent) this.#stop.abort();
  }

  /** @param {Entry} entry */
  #add(entry) {
    this.#entries.push(entry);
    this.#callbacks.added(entry);
  }

  /** @param {Entry} entry */
  #remove(entry) {
    this.#entries = this.#entries.filter((other) => other !== entry);
    this.#callbacks.removed(entry);
    this.#save();
  }

  #save() {
    const waiting = this.#entries.filter((entry) => !entry.id);
    // Its state is found out again.
    remember(tab, "outbox", waiting.map((entry) => ({ ...entry, refused: undefined, until: undefined, why: undefined })));
  }

  async #send() {
    if (this.#sending) return;
    this.#sending = true;
    for (let entry; (entry = this.#entries.find((one) => !one.id && !one.refused)); ) await this.#deliver(entry);
    this.#sending = false;
  }

  /** @param {Entry} entry */
  async #deliver(entry) {
    this.#stop = new AbortController();
    this.#sent = entry;
    entry.until = undefined;
    try {
      const stored = await publish(entry.body, {
        ...credential,
        key: entry.key,
        signal: this.#stop.signal,
        onRetry: ({ message }, until) => {
          Object.assign(entry, { why: message, until });
          this.#callbacks.changed(entry);
        },
      });
      Object.assign(entry, { id: /** @type {Message} */ (stored).id, until: undefined });
      if (this.#callbacks.isHere(entry)) this.#remove(entry);
      else this.#callbacks.changed(entry);
    } catch (error) {
      if (this.#stop.signal.aborted) return; // retried after a reload, if it is still here
      entry.refused = error instanceof Refused ? error : new Refused(String(error));
      this.#callbacks.refused(entry);
    }
    this.#save();
  }
}

/**
 * @param {Entry} entry
 * @param {Message} message
 * @param {boolean} live
 */
function same(entry, { id, text, user, type }, live) {
  if (entry.id) return entry.id === id;
  return live && !entry.refused && entry.text === text && entry.user === user && entry.type === type;
}
