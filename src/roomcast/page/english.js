// The texts that scripts set, in English. index.html has all others.

import { number, span } from "./language.js";

/** @import { Gap } from "../roomcast.js" */

export const strings = {
  again: "Try now",
  cancel: "Stop trying",
  copied: "Copied",
  copy: "Copy",
  data: "data",
  discard: "Discard",
  edit: "Edit",
  invisible: "(nothing visible)",
  messages: "Messages",
  name: "Name",
  noOlder: "Beginning of what is kept.",
  notSent: "Not sent yet",
  pending: "Sending…",
  sent: "Sent",
  today: "Today",
  tokenExpired: "Your token has expired. Enter a new one.",
  tokenInvalid: "The server does not accept this token.",
  tokenLacks: "Your token gives no access here. Enter another one, or open another room.",
  tokenNeeded: "You need a token here.",
  noToken: "Without a token",
  noAccess: "No access",
  sortActivity: "Newest first",
  sortName: "Sorted by name",
  unreadSome: "unread",
  writeToOne: "Open a single room to write",
  block: "Event block",
  copyCurl: "Copy as curl",
  copyJson: "Copy JSON",
  copyLink: "Copy link",
  copyStream: "Copy EventSource",
  delay: "Delay",
  follow: "Follow",
  fromHistory: "loaded from the history",
  goneMessage: "This message is no longer kept, in another room, or over 100,000 messages back.",
  nothingSince: "No message at or after that time.",
  pause: "Pause",
  publish: "Publish",
  received: "Received",
  room: "Room",
  size: "Size",
  stored: "Stored",
  type: "Type",
  here: "In this room you may",
  history: "Connection history",
  lastMessage: "Last message",
  lastMinute: "last 60 seconds",
  lastSign: "Last sign of life",
  none: "none",
  ownStream: "opened by this tab, shared by all tabs",
  protocol: "Protocol",
  proxies: "Headers of proxies",
  resume: "Resumes after",
  roundTrip: "Round trip",
  sharedStream: "opened by another tab, shared by all tabs",
  sharing: "Stream",
  state: "State",
  tooLarge: "This message is too large for the server.",
  yesterday: "Yesterday",

  /** Rules for the fields of a message. @type {Record<string, string | undefined>} */
  bad: {
    room: "A room name has 1 to 128 characters, no control characters, and does not begin with $.",
    text: "Write something or add data. Empty and very long messages are not stored.",
    type: "A type has 1 to 64 characters on one line. gap, live, open, error, message and roomcast.… are reserved.",
    user: "A name has at most 128 characters.",
  },
  /** @type {Record<string, string>} */
  theme: { system: "Theme: system", light: "Theme: light", dark: "Theme: dark" },

  connecting: "Connecting…",
  live: "Live",
  offline: "Offline",
  overloaded: "The server is busy or restarting",
  reconnecting: "Reconnecting…",
  stopped: "Stopped",
  slow: "Still connecting. Close other tabs: a browser allows six connections to a server.",

  pin: (/** @type {string} */ room) => `Pin ${room}`,
  unpin: (/** @type {string} */ room) => `Unpin ${room}`,
  fold: (/** @type {string} */ prefix) => `Rooms of ${prefix}`,
  seeGroup: (/** @type {string} */ prefix) => `Follow all rooms of ${prefix}`,
  group: (/** @type {string} */ prefix) => (prefix ? `All rooms of ${prefix}` : "All rooms"),
  openNew: (/** @type {string} */ room) => `Open “${room}”`,
  moreRooms: (/** @type {number} */ n) => `The ${number(n)} rooms with the newest messages. Open others by name.`,
  roomsCount: (/** @type {number} */ n) => (n === 1 ? "1 room" : `${number(n)} rooms`),
  roomsFound: (/** @type {number} */ n, /** @type {number} */ all) => `${number(n)} of ${number(all)} rooms`,
  moreMembers: (/** @type {number} */ n) => `Show the other ${number(n)}`,
  found: (/** @type {number} */ n, /** @type {number} */ all, /** @type {boolean} */ whole) =>
    `${number(n)} of ${number(all)}${whole ? "" : " loaded"}`,
  goOn: (/** @type {number} */ n) => (n ? `Continue (${number(n)} new)` : "Continue"),
  bytes: (/** @type {number} */ n) => `${number(n)} bytes`,
  /** @type {[string, string][]} */
  help: [
    ["Ctrl+K", "find or open a room"],
    ["/", "find in this room"],
    ["↑ ↓", "previous or next message or room"],
    ["Enter", "open a message; send what you typed"],
    ["Home End", "to the oldest and the newest message"],
    ["← →", "fold and unfold a group of rooms"],
    ["p", "pin a room"],
    ["Shift+Enter", "a new line in the message"],
    ["Esc", "close, clear"],
    ["?", "this list"],
  ],
  reason: (/** @type {string} */ why) => why[0]?.toUpperCase() + why.slice(1),
  noJson: (/** @type {string} */ why) => `Not valid JSON yet: ${why}`,
  stateSince: (/** @type {string} */ state, /** @type {string} */ time) => `${state.replace("…", "")} since ${time}`,
  ago: (/** @type {number} */ ms) => `${span(ms)} ago`,
  highest: (/** @type {number} */ ms) => `at most ${number(ms)} ms`,
  /** @param {boolean} read @param {boolean} write @returns {string} */
  may: (read, write) =>
    read && write ? "read and write" : read ? "read" : write ? "write" : "nothing",
  /** @param {number} ms @param {number} n @param {boolean} more @param {Gap | undefined} gap */
  away: (ms, n, more, gap) => {
    const lost = !gap ? "" : gap.lost_at_most === null ? ", some may be lost" : `, up to ${number(gap.lost_at_most)} lost`;
    return `You were away ${span(ms)}: ${number(n)}${more ? " or more" : ""} new${lost}`;
  },
  /** @param {number} n */
  catchingUp: (n) => (n ? `Catching up: ${n === 1 ? "1 message" : `${number(n)} messages`}` : "Catching up…"),
  /** @param {string} state @param {string} why */
  because: (state, why) => `${state.replace("…", "")}: ${why}`,
  /** @param {number} seconds */
  countdown: (seconds) => `retrying in ${seconds} s`,
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
  followers: (n) => (!n ? "followers" : n === 1 ? "you and 1 other" : `you and ${number(n)} others`),
  since: "Since",
  behind: "Behind",
  waiting: "Waiting",
  client: "Client",
  /** @param {number} n */
  behindBy: (n) => (!n ? "–" : n === 1 ? "1 message" : `${number(n)} messages`),
  /** @param {number[]} workers */
  missing: (workers) => `Workers that did not answer: ${workers.join(", ")}`,
  /** @param {number} n */
  firstOnly: (n) => `The ${number(n)} oldest. For all: roomcast followers`,
  /** @param {number} characters */
  showAll: (characters) => `Show all ${number(characters)} characters`,
  /** @param {string} room */
  empty: (room) => ["No messages in ", room, " yet"],
  /** @param {number} perSecond @param {number} ms */
  traffic: (perSecond, ms) => `${number(perSecond)} messages a second, ${number(ms)} ms from stored to shown`,
  /** @param {Gap} gap */
  gap: ({ lost_at_most: lost, reason, rooms }) => {
    const why = {
      trimmed: "no longer kept",
      deleted: "deleted",
      epoch: "the server’s log was replaced or restored",
      future: "this page had read further than the server’s log goes",
      malformed: "the server could not read the id of this page’s last message",
    }[reason];
    const others = rooms.length - 1;
    const where = others ? `here and in ${others === 1 ? "another room" : `${number(others)} other rooms`}` : "here";
    if (lost === null) return `Messages may have been lost ${where}: ${why}.`;
    return `Up to ${lost === 1 ? "1 message was" : `${number(lost)} messages were`} lost ${where}: ${why}.`;
  },
};
