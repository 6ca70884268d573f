// roomcast in a browser: follow rooms and publish to them, from a page of any origin. The server serves this module:
//
//   import { follow, publish } from "http://localhost:8080/roomcast.js";
//   follow({ rooms: "developers", onMessage: (message) => console.log(message.text) });
//   await publish({ room: "developers", text: "moin" });
//
// It is one file on purpose: a site loads it with one import and needs no build step.
//
// The tabs of a browser share one stream, since browsers open at most six HTTP/1.1 connections to an origin. The tab that
// holds a Web Lock owns the stream, and a BroadcastChannel passes the messages on; the browser releases the lock when the
// tab ends, however it ends. A SharedWorker would have to come from the page's own origin, need a second file and an entry
// in the page's policy. Web Locks need a secure context (https, localhost), and a browser may refuse locks or the channel
// (cookies blocked, `<iframe sandbox>`): then each tab has a stream of its own. Tabs share only under the same `as`, so
// that the stream of one user never feeds a tab in which another user has logged in.
//
// A handover need not be clean. Each batch names the range of ids that it covers, `from` and `to`. A tab whose position is
// outside that range reads the pages in between, and drops messages that it has already.

/**
 * @typedef {object} Message
 * @property {string} id `<epoch>-<seq>`
 * @property {string} room
 * @property {string} user
 * @property {string} timestamp RFC 3339, when it was stored
 * @property {string} [text] missing if there is only data
 * @property {string} [type] its event type
 * @property {unknown} [data] any JSON value
 */

/**
 * Messages that are lost, or may be.
 * @typedef {object} Gap
 * @property {string | null} after the id from which the stream should have resumed
 * @property {string | null} resumes_at the id of the next message; null if there is none yet
 * @property {string[]} rooms the rooms concerned
 * @property {number | null} lost_at_most the most messages that can be lost; null if it is unknown
 * @property {"trimmed" | "deleted" | "epoch" | "future" | "malformed"} reason
 * @property {string[]} [prefixes] the followed prefixes concerned; `rooms` then has 64 names at most
 */

/**
 * The credential of requests. The function is called for each request and connection, and once more if the server answers
 * 401; its result is never kept. A function that throws is called again later.
 * @typedef {object} Access
 * @property {() => string | Promise<string>} [token] a key, a token or a ticket: sent as `Authorization: Bearer …`
 * @property {() => string | URL | Promise<string | URL>} [url] the `url` that your backend got from `POST /tickets`. Its
 *   ticket is sent in a header as well, so that no log contains it. Without `rooms`, the rooms of the ticket are followed
 */

/**
 * The state of a follow. `overloaded`: the server asks the client to come back, because it is full, restarts or has no log;
 * `stopped`: the server refuses the follow, and would refuse it again.
 * @typedef {object} State
 * @property {"connecting" | "catching-up" | "live" | "reconnecting" | "offline" | "overloaded" | "stopped"} name
 * @property {string} [why] the reason, if possible in the server's own words
 * @property {number} [status] the HTTP status with which it stopped: 401 without a valid credential, 403 without the right
 * @property {number} [until] the time of the next try, in ms since 1970
 * @property {number} [messages] while catching up: the number of messages so far
 */

/**
 * @typedef {object} FollowOptions
 * @property {string | string[]} [rooms] names of rooms: up to 64, together with the prefixes
 * @property {string | string[]} [prefixes] prefixes of room names, for rooms that exist or come later; "" for all rooms
 * @property {(message: Message) => void} [onMessage] called once for each message, in order, whatever its type
 * @property {(gap: Gap) => void} [onGap]
 * @property {(end: {replayed: number}) => void} [onLive] called when all retained or missed messages have come
 * @property {(state: State) => void} [onState]
 * @property {"all" | "none" | number} [replay] retained messages to begin with; all by default
 * @property {string} [since] an RFC 3339 time or a duration such as `10m`, in place of `replay`
 * @property {string} [lastEventId] the id to resume after, in place of both
 * @property {string} [server] the server's URL; by default, the server of this module
 * @property {boolean} [share] whether the tabs share a stream; true by default
 * @property {string | number} [as] the user. Only tabs with the same `as` share a stream; with `token` or `url` but without
 *   `as`, this tab has a stream of its own. Set it also if a cookie identifies the user
 * @property {Parse} [parse] parses JSON; by default `JSON.parse`, which rounds numbers of more than 15 digits
 */

/** @typedef {FollowOptions & Access} Options */
/** @typedef {(json: string) => any} Parse */
/** The address and the credential of one request. @typedef {{base: URL, rooms: string[], credential?: string}} Grant */
/**
 * The messages of the stream between two ids, still as JSON, since each tab has its own `parse`. In `rooms`, here and below,
 * a prefix is marked by a NUL in front, with which no room's name begins.
 * @typedef {{from: string | null, to: string, rooms: string[], lines: string[], state?: State}} Batch
 */
/** @typedef {{event: string, data: string, id: string}} Block */

/** The module's URL. In a bundle that is not a module it is the page's URL. */
const HOME = new URL(".", import.meta.url ?? globalThis.location?.href ?? "file:").href;
const MAX_ROOMS = 64;
const PREFIX = "\0";
const PAGE = 1000;
/** The server sends a heartbeat after 15 s of silence. After this many ms without a byte the connection counts as dead. */
const SILENCE = 45_000;
const LONGEST_WAIT = 30_000;
/** Bounds of the retry delay that a server sets, in ms: 0 would be a busy loop, and timers treat 2^31 ms as 0. */
const SHORTEST_ASKED = 1000;
const LONGEST_ASKED = 600_000;
/** The most characters of a block, and bytes of any other answer: an endless line must not fill the memory. */
const LONGEST_BLOCK = 2 ** 24;
const LONGEST_ANSWER = 2 ** 26;
/** The event with which the server ends a stream: its right has ended, or another stream has replaced it. */
const END = "roomcast.end";
/** Credentials are renewed at most so many ms before they expire, and in the last quarter of their lifetime. */
const RENEW_WITHIN = 60_000;
/** With fewer ms left than this, a credential is not renewed ahead. */
const TOO_LATE = 2000;
const LONGEST_TIMER = 2 ** 31 - 1;
/** Valid results of the functions `token` and `url`: one word in a header, and an address. */
const GIVEN = { token: /^[\x21-\x7e]+$/, url: /^\S+$/ };
const CUT = "the connection was cut";
const REPLACED = "another connection uses this ticket: give each tab its own";
const FOREIGN = "something other than roomcast answered";
/** @type {RequestInit} */
const PAGES = { headers: { Accept: "application/json" }, cache: "no-store" };

/** Called after each publish that succeeds: the network is back, for streams too. @type {Set<(url: string) => void>} */
const publishListeners = new Set();

/** A request that failed or was refused. */
export class Refused extends Error {
  name = "Refused";
  /** The HTTP status; 0 if there was no answer. */
  status = 0;
  /** Whether the same request may succeed later. */
  passing = true;
  /** The seconds that the server asks the client to wait. @type {number | undefined} */
  retryAfter;
  /** The mistakes, with JSON pointers into the request's body. @type {{pointer: string, detail: string}[]} */
  errors = [];
}

/** Decodes the bytes of an event stream into blocks: https://html.spec.whatwg.org/multipage/server-sent-events.html, 9.2.6. */
export class Decoder {
  /** The retry delay that the server asks for, in ms. @type {number | undefined} */
  retry;
  /** The last event ID, as of the last block. */
  id = "";
  #text = new TextDecoder();
  /** The beginning of a line whose end has not come yet. */
  #line = "";
  /** Whether the last text ended with CR, to which a following LF belongs. */
  #afterCR = false;
  /** The fields of the block that is being read. */
  #nextId = "";
  #event = "";
  /** @type {string[]} */
  #data = [];
  /** Characters in the data, and 8 for each of its lines. */
  #size = 0;

  /**
   * Returns the blocks that these bytes complete. Throws `Refused` if a block has more than 16 Mi characters.
   * @param {BufferSource} bytes
   * @returns {Block[]}
   */
  push(bytes) {
    let text = this.#text.decode(bytes, { stream: true });
    /** @type {Block[]} */
    const blocks = [];
    if (!text) return blocks;
    if (this.#afterCR && text[0] === "\n") text = text.slice(1);
    this.#afterCR = text.endsWith("\r");
    const lines = text.split(/\r\n|\n|\r/);
    lines[0] = this.#line + lines[0];
    this.#line = lines.pop() ?? "";
    for (const line of lines) {
      if (line) this.#field(line);
      else this.#dispatch(blocks);
    }
    this.#bound(this.#line.length);
    return blocks;
  }

  /** @param {string} line */
  #field(line) {
    const [, name, value = ""] = /^([^:]*)(?:: ?(.*))?$/su.exec(line) ?? [];
    if (name === "data") {
      this.#data.push(value);
      this.#size += value.length + 8; // an empty line takes memory, too
      this.#bound();
    } else if (name === "event") this.#event = value;
    else if (name === "id" && !value.includes("\0")) this.#nextId = value;
    else if (name === "retry" && /^[0-9]+$/.test(value)) this.retry = Number(value);
  }

  /** @param {number} [more] characters */
  #bound(more = 0) {
    if (this.#size + more > LONGEST_BLOCK) throw new Refused(FOREIGN);
  }

  /** @param {Block[]} blocks */
  #dispatch(blocks) {
    this.id = this.#nextId;
    if (this.#data.length) blocks.push({ event: this.#event || "message", data: this.#data.join("\n"), id: this.id });
    this.#event = "";
    this.#data = [];
    this.#size = 0;
  }
}

/**
 * Follows rooms until it is closed: each message comes once and in order, across lost connections, restarts and other tabs.
 * Throws a `TypeError` if no server is named and the module does not come from one.
 * @param {Options} options
 * @returns {Following}
 */
export function follow(options) {
  return new Following(options);
}

/**
 * Publishes, and retries under one Idempotency-Key until the server has answered: the message is stored once, however often
 * it was sent. Returns the stored message or messages. Throws `Refused`, or the reason with which `signal` was aborted, or a
 * `TypeError` if no server is named and the module does not come from one.
 * @template {object} T
 * @param {T | string} message a message, a list of them, or either as JSON
 * @param {object} [options]
 * @param {string} [options.server] the server's URL; by default, the server of this module
 * @param {Access["token"]} [options.token] the publisher's credential
 * @param {string} [options.key] the Idempotency-Key of a request that may have been sent before
 * @param {AbortSignal} [options.signal] ends the retries
 * @param {(failure: Refused, until: number) => void} [options.onRetry] called before each wait; `until` is in ms since 1970
 * @returns {Promise<T extends readonly unknown[] ? Message[] : Message>}
 */
export async function publish(message, { server = HOME, token, key = randomKey(), signal, onRetry } = {}) {
  const body = typeof message === "string" ? message : JSON.stringify(message);
  const headers = { "Content-Type": "application/json", "Idempotency-Key": key };
  const sent = { method: "POST", headers, body };
  for (let failures = 0; ; failures += 1) {
    try {
      const response = await authorized({ token }, server, (grant) => request(grant.base, grant, sent, signal), signal);
      const stored = await json(response, signal);
      for (const tell of publishListeners) tell(home(server).href);
      return stored;
    } catch (failure) {
      if (!(failure instanceof Refused) || !failure.passing) throw failure;
      const wait = delay(failure, 1000, failures);
      onRetry?.(failure, Date.now() + wait);
      await pause(wait, signal);
      signal?.throwIfAborted();
    }
  }
}

/**
 * A page of retained messages, as `GET /messages` with `Accept: application/json` returns it. Throws as `publish` does.
 * @param {string[]} rooms
 * @param {Record<string, string>} parameters such as `replay`, `after`, `before`, `limit`
 * @param {{server?: string, signal?: AbortSignal, parse?: Parse, prefixes?: string[]} & Access} [options]
 * @returns {Promise<{messages: Message[], position: string, gap: Gap | null, rooms: string[]}>} `rooms`: those of
 *   the request
 */
export function history(rooms, parameters, { server = HOME, signal, parse, prefixes = [], ...access } = {}) {
  const named = [...rooms, ...prefixes.map(marked)];
  return authorized(
    access,
    server,
    async (grant) => {
      const page = await json(await request(address(grant, named, parameters), grant, PAGES, signal), signal, parse);
      if (!Array.isArray(page?.messages) || typeof page.position !== "string") throw new Refused(FOREIGN);
      return { ...page, rooms: named.length ? named : grant.rooms };
    },
    signal,
  );
}

/**
 * The server's answer at an address, parsed as JSON: within 30 s, and at most 64 MiB. Throws as `history` does.
 * @param {URL} url
 * @param {{signal?: AbortSignal, parse?: Parse, token?: Access["token"]}} [options]
 * @returns {Promise<any>}
 */
export function get(url, { signal, parse, token } = {}) {
  const read = async (/** @type {Grant} */ grant) => json(await request(url, grant, PAGES, signal), signal, parse);
  return authorized({ token }, HOME, read, signal);
}

/**
 * Whether a position is at or after an id. Ids of different epochs have no order: then it is false.
 * @param {string} position
 * @param {string} id
 * @returns {boolean}
 */
export function reaches(position, id) {
  const [epoch, seq = ""] = position.split("-");
  const [other, wanted = ""] = id.split("-");
  return epoch === other && (seq.length - wanted.length || (seq < wanted ? -1 : 1)) > 0;
}

/**
 * 128 random bits in hexadecimal digits: crypto.randomUUID is missing in pages that are served without TLS.
 * @returns {string}
 */
export function randomKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The follow of one tab. */
export class Following {
  #options;
  #server;
  /** @type {string[]} */
  #rooms;
  /** All messages of the rooms up to this id were passed to `onMessage`. @type {string | undefined} */
  #position;
  /** Batches that came while pages are read. @type {Batch[] | undefined} */
  #queue;
  /** Characters in it. */
  #queued = 0;
  /** The state of the shared stream. @type {State | undefined} */
  #shared;
  /** Whether the shared stream has all rooms of this tab. */
  #covered = false;
  /** @type {State} */
  #state = { name: "connecting" };
  /** When the stream last brought anything, in ms since 1970; 0 before that. */
  heardAt = 0;
  /** Messages since it was last live. */
  #heard = 0;
  #stop = new AbortController();
  #retryWait = new RetryWait();
  #share;
  /** @param {string} url */
  #published = (url) => {
    if (url !== home(this.#server).href) return;
    this.#retryWait.endSoon();
    this.#share.retry("soon");
  };

  /** @param {Options} options */
  constructor(options) {
    this.#options = options;
    this.#server = new URL(options.server ?? HOME, HOME).href;
    home(this.#server);
    this.#rooms = [[options.rooms ?? []].flat().map(plain), [options.prefixes ?? []].flat().map(marked)].flat();
    this.#position = options.lastEventId;
    publishListeners.add(this.#published);
    this.#share = new Share(options, this.#server, () => this.#position ?? "", (batch) => this.#take(batch));
    queueMicrotask(() => {
      this.#tell(this.#state);
      this.#readPages();
    });
  }

  /** The followed rooms. Rooms that are added are followed from the present position on. */
  get rooms() {
    return this.#rooms.filter((room) => !room.startsWith(PREFIX));
  }

  set rooms(rooms) {
    this.#widen([...rooms.map(plain), ...this.#rooms.filter((room) => room.startsWith(PREFIX))]);
  }

  /** The followed prefixes, to be set in the same way. */
  get prefixes() {
    return this.#rooms.flatMap((room) => (room.startsWith(PREFIX) ? room.slice(1) : []));
  }

  set prefixes(prefixes) {
    this.#widen([...this.rooms, ...prefixes.map(marked)]);
  }

  /** @param {string[]} rooms */
  #widen(rooms) {
    this.#rooms = rooms;
    this.#covered = false;
    this.#readPages();
  }

  /** The id after which `lastEventId` would resume. */
  get position() {
    return this.#position;
  }

  /** The state of this follow, as in `onState`. */
  get state() {
    return this.#state;
  }

  /** Whether this tab is the one that holds the stream. */
  get owner() {
    return this.#share.owner;
  }

  /** Connects at once instead of waiting for the next try. */
  retry() {
    this.#retryWait.end();
    this.#share.retry("retry");
  }

  /** Ends the follow for good: none of its functions is called afterwards. */
  close() {
    publishListeners.delete(this.#published);
    this.#stop.abort();
    this.#share.close();
  }

  /** @param {Batch} batch */
  #take(batch) {
    if (this.#stop.signal.aborted) return;
    if (batch.state?.name === "live" || batch.lines.length) this.heardAt = Date.now();
    if (this.#queue) {
      this.#queued += size(batch);
      this.#queue.push(batch);
      // The pages contain the messages that are dropped here.
      while (this.#queue.length > PAGE || this.#queued > LONGEST_BLOCK) this.#queued -= size(this.#queue.shift());
      return;
    }
    this.#covered = this.#rooms.every((room) => batch.rooms.includes(room));
    if (batch.state) this.#shared = batch.state;
    const position = this.#position ?? "";
    if (batch.from !== null && this.#covered && reaches(position, batch.from)) {
      for (const line of batch.lines) {
        const message = parsed(line, this.#options.parse);
        if (covers(this.#rooms, message.room) && !reaches(position, message.id)) this.#message(message);
      }
      if (!reaches(position, batch.to)) this.#position = batch.to;
      this.#tellShared();
    } else if (batch.from === null || !reaches(position, batch.to)) this.#readPages();
    else this.#tellShared();
  }

  /** Reads pages from the position, or from the start, to the present. */
  async #readPages() {
    if (this.#queue) return;
    this.#queue = [];
    this.#queued = 0;
    for (let failures = 0; ; ) {
      try {
        if (!(await this.#readPage())) break;
        failures = 0;
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        const refused = error instanceof Refused ? error : new Refused(FOREIGN);
        if (!refused.passing) return this.#refused(refused);
        await this.#wait(refused, failures++);
      }
    }
    const queue = this.#queue;
    this.#queue = undefined;
    this.#share.join(this.#rooms);
    for (const batch of queue) this.#take(batch);
    this.#tellShared();
  }

  /** Reads one page; returns whether there are more. */
  async #readPage() {
    const { replay = "all", since, parse, token, url } = this.#options;
    /** @type {Record<string, string>} */
    const start = this.#position ? { after: this.#position } : since ? { since } : { replay: String(replay) };
    const rooms = this.#rooms;
    const { signal } = this.#stop;
    this.#retryWait.tried();
    const options = { server: this.#server, signal, parse, token, url };
    const page = await history(rooms, { ...start, limit: String(PAGE) }, options);
    signal.throwIfAborted();
    if (rooms !== this.#rooms) return true; // changed meanwhile: the page is not of the new rooms
    this.#rooms = page.rooms;
    if (page.messages.length && this.#state.name !== "live") this.#catchingUp(page.messages.length);
    if (page.gap) call(this.#options.onGap, page.gap);
    const more = page.messages.length >= PAGE;
    if (more && page.position === this.#position) throw new Refused(FOREIGN); // else this would never end
    this.#position = page.position;
    for (const message of page.messages) this.#message(message);
    return more;
  }

  /** @param {Message} message */
  #message(message) {
    if (this.#state.name !== "live") this.#heard += 1;
    call(this.#options.onMessage, message);
  }

  /** @param {number} more */
  #catchingUp(more) {
    this.#tell({ name: "catching-up", messages: this.#heard + more });
  }

  /**
   * @param {Refused} error
   * @param {number} failures
   */
  async #wait(error, failures) {
    const until = Date.now() + delay(error, 2000, failures);
    const unlisten = on({ online: () => this.#retryWait.end() });
    const rested = this.#retryWait.until(until, this.#stop.signal);
    this.#tell({ name: online() ? "reconnecting" : "offline", why: error.message, until });
    await rested;
    unlisten();
    this.#tell({ name: "reconnecting" });
  }

  /** @param {Refused} error */
  #refused(error) {
    this.close();
    this.#tell(stopped(error));
  }

  #tellShared() {
    let state = this.#shared;
    if (this.#queue || !state) return;
    if (state.name === "stopped") this.close();
    // The stream has other tabs' messages, too.
    if (state.name === "catching-up") state = { name: state.name, messages: this.#heard };
    if (state.name === "live" ? this.#covered : state.name !== "connecting") this.#tell(state);
  }

  /** @param {State} state */
  #tell(state) {
    const { name } = state;
    if (name === "live" && name === this.#state.name) return;
    // After its end a follow reports only why the server refused it.
    if (this.#stop.signal.aborted && name !== "stopped") return;
    this.#state = state;
    call(this.#options.onState, state);
    if (name !== "live") return;
    call(this.#options.onLive, { replayed: this.#heard });
    this.#heard = 0;
  }
}

/** The sharing of a stream among tabs: its owner passes on what the stream brings. */
class Share {
  /** Whether this tab holds the stream. */
  owner = false;
  #access;
  #server;
  #name;
  #position;
  #tell;
  /** @type {BroadcastChannel | undefined} */
  #channel;
  /** @type {Source | undefined} */
  #source;
  /** The rooms of this tab. @type {string[]} */
  #rooms = [];
  /** Whether this tab waits for the lock of the stream, or holds it. */
  #running = false;
  /** Ends that wait. */
  #leave = new AbortController();
  /** Releases the lock whose name lists the rooms of this tab. */
  #interest = new AbortController();
  /** Releases the lock of the stream. */
  #yield = () => {};
  #unlisten = () => {};
  /** Fires when the owner has been silent for too long. @type {ReturnType<typeof setTimeout> | undefined} */
  #silence;

  /**
   * @param {Options} options
   * @param {string} server
   * @param {() => string} position the start of the stream if this tab becomes the owner
   * @param {(batch: Batch) => void} tell
   */
  constructor({ token, url, as = "", share = true }, server, position, tell) {
    this.#access = { token, url };
    this.#server = server;
    // The number is the version of what tabs pass on: tabs from before and after an update of the server do not mix. The
    // user comes before the server, so that no name begins with another one.
    this.#name = `roomcast 3 ${encodeURIComponent(as)} ${server}`;
    this.#position = position;
    this.#tell = tell;
    try {
      if (!share || !navigator.locks || (renews(this.#access) && as === "")) return;
      this.#channel = new BroadcastChannel(this.#name);
    } catch {
      return; // missing or refused
    }
    this.#channel.onmessage = ({ data }) => this.#hear(data);
    // A frozen tab receives nothing, and a page in the back/forward cache must hold no lock.
    const away = () => this.#stepBack();
    const back = () => this.#rooms.length && !this.#running && this.#return();
    this.#unlisten = on({ freeze: away, pagehide: away, resume: back, pageshow: back });
  }

  /**
   * From now on the stream has these rooms as well.
   * @param {string[]} rooms
   */
  async join(rooms) {
    if (this.#rooms === rooms) return;
    this.#rooms = rooms;
    if (this.#channel) await this.#want(rooms).catch(() => this.#leaveOthers());
    if (this.#leave.signal.aborted) return;
    this.#channel?.postMessage("hello");
    if (this.owner) this.#open();
    else if (!this.#running) this.#run();
  }

  #return() {
    this.#run();
    this.#channel?.postMessage("hello"); // so that the owner says where it stands
  }

  /** Ends the wait before the next try, also if another tab owns the stream. @param {"retry" | "soon"} when at once or soon */
  retry(when) {
    this.#source?.retry(when);
    this.#channel?.postMessage(when);
  }

  /** This tab no longer takes part: another one takes over if this one owns the stream. */
  close() {
    this.#rooms = [];
    this.#stepBack();
    this.#unlisten();
    this.#leaveOthers();
  }

  /** From now on this tab shares nothing. */
  #leaveOthers() {
    this.#interest.abort();
    this.#channel?.close();
    this.#channel = undefined;
  }

  /**
   * Holds a lock whose name lists the rooms of this tab. The owner reads these names; the locks end with their tabs. Throws if
   * locks are refused.
   * @param {string[]} rooms
   */
  #want(rooms) {
    const before = this.#interest;
    const { signal } = (this.#interest = new AbortController());
    return new Promise((held, refused) => {
      const name = `${this.#name} ${randomKey()} ${JSON.stringify(rooms)}`;
      const hold = () => {
        before.abort();
        held(undefined);
        return signal.aborted ? undefined : new Promise((release) => signal.addEventListener("abort", release));
      };
      navigator.locks.request(name, hold).catch(refused);
    });
  }

  async #wanted() {
    if (!this.#channel) return this.#rooms;
    const { held = [] } = await navigator.locks.query().catch(() => ({ held: undefined }));
    const names = held.flatMap(({ name = "" }) => (name.startsWith(`${this.#name} `) ? [name] : []));
    const others = names.flatMap((name) => JSON.parse(name.slice(this.#name.length + 34)));
    return [...new Set([...this.#rooms, ...others])].slice(0, MAX_ROOMS);
  }

  /** Waits until this tab is the owner, and is the owner until another tab takes over or this one steps back. */
  async #run(steal = false) {
    this.#running = true;
    const { signal } = (this.#leave = new AbortController());
    const lead = () => (signal.aborted ? undefined : this.#lead());
    if (!this.#channel) return lead();
    this.#listen();
    try {
      await navigator.locks.request(this.#name, steal ? { steal } : { signal }, lead);
    } catch (error) {
      // An AbortError: this tab stepped back, or another one that heard nothing from it took over. Else locks are refused.
      if (!(error instanceof DOMException && error.name === "AbortError")) this.#leaveOthers();
    }
    if (signal.aborted) return;
    this.#close();
    this.#run();
  }

  /** @returns {Promise<void>} */
  #lead() {
    this.owner = true;
    clearTimeout(this.#silence);
    this.#open();
    return new Promise((resolve) => (this.#yield = resolve));
  }

  #stepBack() {
    this.#leave.abort();
    this.#yield();
    this.#close();
    this.#running = false;
  }

  #close() {
    this.owner = false;
    this.#source?.close();
    this.#source = undefined;
    clearTimeout(this.#silence);
  }

  /** Opens the stream, or a wider one if a tab wants a room that it does not have. */
  async #open() {
    const rooms = await this.#wanted();
    if (!this.owner) return;
    const { position = this.#position(), rooms: present = [] } = this.#source ?? {};
    if (this.#source && rooms.every((room) => present.includes(room))) return this.#source.again();
    this.#source?.close();
    this.#source = new Source(this.#access, this.#server, rooms, position, (batch) => {
      this.#channel?.postMessage(batch);
      if (isStopped(batch) && batch.rooms.some((room) => !this.#rooms.includes(room))) this.#part();
      else this.#tell(batch);
    });
  }

  /** @param {Batch | "hello" | "retry" | "soon"} said */
  #hear(said) {
    if (said === "hello") {
      if (this.owner) this.#open();
    } else if (said === "retry" || said === "soon") this.#source?.retry(said);
    else if (isStopped(said)) {
      if (!this.owner && this.#running) this.#part();
    } else if (!this.owner) {
      this.#listen();
      this.#tell(said);
      // The tabs have more rooms than one stream may have: this tab opens its own.
      if (said.rooms.length === MAX_ROOMS && this.#rooms.some((room) => !said.rooms.includes(room))) this.#part();
    }
  }

  /** Opens a stream of this tab's own: the rooms or the credential of other tabs may be refused, and those of this one not. */
  #part() {
    this.#stepBack();
    this.#leaveOthers();
    this.#run();
  }

  /** Takes over from an owner that is silent for long, since it hangs. The random time decides which tab does. */
  #listen() {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#steal(), (1.2 + Math.random()) * SILENCE);
  }

  #steal() {
    this.#leave.abort();
    this.#run(true);
  }
}

/** One stream from a position on, opened again whenever it ends. */
class Source {
  /** The rooms of the stream; they never change. */
  rooms;
  /** The id after which the next connection resumes. */
  position;
  #access;
  #server;
  #tell;
  /** @type {State} */
  #state = { name: "connecting" };
  /** The grant of the present connection. @type {Grant | undefined} */
  #grant;
  /** The grant of the next connection, if it was renewed ahead. @type {Grant | undefined} */
  #next;
  /** The reason with which the server ended the last connection. */
  #end = "";
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #renewal;
  /** The retry delay that the server asks for, in ms. */
  #retry = 3000;
  /** Connections that failed since the last block came. */
  #failures = 0;
  /** Ends the stream for good. */
  #stop = new AbortController();
  /** Ends the present connection. */
  #cut = new AbortController();
  #retryWait = new RetryWait();
  #unlisten;

  /**
   * @param {Access} access
   * @param {string} server
   * @param {string[]} rooms
   * @param {string} position
   * @param {(batch: Batch) => void} tell
   */
  constructor(access, server, rooms, position, tell) {
    this.#access = access;
    this.rooms = rooms;
    this.position = position;
    this.#server = server;
    this.#tell = tell;
    // Without a network the connection is dead, though TCP may take minutes to notice.
    this.#unlisten = on({ offline: () => this.#cut.abort(), online: () => this.retry("retry") });
    this.#run();
  }

  /** Tells the tabs its state again. */
  again() {
    this.#say(this.#state);
  }

  /** Ends the wait before the next try, if it is waiting. @param {"retry" | "soon"} when at once or soon */
  retry(when) {
    if (when === "soon") this.#retryWait.endSoon();
    else this.#retryWait.end();
  }

  /** Ends the stream for good. */
  close() {
    this.#stop.abort();
    this.#unlisten();
  }

  async #run() {
    for (let quiet = false; !this.#stop.signal.aborted; ) {
      this.#retryWait.tried();
      if (!quiet) this.#say({ name: this.#state.name === "connecting" ? "connecting" : "reconnecting" });
      const state = await this.#connect();
      if (this.#stop.signal.aborted) return;
      quiet = !state;
      if (!state) continue;
      const rested = state.until && this.#retryWait.until(state.until, this.#stop.signal);
      this.#say(state);
      if (!rested) return;
      await rested;
    }
  }

  /** Opens one connection; returns the state after its end, or nothing if the next one follows at once. @returns {Promise<State | undefined>} */
  async #connect() {
    const began = Date.now();
    this.#cut = new AbortController();
    const signal = AbortSignal.any([this.#cut.signal, this.#stop.signal]);
    try {
      const blocks = await this.#read(signal);
      // Else a connection that ends at once would be opened again and again without a pause.
      if (/^(expired|revoked)$/.test(this.#end) && Date.now() - began > SHORTEST_ASKED) return undefined;
      const name = blocks ? "reconnecting" : "overloaded";
      return { name, until: Date.now() + this.#retry };
    } catch (error) {
      if (this.#next) return undefined;
      const refused = error instanceof Refused ? error : new Refused(CUT);
      if (!refused.passing) return stopped(refused);
      const until = Date.now() + delay(refused, this.#retry, this.#failures++);
      return { name: online() ? "reconnecting" : "offline", why: refused.message, until };
    }
  }

  /**
   * Reads one stream to its end; returns the number of its blocks.
   * @param {AbortSignal} signal
   */
  async #read(signal) {
    const ahead = this.#next;
    this.#next = undefined;
    let timer = setTimeout(() => this.#cut.abort(), SILENCE);
    try {
      const response = await authorized(this.#access, this.#server, (grant) => this.#open(grant, signal), signal, ahead);
      if (!/^text\/event-stream\b/i.test(response.headers.get("Content-Type") ?? "")) {
        throw new Refused(FOREIGN);
      }
      const reader = /** @type {ReadableStream<Uint8Array<ArrayBuffer>>} */ (response.body).getReader();
      const decoder = new Decoder();
      this.#end = "";
      for (let count = 0; ; ) {
        const { done, value } = await reader.read();
        if (done || signal.aborted) return count;
        clearTimeout(timer);
        timer = setTimeout(() => this.#cut.abort(), SILENCE);
        const blocks = decoder.push(value);
        this.#retry = within(decoder.retry ?? this.#retry);
        count += blocks.length;
        this.#hear(blocks);
        if (this.#end) return count;
      }
    } finally {
      clearTimeout(timer);
      clearTimeout(this.#renewal);
      this.#cut.abort(); // an answer that is no event stream is not read on
    }
  }

  /**
   * @param {Grant} grant
   * @param {AbortSignal} signal
   */
  #open(grant, signal) {
    // Two tabs with the same ticket would replace each other for ever.
    if (this.#end === "replaced" && same(grant, this.#grant)) throw Object.assign(new Refused(REPLACED), { passing: false });
    this.#grant = grant;
    // The id is in the query because a header would need a preflight from another origin.
    const url = address(grant, this.rooms, { last_event_id: this.position });
    return request(url, grant, { headers: { Accept: "text/event-stream" }, cache: "no-store" }, signal, 0);
  }

  /**
   * Renews the credential before it expires. The moment is random, since many credentials may expire in the same second.
   * @param {number} ms until it expires
   */
  #renewBefore(ms) {
    clearTimeout(this.#renewal);
    if (!(ms > TOO_LATE) || !renews(this.#access)) return;
    const ahead = Math.min(RENEW_WITHIN, ms / 4) * (0.5 + Math.random() / 2);
    const ends = Date.now() + ms;
    this.#renewal = setTimeout(() => this.#renew(ends), Math.min(ms - ahead, LONGEST_TIMER));
  }

  /** @param {number} ends in ms since 1970, by this clock */
  async #renew(ends) {
    const { signal } = this.#cut;
    /** @type {Grant | undefined} */
    const next = await newGrant(this.#access, this.#server, signal).catch(() => undefined);
    if (signal.aborted || this.#stop.signal.aborted) return;
    if (!next || same(next, this.#grant)) return this.#renewBefore(ends - Date.now());
    this.#next = next;
    this.#cut.abort();
  }

  /**
   * Passes on the blocks of one read as one batch; without blocks, a sign of life. Messages after `live` are a batch of their
   * own, since they were not missed.
   * @param {Block[]} blocks
   */
  #hear(blocks) {
    /** @type {string | null} */
    let from = this.position;
    /** @type {string[]} */
    let lines = [];
    for (const { event, data, id } of blocks) {
      if (this.#end) break;
      this.position = id;
      if (event === "gap") from = null; // each tab reads pages to see whether its own rooms have a gap
      else if (event === END) this.#end = String(parsed(data).reason);
      else if (event !== "live") lines.push(data);
      else {
        this.#renewBefore(parsed(data).expires_in * 1000);
        this.#say({ name: "live" }, from, lines);
        [from, lines] = [id, []];
      }
    }
    if (blocks.length) this.#failures = 0;
    const caughtUp = !lines.length || this.#state.name === "live";
    this.#say(caughtUp ? this.#state : { name: "catching-up" }, from, lines);
  }

  /**
   * @param {State} state
   * @param {string | null} from
   * @param {string[]} lines
   */
  #say(state, from = this.position, lines = []) {
    this.#state = state;
    this.#tell({ from, to: this.position, rooms: this.rooms, lines, state });
  }
}

/** The wait before the next try, which can be ended early. */
class RetryWait {
  #ended = new AbortController();
  #tried = 0;

  /** Called at each try. */
  tried() {
    this.#tried = Date.now();
  }

  /**
   * Waits until a time.
   * @param {number} time in ms since 1970
   * @param {AbortSignal} signal ends the wait early, as `end` and `endSoon` do
   */
  until(time, signal) {
    this.#ended = new AbortController();
    return pause(time - Date.now(), AbortSignal.any([this.#ended.signal, signal]));
  }

  /** Ends the wait at once. */
  end() {
    this.#ended.abort();
  }

  /** Ends the wait, but not sooner than a second after the last try: a page may publish a hundred times in a second. */
  endSoon() {
    const ended = this.#ended;
    setTimeout(() => ended.abort(), this.#tried + SHORTEST_ASKED - Date.now());
  }
}

/**
 * Throws a `TypeError` if no server is named and the module does not come from one, as with the package in Node.
 * @param {string} server
 */
function home(server) {
  const url = new URL("messages", server);
  if (/^https?:$/.test(url.protocol)) return url;
  throw new TypeError("name the server: { server: \"https://live.example.org/\" }");
}

/**
 * @param {Grant} grant
 * @param {string[]} rooms if empty, those of the grant
 * @param {Record<string, string>} parameters
 */
function address(grant, rooms, parameters) {
  const url = new URL(grant.base);
  for (const room of rooms.length ? rooms : grant.rooms) {
    const isPrefix = room.startsWith(PREFIX);
    url.searchParams.append(isPrefix ? "prefix" : "room", isPrefix ? room.slice(1) : room);
  }
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  return url;
}

/** Whether a function can return another credential. @param {Access} access */
function renews({ token, url }) {
  return Boolean(token ?? url);
}

/**
 * Whether two grants have the same credential and address.
 * @param {Grant} grant
 * @param {Grant} [other]
 */
function same(grant, other) {
  return grant.credential === other?.credential && grant.base.href === other?.base.href;
}

/**
 * Calls `send` with a grant, and once more with a new one if the server answers 401.
 * @template T
 * @param {Access} access
 * @param {string} server
 * @param {(grant: Grant) => Promise<T>} send
 * @param {AbortSignal} [signal]
 * @param {Grant} [grant] the first one, if there is one already
 */
async function authorized(access, server, send, signal, grant) {
  try {
    return await send(grant ?? (await newGrant(access, server, signal)));
  } catch (error) {
    if (!(error instanceof Refused) || error.status !== 401 || !renews(access)) throw error;
    return send(await newGrant(access, server, signal));
  }
}

/**
 * The grant that the page's function returns now. Throws `Refused`, or the reason with which `signal` was aborted.
 * @param {Access} access
 * @param {string} server
 * @param {AbortSignal} [signal]
 * @returns {Promise<Grant>}
 */
async function newGrant({ token, url }, server, signal) {
  const base = home(server);
  if (token) return { base, rooms: [], credential: await resultOf(token, "token", signal) };
  if (!url) return { base, rooms: [] };
  const ticketed = new URL(await resultOf(url, "url", signal), server);
  const prefixes = ticketed.searchParams.getAll("prefix").map(marked);
  const rooms = [...ticketed.searchParams.getAll("room"), ...prefixes];
  const credential = ticketed.searchParams.get("ticket") ?? undefined;
  for (const name of ["room", "prefix", "ticket"]) ticketed.searchParams.delete(name);
  return { base: ticketed, rooms, credential };
}

/**
 * @param {() => string | URL | Promise<string | URL>} give
 * @param {keyof typeof GIVEN} name
 * @param {AbortSignal} [signal]
 */
async function resultOf(give, name, signal) {
  const done = new AbortController();
  // Its own request may wait behind six streams of this page (HTTP/1.1), and for ever.
  const late = pause(30_000, AbortSignal.any([done.signal, ...(signal ? [signal] : [])])).then(() => {
    throw new Refused(`${name}() gave nothing within 30 s`);
  });
  try {
    const value = String((await Promise.race([late, (async () => give())()])) ?? "");
    // The request must not be sent without a credential: it would be a stranger's.
    if (!value) throw Object.assign(new Refused(`${name}() gave nothing`), { passing: false });
    // For example an error page, whose text must not be shown.
    if (!GIVEN[name].test(value) || (name === "url" && !URL.canParse(value, HOME))) throw new Refused(`${name}() gave something other than a ${name}`);
    return value;
  } catch (error) {
    signal?.throwIfAborted();
    throw error instanceof Refused ? error : new Refused(`${name}() failed: ${error instanceof Error ? error.message : error}`);
  } finally {
    done.abort();
  }
}

/** @param {Refused} refused @returns {State} */
function stopped({ message, status }) {
  return { name: "stopped", why: message, ...(status && { status }) };
}

/** @param {Batch} batch */
function isStopped(batch) {
  return batch.state?.name === "stopped";
}

/** Turns a name that would look like a prefix into one that the server refuses. @param {string} room */
function plain(room) {
  return room.startsWith(PREFIX) ? `$${room.slice(1)}` : room;
}

/** The form of a prefix among rooms. @param {string} prefix */
function marked(prefix) {
  return PREFIX + prefix;
}

/**
 * Whether a room is one of these, or has one of these prefixes.
 * @param {string[]} rooms
 * @param {string} name
 */
function covers(rooms, name) {
  return rooms.includes(name) || rooms.some((room) => room.startsWith(PREFIX) && name.startsWith(room.slice(1)));
}

/**
 * Returns a response that is `ok`. Throws `Refused`, or the reason with which `signal` was aborted.
 * @param {URL} url
 * @param {Grant} grant
 * @param {RequestInit} options
 * @param {AbortSignal} [signal]
 * @param {number} [patience] in ms; 0 for ever
 */
async function request(url, { credential }, options, signal, patience = 30_000) {
  const signals = [signal, patience ? AbortSignal.timeout(patience) : undefined].flatMap((one) => one ?? []);
  const headers = { .../** @type {Record<string, string>} */ (options.headers), ...(credential && { Authorization: `Bearer ${credential}` }) };
  let response;
  try {
    response = await fetch(url, { ...options, headers, signal: AbortSignal.any(signals) });
  } catch {
    signal?.throwIfAborted();
    throw new Refused("the server cannot be reached");
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

/**
 * The server's own words (RFC 9457), or a proxy's status.
 * @param {Response} response
 */
async function refusal(response) {
  const { status, statusText, headers } = response;
  const { title, detail, errors } = (await json(response).catch(() => null)) ?? {};
  // A server's failure is described by its title; a mistake in the request by the detail alone.
  const said = [...new Set(status >= 500 ? [title, detail] : [detail ?? title])].filter(Boolean).join(": ");
  return Object.assign(new Refused(said || `the server answered ${status} ${statusText}`.trimEnd()), {
    status,
    passing: status >= 500 || [408, 425, 429].includes(status),
    retryAfter: Number.parseInt(headers.get("Retry-After") ?? "", 10) || undefined,
    errors: Array.isArray(errors) ? errors : [],
  });
}

/**
 * @param {Response} response
 * @param {AbortSignal} [signal]
 * @param {Parse} [parse]
 */
async function json(response, signal, parse) {
  let text = "";
  let size = 0;
  const decoder = new TextDecoder();
  const reader = response.body?.getReader();
  for (;;) {
    const { done = true, value } = (await reader?.read().catch(() => failed(signal))) ?? {};
    text += decoder.decode(value, { stream: !done });
    if (done) return parsed(text, parse);
    size += value?.length ?? 0;
    if (size <= LONGEST_ANSWER) continue;
    reader?.cancel().catch(() => {});
    throw new Refused(FOREIGN);
  }
}

/** @param {AbortSignal} [signal] @returns {never} */
function failed(signal) {
  signal?.throwIfAborted();
  throw new Refused(CUT);
}

/**
 * @param {string} text
 * @param {Parse} [parse]
 */
function parsed(text, parse = JSON.parse) {
  try {
    return parse(text);
  } catch {
    throw new Refused(FOREIGN);
  }
}

/**
 * The wait before the next try, in ms: as the server asks, or longer with each failure.
 * @param {Refused} refused
 * @param {number} first ms
 * @param {number} failures
 */
function delay({ retryAfter }, first, failures) {
  return retryAfter ? within(retryAfter * 1000) : backoff(first, failures);
}

/** @param {number} asked ms */
function within(asked) {
  return Math.min(Math.max(asked, SHORTEST_ASKED), LONGEST_ASKED);
}

/** @param {Batch} [batch] */
function size(batch) {
  return batch?.lines.reduce((sum, line) => sum + line.length, 0) ?? 0;
}

/**
 * Doubles with each failure, and is random: after a restart all clients come back at the same moment.
 * @param {number} first ms
 * @param {number} failures
 */
function backoff(first, failures) {
  return Math.min(first * 2 ** failures, LONGEST_WAIT) * (0.5 + Math.random());
}

/**
 * @param {number} ms
 * @param {AbortSignal} [signal] ends it early
 * @returns {Promise<void>}
 */
function pause(ms, signal) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done);
    if (signal?.aborted) done();
  });
}

function online() {
  return globalThis.navigator?.onLine !== false;
}

/**
 * Listens to events of the window and the document, if they exist; returns a function that ends it.
 * @param {Record<string, () => unknown>} listeners
 */
function on(listeners) {
  const ended = new AbortController();
  for (const [name, listener] of Object.entries(listeners)) {
    // The document has `freeze` and `resume`.
    const target = /^(freeze|resume)$/.test(name) ? globalThis.document : globalThis;
    target?.addEventListener?.(name, listener, ended);
  }
  return () => ended.abort();
}

/**
 * Calls a callback. Its errors are reported, and stop nothing.
 * @template T
 * @param {((value: T) => void) | undefined} callback
 * @param {T} value
 */
function call(callback, value) {
  try {
    callback?.(value);
  } catch (error) {
    reportError(error);
  }
}
