// Why something was refused, in words for a reader without a terminal.

import { words } from "./words.js";

/** @typedef {{status?: number, message?: string, why?: string, errors?: {pointer: string, detail: string}[]}} Refusal */

/** @type {Record<string, "badRoom" | "badUser" | "badType" | "badText">} */
const FIELDS = { room: "badRoom", user: "badUser", type: "badType", text: "badText" };

/**
 * The server's own sentence if there is no better one.
 * @param {Refusal} refusal
 */
export function explained({ status, message, why = message ?? "", errors = [] }) {
  if (status === 413) return words.tooLarge;
  const pointed = errors.map(({ pointer }) => FIELDS[pointer.replace(/^\/(\d+\/)?/, "")]);
  const said = [...new Set(pointed)].flatMap((name) => (name ? words[name] : []));
  if (said.length && !pointed.includes(undefined)) return said.join(" ");
  return status === 422 && /\broom\b/.test(why) && !errors.length ? words.badRoom : why;
}
