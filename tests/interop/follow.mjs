// Follows a URL with npm's eventsource and prints what its listeners are given, one JSON line each.
import { EventSource } from "eventsource";

const [url] = process.argv.slice(2);
const stream = new EventSource(url);
const print = (name) => (event) => console.log(JSON.stringify([name, event.lastEventId, JSON.parse(event.data)]));
for (const name of ["message", "live", "gap", "order.paid"]) stream.addEventListener(name, print(name));
stream.addEventListener("error", () => console.log(JSON.stringify(["error", stream.readyState])));
