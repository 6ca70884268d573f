// The token of this tab, if it has one, and what the server says may be done with it. It is sent in a header, never in
// an address. A tab that gets another token is reloaded, so that nothing that one user has read is left for the next.

import { get } from "../roomcast.js";
import { element } from "./dom.js";
import { explained } from "./refusal.js";
import { recall, remember, tab } from "./storage.js";
import { words } from "./words.js";

/**
 * What `GET /me` tells. A grant is a room's name, or a prefix and `*`.
 * @typedef {{kind: string, name: string, user: string | null, read: string[], publish: string[]}} Me
 */

const TOKEN = "token";
const MAX_NAMED = 64;
/** @type {Me} */
const EVERYBODY = { kind: "anonymous", name: "", user: null, read: ["*"], publish: ["*"] };

const held = recall(tab, TOKEN, "");

/** The headers of this page's requests. */
export const credential = held ? { token: () => held } : {};

/** The form with the token, and the line in the sidebar that opens it. */
export class Access {
  #me = EVERYBODY;
  #asked = false;
  #form = element("access", HTMLFormElement);
  #why = element("access-why", HTMLElement);
  #field = element("token", HTMLInputElement);
  #identity = element("identity", HTMLElement);
  #changed;

  /**
   * @param {() => void} changed it is known what may be done
   * @param {() => void} load loads the page anew
   */
  constructor(changed, load) {
    this.#changed = changed;
    /** @param {string} token */
    const take = (token) => {
      remember(tab, TOKEN, token);
      load();
    };
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      take(this.#field.value.trim());
    });
    element("access-forget", HTMLButtonElement).addEventListener("click", () => take(""));
    element("access-open", HTMLButtonElement).addEventListener("click", () => this.#open());
    element("access-forget", HTMLButtonElement).hidden = !held;
    this.#show();
    this.ask();
  }

  /** The `user` of all that is sent; empty where any may be given. */
  get user() {
    return this.#me.user ?? "";
  }

  /** Rooms that are granted by their name. */
  get named() {
    return this.#me.read.filter((grant) => !grant.endsWith("*")).slice(0, MAX_NAMED);
  }

  /** Granted prefixes of room names. */
  get prefixes() {
    return this.#me.read.flatMap((grant) => (grant.endsWith("*") ? grant.slice(0, -1) : []));
  }

  /** Whether credentials make a difference here. */
  get counts() {
    return Boolean(held) || !this.reads("") || !this.publishes("");
  }

  /** @param {string} room */
  reads(room) {
    return covers(this.#me.read, room);
  }

  /** @param {string} prefix whether all that begins so may be read */
  readsAll(prefix) {
    return this.prefixes.some((granted) => prefix.startsWith(granted));
  }

  /** @param {string} room */
  publishes(room) {
    return covers(this.#me.publish, room);
  }

  /** Asks what may be done, until the server answers. Until then nothing is disabled: it checks each request. */
  async ask() {
    if (this.#asked) return;
    try {
      this.#me = await get(new URL("me", document.baseURI), credential);
      this.#asked = true;
    } catch {
      return;
    }
    this.#show();
    this.#changed();
  }

  /**
   * Why something was refused, for a reader who has a page and no terminal.
   * @param {import("./refusal.js").Refusal} refused
   */
  explain(refused) {
    if (refused.status !== 401) return explained(refused);
    if (!held) return words.tokenNeeded;
    return /expired/.test(refused.message ?? "") ? words.tokenExpired : words.tokenInvalid;
  }

  /**
   * Offers the field where a credential would help.
   * @param {{status?: number, message: string} | undefined} refused nothing: it is not needed
   */
  offer(refused) {
    const denied = refused?.status === 401 || refused?.status === 403;
    if (!denied) return this.#close();
    this.#say(refused.status === 403 ? words.tokenLacks : this.explain(refused));
    this.#form.hidden = false;
  }

  #open() {
    this.#say("");
    this.#form.hidden = false;
    this.#field.focus();
  }

  #close() {
    if (!this.#why.textContent) return; // opened by the reader
    this.#say("");
    this.#form.hidden = true;
  }

  /** The reader's name. */
  get who() {
    const { user, name, kind } = this.#me;
    if (held && !this.#asked) return "";
    return kind === "anonymous" ? words.noToken : user || name;
  }

  #show() {
    this.#identity.hidden = !this.counts;
    element("who", HTMLElement).textContent = this.who;
  }

  /** @param {string} text */
  #say(text) {
    // Only changes are set: a screen reader reads aloud whatever is set.
    if (this.#why.textContent !== text) this.#why.textContent = text;
    this.#field.ariaInvalid = text && held ? "true" : null;
  }
}

/**
 * @param {string[]} grants
 * @param {string} room
 */
function covers(grants, room) {
  return grants.some((grant) => (grant.endsWith("*") ? room.startsWith(grant.slice(0, -1)) : grant === room));
}
