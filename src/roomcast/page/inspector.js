// The details of one message: its fields, its times, the block as it was sent, and code to copy. Fetched on demand.

import { copyButton } from "./copy.js";
import { element, facts, make, scrolling } from "./dom.js";
import { pretty } from "./exact.js";
import { curlAgain, url } from "./examples.js";
import { tree } from "./json.js";
import { language, number } from "./language.js";
import { tag } from "./row.js";
import { strings } from "./strings.js";
import { visible } from "./text.js";

/** @import { Item } from "./room.js" */
/** @import { Message } from "../roomcast.js" */

const content = element("inspected");
/** A date and a time, to the millisecond. */
const TIME = new Intl.DateTimeFormat(language, {
  year: "numeric",
  month: "short",
  day: "numeric",
  hour: "numeric",
  minute: "2-digit",
  second: "2-digit",
  fractionalSecondDigits: 3,
});

/** Shows a message in place of the last one, and opens the inspector. @param {Item & {kind: "message"}} item */
export function inspect({ message, received }) {
  const { id, room, type, data } = message;
  const json = asSent(message);
  const block = [`id: ${id}`, ...(type === undefined ? [] : [`event: ${type}`]), `data: ${json}`, ""].join("\n");
  content.replaceChildren(
    details(message, received, block),
    make(
      "div",
      "copies",
      copyButton(strings.copyJson, () => pretty(json)),
      copyButton(strings.copyCurl, () => curlAgain(json)),
      copyButton(strings.copyStream, () => `new EventSource(${JSON.stringify(url("messages", { room, last_event_id: id }))})`),
      copyButton(strings.copyLink, () => url("", { room, at: id })),
    ),
    ...(data === undefined ? [] : [make("h3", "", strings.data), tree(String(data))]),
    make("h3", "", strings.block),
    scrolling(block),
    make("h3", "", "JSON"),
    scrolling(pretty(json)),
  );
  content.scrollTop = 0;
  element("inspector").hidden = false;
}

/**
 * @param {Message} message
 * @param {number | undefined} received in ms since 1970
 * @param {string} block
 */
function details({ id, room, user, type, timestamp }, received, block) {
  const stored = Date.parse(timestamp);
  return facts([
    ["id", make("code", "", id)],
    [strings.room, make("bdi", "", visible(room))],
    [strings.name, make("bdi", "", visible(user))],
    ...(type === undefined ? [] : [/** @type {[string, Node]} */ ([strings.type, tag(type)])]),
    [strings.stored, moment(stored)],
    [strings.received, received === undefined ? strings.fromHistory : moment(received)],
    ...(received === undefined ? [] : [/** @type {[string, string]} */ ([strings.delay, `${number(received - stored)} ms`])]),
    [strings.size, strings.bytes(new TextEncoder().encode(block).length)],
  ]);
}

/** @param {number} ms since 1970 */
function moment(ms) {
  const shown = make("time", "", TIME.format(ms));
  shown.dateTime = new Date(ms).toISOString();
  return shown;
}

/** The message as the server sent it: its fields in their order, its data to the letter. @param {Message} message */
function asSent(message) {
  const fields = Object.entries(message).map(([name, value]) => `${JSON.stringify(name)}:${name === "data" ? value : JSON.stringify(value)}`);
  return `{${fields.join(",")}}`;
}
