// The page: the room in its address, its rows in the list, the other rooms beside it, and the form that sends.

import { reaches } from "../roomcast.js";
import { Access } from "./access.js";
import { Announcer } from "./announcer.js";
import { Away } from "./away.js";
import { Composer } from "./composer.js";
import { Connection } from "./connection.js";
import { lines } from "./compose.js";
import { snippet } from "./copy.js";
import { EXAMPLE } from "./curl.js";
import { element, set } from "./dom.js";
import { Finder } from "./finder.js";
import { List } from "./list.js";
import { Outbox } from "./outbox.js";
import { Pulse } from "./pulse.js";
import { page } from "./past.js";
import { Room } from "./room.js";
import { Rooms } from "./rooms.js";
import { Sidebar } from "./sidebar.js";
import { kept, recall, remember } from "./storage.js";
import { visible } from "./text.js";
import { View } from "./view.js";
import { translate, words } from "./words.js";

/** @import { Item } from "./room.js" */

/** Messages per page of a search, and the rows that it reads before it asks whether to go on. */
const SEARCH_PAGE = 1000;
const SEARCHED = 50_000;
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
/** The rows of the room that are shown. */
let view = new View(new Room(""));
/** A message that the address names, until it is shown. */
let wanted = "";
/** Whether the reader chose the room, by its address or from here. */
let chosen = false;
/** How many rows a search may load. */
let searched = SEARCHED;
/** @type {number | undefined} */
let ahead;
/** The message that is inspected. @type {Item | undefined} */
let inspected;

const rooms = new Rooms(access, {
  message(room, message, live) {
    outbox.arrived(message, live);
    sidebar.changed();
    if (live) pulse.heard(message.timestamp);
    // The first message gets an animation.
    const last = room.items.at(-1);
    if (live && last?.kind === "message" && room.items.length < 4 && room.isComplete) last.isNew = true;
    if (!current?.covers(room.name)) return;
    current.held = !list.following || view.isPaused;
    renew(1);
    if (live) announcer.heard(message);
  },
  changed(room) {
    if (room === current) renew();
    describe();
  },
  listed() {
    sidebar.changed();
    describe();
  },
  state(state) {
    connection.show(state);
    refuse(state);
    access.offer(state.name === "stopped" ? { status: state.status, message: state.why ?? "" } : undefined);
    if (!["live", "connecting", "catching-up"].includes(state.name)) away.leave(current);
    // A busy list is not called empty.
    log.ariaBusy = String(state.name !== "live");
    if (state.name === "live") {
      if (current && !document.hidden) away.back(current);
      if (wanted && current?.start) reveal(wanted);
      outbox.retry();
      // Modules that are needed while the server is away must be loaded before.
      ahead ??= setTimeout(fetchAhead, 1000);
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
    several: () => current?.prefix !== undefined,
  },
  {
    atEnd() {
      if (current && !document.hidden && !view.isPaused) rooms.markRead(current);
    },
    nearStart() {
      if (!current || !rooms.live || wanted) return;
      // A search reads all that is kept, up to a bound.
      if (!view.isFiltered) rooms.older(current);
      else if (current.items.length < searched) rooms.older(current, SEARCH_PAGE);
    },
    picked(item, open) {
      if (open || inspected) inspect(item);
    },
  },
);

const finder = new Finder({
  look(typed) {
    view.look(typed);
    searched = SEARCHED;
    list.toEnd();
    renew();
  },
  pause(on) {
    view.pause(on);
    if (!on) list.toEnd();
    renew();
  },
  jump: (time) => jump(time),
  denser: () => list.redraw(),
  further() {
    searched += SEARCHED;
    renew();
  },
});

const composer = new Composer(access, (draft) => {
  outbox.add(draft);
  list.toEnd();
});
const away = new Away((id) => reveal(id));

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
  isHere: (entry) => Boolean(entry.id && rooms.all.get(entry.room)?.find(entry.id)),
});

enter();
composer.focus();
let today = new Date().toDateString();
setInterval(eachSecond, 1000);

element("inspector-close", HTMLButtonElement).addEventListener("click", close);
element("lines", HTMLElement).addEventListener("click", (event) => {
  const target = event.target instanceof Element ? event.target.closest(".type, .from") : null;
  if (!(target instanceof HTMLElement) || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  if (target.dataset.room) go(target.dataset.room);
  else finder.add(`type:${target.dataset.type}`);
});
addEventListener("keydown", (event) => {
  if (event.key === "Escape") close();
  const writes = event.target instanceof Element && event.target.matches("input, textarea, dialog *");
  if (/^[/?]$/.test(event.key) && !writes && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    if (event.key === "/") finder.focus();
    else help();
  }
  if (event.key !== "k" || !(event.ctrlKey || event.metaKey) || event.shiftKey || event.altKey) return;
  event.preventDefault();
  sidebar.find();
});
element("first", HTMLButtonElement).addEventListener("click", () => composer.sendExample());
element("panel-open", HTMLButtonElement).addEventListener("click", async () => {
  const panel = await import("./panel.js");
  if (current) panel.show({ connection, pulse, access, room: current, following: rooms.following });
});
element("help-open", HTMLButtonElement).addEventListener("click", help);
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
  if (document.hidden) return away.leave(current);
  if (current && rooms.live) away.back(current);
  list.changed();
  rooms.refresh(true);
});

/** Called when the reader's rights are known. */
function granted() {
  rooms.granted();
  composer.allow();
  describe();
  const [named] = access.named;
  // The reader did not choose this room: show another one that may be read.
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
  wanted = query.get("at") ?? "";
  if (wanted && rooms.live && current?.start) reveal(wanted);
}

/**
 * Browsers refuse more than a hundred new addresses in 30 s: the room is shown all the same.
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
  away.begin(current);
  view = new View(current);
  finder.look("");
  list.show(view.items);
  close();
  sidebar.choose(name, prefix);
  composer.open(name, prefix);
  const room = element("empty-room", HTMLElement);
  const [before = "", , after = ""] = words.empty(name);
  room.textContent = titleOf(current);
  element("empty-title", HTMLElement).replaceChildren(before, room, after);
  describe();
}

/**
 * Shows the rows that match now.
 * @param {number} [added] messages at the end
 */
function renew(added = 0) {
  if (view.isFiltered || view.isPaused) soon();
  else {
    list.swap(view.items);
    list.changed(added);
    finder.show(view, true, false);
    element("none", HTMLElement).hidden = true;
  }
}

let due = false;
/** At most once a frame, since up to 20,000 rows are matched. */
function soon() {
  if (due) return;
  due = true;
  requestAnimationFrame(() => {
    due = false;
    const { items } = view;
    list.swap(items);
    finder.show(view, current?.isComplete ?? true, (current?.items.length ?? 0) >= searched);
    element("none", HTMLElement).hidden = !view.isFiltered || view.counts.fit > 0;
  });
}

/**
 * Scrolls to a message, however far back it is.
 * @param {string} id
 */
async function reveal(id) {
  const room = current;
  if (!room) return;
  wanted = id;
  for (let pages = 0; pages < 100 && room === current && !room.isComplete && isAfter(room.start, id); pages += 1) {
    if (room.loading) await new Promise((resolve) => setTimeout(resolve, 50));
    else await rooms.older(room, SEARCH_PAGE);
  }
  if (room !== current) return;
  wanted = "";
  const item = room.find(id);
  if (!item) return tell(words.goneMessage);
  finder.look("");
  renew();
  list.reveal(item);
}

/** @param {string} time RFC 3339 */
async function jump(time) {
  if (!current) return;
  const found = await page(current, { since: time, limit: "1" }).catch(() => undefined);
  const [first] = found?.messages ?? [];
  if (first) await reveal(first.id);
  else tell(words.nothingSince);
}

/**
 * Shows a notice over the list for a while.
 * @param {string} text
 */
function tell(text) {
  const notice = element("notice", HTMLElement);
  notice.textContent = text;
  notice.hidden = false;
  setTimeout(() => (notice.hidden = true), 6000);
}

/** @param {Item} item */
async function inspect(item) {
  if (item.kind !== "message") return;
  inspected = item;
  const inspector = await import("./inspector.js");
  if (inspected === item) inspector.inspect(item, access.counts);
}

function fetchAhead() {
  // A module that fails to load is fetched when it is needed.
  Promise.all([import("./panel.js"), import("./inspector.js"), import("./help.js")]).catch(() => {});
}

async function help() {
  const { show: open } = await import("./help.js");
  open();
}

function close() {
  if (!inspected) return;
  inspected = undefined;
  list.pick(undefined);
  element("inspector", HTMLElement).hidden = true;
  log.focus({ preventScroll: true });
}

/**
 * Whether one id comes after another.
 * @param {string} id
 * @param {string} other
 */
function isAfter(id, other) {
  return id !== other && reaches(id, other);
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
  empty.hidden = items.length > 0 || !isComplete || current.prefix !== undefined;
  if (!empty.hidden) invite(name);
}

/**
 * The three ways to send the first message from elsewhere.
 * @param {string} room
 */
function invite(room) {
  element("first", HTMLButtonElement).hidden = !access.publishes(room);
  const key = `${room} ${access.counts}`;
  if (empty.dataset.shown === key) return;
  empty.dataset.shown = key;
  const ways = lines([["room", JSON.stringify(room)], ["text", JSON.stringify(EXAMPLE)]], access.counts);
  element("ways", HTMLElement).replaceChildren(
    snippet("curl", ways.curl),
    snippet("Python", ways.python),
    snippet("JavaScript", ways.javascript),
  );
}

/**
 * Why a room cannot be shown, where its messages would be.
 * @param {import("../roomcast.js").State} state
 */
function refuse({ name, why = "", status = 0 }) {
  const isRefused = name === "stopped" && status !== 401 && status !== 403;
  element("refused", HTMLElement).hidden = !isRefused;
  set(element("refused-why", HTMLElement), isRefused ? access.explain({ why, status }) : "");
}

/**
 * Shows a change of an outgoing message in its room's rows.
 * @param {import("./outbox.js").Entry} entry
 * @param {(room: Room) => void} [change]
 */
function shown(entry, change) {
  const room = rooms.all.get(entry.room) ?? rooms.known(entry.room);
  change?.(room);
  if (room !== current) return;
  for (const item of room.items) if (item.kind === "pending") list.renew(item);
  renew();
  describe();
}

/** Once a second: updates the countdowns of retries, and the names of days. */
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
