// All rooms of this window, followed over one connection: the open one, those opened before, and the server's others.

import { Refused, follow, get, history, reaches } from "../roomcast.js";
import { credential } from "./access.js";
import { Bookmarks } from "./bookmarks.js";
import { parse } from "./exact.js";
import { PAGE, look, older } from "./past.js";
import { Room } from "./room.js";
import { kept, recall, remember } from "./storage.js";

/** @import { Following, Gap, Message, State } from "../roomcast.js" */
/** @import { Access } from "./access.js" */

const MAX_FOLLOWED = 64;
/** Rooms kept and shown, those with the newest messages. A stranger can make 40,000. */
const MAX_LISTED = 200;
const REFRESH_MS = 15_000;

/** @typedef {{room: string, newest: string | null, followers: number}} Listed */

/**
 * @typedef {object} Audience
 * @property {(room: Room, message: Message, live: boolean) => void} message
 * @property {(room: Room) => void} changed rows came or went in another way
 * @property {() => void} listed the rooms, or what is known of them, changed
 * @property {(state: State) => void} state
 */

export class Rooms {
  /** @type {Map<string, Room>} */
  all = new Map();
  /** Whether the server has rooms that are not here. */
  more = false;
  #audience;
  /** @type {Following | undefined} */
  #following;
  /** @type {State} */
  #state = { name: "connecting" };
  #bookmarks = new Bookmarks((name, id) => this.#readElsewhere(name, id));
  /** @type {string[]} */
  #opened = recall(kept, "rooms", []);
  #current = "";
  #refreshing = false;
  #access;

  /**
   * @param {Access} access
   * @param {Audience} audience
   */
  constructor(access, audience) {
    this.#access = access;
    this.#audience = audience;
    for (const name of this.#opened) this.known(name);
    setInterval(() => !document.hidden && this.refresh(), REFRESH_MS);
  }

  /**
   * The room that the reader looks at from now on.
   * @param {string} name
   */
  open(name) {
    const left = this.all.get(this.#current);
    if (left) left.shown = false;
    this.#current = name;
    const room = this.known(name);
    room.shown = true;
    remember(kept, "room", name);
    if (this.#following) this.#follow(room);
    else this.#start(room);
    this.#audience.listed();
    this.#tell();
    return room;
  }

  retry() {
    if (this.#following) return this.#following.retry();
    this.open(this.#current);
  }

  /** Whether what comes is new, and not a replay. */
  get live() {
    return this.#state.name === "live";
  }

  /**
   * Reads what came before, if there is any.
   * @param {Room} room
   */
  async older(room) {
    if (await older(room)) this.#audience.changed(room);
  }

  /** @param {Room} room */
  markRead(room) {
    if (!room.markRead()) return;
    this.#bookmarks.put(room.name, room.read);
    this.#audience.listed();
  }

  /** It is known what may be read: those rooms that are named are listed. */
  granted() {
    for (const name of this.#access.named) this.known(name);
    this.#audience.listed();
    if (this.live) this.#followAll();
  }

  /** What the server knows of its rooms. */
  async refresh() {
    if (this.#refreshing || this.#state.status) return; // whoever may read nothing here may not ask for the rooms
    this.#refreshing = true;
    try {
      const url = new URL("rooms?sort=newest&limit=1000", document.baseURI);
      /** @type {{rooms: Listed[]}} */
      const { rooms } = await get(url, credential);
      this.#list(rooms);
      if (this.live) this.#followAll();
      this.#audience.listed();
    } catch {
      // It is asked again with the next refresh.
    } finally {
      this.#refreshing = false;
    }
  }

  /**
   * Takes over what is listed, and forgets what is gone. A room that holds nothing is here only while it is the
   * reader's: this very page would keep it alive by following it.
   * @param {Listed[]} rooms
   */
  #list(rooms) {
    const filled = rooms.filter(({ newest }) => newest).sort((a, b) => number(b.newest) - number(a.newest));
    this.more = filled.length > MAX_LISTED;
    const listed = new Set(filled.slice(0, MAX_LISTED).map(({ room }) => room));
    for (const name of this.all.keys()) if (!listed.has(name) && !this.#isOwn(name)) this.all.delete(name);
    for (const name of listed) this.known(name);
    for (const { room: name, newest, followers } of rooms) {
      const room = this.all.get(name);
      if (!room) continue;
      room.followers = followers;
      // At first sight nothing counts as unread.
      if (room.read || !newest) continue;
      room.read = newest;
      this.#bookmarks.put(name, newest);
    }
  }

  /** @param {string} name */
  #isOwn(name) {
    return name === this.#current || this.#opened.includes(name) || this.#access.named.includes(name);
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
    this.#audience.listed();
  }

  /** @param {string} name */
  known(name) {
    let room = this.all.get(name);
    if (!room) {
      room = new Room(name);
      room.read = this.#bookmarks.of(name);
      this.all.set(name, room);
    }
    return room;
  }

  /** @param {Room} room the first one, with its newest messages */
  #start(room) {
    room.refused = undefined;
    // What rooms had from an earlier stream is read again: the replay would have it twice.
    for (const one of this.all.values()) one.leave();
    this.#following = follow({
      ...credential,
      rooms: room.name,
      replay: PAGE,
      parse,
      onMessage: (message) => this.#message(message),
      onGap: (gap) => this.#gap(gap),
      onState: (state) => this.#stateOf(room, state),
    });
  }

  /** @param {Message} message */
  #message(message) {
    const room = this.all.get(message.room);
    if (!room) return; // forgotten, and about to be followed no more
    room.append(message);
    this.#audience.message(room, message, this.live);
  }

  /** @param {Gap} gap */
  #gap(gap) {
    for (const name of gap.rooms) {
      const room = this.all.get(name);
      if (!room) continue;
      room.appendGap(gap);
      this.#audience.changed(room);
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
      this.#following = undefined;
      const current = this.known(this.#current);
      // Opened meanwhile: it need not be refused, too.
      if (!current.refused) return this.#start(current);
      return this.#tell();
    }
    if (state.name === "live") this.#becameLive(first);
    this.#tell();
  }

  /** @param {Room} first */
  #becameLive(first) {
    const { position = "", rooms = [] } = this.#following ?? {};
    if (rooms.includes(first.name)) first.start ||= next(position);
    this.#audience.changed(first);
    this.#remember(first.name);
    this.refresh();
  }

  #tell() {
    const refused = this.all.get(this.#current)?.refused;
    this.#audience.state(refused ?? this.#state);
  }

  /**
   * Follows one more room, if the server takes its name.
   * @param {Room} room
   */
  async #follow(room) {
    if (this.#following?.rooms.includes(room.name)) return this.#fill(room);
    try {
      await history([room.name], { replay: "none" }, credential);
      room.refused = undefined;
      this.#remember(room.name);
      this.#add([room.name]);
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
    remember(kept, "rooms", this.#opened);
  }

  /** @param {string[]} names */
  #add(names) {
    const following = this.#following;
    if (!following?.position) return;
    const present = following.rooms.filter((name) => this.all.has(name));
    const rooms = [...new Set([this.#current, ...names, ...present])].slice(0, MAX_FOLLOWED);
    const added = rooms.filter((name) => !following.rooms.includes(name));
    if (!added.length && present.length === following.rooms.length) return;
    // From here on the stream has them; what was before is read as it is needed.
    for (const name of present) if (!rooms.includes(name)) this.known(name).leave();
    for (const name of added) this.known(name).enter(next(following.position));
    following.rooms = rooms;
  }

  #followAll() {
    // One room that may not be read would have them all refused.
    const known = [...this.all.values()].filter((room) => !room.refused && this.#access.reads(room.name));
    this.#add(known.map((room) => room.name));
    for (const room of known) if (!room.newest) this.#look(room);
  }

  /**
   * The first rows of a room that is opened.
   * @param {Room} room
   */
  #fill(room) {
    if (room.items.length < PAGE) this.older(room);
  }

  /** @param {Room} room */
  async #look(room) {
    if (!(await look(room))) return;
    this.#audience.listed();
    if (room.name === this.#current) this.#fill(room);
  }
}

/**
 * Where an id is in its log, well enough to sort by.
 * @param {string | null} id
 */
function number(id) {
  return Number(id?.split("-")[1] ?? 0);
}

/**
 * The id after this one, which may not be there yet: `before` excludes what it names.
 * @param {string} id
 */
function next(id) {
  const [epoch, seq = "0"] = id.split("-");
  return id && `${epoch}-${BigInt(seq) + 1n}`;
}
