// "Use this room": code that follows this room, and publishes to it, from elsewhere. Fetched on demand.

import { snippet } from "./copy.js";
import { curlFollow, curlPost, url } from "./curl.js";
import { dialogOf, element } from "./dom.js";
import { words } from "./words.js";

/**
 * A title, and the lines one by one: a multi-line text would lose its indentation, as scripts are served without it.
 * @param {string} room
 * @param {boolean} withToken
 */
function snippets(room, withToken) {
  const stream = `${url("messages")}?${new URLSearchParams({ room })}`;
  const name = JSON.stringify(room);
  return [
    [words.address, stream],
    [words.curlPost, curlPost(room, withToken)],
    [words.curlFollow, curlFollow(stream, withToken)],
    [
      words.eventSource,
      ...(withToken
        ? [`// ${words.ticketHint}`, 'const stream = new EventSource(await (await fetch("/ticket")).text());']
        : [`const stream = new EventSource(${JSON.stringify(stream)});`]),
      'stream.addEventListener("message", (event) => {',
      "  const { text, user, timestamp } = JSON.parse(event.data);",
      "  console.log(timestamp, user, text);",
      "});",
    ],
    [
      words.javascript,
      `import { follow, publish } from "${url("roomcast.js")}";`,
      "",
      ...(withToken ? [`// ${words.tokenFunction}`, 'const token = async () => (await fetch("/token")).text();'] : []),
      `follow({ rooms: ${name}, ${withToken ? "token, " : ""}onMessage: ({ user, text }) => console.log(user, text) });`,
      `await publish({ room: ${name}, text: "moin" }${withToken ? ", { token }" : ""});`,
    ],
    [
      words.python,
      ...(withToken ? ["import os", ""] : []),
      "from roomcast.client import Client, Message",
      "",
      `with Client(${JSON.stringify(url(""))}${withToken ? ', auth=os.environ["ROOMCAST_TOKEN"]' : ""}) as client:`,
      `    client.publish(${name}, text="moin")`,
      `    for item in client.follow(${name}):`,
      "        if isinstance(item, Message):",
      "            print(item.timestamp, item.user, item.text)",
    ],
  ];
}

/**
 * Opens the panel.
 * @param {string} room
 * @param {boolean} withToken whether a token is needed
 */
export function show(room, withToken) {
  const made = snippets(room, withToken).map(([title = "", ...lines]) => snippet(title, lines.join("\n")));
  list.replaceChildren(...made);
  dialog.showModal();
}

const dialog = dialogOf("use");
const list = element("snippets", HTMLElement);
