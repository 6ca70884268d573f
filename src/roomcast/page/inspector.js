// The details of one message: its fields, its times, the block as it was sent, and code to copy. The module is fetched
// when the first message is opened.

import { curlRepeat, url } from "./curl.js";
import { copyButton } from "./copy.js";
import { element, make } from "./dom.js";
import { pretty } from "./exact.js";
import { tree } from "./json.js";
import { language, number } from "./language.js";
import { tag } from "./line.js";
import { visible } from "./text.js";
import { words } from "./words.js";

/** @import { Item } from "./room.js" */
/** @import { Message } from "../roomcast.js" */

const TIME = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "medium" });
const panel = element("inspector", HTMLElement);
const content = element("inspected", HTMLElement);

/**
 * @param {Item & {kind: "message"}} item
 * @param {boolean} withToken whether the lines need a token
 */
export function inspect({ message, received }, withToken) {
  const json = asSent(message);
  const block = [`id: ${message.id}`, ...(message.type === undefined ? [] : [`event: ${message.type}`]), `data: ${json}`, ""].join("\n");
  const link = new URL(`?${new URLSearchParams({ room: message.room, at: message.id })}`, document.baseURI).href;
  const stream = `${url("messages")}?${new URLSearchParams({ room: message.room, last_event_id: message.id })}`;
  content.replaceChildren(
    facts(message, received, block),
    make(
      "div",
      "copies",
      copyButton(words.copyJson, () => pretty(json)),
      copyButton(words.copyCurl, () => curlRepeat(json, withToken)),
      copyButton(words.copyStream, () => `new EventSource(${JSON.stringify(stream)})`),
      copyButton(words.copyLink, () => link),
    ),
    ...(message.data === undefined ? [] : [make("h3", "", words.data), tree(String(message.data))]),
    make("h3", "", words.block),
    scrolling(block),
    make("h3", "", "JSON"),
    scrolling(pretty(json)),
  );
  content.scrollTop = 0;
  panel.hidden = false;
}

/**
 * @param {Message} message
 * @param {number | undefined} received ms since 1970
 * @param {string} block
 */
function facts({ id, room, user, type, timestamp }, received, block) {
  const list = make("dl", "");
  /** @param {string} name @param {string | Node} value */
  const add = (name, value) => list.append(make("dt", "", name), make("dd", "", value));
  add("id", make("code", "", id));
  add(words.roomWord, make("bdi", "", visible(room)));
  add(words.name, make("bdi", "", visible(user)));
  if (type !== undefined) add(words.type, tag(type));
  add(words.stored, moment(Date.parse(timestamp)));
  add(words.received, received === undefined ? words.fromHistory : moment(received));
  if (received !== undefined) add(words.difference, `${number(received - Date.parse(timestamp))} ms`);
  add(words.size, words.bytes(new TextEncoder().encode(block).length));
  return list;
}

/** @param {number} ms since 1970 */
function moment(ms) {
  const shown = make("time", "", `${TIME.format(ms)} .${String(ms % 1000).padStart(3, "0")}`);
  shown.dateTime = new Date(ms).toISOString();
  return shown;
}

/** @param {string} text */
function scrolling(text) {
  const shown = make("pre", "", text);
  shown.tabIndex = 0;
  return shown;
}

/** The message as the server sent it: its fields in their order, its data to the letter. @param {Message} message */
function asSent(message) {
  const fields = Object.entries(message).map(([name, value]) => `${JSON.stringify(name)}:${name === "data" ? value : JSON.stringify(value)}`);
  return `{${fields.join(",")}}`;
}
