// The page: the room in its address, followed into the list, and sent to.

import { messagesUrl } from "./api.js";
import { Connection } from "./connection.js";
import { element } from "./dom.js";
import { Follower } from "./follower.js";
import { gapLine, messageLine } from "./line.js";
import { List } from "./list.js";
import { Sender } from "./sender.js";

const EXAMPLE = "was geht ab in buxtehude?";

const field = element("room", HTMLInputElement);
const log = element("messages", HTMLElement);
const list = new List();
const connection = new Connection(() => follower?.retry());

/** @type {import("./follower.js").Audience} */
const audience = {
  message: (message) => list.append(() => messageLine(message)),
  gap: (gap) => list.append(() => gapLine(gap)),
  restart: () => list.clear(),
  state(state) {
    connection.show(state);
    // While busy, a history of a thousand messages is not read aloud, and no room is called empty.
    log.ariaBusy = String(state.name !== "live");
  },
};

/** @type {Follower | undefined} */
let follower;
enter();
new Sender(addressedRoom);

element("room-form", HTMLFormElement).addEventListener("submit", (event) => {
  event.preventDefault();
  if (field.value === addressedRoom()) return follower?.retry();
  history.pushState(null, "", `?${new URLSearchParams({ room: field.value })}`);
  enter();
});
addEventListener("popstate", enter);
addEventListener("online", () => follower?.retry());
// Leaving cuts the stream, which is no failure to look into; the back button may bring the page back as it was.
addEventListener("pagehide", () => follower?.close());
addEventListener("pageshow", (event) => event.persisted && follower?.open());

function parameters() {
  return new URLSearchParams(location.search);
}

function addressedRoom() {
  return parameters().get("room") ?? "developers";
}

/** Follows the room in the address, and nothing else any more. */
function enter() {
  const room = addressedRoom();
  follower?.close();
  list.clear();
  describe(room);
  follower = new Follower(room, parameters().getAll("type"), audience);
  follower.open();
}

/** @param {string} room */
function describe(room) {
  document.title = `${room} · roomcast`;
  field.value = room;
  log.ariaLabel = `Messages in ${room}`;
  element("empty-room", HTMLElement).textContent = room;
  element("curl", HTMLElement).textContent = curl(room);
}

/** @param {string} room */
function curl(room) {
  const body = `{"text": ${JSON.stringify(EXAMPLE)}, "room": ${JSON.stringify(room)}}`;
  return `curl -X POST -H 'Content-Type: application/json' -d ${quoted(body)} ${messagesUrl()}`;
}

/**
 * One word for a shell, whatever is in it.
 * @param {string} text
 */
function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
