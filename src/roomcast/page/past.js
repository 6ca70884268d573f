// What a room had before it was followed: read page by page, as it is wanted.

import { Refused, history } from "../roomcast.js";
import { credential } from "./access.js";
import { parse } from "./exact.js";

/** @import { Room } from "./room.js" */

export const PAGE = 100;
/** Above this, how many are unread is not counted. */
export const MANY_UNREAD = 100;
const RETRY_MS = 2000;

/**
 * Reads what came before, if there is any; gives whether it was read.
 * @param {Room} room
 */
export async function older(room) {
  if (room.loading || room.isComplete || !room.start) return false;
  const { start } = room;
  room.loading = true;
  try {
    const { messages } = await history([room.name], { before: start, limit: String(PAGE) }, { parse, ...credential });
    if (room.start !== start) return true; // left, and entered elsewhere
    room.prepend(messages);
    if (messages.length < PAGE) room.complete();
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
 * A room's newest line, and how many are unread, without its history; gives whether it was looked at.
 * @param {Room} room
 */
export async function look(room) {
  if (room.loading || !room.start || room.isComplete) return false;
  const { start, read } = room;
  const limit = String(MANY_UNREAD);
  room.loading = true;
  try {
    const { messages } = await history([room.name], { before: start, limit: "1" }, credential);
    const unread = { after: read, before: start, limit };
    const missed = read && messages.length ? await history([room.name], unread, credential) : null;
    if (room.start !== start) return false;
    room.newest ??= messages[0];
    room.unread += missed?.messages.length ?? 0;
    if (!messages.length) room.complete();
  } catch {
    // It is looked at again with the next refresh.
  } finally {
    room.loading = false;
  }
  return true;
}
