// roomcast in a browser: follow rooms, publish to them. One module, from the server itself, on any origin:
//
//   import { follow, publish } from "http://localhost:8080/roomcast.js";
//   follow({ rooms: "developers", onMessage: (message) => console.log(message.text) });
//   await publish({ room: "developers", text: "moin" });
//
// One file on purpose: a site loads it with one import, and without a build step.
//
// The tabs of a browser share one stream, since HTTP/1.1 has six connections to an origin and no more. A Web Lock
// says whose turn it is and goes with its tab, however that ends; a BroadcastChannel carries what is heard. Not a
// SharedWorker: it must come from the page's own origin, needs a second file and a place in the page's policy, and
// phones were late to have it. Web Locks need a secure context (https, localhost), and a browser may refuse them as it
// may refuse the channel (cookies blocked, `<iframe sandbox>`): there each tab has its own stream. Tabs share by the
// identity that `as` names: a stream of one user must not feed the tab in which another has logged in.
//
// Nothing depends on a handover being clean. Each batch says which stretch of ids it covers, `from` to `to`; a tab
// whose position is not within reach of it reads the pages in between, and drops what it has.

/**
 * @typedef {object} Message
 * @property {string} id `<epoch>-<seq>`
 * @property {string} room
 * @property {string} user
 * @property {string} timestamp RFC 3339, when it was stored
 * @property {string} [text] left out where there is only data
 * @property {string} [type] its event type
 * @property {unknown} [data] any JSON value
 */

/**
 * Messages that are, or may be, lost.
 * @typedef {object} Gap
 * @property {string | null} after the id that was resumed from
 * @property {string | null} resumes_at
 * @property {string[]} rooms
 * @property {number | null} lost_at_most null where it cannot be known
 * @property {"trimmed" | "deleted" | "epoch" | "future" | "malformed"} reason
 * @property {string[]} [prefixes] those concerned, where some are followed: `rooms` then names 64 at most
 */

/**
 * Who asks. Either function is called for each request and connection, and once more where the server answers 401;
 * what it gives is never kept. A function that throws is called again later.
 * @typedef {object} Access
 * @property {() => string | Promise<string>} [token] a key, a token or a ticket: sent as `Authorization: Bearer …`
 * @property {() => string | URL | Promise<string | URL>} [url] the `url` that `POST /tickets` gave your backend: its
 *   ticket is sent in the header, too, so that no log has it, and its rooms are followed where `rooms` is left out
 */

/**
 * Where a follow stands. `overloaded`: the server asks to come back, as it is full, restarts, or has no log;
 * `stopped`: it refuses, and will again.
 * @typedef {object} State
 * @property {"connecting" | "catching-up" | "live" | "reconnecting" | "offline" | "overloaded" | "stopped"} name
 * @property {string} [why] the server's own words where it has some
 * @property {number} [status] why it stopped, as an HTTP status: 401 without a valid credential, 403 without the right
 * @property {number} [until] when it is tried again, in ms since 1970
 * @property {number} [messages] while catching up: how many came
 */

/**
 * @typedef {object} FollowOptions
 * @property {string | string[]} [rooms] up to 64, with the prefixes
 * @property {string | string[]} [prefixes] what names of rooms begin with: those that come later, too; "" for all
 * @property {(message: Message) => void} [onMessage] each once, in order, whatever its type
 * @property {(gap: Gap) => void} [onGap]
 * @property {(end: {replayed: number}) => void} [onLive] what was retained, or missed, has been heard
 * @property {(state: State) => void} [onState]
 * @property {"all" | "none" | number} [replay] where to start; everything retained by default
 * @property {string} [since] an RFC 3339 time or a duration such as `10m`, in place of `replay`
 * @property {string} [lastEventId] resume here, in place of both
 * @property {string} [server] its URL; by default, where this module is from
 * @property {boolean} [share] whether the tabs share a stream; true by default
 * @property {string | number} [as] the user: only tabs with the same one share. With `token` or `url`, and without `as`,
 *   this tab has a stream of its own. Give it, too, where a cookie says who the user is
 * @property {Parse} [parse] reads JSON; `JSON.parse` by default, which rounds numbers of more than 15 digits
 */

/** @typedef {FollowOptions & Access} Options */
/** @typedef {(json: string) => any} Parse */
/** Where to ask and with what: all of it for one request. @typedef {{base: URL, rooms: string[], credential?: string}} Grant */
/**
 * What the stream brought between two ids. The messages are still JSON: each tab reads them in its own way. Here and
 * below, one of the rooms may be a NUL and a prefix: no room's name begins so.
 * @typedef {{from: string | null, to: string, rooms: string[], lines: string[], state?: State}} Batch
 */
/** @typedef {{event: string, data: string, id: string}} Block */

/** The module's URL. In a bundle that is not a module it is the page's URL. */
const HOME = new URL(".", import.meta.url ?? globalThis.location?.href ?? "file:").href;
const MAX_ROOMS = 64;
const PREFIX = "\0";
const PAGE = 1000;
/** The server breaks a silence every 15 s; after this many ms the connection counts as dead. */
const SILENCE = 45_000;
const LONGEST_WAIT = 30_000;
/** What a server may ask for, in ms: `retry: 0` would never rest, and a timer takes 2^31 ms for none at all. */
const SHORTEST_ASKED = 1000;
const LONGEST_ASKED = 600_000;
/** Characters of a block, and bytes of any other answer: a line without end must not fill the memory. */
const LONGEST_BLOCK = 2 ** 24;
const LONGEST_ANSWER = 2 ** 26;
/** The block with which the server ends a stream as its right has ended, or another took its place. */
const END = "roomcast.end";
/** Credentials are renewed within so many ms before they end, at most a quarter of their life. */
const RENEW_WITHIN = 60_000;
/** What is left of one below this, in ms, is not worth a renewal: the end is near. */
const TOO_LATE = 2000;
const LONGEST_TIMER = 2 ** 31 - 1;
/** What a header can carry as one word, and what may be an address. */
const GIVEN = { token: /^[\x21-\x7e]+$/, url: /^\S+$/ };
const CUT = "the connection was cut";
const REPLACED = "another connection uses this ticket: give each tab its own";
const FOREIGN = "something other than roomcast answered";
/** @type {RequestInit} */
const PAGES = { headers: { Accept: "application/json" }, cache: "no-store" };

/** Told of each publish that was answered: the network is back for streams, too. @type {Set<(url: string) => void>} */
const answered = new Set();

/** Why the server did not do what it was asked. */
export class Refused extends Error {
  name = "Refused";
  /** The HTTP status; 0 where there was no answer. */
  status = 0;
  /** Whether the same may well succeed soon. */
  passing = true;
  /** Seconds that the server asks to wait. @type {number | undefined} */
  retryAfter;
  /** What is wrong where, as JSON pointers into what was sent. @type {{pointer: string, detail: string}[]} */
  errors = [];
}

/** Bytes of an event stream to blocks: https://html.spec.whatwg.org/multipage/server-sent-events.html, 9.2.6. */
export class Decoder {
  /** Milliseconds that the server asks to wait before coming back. @type {number | undefined} */
  retry;
  /** The last event ID, as of the last block. */
  id = "";
  #text = new TextDecoder();
  #line = "";
  #afterCR = false;
  #nextId = "";
  #event = "";
  /** @type {string[]} */
  #data = [];
  #size = 0;

  /**
   * The blocks that these bytes complete. Throws `Refused` where one has more than 16 Mi characters.
   * @param {BufferSource} bytes
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
      this.#size += value.length + 8; // an empty one takes memory, too
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
 * Follows rooms until it is closed: each message once, in order, over lost connections, restarts and other tabs.
 * @param {Options} options
 */
export function follow(options) {
  return new Following(options);
}

/**
 * Publishes, and tries again under one Idempotency-Key until the server has answered: stored once, however often
 * it was sent. Gives what was stored; throws `Refused`, or what `signal` was aborted with.
 * @template {object} T
 * @param {T | string} message a message, a list of them, or either as JSON
 * @param {object} [options]
 * @param {string} [options.server]
 * @param {Access["token"]} [options.token] who publishes
 * @param {string} [options.key] for a request that may have been sent before
 * @param {AbortSignal} [options.signal] gives up
 * @param {(failure: Refused, until: number) => void} [options.onRetry]
 * @returns {Promise<T extends readonly unknown[] ? Message[] : Message>}
 */
export async function publish(message, { server = HOME, token, key = randomKey(), signal, onRetry } = {}) {
  const body = typeof message === "string" ? message : JSON.stringify(message);
  const headers = { "Content-Type": "application/json", "Idempotency-Key": key };
  const sent = { method: "POST", headers, body };
  for (let failures = 0; ; failures += 1) {
    try {
      const response = await asked({ token }, server, (grant) => request(grant.base, grant, sent, signal), signal);
      const stored = await json(response, signal);
      for (const tell of answered) tell(home(server).href);
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
 * A page of what is retained, as `GET /messages` with `Accept: application/json` gives it.
 * @param {string[]} rooms
 * @param {Record<string, string>} parameters such as `replay`, `after`, `before`, `limit`
 * @param {{server?: string, signal?: AbortSignal, parse?: Parse, prefixes?: string[]} & Access} [options]
 * @returns {Promise<{messages: Message[], position: string, gap: Gap | null, rooms: string[]}>} `rooms`: those asked for
 */
export function history(rooms, parameters, { server = HOME, signal, parse, prefixes = [], ...access } = {}) {
  const named = [...rooms, ...prefixes.map(marked)];
  return asked(
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
 * What the server answers at an address, read as JSON: within 30 s, and no more than 64 MiB.
 * @param {URL} url
 * @param {{signal?: AbortSignal, parse?: Parse, token?: Access["token"]}} [options]
 * @returns {Promise<any>}
 */
export function get(url, { signal, parse, token } = {}) {
  const read = async (/** @type {Grant} */ grant) => json(await request(url, grant, PAGES, signal), signal, parse);
  return asked({ token }, HOME, read, signal);
}

/**
 * Whether a position is at or after an id; between epochs there is no order.
 * @param {string} position
 * @param {string} id
 */
export function reaches(position, id) {
  const [epoch, seq = ""] = position.split("-");
  const [other, wanted = ""] = id.split("-");
  return epoch === other && (seq.length - wanted.length || (seq < wanted ? -1 : 1)) > 0;
}

/** 128 random bits; crypto.randomUUID is missing wherever a page is served without TLS. */
export function randomKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** One tab's view: its position, and what takes it forward. */
export class Following {
  #options;
  #server;
  /** @type {string[]} */
  #rooms;
  /** Everything of the rooms up to here was told. @type {string | undefined} */
  #position;
  /** What comes while pages are read. @type {Batch[] | undefined} */
  #queue;
  /** Characters in it. */
  #queued = 0;
  /** Where the shared stream stands. @type {State | undefined} */
  #shared;
  #covered = false;
  /** @type {State} */
  #state = { name: "connecting" };
  /** When the shared stream gave its last sign of life, in ms since 1970; 0 before the first. */
  heardAt = 0;
  /** Messages told since it was live last. */
  #heard = 0;
  #stop = new AbortController();
  #rest = new Rest();
  #share;
  /** @param {string} url */
  #answered = (url) => {
    if (url !== home(this.#server).href) return;
    this.#rest.endSoon();
    this.#share.retry("soon");
  };

  /** @param {Options} options */
  constructor(options) {
    this.#options = options;
    this.#server = new URL(options.server ?? HOME, HOME).href;
    home(this.#server);
    this.#rooms = [[options.rooms ?? []].flat().map(plain), [options.prefixes ?? []].flat().map(marked)].flat();
    this.#position = options.lastEventId;
    answered.add(this.#answered);
    this.#share = new Share(options, this.#server, () => this.#position ?? "", (batch) => this.#take(batch));
    queueMicrotask(() => {
      this.#tell(this.#state);
      this.#readPages();
    });
  }

  /** The rooms followed. Those set anew are heard from the present position on. */
  get rooms() {
    return this.#rooms.filter((room) => !room.startsWith(PREFIX));
  }

  set rooms(rooms) {
    this.#widen([...rooms.map(plain), ...this.#rooms.filter((room) => room.startsWith(PREFIX))]);
  }

  /** The followed prefixes; new ones take effect in the same way. */
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

  /** The id up to which everything was told: where `lastEventId` would go on. */
  get position() {
    return this.#position;
  }

  get state() {
    return this.#state;
  }

  /** Whether this tab is the one that holds the stream. */
  get owner() {
    return this.#share.owner;
  }

  /** Tries at once, if it is waiting. */
  retry() {
    this.#rest.end();
    this.#share.retry("retry");
  }

  close() {
    answered.delete(this.#answered);
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
      // The pages have what goes.
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

  /** Reads from the position, or the start that was asked for, to the present. */
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

  /** Whether there is more to read. */
  async #readPage() {
    const { replay = "all", since, parse, token, url } = this.#options;
    /** @type {Record<string, string>} */
    const start = this.#position ? { after: this.#position } : since ? { since } : { replay: String(replay) };
    const rooms = this.#rooms;
    const { signal } = this.#stop;
    this.#rest.tried();
    const options = { server: this.#server, signal, parse, token, url };
    const page = await history(rooms, { ...start, limit: String(PAGE) }, options);
    signal.throwIfAborted();
    if (rooms !== this.#rooms) return true; // set anew meanwhile: the page says nothing of the new ones
    this.#rooms = page.rooms;
    if (page.messages.length && this.#state.name !== "live") this.#catchingUp(page.messages.length);
    if (page.gap) call(this.#options.onGap, page.gap);
    const more = page.messages.length >= PAGE;
    if (more && page.position === this.#position) throw new Refused(FOREIGN); // or it would be read for ever
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
    const unlisten = on({ online: () => this.#rest.end() });
    const rested = this.#rest.until(until, this.#stop.signal);
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
    const before = this.#state.name;
    if (state.name === "live" && before === "live") return;
    this.#state = state;
    call(this.#options.onState, state);
    if (state.name !== "live") return;
    call(this.#options.onLive, { replayed: this.#heard });
    this.#heard = 0;
  }
}

/** What the tabs have in common: one of them holds the stream and passes on what it hears. */
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
  /** @type {string[]} */
  #rooms = [];
  #running = false;
  #leave = new AbortController();
  #interest = new AbortController();
  #yield = () => {};
  #unlisten = () => {};
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #silence;

  /**
   * @param {Options} options
   * @param {string} server
   * @param {() => string} position where to start, should it be this tab's turn
   * @param {(batch: Batch) => void} tell
   */
  constructor({ token, url, as = "", share = true }, server, position, tell) {
    this.#access = { token, url };
    this.#server = server;
    // The number: of what is passed on. Tabs from before and after a server's update hear only their own kind. The user
    // comes before the server: no name must begin with another's.
    this.#name = `roomcast 3 ${encodeURIComponent(as)} ${server}`;
    this.#position = position;
    this.#tell = tell;
    try {
      if (!share || !navigator.locks || (renews(this.#access) && as === "")) return;
      this.#channel = new BroadcastChannel(this.#name);
    } catch {
      return; // not there, or refused
    }
    this.#channel.onmessage = ({ data }) => this.#hear(data);
    // A frozen tab hears nothing, and a page in the back/forward cache must hold no lock.
    const away = () => this.#stepBack();
    const back = () => this.#rooms.length && !this.#running && this.#return();
    this.#unlisten = on({ freeze: away, pagehide: away, resume: back, pageshow: back });
  }

  /**
   * Has these rooms in the stream from now on.
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
    this.#channel?.postMessage("hello"); // and learn what was missed
  }

  /** @param {"retry" | "soon"} when */
  retry(when) {
    this.#source?.retry(when);
    this.#channel?.postMessage(when);
  }

  close() {
    this.#rooms = [];
    this.#stepBack();
    this.#unlisten();
    this.#leaveOthers();
  }

  /** From here on this tab is by itself. */
  #leaveOthers() {
    this.#interest.abort();
    this.#channel?.close();
    this.#channel = undefined;
  }

  /**
   * A lock's name says what this tab wants: the owner reads the names, and they go with their tabs.
   * Fails where locks are refused.
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

  /** Waits for its turn, and has it until it is taken or given up. */
  async #run(steal = false) {
    this.#running = true;
    const { signal } = (this.#leave = new AbortController());
    const lead = () => (signal.aborted ? undefined : this.#lead());
    if (!this.#channel) return lead();
    this.#listen();
    try {
      await navigator.locks.request(this.#name, steal ? { steal } : { signal }, lead);
    } catch (error) {
      // Given up, or taken by a tab that heard nothing from this one; else locks are refused.
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

  /** Opens the stream, or a wider one where a tab wants a room that this one has not. */
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
      // More rooms than one stream may have: this tab has its own, then.
      if (said.rooms.length === MAX_ROOMS && this.#rooms.some((room) => !said.rooms.includes(room))) this.#part();
    }
  }

  /** A stream of its own. What was refused to others, for their rooms or their credential, may be granted to this tab. */
  #part() {
    this.#stepBack();
    this.#leaveOthers();
    this.#run();
  }

  /** An owner that says nothing for long hangs: its turn is over. Lots decide which tab takes it. */
  #listen() {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#steal(), (1.2 + Math.random()) * SILENCE);
  }

  #steal() {
    this.#leave.abort();
    this.#run(true);
  }
}

/** One stream, kept up from a position on. */
class Source {
  rooms;
  position;
  #access;
  #server;
  #tell;
  /** @type {State} */
  #state = { name: "connecting" };
  /** What the present connection was let in with. @type {Grant | undefined} */
  #grant;
  /** What the next one is let in with, where that was asked for ahead. @type {Grant | undefined} */
  #next;
  /** Why the server ended the last one. */
  #end = "";
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #renewal;
  #retry = 3000;
  #failures = 0;
  #stop = new AbortController();
  #cut = new AbortController();
  #rest = new Rest();
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
    // The network is gone, and the connection with it, though TCP may take minutes to find out.
    this.#unlisten = on({ offline: () => this.#cut.abort(), online: () => this.retry("retry") });
    this.#run();
  }

  /** Says once more where it stands. */
  again() {
    this.#say(this.#state);
  }

  /** @param {"retry" | "soon"} when */
  retry(when) {
    if (when === "soon") this.#rest.endSoon();
    else this.#rest.end();
  }

  close() {
    this.#stop.abort();
    this.#unlisten();
  }

  async #run() {
    for (let quiet = false; !this.#stop.signal.aborted; ) {
      this.#rest.tried();
      if (!quiet) this.#say({ name: this.#state.name === "connecting" ? "connecting" : "reconnecting" });
      const state = await this.#connect();
      if (this.#stop.signal.aborted) return;
      quiet = !state;
      if (!state) continue;
      const rested = state.until && this.#rest.until(state.until, this.#stop.signal);
      this.#say(state);
      if (!rested) return;
      await rested;
    }
  }

  /** One connection, and how it ended; nothing where it goes on at once. @returns {Promise<State | undefined>} */
  async #connect() {
    const began = Date.now();
    this.#cut = new AbortController();
    const signal = AbortSignal.any([this.#cut.signal, this.#stop.signal]);
    try {
      const blocks = await this.#read(signal);
      // One that ends as soon as it has begun would else be opened without a pause.
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
   * Reads one stream to its end; how many blocks it had.
   * @param {AbortSignal} signal
   */
  async #read(signal) {
    const ahead = this.#next;
    this.#next = undefined;
    let timer = setTimeout(() => this.#cut.abort(), SILENCE);
    try {
      const response = await asked(this.#access, this.#server, (grant) => this.#open(grant, signal), signal, ahead);
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
      this.#cut.abort(); // what it could make no sense of is read no further
    }
  }

  /**
   * @param {Grant} grant
   * @param {AbortSignal} signal
   */
  #open(grant, signal) {
    // Two tabs that are given the same ticket would throw each other out for ever.
    if (this.#end === "replaced" && same(grant, this.#grant)) throw Object.assign(new Refused(REPLACED), { passing: false });
    this.#grant = grant;
    // In the query: the header would cost another origin a preflight.
    const url = address(grant, this.rooms, { last_event_id: this.position });
    return request(url, grant, { headers: { Accept: "text/event-stream" }, cache: "no-store" }, signal, 0);
  }

  /**
   * Before its right ends, the stream goes on with another; at random within a while, as many may end in one second.
   * @param {number} ms until the end
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
    const next = await granted(this.#access, this.#server, signal).catch(() => undefined);
    if (signal.aborted || this.#stop.signal.aborted) return;
    if (!next || same(next, this.#grant)) return this.#renewBefore(ends - Date.now());
    this.#next = next;
    this.#cut.abort();
  }

  /**
   * What one read brought, as one batch; of none, a sign of life. What comes after `live` is a batch of its own: it was
   * not missed.
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
      if (event === "gap") from = null; // each tab asks what it means for its own rooms
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

/** The wait before the next try, which others may end. */
class Rest {
  #ended = new AbortController();
  #tried = 0;

  /** It is tried now. */
  tried() {
    this.#tried = Date.now();
  }

  /**
   * @param {number} time in ms since 1970
   * @param {AbortSignal} signal
   */
  until(time, signal) {
    this.#ended = new AbortController();
    return pause(time - Date.now(), AbortSignal.any([this.#ended.signal, signal]));
  }

  end() {
    this.#ended.abort();
  }

  /** Not within a second of the last try: a page may publish a hundred times in it. */
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
 * @param {string[]} rooms those of the grant where there are none
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

/** Whether there is a function that gives another credential. @param {Access} access */
function renews({ token, url }) {
  return Boolean(token ?? url);
}

/**
 * Whether both let in as the same.
 * @param {Grant} grant
 * @param {Grant} [other]
 */
function same(grant, other) {
  return grant.credential === other?.credential && grant.base.href === other?.base.href;
}

/**
 * Does `send` with a grant, and once more with another where the server knows the first no more (401).
 * @template T
 * @param {Access} access
 * @param {string} server
 * @param {(grant: Grant) => Promise<T>} send
 * @param {AbortSignal} [signal]
 * @param {Grant} [grant] the first, where it is there
 */
async function asked(access, server, send, signal, grant) {
  try {
    return await send(grant ?? (await granted(access, server, signal)));
  } catch (error) {
    if (!(error instanceof Refused) || error.status !== 401 || !renews(access)) throw error;
    return send(await granted(access, server, signal));
  }
}

/**
 * What the page's function gives now. Throws `Refused`, or what `signal` was aborted with.
 * @param {Access} access
 * @param {string} server
 * @param {AbortSignal} [signal]
 * @returns {Promise<Grant>}
 */
async function granted({ token, url }, server, signal) {
  const base = home(server);
  if (token) return { base, rooms: [], credential: await given(token, "token", signal) };
  if (!url) return { base, rooms: [] };
  const ticketed = new URL(await given(url, "url", signal), server);
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
async function given(give, name, signal) {
  const done = new AbortController();
  // Its own request may wait behind six streams of this page (HTTP/1.1), and for ever.
  const late = pause(30_000, AbortSignal.any([done.signal, ...(signal ? [signal] : [])])).then(() => {
    throw new Refused(`${name}() gave nothing within 30 s`);
  });
  try {
    const value = String((await Promise.race([late, (async () => give())()])) ?? "");
    // Never less than was meant: a request without a credential would be a stranger's.
    if (!value) throw Object.assign(new Refused(`${name}() gave nothing`), { passing: false });
    // An error page, say: its own text is told to nobody.
    if (!GIVEN[name].test(value)) throw new Refused(`${name}() gave something other than a ${name}`);
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

/** A name that would be taken for a prefix is one that the server refuses. @param {string} room */
function plain(room) {
  return room.startsWith(PREFIX) ? `$${room.slice(1)}` : room;
}

/** @param {string} prefix as it stands among rooms */
function marked(prefix) {
  return PREFIX + prefix;
}

/**
 * Whether a room is one of these, or begins with a prefix among them.
 * @param {string[]} rooms
 * @param {string} name
 */
function covers(rooms, name) {
  return rooms.includes(name) || rooms.some((room) => room.startsWith(PREFIX) && name.startsWith(room.slice(1)));
}

/**
 * A response that is `ok`; else throws `Refused`, or what `signal` was aborted with.
 * @param {URL} url
 * @param {Grant} grant
 * @param {RequestInit} options
 * @param {AbortSignal} [signal]
 * @param {number} [patience] ms; 0: for ever
 */
async function request(url, { credential }, options, signal, patience = 30_000) {
  const signals = [signal, patience ? AbortSignal.timeout(patience) : undefined].flatMap((one) => one ?? []);
  const headers = { .../** @type {Record<string, string>} */ (options.headers), ...bearer(credential) };
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

/** @param {string} [credential] */
function bearer(credential) {
  return credential && { Authorization: `Bearer ${credential}` };
}

/**
 * The server's own words (RFC 9457), or a proxy's status.
 * @param {Response} response
 */
async function refusal(response) {
  const { status, statusText, headers } = response;
  const { title, detail, errors } = (await json(response).catch(() => null)) ?? {};
  // What the server could not do is in the title; what the request did wrong is all in the detail.
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
 * How long to wait, in ms: as the server asks, or longer with each failure.
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
 * Doubled with each failure, and spread: behind a server that restarts, everybody is here at the same moment.
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
 * Listens to the window's and the document's events, where there are such; gives what ends it.
 * @param {Record<string, () => unknown>} listeners
 */
function on(listeners) {
  const ended = new AbortController();
  for (const [name, listener] of Object.entries(listeners)) {
    // `freeze` and `resume` are the document's.
    const target = /^(freeze|resume)$/.test(name) ? globalThis.document : globalThis;
    target?.addEventListener?.(name, listener, ended);
  }
  return () => ended.abort();
}

/**
 * A callback that fails stops nothing.
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
