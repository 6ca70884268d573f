// The page: the room in its address, the messages of that room, the other rooms beside it, and the form that sends.

import { reaches } from "../roomcast.js";
import { Announcer } from "./announcer.js";
import { Away } from "./away.js";
import { Composer } from "./composer.js";
import { Connection } from "./connection.js";
import { element, onClick } from "./dom.js";
import { Finder } from "./finder.js";
import { page } from "./history.js";
import { List } from "./list.js";
import { Outbox } from "./outbox.js";
import { showEmpty, showRefusal } from "./placeholder.js";
import * as rights from "./rights.js";
import { Room } from "./room.js";
import { Rooms } from "./rooms.js";
import { Sidebar } from "./sidebar.js";
import { browser, recall } from "./storage.js";
import { strings, translate } from "./strings.js";
import { visible } from "./text.js";
import "./theme-button.js";
import { TokenForm } from "./token-form.js";
import { Traffic } from "./traffic.js";
import { View } from "./view.js";

/** @import { Item } from "./room.js" */

/** Messages in each page of history that a search reads. */
const SEARCH_PAGE = 1000;
/** Rows that a search loads before it asks whether to go on. */
const SEARCH_ROWS = 50_000;
const NOTICE_MS = 6000;

translate();

const messages = element("messages");
const announcer = new Announcer();
const traffic = new Traffic();
const connection = new Connection(() => rooms.retry());
const tokenForm = new TokenForm(() => (isChosen ? location.reload() : location.assign(location.pathname)));

/** @type {Room | undefined} */
let current;
/** The shown rows of the current room. */
let view = new View(new Room(""));
/** The id of a message that is yet to be scrolled to. */
let target = "";
/** Whether the reader chose the room, by its address or on this page. */
let isChosen = false;
/** How many rows the present search may load. */
let searchLimit = SEARCH_ROWS;
/** @type {number | undefined} */
let preloading;
/** The message in the inspector. @type {Item | undefined} */
let inspected;

const rooms = new Rooms({
  message(room, message, live) {
    outbox.arrived(message, live);
    sidebar.changed();
    if (live) traffic.add(message.timestamp);
    // The first message of a room is animated.
    const last = room.items.at(-1);
    if (live && last?.kind === "message" && room.items.length < 4 && room.isComplete) last.isNew = true;
    if (!current?.covers(room.name)) return;
    current.held = !list.following || view.isPaused || !!target;
    redraw(1);
    if (live) announcer.add(message);
  },
  changed(room) {
    if (room === current) redraw();
    describe();
  },
  listed() {
    sidebar.changed();
    describe();
  },
  state(state) {
    connection.show(state);
    showRefusal(state);
    tokenForm.offer(state.name === "stopped" ? { status: state.status, message: state.why ?? "" } : undefined);
    if (!["live", "connecting", "catching-up"].includes(state.name)) away.leave(current);
    messages.ariaBusy = String(state.name !== "live"); // a list that is still loading is not called empty
    if (state.name === "live") becameLive();
    describe();
  },
});

const sidebar = new Sidebar(rooms, open);

const list = new List(
  {
    retry: () => outbox.retry(),
    edit(entry) {
      if (composer.restore(entry)) outbox.discard(entry);
    },
    discard: (entry) => outbox.discard(entry),
    several: () => current?.prefix !== undefined,
  },
  {
    atEnd() {
      if (current && !document.hidden && !view.isPaused) rooms.markRead(current);
    },
    nearStart() {
      if (!current || !rooms.live || target) return;
      // A search reads all that is kept, up to a limit.
      if (!view.isFiltered) rooms.older(current);
      else if (current.items.length < searchLimit) rooms.older(current, SEARCH_PAGE);
    },
    picked(item, isOpened) {
      if (isOpened || inspected) inspect(item);
    },
  },
);

const finder = new Finder({
  search(typed) {
    view.search(typed);
    searchLimit = SEARCH_ROWS;
    list.toEnd();
    redraw();
  },
  pause(on) {
    view.pause(on);
    if (!on) list.toEnd();
    redraw();
  },
  jump,
  densityChanged: () => list.redraw(),
  searchFurther() {
    searchLimit += SEARCH_ROWS;
    redraw();
  },
});

const composer = new Composer((draft) => {
  outbox.add(draft);
  list.toEnd();
});
const away = new Away((to) => (typeof to === "string" ? reveal(to) : list.reveal(to)));

const outbox = new Outbox({
  added: (entry) => redrawPending(entry, (room) => room.appendPending(entry)),
  changed: (entry) => redrawPending(entry),
  removed: (entry) => redrawPending(entry, (room) => room.removePending(entry)),
  refused(entry) {
    const { refused } = entry;
    if (refused) {
      tokenForm.offer(refused);
      refused.message = rights.explain(refused);
    }
    if (composer.restore(entry)) outbox.discard(entry);
    else redrawPending(entry);
  },
  isHere: (entry) => Boolean(entry.id && rooms.all.get(entry.room)?.find(entry.id)),
});

openAddress();
composer.focus();
loadRights();
let today = new Date().toDateString();
setInterval(eachSecond, 1000);

onClick("inspector-close", close);
onClick("first", () => composer.sendExample());
onClick("panel-open", async () => {
  const panel = await import("./connection-panel.js");
  if (current) panel.show({ connection, traffic, room: current, following: rooms.following });
});
onClick("followers-open", async () => (await import("./followers.js")).show());
onClick("use-open", async () => (await import("./use.js")).show(current?.name ?? ""));
onClick("help-open", help);
onClick("lines", (event) => {
  const clicked = event.target instanceof Element && event.target.closest(".type, .from");
  if (!(clicked instanceof HTMLElement) || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  if (clicked.dataset.room) open(clicked.dataset.room);
  else finder.add(`type:${clicked.dataset.type}`);
});
addEventListener("keydown", (event) => {
  const { key, ctrlKey, metaKey, altKey, shiftKey } = event;
  const isTyping = event.target instanceof Element && event.target.matches("input, textarea, dialog *");
  const isPlain = !ctrlKey && !metaKey && !altKey;
  if (key === "Escape") return close();
  if (key === "/" && isPlain && !isTyping) finder.focus();
  else if (key === "?" && isPlain && !isTyping) help();
  else if (key === "k" && (ctrlKey || metaKey) && !shiftKey && !altKey) sidebar.find();
  else return;
  event.preventDefault();
});
addEventListener("popstate", openAddress);
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return away.leave(current);
  if (current && rooms.live) away.back(current);
  list.changed();
  rooms.refresh(true);
});

async function loadRights() {
  if (!(await rights.load())) return;
  tokenForm.showReader();
  rooms.granted();
  composer.allow();
  describe();
  const [named] = rights.named();
  // Instead of a room that the reader did not choose and may not read, show one that is granted.
  if (named && current && !isChosen && !rights.reads(current.name)) open(named);
}

function becameLive() {
  if (current && !document.hidden) away.back(current);
  if (target && current?.start) reveal(target);
  outbox.retry();
  // Modules that are needed while the server is away must be loaded before. One that fails is fetched when needed.
  preloading ??= setTimeout(() => Promise.all(["connection-panel", "inspector", "help", "use", "followers"].map((name) => import(`./${name}.js`))).catch(() => {}), 1000);
  loadRights();
}

/**
 * Opens a room, or all rooms whose names begin with a prefix, as the reader chose.
 * @param {string} name
 * @param {string} [prefix]
 */
function open(name, prefix) {
  isChosen = true;
  const isShown = name === current?.name && prefix === current?.prefix;
  if (isShown && !current?.refused) return sidebar.choose(name, prefix);
  if (!isShown) setAddress(name, prefix, "pushState");
  showRoom(name, prefix);
}

/** Shows the room in the address. */
function openAddress() {
  const query = new URLSearchParams(location.search);
  const prefix = query.get("prefix") ?? undefined;
  const asked = query.get("room") ?? prefix;
  isChosen = asked !== undefined;
  const name = asked ?? recall(browser, "room", "developers");
  if (!location.search) setAddress(name, undefined, "replaceState");
  showRoom(name, prefix);
  target = query.get("at") ?? "";
  if (target && rooms.live && current?.start) reveal(target);
}

/**
 * Browsers refuse more than a hundred new addresses in 30 s: the room is shown all the same.
 * @param {string} name
 * @param {string | undefined} prefix
 * @param {"pushState" | "replaceState"} how
 */
function setAddress(name, prefix, how) {
  const query = new URLSearchParams(prefix === undefined ? { room: name } : { prefix });
  try {
    history[how](null, "", `?${query}`);
  } catch {}
}

/**
 * @param {string} name
 * @param {string} [prefix]
 */
function showRoom(name, prefix) {
  current = rooms.open(name, prefix);
  away.begin(current);
  view = new View(current);
  finder.search("");
  list.show(view.items);
  close();
  sidebar.choose(name, prefix);
  composer.open(name, prefix);
  describe();
}

/**
 * Shows the rows that match now.
 * @param {number} [added] messages at the end
 */
function redraw(added = 0) {
  if (view.isFiltered || view.isPaused) return redrawMatches();
  list.changed(added);
  showRows();
}

function showRows() {
  list.swap(view.items);
  finder.show(view, current?.isComplete ?? true, (current?.items.length ?? 0) >= searchLimit);
}

let isDue = false;
/** At most once a frame, since 50,000 rows and more may be matched. */
function redrawMatches() {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    showRows();
  });
}

/**
 * Scrolls to a message. It may be about 100,000 messages back: a room keeps no more rows. A page that fails is read again.
 * @param {string} id
 */
async function reveal(id) {
  const room = current;
  if (!room) return;
  target = id;
  for (let pages = 100; pages && room === current && !room.isComplete && room.start !== id && reaches(room.start, id); ) {
    const { start } = room;
    if (room.loading) await new Promise((resolve) => setTimeout(resolve, 50));
    else await rooms.older(room, SEARCH_PAGE);
    if (room.start !== start) pages -= 1;
  }
  if (room !== current) return;
  target = "";
  const item = room.find(id);
  if (!item) return notify(strings.goneMessage);
  finder.search("");
  redraw();
  list.reveal(item);
}

/** Scrolls to the first message at or after a time. @param {string} time RFC 3339 */
async function jump(time) {
  if (!current) return;
  const found = await page(current, { since: time, limit: "1" }).catch(() => undefined);
  const [first] = found?.messages ?? [];
  if (first) await reveal(first.id);
  else notify(strings.nothingSince);
}

/**
 * Shows a notice over the list for a while.
 * @param {string} text
 */
function notify(text) {
  const notice = element("notice");
  notice.textContent = text;
  notice.hidden = false;
  setTimeout(() => (notice.hidden = true), NOTICE_MS);
}

/** @param {Item} item */
async function inspect(item) {
  if (item.kind !== "message") return;
  inspected = item;
  const inspector = await import("./inspector.js");
  if (inspected === item) inspector.inspect(item);
}

async function help() {
  (await import("./help.js")).show();
}

/** Closes the inspector. */
function close() {
  if (!inspected) return;
  inspected = undefined;
  list.pick(undefined);
  element("inspector").hidden = true;
  messages.focus({ preventScroll: true });
}

/** Updates what is said about the current room. */
function describe() {
  if (!current) return;
  const { name, prefix, followers } = current;
  element("room-title").textContent = prefix === undefined ? visible(name) : strings.group(prefix);
  element("use-open").hidden = prefix !== undefined;
  messages.ariaLabel = `${strings.messages}: ${name}`;
  const [label, button] = [element("followers"), element("followers-open")];
  label.hidden = rights.isAdmin() || !followers;
  button.hidden = !rights.isAdmin();
  label.textContent = button.textContent = strings.followers(followers);
  showEmpty(current);
}

/**
 * Shows a change of an outgoing message in its room's rows.
 * @param {import("./outbox.js").Entry} entry
 * @param {(room: Room) => void} [change]
 */
function redrawPending(entry, change) {
  const room = rooms.known(entry.room);
  change?.(room);
  if (room !== current) return;
  for (const item of room.items) if (item.kind === "pending") list.renew(item);
  redraw();
  describe();
}

/** Updates the countdowns of retries, and the names of days. */
function eachSecond() {
  for (const item of current?.items.slice(-20) ?? []) if (item.kind === "pending" && item.entry.until) list.renew(item);
  if (today === new Date().toDateString()) return;
  today = new Date().toDateString();
  list.renewDays();
}
