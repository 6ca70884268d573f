// Code that does from elsewhere what this page does: in a shell, in Python, in JavaScript.

import { tokens } from "./exact.js";
import { needsToken } from "./rights.js";

/** Names of a message's fields and their values, as JSON; the room is the first. @typedef {[string, string][]} Fields */

export const EXAMPLE = "was geht ab in buxtehude?";
/** @type {Record<string, string>} */
const PYTHON = { true: "True", false: "False", null: "None", ",": ", ", ":": ": " };

/**
 * The fields of the example message.
 * @param {string} room
 * @returns {Fields}
 */
export function exampleFor(room) {
  return [["room", JSON.stringify(room)], ["text", JSON.stringify(EXAMPLE)]];
}

/**
 * The body of a request that publishes a message.
 * @param {Fields} fields
 * @returns {string} JSON
 */
export function bodyOf(fields) {
  return `{${fields.map(([name, value]) => `${JSON.stringify(name)}: ${value}`).join(", ")}}`;
}

/**
 * Code that publishes a message.
 * @param {Fields} fields
 * @param {string} [key] an Idempotency-Key, if one is wanted
 * @returns {[string, string][]} languages and lines
 */
export function publishing(fields, key) {
  const [[, room = '""'] = [], ...others] = fields;
  const given = others.map(([name, value]) => `, ${name}=${python(value)}`).join("");
  const once = key && JSON.stringify(key);
  const options = [needsToken() && "token", once && `key: ${once}`].filter(Boolean).join(", ");
  return [
    ["curl", curl(bodyOf(fields), key)],
    ["Python", inPython(["Client"], [`client.publish(${python(room)}${given}${once ? `, idempotency_key=${once}` : ""})`])],
    ["JavaScript", inJavascript("publish", `await publish(${bodyOf(fields)}${options && `, { ${options} }`});`)],
  ];
}

/**
 * Code that follows a room.
 * @param {string} room
 * @returns {[string, string][]} languages and lines
 */
export function following(room) {
  const stream = url("messages", { room });
  const name = JSON.stringify(room);
  const address = needsToken() ? 'await (await fetch("/ticket")).text()' : JSON.stringify(stream);
  return [
    ["URL", stream],
    ["curl", `curl -N ${bearer()}${quoted(stream)}`],
    [
      "EventSource",
      [
        ...(needsToken() ? ["// your backend gets this URL from POST /tickets"] : []),
        `const stream = new EventSource(${address});`,
        "stream.onmessage = ({ data }) => console.log(JSON.parse(data).text);",
      ].join("\n"),
    ],
    [
      "JavaScript",
      inJavascript("follow", `follow({ rooms: ${name}, ${needsToken() ? "token, " : ""}onMessage: ({ user, text }) => console.log(user, text) });`),
    ],
    [
      "Python",
      inPython(["Client", "Message"], [
        `for item in client.follow(${name}):`,
        "    if isinstance(item, Message):",
        "        print(item.timestamp, item.user, item.text)",
      ]),
    ],
  ];
}

/**
 * A command that publishes a message again, without the fields that the server sets.
 * @param {string} json the message as it was stored
 * @returns {string}
 */
export function curlAgain(json) {
  const { id, timestamp } = JSON.parse(json);
  return curl(json.replace(`"id":${JSON.stringify(id)},`, "").replace(new RegExp(`,"timestamp":"${timestamp}"}$`), "}"));
}

/**
 * An absolute URL of this server.
 * @param {string} path relative to the page, which need not be at the root
 * @param {Record<string, string>} [query]
 * @returns {string}
 */
export function url(path, query) {
  return new URL(`${path}${query ? `?${new URLSearchParams(query)}` : ""}`, new URL(".", document.baseURI)).href;
}

/**
 * @param {string} body
 * @param {string} [key]
 */
function curl(body, key) {
  const once = key ? `-H ${quoted(`Idempotency-Key: ${key}`)} ` : "";
  return `curl -X POST ${bearer()}-H 'Content-Type: application/json' ${once}-d ${quoted(body)} ${url("messages")}`;
}

/** The token of a shell, where one is needed; never that of this page. */
function bearer() {
  return needsToken() ? '-H "Authorization: Bearer $ROOMCAST_TOKEN" ' : "";
}

/**
 * @param {string[]} names
 * @param {string[]} lines
 */
function inPython(names, lines) {
  return [
    ...(needsToken() ? ["import os", ""] : []),
    `from roomcast.client import ${names.join(", ")}`,
    "",
    `with Client(${JSON.stringify(url(""))}${needsToken() ? ', auth=os.environ["ROOMCAST_TOKEN"]' : ""}) as client:`,
    ...lines.map((line) => `    ${line}`),
  ].join("\n");
}

/**
 * @param {string} name of what is imported
 * @param {string} line
 */
function inJavascript(name, line) {
  const token = needsToken() ? ["// your backend gives the page its token", 'const token = async () => (await fetch("/token")).text();'] : [];
  return [`import { ${name} } from "${url("roomcast.js")}";`, "", ...token, line].join("\n");
}

/** JSON as Python writes it. @param {string} json */
function python(json) {
  return tokens(json)
    .map((token) => PYTHON[token] ?? token)
    .join("");
}

/**
 * Quotes any text as one word for a shell.
 * @param {string} text
 */
function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
