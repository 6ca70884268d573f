// What the page says in English. What never changes is in index.html too, where each such element names its word.

import { number } from "./language.js";

/** @import { Gap } from "../roomcast.js" */

export const words = {
  address: "Address",
  again: "Try now",
  cancel: "Stop trying",
  close: "Close",
  copied: "Copied",
  copy: "Copy",
  curlFollow: "Follow in a shell",
  curlPost: "Publish from a shell",
  data: "data",
  discard: "Discard",
  edit: "Edit",
  emptyHint: "Send the first message below, or from a terminal:",
  eventSource: "Follow in any page",
  invisible: "(nothing visible)",
  keys: "Enter sends, Shift and Enter start a line",
  javascript: "Follow and publish with the server’s module",
  message: "Message",
  messages: "Messages",
  name: "Name",
  noOlder: "What is retained begins here.",
  open: "Open",
  optional: "optional",
  pending: "Sending…",
  python: "Follow and publish in Python",
  room: "Find or open a room",
  rooms: "Rooms",
  send: "Send",
  sent: "Stored",
  themeDark: "Theme: dark",
  themeLight: "Theme: light",
  themeSystem: "Theme: as the system’s",
  ticketHint: "your server asks POST /tickets for this address",
  today: "Today",
  token: "Key, token or ticket",
  tokenExpired: "Your token has expired. Enter a new one.",
  tokenForget: "Forget the token",
  tokenForm: "Access with a token",
  tokenFunction: "your server gives the page its token",
  tokenHint: "It stays in this tab and is forgotten when the tab is closed.",
  tokenInvalid: "The server does not accept this token.",
  tokenLacks: "Your token does not give you access here. Enter another one, or open another room.",
  tokenNeeded: "You need a token here.",
  tokenOpen: "Token…",
  tokenUse: "Continue",
  noToken: "Without a token",
  noAccess: "No access",
  sortActivity: "Newest first",
  sortName: "By name",
  unreadSome: "unread",
  writeToOne: "Open one room to write to it",
  use: "Use this room",
  yesterday: "Yesterday",

  compose: "Write a message",
  connecting: "Connecting…",
  live: "Live",
  offline: "Offline",
  overloaded: "The server is busy or restarts",
  reconnecting: "Reconnecting…",
  stopped: "Stopped",
  slow: "Still connecting. Many tabs open on this server? A browser lets only six of them connect.",

  pin: (/** @type {string} */ room) => `Pin ${room}`,
  unpin: (/** @type {string} */ room) => `Unpin ${room}`,
  fold: (/** @type {string} */ prefix) => `Rooms of ${prefix}`,
  seeGroup: (/** @type {string} */ prefix) => `Follow all rooms of ${prefix}`,
  group: (/** @type {string} */ prefix) => (prefix ? `All rooms of ${prefix}` : "All rooms"),
  openNew: (/** @type {string} */ room) => `Open “${room}”`,
  moreRooms: (/** @type {number} */ n) => `These are the ${number(n)} with the newest messages. Open others by their names.`,
  roomsCount: (/** @type {number} */ n) => (n === 1 ? "1 room" : `${number(n)} rooms`),
  roomsFound: (/** @type {number} */ n, /** @type {number} */ all) => `${number(n)} of ${number(all)} rooms`,
  /** @param {number} n */
  catchingUp: (n) => (n ? `Catching up: ${n === 1 ? "1 message" : `${number(n)} messages`}` : "Catching up…"),
  /** @param {string} state @param {string} why */
  because: (state, why) => `${state.replace("…", "")}: ${why}`,
  /** @param {number} seconds */
  countdown: (seconds) => `again in ${seconds} s`,
  /** @param {number} seconds */
  retrying: (seconds) => `Not sent yet, tried again in ${seconds} s`,
  /** @param {string} why */
  refused: (why) => `Not sent: ${why}`,
  /** @param {number} n */
  newer: (n) => `${number(n)} new`,
  /** @param {number} n @param {string} room */
  announced: (n, room) => `${number(n)} new messages in ${room}`,
  /** @param {string} room */
  readOnly: (room) => `You cannot write to ${room}`,
  /** @param {string} room */
  writeTo: (room) => `Write to ${room}`,
  /** @param {number} n */
  unread: (n) => `${number(n)} unread`,
  /** @param {number} n */
  followers: (n) => (n === 1 ? "1 follower" : `${number(n)} followers`),
  /** @param {number} characters */
  showAll: (characters) => `Show all ${number(characters)} characters`,
  /** @param {string} room */
  empty: (room) => ["Nothing in ", room, " yet"],
  /** @param {number} perSecond @param {number | undefined} ms */
  pulse: (perSecond, ms) =>
    `${number(perSecond)} messages a second${ms === undefined ? "" : `, ${number(ms)} ms from stored to shown`}`,
  /** @param {Gap} gap */
  gap: ({ lost_at_most: lost, reason, rooms }) => {
    const why = {
      trimmed: lost === 1 ? "it was no longer retained" : "they were no longer retained",
      deleted: lost === 1 ? "it was deleted" : "they were deleted",
      epoch: "the server’s log was started anew or restored",
      future: "the server’s log does not reach as far as this page had read",
      malformed: "the server could not read where this page had left off",
    }[reason];
    const others = rooms.length - 1;
    const where = others ? `here and in ${others === 1 ? "another room" : `${number(others)} other rooms`}` : "here";
    if (lost === null) return `Messages may have been lost ${where}, nobody can know how many: ${why}.`;
    return `Up to ${lost === 1 ? "1 message was" : `${number(lost)} messages were`} lost ${where}, ${why}.`;
  },
};
