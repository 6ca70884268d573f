// "You were away": how many messages came meanwhile and how many of them are lost, with links to the first new message and
// to the gap. Scrolling to the end would hide both.

import { reaches } from "../roomcast.js";
import { element, onClick, set } from "./dom.js";
import { page } from "./history.js";
import { browser, recall, remember } from "./storage.js";
import { strings } from "./strings.js";

/** @import { Gap } from "../roomcast.js" */
/** @import { Item, Room } from "./room.js" */

/** A shorter absence is not mentioned, unless messages were lost. */
const SHORT_MS = 60_000;
const SAVE_MS = 10_000;
/** Messages beyond this number are not counted. */
const MOST = 1000;

/** The reader's absences, and the bar that reports the last one. */
export class Away {
  #bar = element("away");
  #text = element("away-text");
  #toNew = element("away-new");
  #toGap = element("away-gap");
  /** When the reader left, in ms since 1970; at first the end of the last visit; 0 while the reader is here. */
  #since = recall(browser, "seen", 0);
  /** The last id that the reader had read by then. @type {string | undefined} */
  #read;
  /** The id of the first new message; empty if there is none. */
  #first = "";
  /** The row of the gap, or the id with which it ends: in another room, where several are followed. @type {string | Item} */
  #gap = "";

  /** @param {(to: string | Item) => void} reveal scrolls to the message of an id, or to a row */
  constructor(reveal) {
    onClick("away-new", () => this.#go(reveal, this.#first));
    onClick("away-gap", () => this.#go(reveal, this.#gap));
    onClick("away-close", () => this.close());
    setInterval(() => !document.hidden && !this.#since && remember(browser, "seen", Date.now()), SAVE_MS);
    addEventListener("pagehide", () => !this.#since && remember(browser, "seen", Date.now()));
  }

  /**
   * The absence begins: the reader no longer looks, or the stream is down. During an absence it has no effect.
   * @param {Room | undefined} room the open one
   */
  leave(room) {
    if (this.#since) return;
    this.#since = Date.now();
    this.#read = room?.newest?.id ?? room?.read;
  }

  /**
   * Called with each room that is opened. The first one shows what the reader missed while no page was open.
   * @param {Room} room
   */
  begin(room) {
    this.#read ??= room.read;
  }

  /**
   * The absence ends: the reader looks, and the stream is up. Shows the bar if it was long or messages were lost.
   * @param {Room} room the open one
   */
  async back(room) {
    const [gone, read] = [Date.now() - this.#since, this.#read];
    if (!this.#since) return;
    this.#since = 0;
    if (!read || (gone < SHORT_MS && !gapAfter(room, read))) return;
    const missed = await page(room, { after: read, limit: String(MOST) }).catch(() => undefined);
    const [first] = missed?.messages ?? [];
    if (missed?.gap && !gapAfter(room, read)) room.insertGap(missed.gap);
    const row = gapAfter(room, read);
    const gap = row?.gap ?? missed?.gap ?? undefined;
    if (!room.shown || (!first && !gap)) return;
    this.#gap = row ?? gap?.resumes_at ?? "";
    this.#show(gone, missed?.messages.length ?? 0, gap, first?.id ?? "");
  }

  /** Hides the bar. */
  close() {
    this.#bar.hidden = true;
  }

  /**
   * @param {number} gone ms
   * @param {number} count
   * @param {Gap | undefined} gap
   * @param {string} first
   */
  #show(gone, count, gap, first) {
    this.#first = first;
    set(this.#text, strings.away(gone, count, count >= MOST, gap));
    this.#toNew.hidden = !first;
    this.#toGap.hidden = !gap || gap.resumes_at === first;
    this.#bar.hidden = false;
  }

  /**
   * @param {(to: string | Item) => void} reveal
   * @param {string | Item} to
   */
  #go(reveal, to) {
    this.close();
    reveal(to);
  }
}

/**
 * The row of the newest gap of a room after an id.
 * @param {Room} room
 * @param {string} read
 */
function gapAfter({ items }, read) {
  for (let at = items.length - 1; at >= 0; at -= 1) {
    const item = items[at];
    if (item?.kind === "gap") return item;
    if (item?.kind === "message" && reaches(read, item.message.id)) return undefined;
  }
  return undefined;
}
