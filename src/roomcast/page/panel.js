// Details of the connection: since when, how fast, over which protocol, and why it was cut. Fetched on demand.

import { credential } from "./access.js";
import { named } from "./connection.js";
import { dialogOf, element, make } from "./dom.js";
import { language, number } from "./language.js";
import { words } from "./words.js";

/** @import { Following } from "../roomcast.js" */
/** @import { Access } from "./access.js" */
/** @import { Connection } from "./connection.js" */
/** @import { Pulse } from "./pulse.js" */
/** @import { Room } from "./room.js" */

const TIME = new Intl.DateTimeFormat(language, { dateStyle: "short", timeStyle: "medium" });
const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [59, 20];
/** Headers that proxies and caches add. */
const PROXY = ["server", "via", "x-cache", "x-served-by", "cf-ray", "age", "alt-svc", "x-proxy-cache", "x-powered-by"];
const dialog = dialogOf("panel");
const content = element("panel-content", HTMLElement);

/** @typedef {{connection: Connection, pulse: Pulse, access: Access, room: Room, following: Following | undefined}} Known */

/**
 * Opens the panel, and updates it while it is open.
 * @param {Known} known
 */
export async function show(known) {
  dialog.showModal();
  draw(known, undefined);
  const asked = await ask();
  draw(known, asked);
  const timer = setInterval(() => (dialog.open ? draw(known, asked) : clearInterval(timer)), 1000);
}

/** @typedef {{ms: number, headers: Headers}} Asked */

/** A separate request, for details of the stream that scripts cannot read. @returns {Promise<Asked | undefined>} */
async function ask() {
  const began = performance.now();
  const token = credential.token?.();
  const headers = token ? { Authorization: `Bearer ${token}` } : undefined;
  const answer = await fetch(new URL("healthz", document.baseURI), { cache: "no-store", headers }).catch(() => undefined);
  return answer && { ms: Math.round(performance.now() - began), headers: answer.headers };
}

/**
 * @param {Known} known
 * @param {Asked | undefined} asked
 */
function draw({ connection, pulse, access, room, following }, asked) {
  const { history, since } = connection;
  const list = make("dl", "");
  /** @param {string} name @param {string | Node} value */
  const add = (name, value) => list.append(make("dt", "", name), make("dd", "", value));
  add(words.state, words.stateSince(connection.text, moment(since)));
  add(words.lastMessage, pulse.last ? words.ago(Date.now() - pulse.last) : words.none);
  add(words.lastSign, following?.heardAt ? words.ago(Date.now() - following.heardAt) : words.none);
  add(words.sharing, following?.owner ? words.ownStream : words.sharedStream);
  add(words.resume, make("code", "", following?.position ?? "–"));
  add(words.protocol, protocol());
  add(words.roundTrip, asked ? `${number(asked.ms)} ms` : "–");
  const seen = asked ? PROXY.filter((name) => asked.headers.has(name)).map((name) => `${name}: ${asked.headers.get(name)}`) : [];
  add(words.proxies, seen.length ? seen.join("\n") : words.noProxies);
  add(words.you, access.who);
  add(words.here, words.may(access.reads(room.name), access.publishes(room.name)));
  const ends = history.map(({ at, name, why }) => make("li", "", moment(at), ` ${named(name)}${why ? `: ${why}` : ""}`));
  content.replaceChildren(
    list,
    graph(words.delayGraph, pulse.delays, "ms"),
    graph(words.rateGraph, pulse.counts, words.perSecond),
    make("h3", "", words.history),
    make("ol", "ends", ...ends.reverse()),
  );
}

/** @param {number} ms since 1970 */
function moment(ms) {
  return TIME.format(ms);
}

function protocol() {
  const entries = /** @type {PerformanceResourceTiming[]} */ (performance.getEntriesByType("resource"));
  const name = entries.findLast(({ nextHopProtocol }) => nextHopProtocol)?.nextHopProtocol ?? "";
  return name.replace(/^http\//, "HTTP/").replace(/^h(\d)$/, "HTTP/$1") || "–";
}

/**
 * The last minute as a line, with its highest value and its unit.
 * @param {string} title
 * @param {number[]} values one each second
 * @param {string} unit
 */
function graph(title, values, unit) {
  const highest = Math.max(...values);
  const svg = document.createElementNS(SVG, "svg");
  const line = document.createElementNS(SVG, "polyline");
  const points = values.map((value, at) => `${at},${(HEIGHT - 1 - (value / (highest || 1)) * (HEIGHT - 2)).toFixed(1)}`);
  line.setAttribute("points", points.join(" "));
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.ariaHidden = "true";
  svg.append(line);
  const caption = make("figcaption", "", make("b", "", title), ` ${words.highest(highest, unit)}`);
  return make("figure", "", caption, svg, make("small", "", words.lastMinute));
}
