// The page: the room in its address, its rows in the list, the others beside it, and what is sent.

import { Access } from "./access.js";
import { Announcer } from "./announcer.js";
import { Composer } from "./composer.js";
import { Connection } from "./connection.js";
import { curlPost } from "./curl.js";
import { element } from "./dom.js";
import { List } from "./list.js";
import { Outbox } from "./outbox.js";
import { Pulse } from "./pulse.js";
import { Rooms } from "./rooms.js";
import { Sidebar } from "./sidebar.js";
import { kept, recall, remember } from "./storage.js";
import { visible } from "./text.js";
import { translate, words } from "./words.js";

/** @import { Room } from "./room.js" */

const THEMES = /** @type {const} */ (["", "light", "dark"]);

translate();

const log = element("messages", HTMLElement);
const empty = element("empty", HTMLElement);
const announcer = new Announcer();
const pulse = new Pulse();
const connection = new Connection(() => rooms.retry());
const access = new Access(granted, () => (chosen ? location.reload() : location.assign(location.pathname)));

/** @type {Room | undefined} */
let current;
/** Whether the reader chose the room, by its address or from here. */
let chosen = false;

const rooms = new Rooms(access, {
  message(room, message, live) {
    outbox.arrived(message, live);
    sidebar.changed();
    if (live) pulse.heard(message.timestamp);
    if (!current?.covers(room.name)) return;
    current.held = !list.following;
    list.changed(1);
    if (live) announcer.heard(message);
  },
  changed(room) {
    if (room === current) list.changed();
    describe();
  },
  listed() {
    sidebar.changed();
    describe();
  },
  state(state) {
    connection.show(state);
    access.offer(state.name === "stopped" ? { status: state.status, message: state.why ?? "" } : undefined);
    // While busy, no room is called empty.
    log.ariaBusy = String(state.name !== "live");
    if (state.name === "live") {
      outbox.retry();
      access.ask();
    }
    describe();
  },
});

const sidebar = new Sidebar(rooms, go);

const list = new List(
  {
    retry: () => outbox.retry(),
    edit(entry) {
      if (composer.restore(entry)) outbox.discard(entry);
    },
    discard: (entry) => outbox.discard(entry),
  },
  {
    atEnd() {
      if (current && !document.hidden) rooms.markRead(current);
    },
    nearStart() {
      if (current && rooms.live) rooms.older(current);
    },
  },
);

const composer = new Composer(access, (room, user, text) => {
  outbox.add(room, user, text);
  list.toEnd();
});

const outbox = new Outbox({
  added: (entry) => shown(entry, (room) => room.appendPending(entry)),
  changed: (entry) => shown(entry),
  removed: (entry) => shown(entry, (room) => room.removePending(entry)),
  refused(entry) {
    const { refused } = entry;
    if (refused) {
      access.offer(refused);
      refused.message = access.explain(refused);
    }
    if (composer.restore(entry)) outbox.discard(entry);
    else shown(entry);
  },
  isHere: (entry) => Boolean(entry.id && rooms.all.get(entry.room)?.has(entry.id)),
});

enter();
composer.focus();
let today = new Date().toDateString();
setInterval(eachSecond, 1000);

addEventListener("keydown", (event) => {
  if (event.key !== "k" || !(event.ctrlKey || event.metaKey) || event.shiftKey || event.altKey) return;
  event.preventDefault();
  sidebar.find();
});
element("use-open", HTMLButtonElement).addEventListener("click", async () => {
  const use = await import("./use.js");
  use.show(current?.name ?? "", access.counts);
});
element("theme", HTMLButtonElement).addEventListener("click", () => {
  const { theme = "" } = document.documentElement.dataset;
  const next = THEMES[(THEMES.indexOf(/** @type {"" | "light" | "dark"} */ (theme)) + 1) % THEMES.length] ?? "";
  remember(kept, "theme", next);
  showTheme(next);
});
showTheme(document.documentElement.dataset.theme ?? "");
addEventListener("popstate", enter);
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  list.changed();
  rooms.refresh(true);
});

/** It is known what may be done here. */
function granted() {
  rooms.granted();
  composer.allow();
  describe();
  const [named] = access.named;
  // The room was nobody's choice: another one is shown where that may be read.
  if (named && current && !chosen && !access.reads(current.name)) go(named);
}

/**
 * @param {string} name
 * @param {string} [prefix]
 */
function go(name, prefix) {
  chosen = true;
  if (current && name === current.name && prefix === current.prefix && !current.refused) return sidebar.choose(name, prefix);
  if (name !== current?.name || prefix !== current.prefix) address(name, prefix, "pushState");
  show(name, prefix);
}

/** Shows the room in the address. */
function enter() {
  const query = new URLSearchParams(location.search);
  const prefix = query.get("prefix") ?? undefined;
  const asked = query.get("room") ?? prefix;
  chosen = asked !== undefined;
  const name = asked ?? recall(kept, "room", "developers");
  if (!location.search) address(name, undefined, "replaceState");
  show(name, prefix);
}

/**
 * Browsers refuse a new address where there were a hundred in 30 s: the room is shown all the same.
 * @param {string} name
 * @param {string | undefined} prefix
 * @param {"pushState" | "replaceState"} how
 */
function address(name, prefix, how) {
  const query = new URLSearchParams(prefix === undefined ? { room: name } : { prefix });
  try {
    history[how](null, "", `?${query}`);
  } catch {}
}

/**
 * @param {string} name
 * @param {string} [prefix]
 */
function show(name, prefix) {
  current = rooms.open(name, prefix);
  list.show(current.items);
  sidebar.choose(name, prefix);
  composer.open(name, prefix);
  const room = element("empty-room", HTMLElement);
  const [before = "", , after = ""] = words.empty(name);
  room.textContent = titleOf(current);
  element("empty-title", HTMLElement).replaceChildren(before, room, after);
  describe();
}

/** @param {Room} room */
function titleOf({ name, prefix }) {
  return prefix === undefined ? visible(name) : words.group(prefix);
}

function describe() {
  if (!current) return;
  const { name, items, followers, isComplete } = current;
  element("room-title", HTMLElement).textContent = titleOf(current);
  log.ariaLabel = `${words.messages}: ${name}`;
  element("followers", HTMLElement).textContent = followers ? words.followers(followers) : "";
  element("curl", HTMLElement).textContent = curlPost(name, access.counts);
  empty.hidden = items.length > 0 || !isComplete;
}

/**
 * Applies a change of what is being sent to its room's rows.
 * @param {import("./outbox.js").Entry} entry
 * @param {(room: Room) => void} [change]
 */
function shown(entry, change) {
  const room = rooms.all.get(entry.room) ?? rooms.known(entry.room);
  change?.(room);
  if (room !== current) return;
  for (const item of room.items) if (item.kind === "pending") list.renew(item);
  list.changed();
  describe();
}

/** What is tried again says when; and a day ends. */
function eachSecond() {
  for (const item of current?.items.slice(-20) ?? []) if (item.kind === "pending" && item.entry.until) list.renew(item);
  if (today === new Date().toDateString()) return;
  today = new Date().toDateString();
  list.renewDays();
}

/** @param {string} theme */
function showTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  const name = theme === "dark" ? words.themeDark : theme === "light" ? words.themeLight : words.themeSystem;
  const button = element("theme", HTMLButtonElement);
  button.ariaLabel = name;
  button.title = name;
}
