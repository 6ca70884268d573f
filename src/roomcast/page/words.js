// What the page says, in English or German, by the browser's language. The English of what never changes is in
// index.html, where each such element names its word.

/** @import { Gap } from "../roomcast.js" */

/** The language of the page, and of its dates and numbers. */
export const language = navigator.languages.find((one) => /^(de|en)\b/i.test(one)) ?? "en";

/** @param {number} n */
const number = (n) => n.toLocaleString(language);

const EN = {
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
  javascript: "Follow and publish with the server’s module",
  message: "Message",
  messages: "Messages",
  name: "Name",
  noOlder: "This is where what is retained begins.",
  open: "Open",
  optional: "optional",
  pending: "Sending…",
  python: "Follow and publish in Python",
  room: "Open a room",
  rooms: "Rooms",
  send: "Send",
  sent: "Stored",
  themeDark: "Theme: dark",
  themeLight: "Theme: light",
  themeSystem: "Theme: as the system’s",
  today: "Today",
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

  /** @param {number} n */
  catchingUp: (n) => (n ? `Catching up: ${number(n)}` : "Catching up…"),
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
      trimmed: "they were no longer retained",
      epoch: "the server’s log was started anew or restored",
      future: "the server’s log does not reach as far as this page had read",
      malformed: "the server could not read where this page had left off",
    }[reason];
    const where = rooms.length > 1 ? `here and in ${number(rooms.length - 1)} other rooms` : "here";
    if (lost === null) return `Messages may have been lost ${where}, nobody can know how many: ${why}.`;
    return `Up to ${lost === 1 ? "1 message was" : `${number(lost)} messages were`} lost ${where}, ${why}.`;
  },
};

/** @type {typeof EN} */
const DE = {
  address: "Adresse",
  again: "Jetzt versuchen",
  cancel: "Nicht mehr versuchen",
  close: "Schließen",
  copied: "Kopiert",
  copy: "Kopieren",
  curlFollow: "In der Shell mitlesen",
  curlPost: "Aus der Shell senden",
  data: "Daten",
  discard: "Verwerfen",
  edit: "Ändern",
  emptyHint: "Schick die erste Nachricht, hier unten oder aus einem Terminal:",
  eventSource: "In jeder Seite mitlesen",
  invisible: "(nichts zu sehen)",
  javascript: "Mit dem Modul des Servers mitlesen und senden",
  message: "Nachricht",
  messages: "Nachrichten",
  name: "Name",
  noOlder: "Hier beginnt, was noch aufgehoben ist.",
  open: "Öffnen",
  optional: "freiwillig",
  pending: "Wird gesendet …",
  python: "In Python mitlesen und senden",
  room: "Einen Raum öffnen",
  rooms: "Räume",
  send: "Senden",
  sent: "Gespeichert",
  themeDark: "Aussehen: dunkel",
  themeLight: "Aussehen: hell",
  themeSystem: "Aussehen: wie das System",
  today: "Heute",
  use: "Diesen Raum nutzen",
  yesterday: "Gestern",

  compose: "Eine Nachricht schreiben",
  connecting: "Verbinde …",
  live: "Live",
  offline: "Offline",
  overloaded: "Der Server ist ausgelastet oder startet neu",
  reconnecting: "Verbinde neu …",
  stopped: "Angehalten",
  slow: "Noch keine Verbindung. Viele Tabs zu diesem Server offen? Ein Browser verbindet nur sechs davon.",

  catchingUp: (n) => (n ? `Hole auf: ${number(n)}` : "Hole auf …"),
  because: (state, why) => `${state.replace(" …", "")}: ${german(why)}`,
  countdown: (seconds) => `wieder in ${seconds} s`,
  retrying: (seconds) => `Noch nicht gesendet, nächster Versuch in ${seconds} s`,
  refused: (why) => `Nicht gesendet: ${german(why)}`,
  newer: (n) => `${number(n)} neue`,
  announced: (n, room) => `${number(n)} neue Nachrichten in ${room}`,
  unread: (n) => `${number(n)} ungelesen`,
  followers: (n) => (n === 1 ? "1 liest mit" : `${number(n)} lesen mit`),
  showAll: (characters) => `Alle ${number(characters)} Zeichen zeigen`,
  empty: (room) => ["In ", room, " ist noch nichts los"],
  pulse: (perSecond, ms) =>
    `${number(perSecond)} Nachrichten je Sekunde${ms === undefined ? "" : `, ${number(ms)} ms vom Speichern bis hierher`}`,
  gap: ({ lost_at_most: lost, reason, rooms }) => {
    const why = {
      trimmed: "sie waren nicht mehr aufgehoben",
      epoch: "das Log des Servers wurde neu begonnen oder zurückgespielt",
      future: "das Log des Servers reicht nicht so weit, wie diese Seite gelesen hatte",
      malformed: "der Server konnte nicht lesen, wo diese Seite aufgehört hatte",
    }[reason];
    const where = rooms.length > 1 ? `hier und in ${number(rooms.length - 1)} anderen Räumen` : "hier";
    if (lost === null) return `Vielleicht gingen ${where} Nachrichten verloren, wie viele, weiß niemand: ${why}.`;
    return `Bis zu ${lost === 1 ? "1 Nachricht ging" : `${number(lost)} Nachrichten gingen`} ${where} verloren, ${why}.`;
  },
};

/**
 * What roomcast.js says of itself. The server's own words stay as they are.
 * @param {string} why
 */
function german(why) {
  return why
    .replace(/^the connection was cut$/, "die Verbindung brach ab")
    .replace(/^the server cannot be reached$/, "der Server ist nicht zu erreichen")
    .replace(/^something other than roomcast answered$/, "etwas anderes als roomcast hat geantwortet")
    .replace(/^the server answered/, "der Server antwortete");
}

export const words = /^de/i.test(language) ? DE : EN;

/** Puts the words into index.html: as the text, the label or the title of each element that names one. */
export function translate() {
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-word]")) element.textContent = word(element, "data-word");
  for (const element of document.querySelectorAll("[data-label]")) element.ariaLabel = word(element, "data-label");
}

/**
 * @param {Element} element
 * @param {string} attribute
 */
function word(element, attribute) {
  const found = words[/** @type {keyof typeof words} */ (element.getAttribute(attribute))];
  if (typeof found !== "string") throw new Error(`no word ${element.getAttribute(attribute)}`);
  return found;
}
