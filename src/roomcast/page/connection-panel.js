// Details of the connection: since when, how fast, over which protocol, and why it was cut. Fetched on demand.

import { named } from "./connection.js";
import { dialogOf, element, facts, make } from "./dom.js";
import { TIME, number } from "./language.js";
import { credential, publishes, reads } from "./rights.js";
import { strings } from "./strings.js";

/** @import { Following } from "../roomcast.js" */
/** @import { Connection } from "./connection.js" */
/** @import { Room } from "./room.js" */
/** @import { Traffic } from "./traffic.js" */

/** Headers that proxies and caches add. */
const PROXY = /^(server|via|age|alt-svc|cf-ray|x-(cache|served-by|proxy-cache|powered-by))$/;
const dialog = dialogOf("panel");
const content = element("panel-content");

/** @typedef {{connection: Connection, traffic: Traffic, room: Room, following: Following | undefined}} Sources */
/** How long a request took, and the headers of its answer. @typedef {{ms: number, headers: Headers}} Probe */

/**
 * Opens the panel, and updates it each second while it is open.
 * @param {Sources} sources
 */
export async function show(sources) {
  dialog.showModal();
  draw(sources, undefined);
  const probe = await request();
  draw(sources, probe);
  const timer = setInterval(() => (dialog.open ? draw(sources, probe) : clearInterval(timer)), 1000);
}

/** A request of its own, for what scripts cannot learn about the stream. @returns {Promise<Probe | undefined>} */
async function request() {
  const began = performance.now();
  const token = credential.token?.();
  const headers = token ? { Authorization: `Bearer ${token}` } : undefined;
  const answer = await fetch(new URL("healthz", document.baseURI), { cache: "no-store", headers }).catch(() => undefined);
  return answer && { ms: Math.round(performance.now() - began), headers: answer.headers };
}

/**
 * @param {Sources} sources
 * @param {Probe | undefined} probe
 */
function draw({ connection, traffic, room, following }, probe) {
  const { history, since } = connection;
  const ends = history.map(({ at, name, why }) => make("li", "", make("span", "", TIME.format(at)), why ? strings.because(named(name), why) : named(name)));
  content.replaceChildren(
    facts([
      [strings.state, strings.stateSince(connection.text, TIME.format(since))],
      [strings.lastMessage, ago(traffic.last)],
      [strings.lastSign, ago(following?.heardAt)],
      [strings.sharing, following?.owner ? strings.ownStream : strings.sharedStream],
      [strings.resume, make("code", "", following?.position ?? "–")],
      [strings.protocol, protocol()],
      [strings.roundTrip, probe ? `${number(probe.ms)} ms` : "–"],
      [strings.proxies, (probe && headersOfProxies(probe)) || strings.none],
      [strings.here, strings.may(reads(room.name), publishes(room.name))],
    ]),
    delays(traffic),
    make("h3", "", strings.history),
    make("ol", "ends", ...ends.reverse()),
  );
}

/** @param {number} [at] in ms since 1970 */
function ago(at) {
  return at ? strings.ago(Date.now() - at) : strings.none;
}

/** @param {Probe} probe */
function headersOfProxies({ headers }) {
  return [...headers].flatMap(([name, value]) => (PROXY.test(name) ? `${name}: ${value}` : [])).join("\n");
}

function protocol() {
  const entries = /** @type {PerformanceResourceTiming[]} */ (performance.getEntriesByType("resource"));
  const name = entries.findLast(({ nextHopProtocol }) => nextHopProtocol)?.nextHopProtocol ?? "";
  return name.replace(/^http\//, "HTTP/").replace(/^h(\d)$/, "HTTP/$1") || "–";
}

/** The longest delay in each second of the last minute, as bars. @param {Traffic} traffic */
function delays({ delays }) {
  const highest = Math.max(...delays);
  const bars = delays.map((delay) => {
    const bar = make("i", "");
    bar.style.blockSize = `${(100 * delay) / (highest || 1)}%`;
    return bar;
  });
  const caption = make("figcaption", "", make("b", "", strings.delay), ` ${strings.highest(highest)}`);
  return make("figure", "", caption, make("div", "bars", ...bars), make("small", "", strings.lastMinute));
}
