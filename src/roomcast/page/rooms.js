// All rooms of this window, followed over one connection: all that its reader may read, by prefix if that is granted.

import { Refused, follow, reaches } from "../roomcast.js";
import { Bookmarks } from "./bookmarks.js";
import { Catalog } from "./catalog.js";
import { parse } from "./exact.js";
import { PAGE, older, page, peek } from "./history.js";
import * as rights from "./rights.js";
import { Room } from "./room.js";
import { browser, recall, remember } from "./storage.js";

/** @import { Following, Gap, Message, State } from "../roomcast.js" */
/** @import { Listed } from "./catalog.js" */

/** The most names and prefixes of a stream. */
const MAX_FOLLOWED = 64;
const REFRESH_MS = 15_000;
/** For this many ms the server may still count the page's first stream beside the wider one that has replaced it. */
const SETTLED_MS = 2000;
/** How many rooms' newest lines are requested at a time. */
const LOOKS = 4;

/**
 * @typedef {object} RoomsCallbacks
 * @property {(room: Room, message: Message, live: boolean) => void} message
 * @property {(room: Room) => void} changed rows came or went in another way
 * @property {() => void} listed the rooms, or what is known of them, changed
 * @property {(state: State) => void} state
 */

/** The rooms, their stream, and the one that is open. */
export class Rooms {
  /** All known rooms by their names, without the group. @type {Map<string, Room>} */
  all = new Map();
  /** Changes whenever rooms come or go. */
  version = 0;
  /** Rooms that the reader has pinned. @type {Set<string>} */
  pins = new Set(recall(browser, "pins", []));
  /** The group of rooms that is shown as one room, if any. @type {Room | undefined} */
  #group;
  #bookmarks = new Bookmarks((name, id) => this.#readElsewhere(name, id));
  catalog = new Catalog();
  /** The stream of this window. @type {Following | undefined} */
  following;
  /** @type {State} */
  #state = { name: "connecting" };
  #callbacks;
  /** Opened rooms, the last one first. @type {string[]} */
  #opened = recall(browser, "rooms", []);
  /** The open room or group. */
  #current = new Room("");
  /** The room that was open before. @type {Room | undefined} */
  #previous;
  /** Rooms in sight whose newest line is unknown. @type {Set<Room>} */
  #wanting = new Set();
  /** How many rooms' newest lines are being requested. */
  #looking = 0;
  /** Whether this page counts as one follower. */
  #isSettled = false;

  /** @param {RoomsCallbacks} callbacks */
  constructor(callbacks) {
    this.#callbacks = callbacks;
    for (const name of [...this.#opened, ...this.pins]) this.known(name);
    setInterval(() => !document.hidden && this.refresh(), REFRESH_MS);
  }

  /**
   * Opens a room, or all rooms whose names begin with a prefix.
   * @param {string} name
   * @param {string} [prefix]
   * @returns {Room} the room, or the one that stands for all of them
   */
  open(name, prefix) {
    const left = this.#current;
    left.shown = false;
    this.#group = prefix === undefined ? undefined : new Room(name, prefix);
    const room = (this.#current = this.#group ?? this.known(name));
    room.shown = true;
    if (left !== room) this.#leave(left);
    if (!this.#group) remember(browser, "room", name);
    if (this.following) this.#follow(room);
    else this.#start(room);
    this.#callbacks.listed();
    this.#tell();
    return room;
  }

  /** Connects at once instead of waiting; after a refusal opens the current room again. */
  retry() {
    if (this.following) return this.following.retry();
    this.open(this.#current.name, this.#current.prefix);
  }

  /** Whether arriving messages are new, and not a replay. */
  get live() {
    return this.#state.name === "live";
  }

  /**
   * Reads older messages, if there are any.
   * @param {Room} room
   * @param {number} [many] messages at most
   */
  async older(room, many) {
    if (await older(room, many)) this.#callbacks.changed(room);
  }

  /** Marks a room as read in every window; of several shown as one, each of them. @param {Room} room */
  markRead(room) {
    if (room.prefix === undefined) return this.#markRead(room);
    for (const one of this.all.values()) if (one.isUnread && room.covers(one.name)) this.#markRead(one);
  }

  /** @param {Room} room */
  #markRead(room) {
    if (!room.markRead()) return;
    this.#bookmarks.put(room.name, room.read);
    this.#callbacks.listed();
  }

  /**
   * Pins or unpins a room.
   * @param {string} name
   */
  pin(name) {
    if (!this.pins.delete(name)) this.pins.add(name);
    remember(browser, "pins", [...this.pins]);
    this.#callbacks.listed();
  }

  /** Called when the reader's rights are known: lists the rooms that they name. */
  granted() {
    for (const name of rights.named()) this.known(name);
    this.#callbacks.listed();
    if (this.live) this.#widen();
  }

  /**
   * Takes over the server's list of rooms.
   * @param {boolean} [all] all pages of the list, not only the most recently active rooms
   */
  async refresh(all = false) {
    if (this.#state.status === 401 || this.#state.status === 403) return; // a reader without rights may not list rooms
    await this.catalog.read(all, (rooms) => this.#list(rooms));
    if (this.live) this.#widen();
    this.#callbacks.listed();
  }

  /**
   * Called when a room comes into sight: requests its newest line, unless it is known.
   * @param {Room} room
   */
  want(room) {
    if (room.newest || room.isComplete || !room.start || !this.live) return;
    this.#wanting.add(room);
    this.#lookNext();
  }

  /** Requests the newest line of the room that came into sight last: rooms that were scrolled past can wait. */
  async #lookNext() {
    const room = [...this.#wanting].at(-1);
    if (!room || this.#looking >= LOOKS) return;
    this.#wanting.delete(room);
    this.#looking += 1;
    if (await peek(room)) this.#callbacks.listed();
    if (room === this.#current) this.#fill(room); // opened meanwhile
    this.#looking -= 1;
    this.#lookNext();
  }

  /**
   * Takes over listed rooms, and forgets rooms that are gone. An empty room stays only while it is open, was open before
   * this one, is pinned, or is named in the reader's rights.
   * @param {Map<string, Listed>} rooms
   */
  #list(rooms) {
    const { newest } = this.catalog;
    const first = this.#bookmarks.begin(newest);
    for (const [name, room] of this.all) if (!rooms.has(name)) this.#unlisted(room);
    const isCovered = this.#covering();
    const { rooms: named = [] } = this.following ?? {};
    const start = next(this.following?.position);
    for (const [name, row] of rooms) {
      if (!row.newest && !this.all.has(name)) continue;
      const room = this.known(name);
      // The server counts streams that name the room; this one may reach it by a prefix.
      room.followers = this.#isSettled && isCovered(name) ? row.followers - Number(named.includes(name)) : 0;
      room.listed = row.newest ?? "";
      if (first) room.read ||= newest;
      if (isCovered(name)) room.start ||= start;
    }
  }

  /** @param {Room} room */
  #unlisted(room) {
    room.listed = "";
    room.followers = 0;
    if (!this.#isOwn(room)) this.#forget(room.name);
  }

  /** @param {string} name */
  #forget(name) {
    this.all.delete(name);
    this.version += 1;
  }

  /** @param {Room} room */
  #isOwn(room) {
    const { name, newest } = room;
    if (room === this.#current || room === this.#previous || this.pins.has(name) || rights.named().includes(name)) return true;
    return Boolean(newest) && this.#opened.includes(name);
  }

  /**
   * An empty room that was opened by mistake is removed: at once if it was refused, otherwise when the next one is left.
   * @param {Room} room
   */
  #leave(room) {
    const before = this.#previous;
    this.#previous = room.refused || !rights.reads(room.name) ? undefined : room;
    for (const one of [before, room]) {
      if (!one || one.prefix !== undefined || one.newest || one.listed || one.items.length) continue;
      this.#opened = this.#opened.filter((name) => name !== one.name);
      if (!this.#isOwn(one)) this.#forget(one.name);
    }
    remember(browser, "rooms", this.#opened);
  }

  /**
   * @param {string} name
   * @param {string} id
   */
  #readElsewhere(name, id) {
    const room = this.all.get(name);
    if (!room || reaches(room.read, id)) return;
    room.read = id;
    if (!room.newest || reaches(id, room.newest.id)) room.unread = 0;
    this.#callbacks.listed();
  }

  /**
   * The room of a name; a new one if it is not known yet.
   * @param {string} name
   * @returns {Room}
   */
  known(name) {
    let room = this.all.get(name);
    if (!room) {
      room = new Room(name);
      room.read = this.#bookmarks.of(name);
      this.all.set(name, room);
      this.version += 1;
    }
    return room;
  }

  /** @param {Room} room the first one, with its newest messages */
  #start(room) {
    room.refused = undefined;
    // Drop the rows of an earlier stream: the replay brings them again.
    for (const one of this.#each()) one.leave();
    this.following = follow({
      ...rights.credential,
      ...(room.prefix === undefined ? { rooms: room.name } : { prefixes: room.prefix }),
      replay: PAGE,
      parse,
      onMessage: (message) => this.#message(message),
      onGap: (gap) => this.#gap(gap),
      onState: (state) => this.#stateOf(room, state),
    });
  }

  /** Every room, and the group shown as one. */
  #each() {
    return this.#group ? [...this.all.values(), this.#group] : [...this.all.values()];
  }

  /** @param {Message} message */
  #message(message) {
    const room = this.known(message.room);
    const received = this.live ? Date.now() : undefined;
    room.append(message, received);
    if (this.#group?.covers(message.room)) this.#group.append(message, received);
    this.#callbacks.message(room, message, this.live);
  }

  /** @param {Gap} gap */
  #gap(gap) {
    const { rooms, prefixes = [] } = gap;
    for (const room of this.#each()) {
      const isConcerned = rooms.length ? rooms.some((name) => room.covers(name)) : prefixes.some((one) => room.name.startsWith(one));
      // A prefix may cover many rooms; only those in use are told.
      if (!isConcerned || !(room.shown || room.items.length)) continue;
      room.appendGap(gap);
      this.#callbacks.changed(room);
    }
  }

  /**
   * @param {Room} first
   * @param {State} state
   */
  #stateOf(first, state) {
    this.#state = state;
    if (state.name === "stopped") {
      first.refused = state;
      this.following = undefined;
      // Another room was opened meanwhile; it may not be refused.
      if (!this.#current.refused) return this.#start(this.#current);
      // An invalid name must not block the other rooms.
      const [prefix] = rights.prefixes();
      if (first === this.#current && state.status === 422 && prefix !== undefined) this.#start(new Room("", prefix));
      return this.#tell();
    }
    if (state.name === "live") this.#becameLive(first);
    this.#tell();
  }

  /** @param {Room} first */
  #becameLive(first) {
    if (this.#isCovered(first)) first.start ||= next(this.following?.position);
    this.#callbacks.changed(first);
    if (first.prefix === undefined) this.#remember(first.name);
    if (first === this.#current) this.#fill(first);
    this.#widen();
    this.refresh();
    setTimeout(() => this.#settle(), SETTLED_MS);
  }

  #settle() {
    this.#isSettled = true;
    this.refresh();
  }

  #tell() {
    this.#callbacks.state(this.#current.refused ?? this.#state);
  }

  /**
   * Opens one more room, if the server accepts its name.
   * @param {Room} room
   */
  async #follow(room) {
    try {
      if (!room.listed && !room.newest) await page(room, { replay: "none" });
      room.refused = undefined;
      if (room.prefix === undefined) this.#remember(room.name);
      this.#widen();
      if (this.#isCovered(room)) room.start ||= next(this.following?.position);
      this.#fill(room);
    } catch (error) {
      if (!(error instanceof Refused) || error.passing) return;
      room.refused = { name: "stopped", why: error.message, status: error.status };
    }
    this.#tell();
  }

  /** @param {string} name */
  #remember(name) {
    this.#opened = [name, ...this.#opened.filter((other) => other !== name)].slice(0, 20);
    remember(browser, "rooms", this.#opened);
  }

  /** @param {Room} room */
  #isCovered({ name, prefix }) {
    return this.#covering()(prefix ?? name);
  }

  /** A function that tells whether a name is followed; made once for checks of 10,000 names. */
  #covering() {
    const { rooms = [], prefixes = [] } = this.following ?? {};
    return (/** @type {string} */ name) => rooms.includes(name) || prefixes.some((prefix) => name.startsWith(prefix));
  }

  /** Follows all readable rooms, or as many as a stream takes, open rooms first. */
  #widen() {
    const following = this.following;
    if (!following?.position) return;
    const { rooms, prefixes } = this.#wanted();
    if (same(rooms, following.rooms) && same(prefixes, following.prefixes)) return;
    const before = this.#covering();
    // Never set both to empty in between: the server would refuse that.
    if (prefixes.length) following.prefixes = prefixes;
    if (!same(rooms, following.rooms)) following.rooms = rooms;
    if (!prefixes.length) following.prefixes = prefixes;
    const start = next(following.position);
    const after = this.#covering();
    for (const room of this.#each()) {
      const name = room.prefix ?? room.name;
      if (before(name) && !after(name)) room.leave();
      else if (after(name) && !room.start) room.enter(start);
    }
    if (!this.#current.items.length) this.#fill(this.#current);
    this.#callbacks.listed();
  }

  #wanted() {
    const prefixes = [...new Set(rights.prefixes())].filter((one, _, all) => !all.some((other) => other !== one && one.startsWith(other)));
    const named = [this.#current, ...this.all.values()].filter(({ name, prefix, refused }) => prefix === undefined && !refused && rights.reads(name));
    const rooms = named.map(({ name }) => name).filter((name) => !prefixes.some((prefix) => name.startsWith(prefix)));
    const kept = prefixes.slice(0, MAX_FOLLOWED - 1);
    return { prefixes: kept, rooms: [...new Set(rooms)].slice(0, MAX_FOLLOWED - kept.length) };
  }

  /**
   * Reads the first rows of an opened room.
   * @param {Room} room
   */
  #fill(room) {
    if (room.items.length < PAGE) this.older(room);
  }
}

/**
 * @param {string[]} some
 * @param {string[]} others
 */
function same(some, others) {
  return some.length === others.length && some.every((one) => others.includes(one));
}

/**
 * The id after this one, which may not exist yet: `before` is exclusive.
 * @param {string} [id]
 */
function next(id = "") {
  const [epoch, seq = "0"] = id.split("-");
  return id && `${epoch}-${BigInt(seq) + 1n}`;
}
