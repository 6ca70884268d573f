// A room in this window: its rows, where they begin, and which messages are unread.

import { reaches } from "../roomcast.js";

/** @import { Gap, Message, State } from "../roomcast.js" */
/** @import { Entry } from "./outbox.js" */

/**
 * A row of the list. `height` is 0 until it was measured; `open`: its data is unfolded, `whole`: its text is; `isNew`: its
 * arrival is animated; `received`: when it came live, in ms since 1970; `fits`: whether it matches `query`.
 * @typedef {{height: number, open: boolean, whole?: boolean, isNew?: boolean} & Content} Item
 */
/**
 * @typedef {{kind: "message", message: Message, received?: number, query?: object, fits?: boolean} |
 *   {kind: "gap", gap: Gap} | {kind: "day", timestamp: string} | {kind: "start"} | {kind: "pending", entry: Entry}} Content
 */

/**
 * The most rows kept, and characters in them: a message may have 64 KB or more. Beyond that the oldest are dropped, and read again
 * when the reader scrolls up. HELD is for a reader who is further up: dropped rows would move or remove what is in sight.
 */
const CLOSED = { rows: 2_000, characters: 2 ** 20 };
const OPEN = { rows: 20_000, characters: 2 ** 24 };
const HELD = { rows: 100_000, characters: 2 ** 26 };

/** One room, or several shown as one. `items` are its rows, oldest first; only its methods change them. */
export class Room {
  name;
  /** The common prefix, if this is several rooms seen as one. @type {string | undefined} */
  prefix;
  /** @type {Item[]} */
  items = [];
  /** All messages from this id on are known. */
  start = "";
  /** Whether there is nothing older to read. */
  isComplete = false;
  /** Whether a page of its history is being read. */
  loading = false;
  /** Whether it is the one that is open. */
  shown = false;
  /** Whether somebody reads further up in it. */
  held = false;
  /** Its newest known message. @type {Message | undefined} */
  newest;
  /** Its newest id as the server lists it; empty if it has no messages. */
  listed = "";
  /** The newest id that the reader has seen. */
  read = "";
  /** How many of its known messages are unread. */
  unread = 0;
  /** How many other streams follow it by its name; 0 if unknown. */
  followers = 0;
  /** How the server refuses this room. @type {State | undefined} */
  refused;
  /** A gap whose end is not here yet. @type {Gap | undefined} */
  #openGap;
  /** Characters in its rows. */
  #characters = 0;
  /** Rows at the end that are on their way to the server. */
  #pending = 0;

  /**
   * @param {string} name
   * @param {string} [prefix]
   */
  constructor(name, prefix) {
    this.name = name;
    this.prefix = prefix;
  }

  /** The log position of its newest message, precise enough for sorting. */
  get activity() {
    return number(this.newest?.id ?? this.listed);
  }

  /** Whether there are unread messages, counted or not. */
  get isUnread() {
    return this.unread > 0 || Boolean(!this.newest && this.listed && this.read && !reaches(this.read, this.listed));
  }

  /**
   * Whether it is, or includes, the room of this name.
   * @param {string} name
   * @returns {boolean}
   */
  covers(name) {
    return this.prefix === undefined ? name === this.name : name.startsWith(this.prefix);
  }

  /**
   * The room is followed from this id on.
   * @param {string} id
   */
  enter(id) {
    this.start = id;
    this.newest = undefined;
    this.unread = 0;
  }

  /** The room is no longer followed: messages until the next `enter` will be missing, so its rows go. */
  leave() {
    this.start = "";
    this.#remove(this.items.length - this.#pending);
  }

  /**
   * Adds the newest message at the end, and drops the oldest rows beyond the room's limit.
   * @param {Message} message
   * @param {number} [received] when it came live, in ms since 1970
   */
  append(message, received) {
    this.start ||= message.id;
    this.#add(message.timestamp, row({ kind: "message", message, received }));
    this.#characters += characters(message);
    this.newest = message;
    if (!this.read || !reaches(this.read, message.id)) this.unread += 1;
    const most = this.held ? HELD : this.shown ? OPEN : CLOSED;
    while (this.items.length > most.rows || this.#characters > most.characters) if (!this.#drop()) break;
  }

  /** Adds the row of a gap at the end. @param {Gap} gap */
  appendGap(gap) {
    this.#insert(row({ kind: "gap", gap }));
  }

  /**
   * Places a gap that a page of history has reported before the message with which it ends, once that has arrived.
   * @param {Gap} gap
   */
  insertGap(gap) {
    const at = this.items.findLastIndex((item) => item.kind === "message" && item.message.id === gap.resumes_at);
    if (at >= 0) this.items.splice(at, 0, row({ kind: "gap", gap }));
    else this.#openGap = gap;
  }

  /** Adds the row of an outgoing message at the end. @param {Entry} entry */
  appendPending(entry) {
    this.items.push(row({ kind: "pending", entry }));
    this.#pending += 1;
  }

  /** Removes the row of an outgoing message, if it is there. @param {Entry} entry */
  removePending(entry) {
    const index = this.items.findIndex((item) => item.kind === "pending" && item.entry === entry);
    if (index < 0) return;
    this.items.splice(index, 1);
    this.#pending -= 1;
  }

  /**
   * Adds older messages before all known ones, oldest first.
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
      if (day(message.timestamp) !== day(messages[index - 1]?.timestamp)) items.push(row({ kind: "day", timestamp: message.timestamp }));
      if (this.#openGap?.resumes_at === message.id) items.push(row({ kind: "gap", gap: this.#openGap }));
      items.push(row({ kind: "message", message }));
      this.#characters += characters(message);
    }
    const next = this.items[0];
    if (next?.kind === "day" && day(next.timestamp) === day(messages.at(-1)?.timestamp)) this.items.shift();
    this.items.unshift(...items);
  }

  /** Called when there is nothing older: adds the row that says so. */
  complete() {
    this.isComplete = true;
    if (this.items.length) this.items.unshift(row({ kind: "start" }));
  }

  /**
   * The row of a message.
   * @param {string} id
   * @returns {Item | undefined}
   */
  find(id) {
    return this.items.findLast((item) => item.kind === "message" && item.message.id === id);
  }

  /** Marks everything as read; returns whether anything was unread. */
  markRead() {
    const id = this.newest?.id ?? (this.listed || this.read);
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
    if (day(timestamp) !== day(this.newest?.timestamp)) this.#insert(row({ kind: "day", timestamp }));
    this.#insert(item);
  }

  /** @param {Item} item */
  #insert(item) {
    this.items.splice(this.items.length - this.#pending, 0, item);
  }

  /** Drops the oldest tenth; returns whether there was any. */
  #drop() {
    const many = Math.min(Math.ceil(this.items.length / 10), this.items.length - this.#pending - 1);
    if (many < 1) return false;
    this.#remove(many);
    const first = this.items.find((item) => item.kind === "message");
    if (first) this.start = first.message.id;
    return true;
  }

  /** @param {number} many of the oldest rows */
  #remove(many) {
    for (const item of this.items.splice(0, many)) {
      if (item.kind === "message") this.#characters -= characters(item.message);
    }
    this.isComplete = false;
  }
}

/**
 * The log position of an id, precise enough for sorting.
 * @param {string} id
 * @returns {number}
 */
export function number(id) {
  return Number(id.split("-")[1] ?? 0);
}

/** @param {Message} message */
function characters({ text = "", data = "" }) {
  return text.length + String(data).length;
}

/**
 * A new row.
 * @param {Content} content
 * @returns {Item}
 */
function row(content) {
  return { ...content, height: 0, open: false };
}

/** @param {string | undefined} timestamp */
function day(timestamp) {
  return timestamp && new Date(timestamp).toDateString();
}
