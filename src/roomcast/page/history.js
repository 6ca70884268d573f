// The messages of a room from before it was followed, read page by page on demand.

import { Refused, history } from "../roomcast.js";
import { credential } from "./rights.js";
import { parse } from "./exact.js";

/** @import { Room } from "./room.js" */

export const PAGE = 100;
/** More unread messages than this are not counted. */
export const MANY_UNREAD = 100;
const RETRY_MS = 2000;

/**
 * A page of the retained messages of a room, or of several shown as one. Throws as `history` of roomcast.js does.
 * @param {Room} room
 * @param {Record<string, string>} parameters of `GET /messages`
 */
export function page({ name, prefix }, parameters) {
  const prefixes = prefix === undefined ? [] : [prefix];
  return history(prefixes.length ? [] : [name], parameters, { parse, prefixes, ...credential });
}

/**
 * Reads the messages before the known ones into a room. After an error it waits 2 s, so that a caller may call it again.
 * @param {Room} room
 * @param {number} [many] messages at most
 * @returns {Promise<boolean>} false if nothing was requested: a request is under way, or there is nothing older
 */
export async function older(room, many = PAGE) {
  if (room.loading || room.isComplete || !room.start) return false;
  const { start } = room;
  room.loading = true;
  try {
    const { messages } = await page(room, { before: start, limit: String(many) });
    if (room.start !== start) return true; // followed from another id by now
    room.prepend(messages);
    if (messages.length < many) room.complete();
  } catch (error) {
    // An id of another epoch has nothing before it here.
    if (error instanceof Refused && !error.passing) room.complete();
    else await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  } finally {
    room.loading = false;
  }
  return true;
}

/**
 * Reads a room's newest line and its number of unread messages, without its history.
 * @param {Room} room
 * @returns {Promise<boolean>} false if nothing was requested, or the room was followed from another id meanwhile
 */
export async function peek(room) {
  if (room.loading || !room.start || room.isComplete) return false;
  const { start, read } = room;
  const limit = String(MANY_UNREAD);
  room.loading = true;
  try {
    const { messages } = await page(room, { before: start, limit: "1" });
    const unread = { after: read, before: start, limit };
    const missed = read && messages.length ? await page(room, unread) : null;
    if (room.start !== start) return false;
    room.newest ??= messages[0];
    room.unread += missed?.messages.length ?? 0;
    if (!messages.length) room.complete();
  } catch {
    // The next refresh tries again.
  } finally {
    room.loading = false;
  }
  return true;
}
