// A room as this window knows it: the rows of its list, from where on they are known, and what is not read yet.

import { reaches } from "../roomcast.js";

/** @import { Gap, Message } from "../roomcast.js" */
/** @import { Entry } from "./outbox.js" */

/**
 * A row of the list. `height` is 0 until it was measured; `open`: its data is unfolded, `whole`: its text is.
 * @typedef {{height: number, open: boolean, whole?: boolean} & (
 *   {kind: "message", message: Message} | {kind: "gap", gap: Gap} |
 *   {kind: "day", timestamp: string} | {kind: "start"} | {kind: "pending", entry: Entry})} Item
 */

/** Rows kept; the oldest go, and are read again by who scrolls up. */
const KEPT = 20_000;
const DROPPED = 2_000;
/** Rows kept under somebody who reads further up, for whom nothing may go. */
const HELD = 100_000;

export class Room {
  name;
  /** @type {Item[]} */
  items = [];
  /** Messages from here on are known: where what is older ends. */
  start = "";
  /** Whether there is nothing older to read. */
  isComplete = false;
  loading = false;
  /** Whether somebody reads further up in it. */
  held = false;
  /** @type {Message | undefined} */
  newest;
  /** The newest id that the reader has seen. */
  read = "";
  unread = 0;
  /** Of this server's process. */
  followers = 0;
  /** Why the server refuses this room. */
  refused = "";
  /** Rows at the end that are on their way to the server. */
  #pending = 0;

  /** @param {string} name */
  constructor(name) {
    this.name = name;
  }

  /**
   * Is followed from this id on.
   * @param {string} id
   */
  enter(id) {
    this.start = id;
    this.newest = undefined;
    this.unread = 0;
  }

  /** Is not followed any more: what is known will not reach to where it is followed again. */
  leave() {
    this.start = "";
    this.items.splice(0, this.items.length - this.#pending);
    this.isComplete = false;
  }

  /** @param {Message} message */
  append(message) {
    this.start ||= message.id;
    this.#add(message.timestamp, { kind: "message", message, height: 0, open: message.text === undefined });
    this.newest = message;
    if (!this.read || !reaches(this.read, message.id)) this.unread += 1;
    if (this.items.length > (this.held ? HELD : KEPT)) this.#drop();
  }

  /** @param {Gap} gap */
  appendGap(gap) {
    this.#insert({ kind: "gap", gap, height: 0, open: false });
  }

  /** @param {Entry} entry */
  appendPending(entry) {
    this.items.push({ kind: "pending", entry, height: 0, open: false });
    this.#pending += 1;
  }

  /** @param {Entry} entry */
  removePending(entry) {
    const index = this.items.findIndex((item) => item.kind === "pending" && item.entry === entry);
    if (index < 0) return;
    this.items.splice(index, 1);
    this.#pending -= 1;
  }

  /**
   * What came before all that is known, oldest first.
   * @param {Message[]} messages
   */
  prepend(messages) {
    const [first] = messages;
    if (!first) return;
    this.start = first.id;
    this.newest ??= messages.at(-1);
    /** @type {Item[]} */
    const items = [];
    for (const [index, message] of messages.entries()) {
      if (day(message.timestamp) !== day(messages[index - 1]?.timestamp)) items.push(dayItem(message.timestamp));
      items.push({ kind: "message", message, height: 0, open: message.text === undefined });
    }
    const next = this.items[0];
    if (next?.kind === "day" && day(next.timestamp) === day(messages.at(-1)?.timestamp)) this.items.shift();
    this.items.unshift(...items);
  }

  /** There is nothing older. */
  complete() {
    this.isComplete = true;
    if (this.items.length) this.items.unshift({ kind: "start", height: 0, open: false });
  }

  /** @param {string} id */
  has(id) {
    return this.items.findLast((item) => item.kind === "message" && item.message.id === id) !== undefined;
  }

  /** Everything that is here was seen; gives whether that is news. */
  markRead() {
    const id = this.newest?.id ?? this.read;
    if (this.read === id && !this.unread) return false;
    this.read = id;
    this.unread = 0;
    return true;
  }

  /**
   * @param {string} timestamp
   * @param {Item} item
   */
  #add(timestamp, item) {
    if (day(timestamp) !== day(this.newest?.timestamp)) this.#insert(dayItem(timestamp));
    this.#insert(item);
  }

  /** @param {Item} item */
  #insert(item) {
    this.items.splice(this.items.length - this.#pending, 0, item);
  }

  #drop() {
    this.items.splice(0, DROPPED);
    this.isComplete = false;
    const first = this.items.find((item) => item.kind === "message");
    if (first) this.start = first.message.id;
  }
}

/** @param {string} timestamp @returns {Item} */
function dayItem(timestamp) {
  return { kind: "day", timestamp, height: 0, open: false };
}

/** @param {string | undefined} timestamp */
function day(timestamp) {
  return timestamp && new Date(timestamp).toDateString();
}
