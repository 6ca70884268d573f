// What the page says in German.

import { number } from "./language.js";

/** @type {typeof import("./english.js").words} */
export const words = {
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
  keys: "Enter sendet, Umschalt und Enter beginnen eine Zeile",
  javascript: "Mit dem Modul des Servers mitlesen und senden",
  message: "Nachricht",
  messages: "Nachrichten",
  name: "Name",
  noOlder: "Hier beginnt, was noch aufgehoben ist.",
  open: "Öffnen",
  optional: "freiwillig",
  pending: "Wird gesendet …",
  python: "In Python mitlesen und senden",
  room: "Raum suchen oder öffnen",
  rooms: "Räume",
  send: "Senden",
  sent: "Gespeichert",
  themeDark: "Aussehen: dunkel",
  themeLight: "Aussehen: hell",
  themeSystem: "Aussehen: wie das System",
  ticketHint: "diese Adresse holt dein Server mit POST /tickets",
  today: "Heute",
  token: "Schlüssel, Token oder Ticket",
  tokenExpired: "Dein Token ist abgelaufen. Gib ein neues ein.",
  tokenForget: "Token vergessen",
  tokenForm: "Zugang mit Token",
  tokenFunction: "das Token gibt der Seite dein Server",
  tokenHint: "Es bleibt in diesem Tab und wird vergessen, sobald du ihn schließt.",
  tokenInvalid: "Der Server akzeptiert dieses Token nicht.",
  tokenLacks: "Mit deinem Token hast du hier keinen Zugang. Gib ein anderes ein oder öffne einen anderen Raum.",
  tokenNeeded: "Hier brauchst du ein Token.",
  tokenOpen: "Token …",
  tokenUse: "Weiter",
  noToken: "Ohne Token",
  noAccess: "Kein Zugang",
  sortActivity: "Neueste zuerst",
  sortName: "Nach Namen",
  unreadSome: "ungelesen",
  writeToOne: "Öffne einen Raum, um zu schreiben",
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

  pin: (room) => `${room} anheften`,
  unpin: (room) => `${room} nicht mehr anheften`,
  fold: (prefix) => `Räume von ${prefix}`,
  seeGroup: (prefix) => `Alle Räume von ${prefix} mitlesen`,
  group: (prefix) => (prefix ? `Alle Räume von ${prefix}` : "Alle Räume"),
  openNew: (room) => `„${room}“ öffnen`,
  moreRooms: (n) => `Das sind die ${number(n)} mit den neuesten Nachrichten. Andere öffnest du mit ihrem Namen.`,
  roomsCount: (n) => (n === 1 ? "1 Raum" : `${number(n)} Räume`),
  roomsFound: (n, all) => `${number(n)} von ${number(all)} Räumen`,
  catchingUp: (n) => (n ? `Hole auf: ${n === 1 ? "1 Nachricht" : `${number(n)} Nachrichten`}` : "Hole auf …"),
  because: (state, why) => `${state.replace(" …", "")}: ${german(why)}`,
  countdown: (seconds) => `wieder in ${seconds} s`,
  retrying: (seconds) => `Noch nicht gesendet, nächster Versuch in ${seconds} s`,
  refused: (why) => `Nicht gesendet: ${german(why)}`,
  newer: (n) => `${number(n)} neue`,
  announced: (n, room) => `${number(n)} neue Nachrichten in ${room}`,
  readOnly: (room) => `In ${room} kannst du nicht schreiben`,
  writeTo: (room) => `In ${room} schreiben`,
  unread: (n) => `${number(n)} ungelesen`,
  followers: (n) => (n === 1 ? "1 liest mit" : `${number(n)} lesen mit`),
  showAll: (characters) => `Alle ${number(characters)} Zeichen zeigen`,
  empty: (room) => ["In ", room, " ist noch nichts los"],
  pulse: (perSecond, ms) =>
    `${number(perSecond)} Nachrichten je Sekunde${ms === undefined ? "" : `, ${number(ms)} ms vom Speichern bis hierher`}`,
  gap: ({ lost_at_most: lost, reason, rooms }) => {
    const why = {
      trimmed: lost === 1 ? "sie war nicht mehr aufgehoben" : "sie waren nicht mehr aufgehoben",
      deleted: lost === 1 ? "sie wurde gelöscht" : "sie wurden gelöscht",
      epoch: "das Log des Servers wurde neu begonnen oder zurückgespielt",
      future: "das Log des Servers reicht nicht so weit, wie diese Seite gelesen hatte",
      malformed: "der Server konnte nicht lesen, wo diese Seite aufgehört hatte",
    }[reason];
    const others = rooms.length - 1;
    const where = others ? `hier und in ${others === 1 ? "einem anderen Raum" : `${number(others)} anderen Räumen`}` : "hier";
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
