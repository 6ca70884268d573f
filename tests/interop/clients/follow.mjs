// Follows a stream with a client of the Node world: `node follow.mjs CLIENT URL FOLDER`, where FOLDER has its
// node_modules. Prints an event a line, as JSON: its type, its id, its data.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [client, url, folder] = process.argv.slice(2);
const require = createRequire(`${folder}/x.cjs`);
const load = (name) => import(pathToFileURL(require.resolve(name)).href);
const show = (...event) => console.log(JSON.stringify(event));
const complain = (error) => console.error(String(error?.message ?? error?.type ?? error));

function listen(EventSource) {
  const source = new EventSource(url);
  for (const type of ["message", "live", "gap", "order.paid"])
    source.addEventListener(type, (event) => show(event.type, event.lastEventId, event.data));
  source.addEventListener("error", complain);
}

const clients = {
  async eventsource() {
    const found = await load("eventsource");
    listen(found.EventSource ?? found.default);
  },
  async "event-source-polyfill"() {
    listen(require("event-source-polyfill").EventSourcePolyfill);
  },
  async "event-source-polyfill, last_event_id"() {
    const { EventSourcePolyfill } = require("event-source-polyfill");
    listen(
      class extends EventSourcePolyfill {
        constructor(url) {
          super(url, { lastEventIdQueryParameterName: "last_event_id" });
        }
      },
    );
  },
  async "@microsoft/fetch-event-source"() {
    globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };
    globalThis.window = globalThis;
    await require("@microsoft/fetch-event-source").fetchEventSource(url, {
      onmessage: (event) => show(event.event, event.id, event.data),
      onerror: complain,
    });
  },
  async "@microsoft/fetch-event-source, onclose throws"() {
    globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };
    globalThis.window = globalThis;
    await require("@microsoft/fetch-event-source").fetchEventSource(url, {
      onmessage: (event) => show(event.event, event.id, event.data),
      onclose: () => {
        throw new Error("again");
      },
      onerror: complain,
    });
  },
  async "eventsource-parser"() {
    const { createParser } = await load("eventsource-parser");
    const parser = createParser({ onEvent: (event) => show(event.event, event.id, event.data) });
    const decoder = new TextDecoder();
    for await (const piece of (await fetch(url)).body) parser.feed(decoder.decode(piece, { stream: true }));
  },
  async "eventsource-client"() {
    const { createEventSource } = await load("eventsource-client");
    createEventSource({ url, onMessage: ({ event, id, data }) => show(event, id, data) });
  },
};

await clients[client]();
