// The text in place of messages: how to send the first one to an empty room, or why a room cannot be shown.

import { snippet } from "./copy.js";
import { element, set } from "./dom.js";
import { exampleFor, publishing } from "./examples.js";
import { explain, needsToken, publishes } from "./rights.js";
import { strings } from "./strings.js";
import { visible } from "./text.js";

const empty = element("empty");
/** For which room, and with or without a token, the examples were made. */
let made = "";

/** Shows or hides the text of an empty room. @param {import("./room.js").Room} room */
export function showEmpty({ name, prefix, items, isComplete }) {
  empty.hidden = items.length > 0 || !isComplete || prefix !== undefined;
  element("first").hidden = !publishes(name);
  const wanted = `${name} ${needsToken()}`;
  if (empty.hidden || made === wanted) return;
  made = wanted;
  const [before = "", , after = ""] = strings.empty(name);
  const room = element("empty-room");
  room.textContent = visible(name);
  element("empty-title").replaceChildren(before, room, after);
  element("ways").replaceChildren(...publishing(exampleFor(name)).map(([language, lines]) => snippet(language, lines)));
}

/** Shows or hides why a room is refused. @param {import("../roomcast.js").State} state */
export function showRefusal({ name, why = "", status = 0 }) {
  const isRefused = name === "stopped" && status !== 401 && status !== 403;
  element("refused").hidden = !isRefused;
  set(element("refused-why"), isRefused ? explain({ why, status }) : "");
}
