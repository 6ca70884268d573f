// The token of this tab, if it has one, and what the server says its reader may do. The token is sent in a header, never
// in an address. A tab that gets another token is reloaded, so that one user's messages are not left for the next.

import { get } from "../roomcast.js";
import { recall, remember, tab } from "./storage.js";
import { strings } from "./strings.js";

/**
 * The answer of `GET /me`. A grant is a room's name, or a prefix and `*`.
 * @typedef {{kind: string, name: string, user: string | null, read: string[], publish: string[], admin: boolean}} Me
 */

/** @typedef {{status?: number, message?: string, why?: string, errors?: {pointer: string, detail: string}[]}} Refusal */

/** A stream takes at most this many names. */
const MAX_NAMED = 64;
/** Until the server has answered, nothing is disabled: it checks each request. @type {Me} */
let me = { kind: "anonymous", name: "", user: null, read: ["*"], publish: ["*"], admin: false };
let isKnown = false;
const token = recall(tab, "token", "");

/** Whether this tab has a token. */
export const hasToken = Boolean(token);

/** The credential of this page's requests. */
export const credential = token ? { token: () => token } : {};

/** Stores the token for the page's next load. @param {string} next the token; "": none */
export function keepToken(next) {
  remember(tab, "token", next);
}

/**
 * Asks the server for the reader's rights, unless it has answered before.
 * @returns {Promise<boolean>} whether they are known since this call
 */
export async function load() {
  if (isKnown) return false;
  try {
    me = await get(new URL("me", document.baseURI), credential);
    isKnown = true;
  } catch {
    // Asked again when the stream is live.
  }
  return isKnown;
}

/** The `user` of this reader's messages; empty if the reader may choose it. */
export function user() {
  return me.user ?? "";
}

/** The reader's name. */
export function who() {
  if (token && !isKnown) return "";
  return me.kind === "anonymous" ? strings.noToken : me.user || me.name;
}

/** Whether the reader may list all followers. */
export function isAdmin() {
  return me.admin;
}

/** Rooms that are granted by their names, at most 64. */
export function named() {
  return me.read.filter((grant) => !grant.endsWith("*")).slice(0, MAX_NAMED);
}

/** Granted prefixes of room names. */
export function prefixes() {
  return me.read.flatMap((grant) => (grant.endsWith("*") ? grant.slice(0, -1) : []));
}

/** Whether examples need a token: this tab has one, or strangers may not read and publish every room. */
export function needsToken() {
  return hasToken || !reads("") || !publishes("");
}

/** Whether the reader may read a room; true until the server has answered. @param {string} room */
export function reads(room) {
  return covers(me.read, room);
}

/** Whether the reader may publish to a room; true until the server has answered. @param {string} room */
export function publishes(room) {
  return covers(me.publish, room);
}

/**
 * Why something was refused, in words for a reader of the page, in the page's language where it has them.
 * @param {Refusal} refused
 * @returns {string}
 */
export function explain(refused) {
  if (refused.status !== 401) return explained(refused);
  if (!token) return strings.tokenNeeded;
  return /expired/.test(refused.message ?? "") ? strings.tokenExpired : strings.tokenInvalid;
}

/**
 * @param {string[]} grants
 * @param {string} room
 */
function covers(grants, room) {
  return grants.some((grant) => (grant.endsWith("*") ? room.startsWith(grant.slice(0, -1)) : grant === room));
}

/**
 * The server's own sentence if there is no better one.
 * @param {Refusal} refusal
 */
function explained({ status, message, why = message ?? "", errors = [] }) {
  if (status === 413) return strings.tooLarge;
  const rules = errors.map(({ pointer }) => strings.bad[pointer.replace(/^\/(\d+\/)?/, "")]);
  if (errors.length && !rules.includes(undefined)) return [...new Set(rules)].join(" ");
  return status === 422 && /\broom\b/.test(why) && !errors.length ? (strings.bad.room ?? "") : why;
}
