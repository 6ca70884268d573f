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
// phones were late to have it. Web Locks need a secure context (https, localhost): elsewhere each tab has its stream.
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
 * @property {"trimmed" | "epoch" | "future" | "malformed"} reason
 */

/**
 * Where a follow stands. `overloaded`: the server asks to come back, as it is full, restarts, or has no log;
 * `stopped`: it refuses, and will again.
 * @typedef {object} State
 * @property {"connecting" | "catching-up" | "live" | "reconnecting" | "offline" | "overloaded" | "stopped"} name
 * @property {string} [why] the server's own words where it has some
 * @property {number} [until] when it is tried again, in ms since 1970
 * @property {number} [messages] while catching up: how many came
 */

/**
 * @typedef {object} Options
 * @property {string | string[]} rooms up to 64
 * @property {(message: Message) => void} [onMessage] each once, in order, whatever its type
 * @property {(gap: Gap) => void} [onGap]
 * @property {(end: {replayed: number}) => void} [onLive] what was retained, or missed, has been heard
 * @property {(state: State) => void} [onState]
 * @property {"all" | "none" | number} [replay] where to start; everything retained by default
 * @property {string} [since] an RFC 3339 time or a duration such as `10m`, in place of `replay`
 * @property {string} [lastEventId] resume here, in place of both
 * @property {string} [server] its URL; by default, where this module is from
 * @property {boolean} [share] whether the tabs share a stream; true by default
 */

/** @typedef {{from: string | null, to: string, rooms: string[], messages: Message[], state?: State}} Batch */
/** @typedef {{event: string, data: string, id: string}} Block */

const HOME = new URL(".", import.meta.url).href;
const MAX_ROOMS = 64;
const PAGE = 1000;
/** The server breaks a silence every 15 s; after this many ms the connection counts as dead. */
const SILENCE = 45_000;
const LONGEST_WAIT = 30_000;
const FOREIGN = "something other than roomcast answered";

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

  /**
   * The blocks that these bytes complete.
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
    return blocks;
  }

  /** @param {string} line */
  #field(line) {
    const [, name, value = ""] = /^([^:]*)(?:: ?(.*))?$/su.exec(line) ?? [];
    if (name === "data") this.#data.push(value);
    else if (name === "event") this.#event = value;
    else if (name === "id" && !value.includes("\0")) this.#nextId = value;
    else if (name === "retry" && /^[0-9]+$/.test(value)) this.retry = Number(value);
  }

  /** @param {Block[]} blocks */
  #dispatch(blocks) {
    this.id = this.#nextId;
    if (this.#data.length) blocks.push({ event: this.#event || "message", data: this.#data.join("\n"), id: this.id });
    this.#event = "";
    this.#data = [];
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
 * @param {string} [options.key] for a request that may have been sent before
 * @param {AbortSignal} [options.signal] gives up
 * @param {(failure: Refused, until: number) => void} [options.onRetry]
 * @returns {Promise<T extends readonly unknown[] ? Message[] : Message>}
 */
export async function publish(message, { server = HOME, key = randomKey(), signal, onRetry } = {}) {
  const body = typeof message === "string" ? message : JSON.stringify(message);
  const headers = { "Content-Type": "application/json", "Idempotency-Key": key };
  for (let failures = 0; ; failures += 1) {
    try {
      const answer = await request(new URL("messages", server), { method: "POST", headers, body }, signal);
      return await json(answer);
    } catch (failure) {
      if (!(failure instanceof Refused) || !failure.passing) throw failure;
      const wait = failure.retryAfter ? failure.retryAfter * 1000 : backoff(1000, failures);
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
 * @param {{server?: string, signal?: AbortSignal}} [options]
 * @returns {Promise<{messages: Message[], position: string, gap: Gap | null}>}
 */
export async function history(rooms, parameters, { server = HOME, signal } = {}) {
  const url = address(server, rooms, parameters);
  return json(await request(url, { headers: { Accept: "application/json" }, cache: "no-store" }, signal));
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
  /** Where the shared stream stands. @type {State | undefined} */
  #shared;
  #covered = false;
  /** @type {State} */
  #state = { name: "connecting" };
  #heard = 0;
  #stop = new AbortController();
  #wake = () => {};
  #share;

  /** @param {Options} options */
  constructor(options) {
    this.#options = options;
    this.#server = new URL(options.server ?? HOME, HOME).href;
    this.#rooms = [options.rooms].flat();
    this.#position = options.lastEventId;
    this.#share = new Share(this.#server, options.share !== false, () => this.#position ?? "", (batch) => this.#take(batch));
    queueMicrotask(() => {
      this.#tell(this.#state);
      this.#readPages();
    });
  }

  /** The rooms followed. Those set anew are heard from the present position on. */
  get rooms() {
    return this.#rooms;
  }

  set rooms(rooms) {
    this.#rooms = [...rooms];
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
    this.#wake();
    this.#share.retry();
  }

  close() {
    this.#stop.abort();
    this.#share.close();
  }

  /** @param {Batch} batch */
  #take(batch) {
    if (this.#stop.signal.aborted) return;
    if (this.#queue) {
      if (this.#queue.push(batch) > PAGE) this.#queue.shift(); // the pages have it
      return;
    }
    this.#covered = this.#rooms.every((room) => batch.rooms.includes(room));
    if (batch.state) this.#shared = batch.state;
    const position = this.#position ?? "";
    if (batch.from !== null && this.#covered && reaches(position, batch.from)) {
      for (const message of batch.messages) {
        if (this.#rooms.includes(message.room) && !reaches(position, message.id)) this.#message(message);
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
    for (let failures = 0; ; ) {
      try {
        if (!(await this.#readPage())) break;
        failures = 0;
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        if (!(error instanceof Refused)) throw error;
        if (!error.passing) return this.#refused(error);
        await this.#wait(error, failures++);
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
    const { replay = "all", since } = this.#options;
    /** @type {Record<string, string>} */
    const start = this.#position ? { after: this.#position } : since ? { since } : { replay: String(replay) };
    const rooms = this.#rooms;
    const page = await history(rooms, { ...start, limit: String(PAGE) }, { server: this.#server, signal: this.#stop.signal });
    this.#stop.signal.throwIfAborted();
    if (rooms !== this.#rooms) return true; // set anew meanwhile: the page says nothing of the new ones
    if (page.messages.length && this.#state.name !== "live") this.#catchingUp(page.messages.length);
    if (page.gap) call(this.#options.onGap, page.gap);
    this.#position = page.position;
    for (const message of page.messages) this.#message(message);
    return page.messages.length === PAGE;
  }

  /** @param {Message} message */
  #message(message) {
    this.#heard += 1;
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
    const wait = error.retryAfter ? error.retryAfter * 1000 : backoff(2000, failures);
    this.#tell({ name: online() ? "reconnecting" : "offline", why: error.message, until: Date.now() + wait });
    const woken = new AbortController();
    this.#wake = () => woken.abort();
    const unlisten = on({ online: this.#wake });
    await pause(wait, AbortSignal.any([woken.signal, this.#stop.signal]));
    unlisten();
    this.#tell({ name: "reconnecting" });
  }

  /** @param {Refused} error */
  #refused(error) {
    this.close();
    this.#tell({ name: "stopped", why: error.message });
  }

  #tellShared() {
    const state = this.#shared;
    if (this.#queue || !state) return;
    if (state.name === "stopped") this.close();
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
   * @param {string} server
   * @param {boolean} shared
   * @param {() => string} position where to start, should it be this tab's turn
   * @param {(batch: Batch) => void} tell
   */
  constructor(server, shared, position, tell) {
    this.#server = server;
    this.#name = `roomcast ${server}`;
    this.#position = position;
    this.#tell = tell;
    if (!shared || !globalThis.navigator?.locks || !globalThis.BroadcastChannel) return;
    this.#channel = new BroadcastChannel(this.#name);
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
    if (this.#channel) await this.#want(rooms);
    if (this.#leave.signal.aborted) return;
    this.#channel?.postMessage("hello");
    if (this.owner) this.#open();
    else if (!this.#running) this.#run();
  }

  #return() {
    this.#run();
    this.#channel?.postMessage("hello"); // and learn what was missed
  }

  retry() {
    this.#source?.retry();
    this.#channel?.postMessage("retry");
  }

  close() {
    this.#rooms = [];
    this.#stepBack();
    this.#interest.abort();
    this.#unlisten();
    this.#channel?.close();
  }

  /**
   * A lock's name says what this tab wants: the owner reads the names, and they go with their tabs.
   * @param {string[]} rooms
   */
  #want(rooms) {
    const before = this.#interest;
    const { signal } = (this.#interest = new AbortController());
    return new Promise((held) => {
      const name = `${this.#name} ${randomKey()} ${JSON.stringify(rooms)}`;
      navigator.locks.request(name, () => {
        before.abort();
        held(undefined);
        return signal.aborted ? undefined : new Promise((release) => signal.addEventListener("abort", release));
      });
    });
  }

  async #wanted() {
    if (!this.#channel) return this.#rooms;
    const { held = [] } = await navigator.locks.query();
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
    } catch {
      // Given up, or taken by a tab that heard nothing from this one.
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
    this.#source = new Source(this.#server, rooms, position, (batch) => {
      this.#channel?.postMessage(batch);
      this.#tell(batch);
    });
  }

  /** @param {Batch | "hello" | "retry"} said */
  #hear(said) {
    if (said === "hello") {
      if (this.owner) this.#open();
    } else if (said === "retry") this.#source?.retry();
    else if (!this.owner) {
      this.#listen();
      this.#tell(said);
      // More rooms than one stream may have: this tab has its own, then.
      if (said.rooms.length === MAX_ROOMS && this.#rooms.some((room) => !said.rooms.includes(room))) this.#part();
    }
  }

  #part() {
    this.#stepBack();
    this.#interest.abort();
    this.#channel?.close();
    this.#channel = undefined;
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
  #server;
  #tell;
  /** @type {State} */
  #state = { name: "connecting" };
  #retry = 3000;
  #failures = 0;
  #stop = new AbortController();
  #cut = new AbortController();
  #wake = new AbortController();
  #unlisten;

  /**
   * @param {string} server
   * @param {string[]} rooms
   * @param {string} position
   * @param {(batch: Batch) => void} tell
   */
  constructor(server, rooms, position, tell) {
    this.rooms = rooms;
    this.position = position;
    this.#server = server;
    this.#tell = tell;
    // The network is gone, and the connection with it, though TCP may take minutes to find out.
    this.#unlisten = on({ offline: () => this.#cut.abort(), online: () => this.retry() });
    this.#run();
  }

  /** Says once more where it stands. */
  again() {
    this.#say(this.#state);
  }

  retry() {
    this.#wake.abort();
  }

  close() {
    this.#stop.abort();
    this.#unlisten();
  }

  async #run() {
    while (!this.#stop.signal.aborted) {
      this.#wake = new AbortController();
      const state = await this.#connect();
      if (this.#stop.signal.aborted) return;
      this.#say(state);
      if (!state.until) return;
      await pause(state.until - Date.now(), AbortSignal.any([this.#wake.signal, this.#stop.signal]));
    }
  }

  /** One connection, and how it ended. @returns {Promise<State>} */
  async #connect() {
    this.#say({ name: this.#state.name === "connecting" ? "connecting" : "reconnecting" });
    this.#cut = new AbortController();
    const signal = AbortSignal.any([this.#cut.signal, this.#stop.signal]);
    try {
      const blocks = await this.#read(signal);
      const name = blocks ? "reconnecting" : "overloaded";
      return { name, until: Date.now() + this.#retry };
    } catch (error) {
      const { message: why, passing, retryAfter } = error instanceof Refused ? error : new Refused("the connection was cut");
      if (!passing) return { name: "stopped", why };
      const wait = retryAfter ? retryAfter * 1000 : backoff(this.#retry, this.#failures++);
      return { name: online() ? "reconnecting" : "offline", why, until: Date.now() + wait };
    }
  }

  /**
   * Reads one stream to its end; how many blocks it had.
   * @param {AbortSignal} signal
   */
  async #read(signal) {
    // In the query: the header would cost another origin a preflight.
    const url = address(this.#server, this.rooms, { last_event_id: this.position });
    let timer = setTimeout(() => this.#cut.abort(), SILENCE);
    try {
      const response = await request(url, { headers: { Accept: "text/event-stream" }, cache: "no-store" }, signal, 0);
      if (!/^text\/event-stream\b/i.test(response.headers.get("Content-Type") ?? "")) {
        throw new Refused(FOREIGN);
      }
      const reader = /** @type {ReadableStream<Uint8Array<ArrayBuffer>>} */ (response.body).getReader();
      const decoder = new Decoder();
      for (let count = 0; ; ) {
        const { done, value } = await reader.read();
        if (done || signal.aborted) return count;
        clearTimeout(timer);
        timer = setTimeout(() => this.#cut.abort(), SILENCE);
        const blocks = decoder.push(value);
        this.#retry = decoder.retry ?? this.#retry;
        count += blocks.length;
        this.#hear(blocks);
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * What one read brought, as one batch; of none, a sign of life.
   * @param {Block[]} blocks
   */
  #hear(blocks) {
    /** @type {string | null} */
    let from = this.position;
    const messages = [];
    for (const { event, data, id } of blocks) {
      this.position = id;
      if (event === "gap") from = null; // each tab asks what it means for its own rooms
      else if (event === "live") this.#state = { name: "live" };
      else messages.push(JSON.parse(data));
    }
    if (blocks.length) this.#failures = 0;
    if (messages.length && this.#state.name !== "live") {
      this.#state = { name: "catching-up", messages: (this.#state.messages ?? 0) + messages.length };
    }
    this.#tell({ from, to: this.position, rooms: this.rooms, messages, state: this.#state });
  }

  /** @param {State} state */
  #say(state) {
    this.#state = state;
    this.#tell({ from: this.position, to: this.position, rooms: this.rooms, messages: [], state });
  }
}

/**
 * @param {string} server
 * @param {string[]} rooms
 * @param {Record<string, string>} parameters
 */
function address(server, rooms, parameters) {
  const url = new URL("messages", server);
  url.search = String(new URLSearchParams([...rooms.map((room) => ["room", room]), ...Object.entries(parameters)]));
  return url;
}

/**
 * A response that is `ok`; else throws `Refused`, or what `signal` was aborted with.
 * @param {URL} url
 * @param {RequestInit} options
 * @param {AbortSignal} [signal]
 * @param {number} [patience] ms; 0: for ever
 */
async function request(url, options, signal, patience = 30_000) {
  const signals = [signal, patience ? AbortSignal.timeout(patience) : undefined].flatMap((one) => one ?? []);
  let response;
  try {
    response = await fetch(url, { ...options, signal: AbortSignal.any(signals) });
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
  const { title, detail, errors } = await response.json().catch(() => ({}));
  // What the server could not do is in the title; what the request did wrong is all in the detail.
  const said = [...new Set(status >= 500 ? [title, detail] : [detail ?? title])].filter(Boolean).join(": ");
  return Object.assign(new Refused(said || `the server answered ${status} ${statusText}`.trimEnd()), {
    status,
    passing: status >= 500 || [408, 425, 429].includes(status),
    retryAfter: Number.parseInt(headers.get("Retry-After") ?? "", 10) || undefined,
    errors: errors ?? [],
  });
}

/** @param {Response} response */
async function json(response) {
  return response.json().catch(() => {
    throw new Refused(FOREIGN);
  });
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
