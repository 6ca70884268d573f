// The followers of the server and how far each is behind, for readers with the `admin` right. Asks only while it is open.

import { get } from "../roomcast.js";
import { dialogOf, element, make } from "./dom.js";
import { TIME } from "./language.js";
import { credential } from "./rights.js";
import { strings } from "./strings.js";

/**
 * A row of `GET /followers`. `behind` counts messages of the whole log, `waiting` bytes.
 * @typedef {{since: string, rooms: string[], prefixes: string[], behind: number, waiting: number, address: string,
 *   principal: string, user_agent: string}} Follower
 */

const LIMIT = 100;
const EVERY_MS = 2000;
const dialog = dialogOf("follower-list");
const content = element("follower-list-content");
let isAsking = false;

/** Opens the list, and updates it while it is open. */
export function show() {
  dialog.showModal();
  update();
  const timer = setInterval(update, EVERY_MS);
  dialog.addEventListener("close", () => clearInterval(timer), { once: true });
}

async function update() {
  if (isAsking) return;
  isAsking = true;
  try {
    draw(await get(new URL(`followers?limit=${LIMIT}`, document.baseURI), credential));
  } catch (error) {
    content.textContent = strings.reason(/** @type {Error} */ (error).message);
  }
  isAsking = false;
}

/** @param {{followers: Follower[], missing: number[]}} answer */
function draw({ followers, missing }) {
  const notes = [missing.length ? strings.missing(missing) : "", followers.length === LIMIT ? strings.firstOnly(LIMIT) : ""];
  const heads = [strings.behind, strings.waiting, strings.room, strings.client, strings.since].map((name) => make("th", "", name));
  const rows = followers.sort((one, other) => other.behind - one.behind).map(row);
  content.replaceChildren(
    ...notes.filter(Boolean).map((note) => make("p", "", note)),
    make("table", "", make("thead", "", make("tr", "", ...heads)), make("tbody", "", ...rows)),
  );
}

/** @param {Follower} follower */
function row({ since, rooms, prefixes, behind, waiting, address, principal, user_agent: agent }) {
  const names = [...rooms, ...prefixes.map(strings.group)].join(", ");
  const cells = [strings.behindBy(behind), waiting ? strings.bytes(waiting) : "–", names, [principal, address, agent].filter(Boolean).join(" · ")];
  return make("tr", behind ? "late" : "", ...cells.map((text) => make("td", "", make("bdi", "", text))), make("td", "", TIME.format(new Date(since))));
}
