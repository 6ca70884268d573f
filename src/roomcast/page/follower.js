// One room, followed with the browser's own EventSource. Knows the protocol and nothing of the page's elements.
//
// The browser resumes by itself, with Last-Event-ID, whenever a stream ends. It gives up for good on any answer
// but 200 and on some network errors; then a new EventSource goes on where the last one was.

import { KEPT, after, messagesUrl, newest } from "./api.js";

/** @import { Gap, Message } from "./api.js" */

/** A page that is being left has its stream cut too, a moment before it knows: that needs no explanation. */
const UNLOAD_MS = 250;

/** How long a message of a type not heard of yet may stay unseen while somebody looks. */
const LOOK_MS = 10_000;

/** @typedef {"connecting" | "catching-up" | "live" | "reconnecting" | "stopped"} StateName */

/**
 * Where the connection stands.
 * @typedef {object} State
 * @property {StateName} name
 * @property {string} [why] words to follow a colon
 * @property {number} [seconds] until it is tried again
 */

/**
 * Who is told.
 * @typedef {object} Audience
 * @property {(message: Message) => void} message
 * @property {(gap: Gap) => void} gap
 * @property {(state: State) => void} state
 * @property {() => void} restart everything heard so far comes again
 */

/** Follows a room from `open` to `close`: each message once, in order. */
export class Follower {
  /** @type {EventSource | undefined} */
  #source;
  /** The id of the last block heard: where a new EventSource goes on, and what a message must be after. */
  #position = "";
  /** Blocks with messages on this stream; `live` tells how many there were. */
  #heard = 0;
  /** @type {StateName | undefined} */
  #state;
  /** @type {number | undefined} */
  #timer;
  /** @type {number | undefined} */
  #looking;
  #room;
  #types;
  #audience;

  /**
   * @param {string} room
   * @param {Iterable<string>} types event types to listen for from the start
   * @param {Audience} audience
   */
  constructor(room, types, audience) {
    this.#room = room;
    this.#types = new Set(types);
    this.#audience = audience;
  }

  /** Follows, from the last position if there is one. */
  open() {
    this.close();
    this.#tell({ name: this.#position ? "reconnecting" : "connecting" });
    this.#source = new EventSource(this.#url());
    this.#listen(this.#source);
  }

  /** Stops following. The position stays: `open` goes on from it. */
  close() {
    clearTimeout(this.#timer);
    clearInterval(this.#looking);
    this.#source?.close();
    this.#source = undefined;
  }

  /** Tries at once, unless all is well. */
  retry() {
    if (this.#state === "reconnecting" || this.#state === "stopped") this.open();
  }

  #url() {
    // A new EventSource cannot send the header Last-Event-ID; should it reconnect by itself later, it does,
    // and the header wins over the query.
    const resume = this.#position ? { last_event_id: this.#position } : null;
    return messagesUrl({ room: this.#room, replay: String(KEPT), ...resume });
  }

  /** @param {EventSource} source */
  #listen(source) {
    source.onopen = () => (this.#heard = 0);
    source.onerror = () => this.#failed(source);
    source.addEventListener("gap", (event) => this.#gap(event));
    source.addEventListener("live", (event) => this.#live(event));
    for (const type of ["message", ...this.#types]) {
      source.addEventListener(type, (event) => this.#message(event));
    }
  }

  /** @param {MessageEvent<string>} event */
  #message(event) {
    this.#heard += 1;
    this.#begun();
    if (!isAfter(event.lastEventId, this.#position)) return;
    this.#position = event.lastEventId;
    this.#audience.message(JSON.parse(event.data));
  }

  /** @param {MessageEvent<string>} event */
  #gap(event) {
    this.#begun();
    // Backwards too, where the log was restored: what comes next has lower ids than were heard.
    this.#position = event.lastEventId;
    this.#audience.gap(JSON.parse(event.data));
  }

  /** @param {MessageEvent<string>} event */
  #live(event) {
    this.#position = event.lastEventId;
    this.#tell({ name: "live" });
    if (JSON.parse(event.data).replayed > this.#heard) this.#learnTypes(newest(this.#room, KEPT));
    clearInterval(this.#looking);
    this.#looking = setInterval(() => this.#look(), LOOK_MS);
  }

  /** Whether anything came that no listener here was given. */
  #look() {
    if (document.hidden || this.#state !== "live") return;
    this.#learnTypes(after(this.#room, this.#position));
  }

  /** The first block is the sign that the server serves: one that drains also answers 200, and ends. */
  #begun() {
    if (this.#state !== "live") this.#tell({ name: "catching-up" });
  }

  /** @param {EventSource} source */
  #failed(source) {
    this.#tell({ name: "reconnecting" });
    if (source.readyState === EventSource.CONNECTING) return; // the browser tries again by itself
    this.#timer = setTimeout(() => this.#explain(source), UNLOAD_MS);
  }

  /** @param {EventSource} source */
  async #explain(source) {
    const answer = await newest(this.#room, 1);
    if (source !== this.#source) return; // closed meanwhile, or opened again
    if ("messages" in answer) this.#later("the stream was refused for a moment");
    else if (answer.passing) this.#later(answer.why);
    else this.#tell({ name: "stopped", why: answer.why });
  }

  /** @param {string} why */
  #later(why) {
    // Spread out: behind a proxy that restarts, every open page is here at the same moment.
    const seconds = 3 + Math.floor(Math.random() * 5);
    this.#tell({ name: "reconnecting", why, seconds });
    this.#timer = setTimeout(() => this.open(), seconds * 1000);
  }

  /**
   * A message with a type of its own goes to listeners of that type and to no others, and an EventSource
   * cannot listen to all. That some were replayed unheard shows in their number; their types are in the
   * history. One whose type is new while the page is live is found by a look now and then, unless `?type=` in
   * the page's address names it.
   * @param {ReturnType<typeof newest>} history
   */
  async #learnTypes(history) {
    const source = this.#source;
    const answer = await history;
    if (source !== this.#source || !("messages" in answer)) return;
    const known = this.#types.size;
    for (const { type } of answer.messages) if (type) this.#types.add(type);
    if (this.#types.size > known) this.#startOver();
  }

  #startOver() {
    this.#position = "";
    this.#audience.restart();
    this.open();
  }

  /** @param {State} state */
  #tell(state) {
    this.#state = state.name;
    this.#audience.state(state);
  }
}

/**
 * Whether a message is new. Between epochs there is no order: a new one begins after a gap that says so.
 * @param {string} id
 * @param {string} position
 */
function isAfter(id, position) {
  const [epoch, seq] = id.split("-");
  const [lastEpoch, lastSeq] = position.split("-");
  return epoch !== lastEpoch || BigInt(seq ?? 0) > BigInt(lastSeq ?? 0);
}
