// The rooms beside the list: up to 10,000, of which those in sight are in the document. They are one stop of the Tab
// key; the arrow keys move between them. The window's title has the number of unread messages in all rooms.

import { plain } from "./ansi.js";
import { Order, arranged, matching, prefixOf } from "./arrange.js";
import { element, make, onClick, set } from "./dom.js";
import { number } from "./language.js";
import { Layout } from "./layout.js";
import { MANY_UNREAD } from "./history.js";
import { browser, recall, remember } from "./storage.js";
import { visible } from "./text.js";
import { strings } from "./strings.js";

/** @import { Row } from "./arrange.js" */
/** @import { Room } from "./room.js" */
/** @import { Rooms } from "./rooms.js" */

/** Characters of a newest line in the document; the rest would not be visible. */
const LINE = 120;
/** Heights in rem: of a room, and of a group. */
const HEIGHTS = { room: 3.25, group: 2 };
/** Pixels above and below the window whose rows are in the document as well. */
const BEYOND = 300;
/** The least ms between two new orders of the rooms: the reader may be about to click one. */
const CALM_MS = 1500;

/**
 * @typedef {object} Drawn
 * @property {HTMLLIElement} item
 * @property {HTMLAnchorElement} link
 * @property {HTMLElement} name
 * @property {HTMLElement} line
 * @property {HTMLElement} unread
 * @property {HTMLButtonElement} sign pins a room, or folds a group
 */

/** The list of rooms: its order, the search, and the rows in sight. */
export class Sidebar {
  #scroller = element("rooms-nav");
  #list = element("rooms");
  #more = element("more-rooms");
  #menu = element("menu");
  #field = element("room", HTMLInputElement);
  #fresh = element("room-new");
  #sort = element("sort");
  #count = element("room-count");
  /** The elements of the rows in the document, by the rows' keys. @type {Map<string, Drawn>} */
  #drawn = new Map();
  /** All rows in display order. @type {Row[]} */
  #rows = [];
  /** The size of 1 rem, in px. */
  #rem = 16;
  /** @type {Layout<Row>} */
  #layout = new Layout((row) => this.#rem * ("room" in row ? HEIGHTS.room : HEIGHTS.group));
  /** @type {import("./arrange.js").Preferences} */
  #preferences = {
    sort: recall(browser, "sort", "name"),
    pins: new Set(),
    folded: new Set(recall(browser, "folded", [])),
  };
  /** Whether a redraw is scheduled. */
  #due = false;
  #order = new Order();
  /** The version of the rooms at the last ordering. */
  #version = -1;
  /** The time of the last ordering, in ms since 1970; 0: order the rooms with the next redraw. */
  #arrangedAt = 0;
  #rooms;
  #open;
  /** The key of the open room's or group's row. */
  #current = "";
  /** The row that the Tab key reaches. */
  #active = "";

  /**
   * @param {Rooms} rooms
   * @param {(name: string, prefix?: string) => void} open
   */
  constructor(rooms, open) {
    this.#rooms = rooms;
    this.#open = open;
    this.#preferences.pins = rooms.pins;
    onClick("rooms", (event) => this.#clicked(event));
    this.#list.addEventListener("keydown", (event) => this.#pressed(event));
    this.#list.addEventListener("focusin", ({ target }) => this.#focused(target));
    this.#scroller.addEventListener("scroll", () => this.#draw(), { passive: true });
    new ResizeObserver(() => this.#rearrange()).observe(this.#scroller);
    this.#field.addEventListener("input", () => this.#typed());
    this.#field.addEventListener("keydown", (event) => this.#typing(event));
    onClick("sort", () => this.#sortBy(this.#preferences.sort === "name" ? "activity" : "name"));
    element("room-form").addEventListener("submit", (event) => this.#submitted(event));
    this.#count.title = strings.group("");
    onClick("room-count", (event) => {
      event.preventDefault();
      this.#go("", "");
    });
    onClick("room-new", () => this.#go(this.#field.value));
    onClick("menu", () => this.#slide(true));
    onClick("shade", () => this.#slide(false));
    element("sidebar").addEventListener("keydown", ({ key }) => key === "Escape" && this.#slide(false));
    this.#sortBy(this.#preferences.sort);
  }

  /** Starts the search for a room. */
  find() {
    if (this.#menu.checkVisibility()) this.#slide(true);
    this.#field.focus();
    this.#field.select();
  }

  /**
   * Marks a room, or the group of a prefix, as the open one, and scrolls to it.
   * @param {string} name
   * @param {string} [prefix]
   */
  choose(name, prefix) {
    this.#current = prefix === undefined ? name : keyOf(prefix);
    this.#active = this.#current;
    if (document.documentElement.classList.contains("menu-open")) this.#slide(false);
    this.#rearrange();
    this.#show(this.#current);
  }

  /** Schedules a redraw; a burst of changes is one redraw. */
  changed() {
    if (this.#due) return;
    this.#due = true;
    setTimeout(() => {
      this.#due = false;
      this.#renew();
    }, 100);
  }

  #rearrange() {
    this.#arrangedAt = 0;
    this.#renew();
  }

  #renew() {
    this.#arrange();
    this.#describe();
    this.#draw();
    this.#title();
  }

  /**
   * Orders the rows after rooms came or went; by activity also otherwise, but not while the reader points at them and may
   * click.
   */
  #arrange() {
    const { all, version } = this.#rooms;
    const isCalm = Date.now() - this.#arrangedAt < CALM_MS || this.#scroller.matches(":hover, :focus-within");
    if (this.#arrangedAt && version === this.#version && (this.#preferences.sort === "name" || isCalm)) return;
    this.#version = version;
    this.#arrangedAt = Date.now();
    const typed = this.#field.value.trim();
    this.#rows = typed ? matching(all.values(), typed) : arranged(this.#order.of(all, version), this.#preferences);
    this.#rem = Number.parseFloat(getComputedStyle(document.documentElement).fontSize);
    this.#layout.lay(this.#rows);
    this.#list.style.blockSize = `${this.#layout.end}px`;
  }

  #describe() {
    const typed = this.#field.value.trim();
    const { all, catalog } = this.#rooms;
    this.#more.hidden = !catalog.more || Boolean(typed);
    this.#more.textContent = strings.moreRooms(all.size);
    const found = () => this.#rows.filter((row) => "room" in row).length;
    set(this.#count, typed ? strings.roomsFound(found(), all.size) : strings.roomsCount(all.size));
    this.#sort.hidden = Boolean(typed); // the best match is first
    this.#fresh.hidden = !typed || all.has(this.#field.value);
    set(this.#fresh, strings.openNew(this.#field.value.slice(0, LINE)));
  }

  #title() {
    let unread = 0;
    for (const room of this.#rooms.all.values()) unread += room.unread;
    const where = this.#current.startsWith("\0") ? `${this.#current.slice(1)}…` : this.#current;
    document.title = `${unread ? `(${unread}) ` : ""}${visible(where).replaceAll(/\p{C}/gu, "")} · roomcast`;
  }

  /** Draws the rows that are in sight. */
  #draw() {
    const { scrollTop, clientHeight } = this.#scroller;
    const first = this.#layout.indexAt(scrollTop - BEYOND);
    const last = Math.min(this.#rows.length, this.#layout.indexAt(scrollTop + clientHeight + BEYOND) + 1);
    const rows = this.#rows.slice(first, last);
    const focus = document.activeElement;
    const keys = new Set(rows.map(keyOfRow));
    for (const key of this.#drawn.keys()) if (!keys.has(key)) this.#remove(key, focus);
    let next = this.#list.firstElementChild;
    for (const [offset, row] of rows.entries()) {
      const drawn = this.#drawn.get(keyOfRow(row)) ?? this.#make(row);
      if (drawn.item === next) next = next.nextElementSibling;
      else this.#list.insertBefore(drawn.item, next);
      this.#fill(drawn, row);
      drawn.item.ariaPosInSet = String(first + offset + 1);
      drawn.item.ariaSetSize = String(this.#rows.length);
    }
    this.#list.style.paddingBlockStart = `${this.#layout.topOf(first)}px`;
    this.#rove();
  }

  /** Only one link can be reached with the Tab key. */
  #rove() {
    const stop = [this.#active, this.#current].find((key) => this.#drawn.has(key)) ?? this.#list.querySelector("a");
    for (const [key, { link }] of this.#drawn) link.tabIndex = key === stop || link === stop ? 0 : -1;
  }

  /**
   * @param {string} key
   * @param {Element | null} focus
   */
  #remove(key, focus) {
    const { item } = /** @type {Drawn} */ (this.#drawn.get(key));
    this.#drawn.delete(key);
    // A focus on this row moves to the list, or stays among the rooms if the row is only out of sight.
    if (item.contains(focus)) (this.#indexOf(key) < 0 ? element("messages") : this.#scroller).focus({ preventScroll: true });
    item.remove();
  }

  /** @param {Row} row @returns {Drawn} */
  #make(row) {
    const [name, line, unread] = [make("bdi", "room-name"), make("bdi", "newest"), make("span", "unread")];
    const link = make("a", "", name, unread, line);
    const sign = make("button", "icon");
    sign.type = "button";
    sign.tabIndex = -1;
    const item = make("li", "room" in row ? "" : "group", link, sign);
    /** @type {Record<string, string>} */
    const query = "room" in row ? { room: row.room.name } : { prefix: row.prefix };
    Object.assign(link.dataset, query);
    link.href = `?${new URLSearchParams(query)}`;
    const drawn = { item, link, name, line, unread, sign };
    this.#drawn.set(keyOfRow(row), drawn);
    return drawn;
  }

  /**
   * @param {Drawn} drawn
   * @param {Row} row
   */
  #fill(drawn, row) {
    const { link, name, line, unread, sign, item } = drawn;
    link.ariaCurrent = keyOfRow(row) === this.#current ? "page" : null;
    if ("room" in row) {
      const { room } = row;
      const isPinned = this.#rooms.pins.has(room.name);
      set(name, visible(row.short ? room.name.slice(prefixOf(room.name).length) : room.name));
      link.title = row.short || room.name.length > 24 ? room.name : "";
      item.classList.toggle("short", row.short);
      item.classList.toggle("pinned", isPinned);
      set(line, newestLine(room));
      this.#rooms.want(room);
      count(unread, room.unread, room.isUnread);
      sign.title = sign.ariaLabel = (isPinned ? strings.unpin : strings.pin)(room.name);
      sign.ariaPressed = String(isPinned);
    } else {
      set(name, visible(row.prefix));
      link.title = strings.seeGroup(row.prefix);
      set(line, number(row.rooms.length));
      const sum = row.folded ? row.rooms.reduce((all, room) => all + room.unread, 0) : 0;
      count(unread, sum, row.folded && row.rooms.some((room) => room.isUnread));
      sign.ariaExpanded = String(!row.folded);
      sign.ariaLabel = strings.fold(row.prefix);
    }
  }

  /** @param {string} key */
  #indexOf(key) {
    return this.#rows.findIndex((row) => keyOfRow(row) === key);
  }

  /**
   * Scrolls to a row, if it is there.
   * @param {string} key
   */
  #show(key) {
    const index = this.#indexOf(key);
    if (index < 0) return;
    const { scrollTop, clientHeight } = this.#scroller;
    const [top, end] = [this.#layout.topOf(index), this.#layout.topOf(index + 1)];
    if (top < scrollTop) this.#scroller.scrollTop = top;
    else if (end > scrollTop + clientHeight) this.#scroller.scrollTop = end - clientHeight;
    this.#draw();
  }

  /** @param {number} index of a row; beyond the ends it is the first or the last one */
  #focus(index) {
    const row = this.#rows[Math.max(0, Math.min(index, this.#rows.length - 1))];
    if (!row) return;
    this.#active = keyOfRow(row);
    this.#show(this.#active);
    this.#drawn.get(this.#active)?.link.focus({ preventScroll: true });
  }

  /** @param {EventTarget | null} target */
  #focused(target) {
    const link = target instanceof Element && target.closest("li")?.querySelector("a");
    if (!link) return;
    this.#active = link.dataset.room ?? keyOf(link.dataset.prefix ?? "");
    this.#rove();
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const index = this.#indexOf(this.#active);
    const row = this.#rows[index];
    const page = Math.max(1, Math.floor(this.#scroller.clientHeight / 60));
    /** @type {Record<string, number>} */
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    const step = steps[event.key];
    if (step === -1 && index === 0) this.#field.focus();
    else if (step) this.#focus(index + step);
    else if (event.key === "p" && row && "room" in row) this.#pin(row.room.name);
    else if (/^Arrow(Left|Right)$/.test(event.key) && row) this.#foldOf(row, event.key === "ArrowLeft");
    else return;
    event.preventDefault();
  }

  /**
   * As in any tree: the left arrow goes from a room to its group, and then folds the group.
   * @param {Row} row
   * @param {boolean} on
   */
  #foldOf(row, on) {
    if (!("room" in row)) {
      if (on !== row.folded) this.#fold(row.prefix);
    } else if (row.short && on) this.#focus(this.#indexOf(keyOf(prefixOf(row.room.name))));
  }

  /** @param {string} name */
  #pin(name) {
    this.#rooms.pin(name);
    this.#rearrange();
  }

  /** @param {string} prefix */
  #fold(prefix) {
    if (!this.#preferences.folded.delete(prefix)) this.#preferences.folded.add(prefix);
    remember(browser, "folded", [...this.#preferences.folded]);
    this.#rearrange();
  }

  /** @param {string} how */
  #sortBy(how) {
    this.#preferences.sort = how;
    remember(browser, "sort", how);
    this.#sort.textContent = how === "name" ? strings.sortName : strings.sortActivity;
    this.#rearrange();
  }

  /** @param {MouseEvent} event */
  #clicked(event) {
    const target = event.target instanceof Element ? event.target : null;
    const link = target?.closest("li")?.querySelector("a");
    if (!link) return;
    const { room, prefix = "" } = link.dataset;
    if (target?.closest("button")) {
      if (room === undefined) this.#fold(prefix);
      else this.#pin(room);
      return;
    }
    // With a modifier key the browser opens it in another tab, as usual.
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    if (room === undefined) this.#go(prefix, prefix);
    else this.#go(room);
  }

  #typed() {
    this.#scroller.scrollTop = 0;
    this.#rearrange();
  }

  /** @param {KeyboardEvent} event */
  #typing(event) {
    if (event.key === "ArrowDown") this.#focus(0);
    else if (event.key === "Escape" && this.#field.value) {
      event.stopPropagation();
      this.#field.value = "";
      this.#typed();
    } else return;
    event.preventDefault();
  }

  /** Opens the exact room, or the best match; without a match, a new room. @param {SubmitEvent} event */
  #submitted(event) {
    event.preventDefault();
    const { value } = this.#field;
    const best = this.#rows.find((row) => "room" in row);
    this.#go(best && !this.#rooms.all.has(value) ? best.room.name : value);
  }

  /**
   * @param {string} name
   * @param {string} [prefix]
   */
  #go(name, prefix) {
    if (!name && prefix === undefined) return;
    this.#field.value = "";
    this.#open(name, prefix);
  }

  /**
   * On a narrow screen the rooms cover the list, and take the keyboard.
   * @param {boolean} on
   */
  #slide(on) {
    if (on === document.documentElement.classList.contains("menu-open")) return;
    document.documentElement.classList.toggle("menu-open", on);
    element("room-view").inert = on;
    this.#menu.ariaExpanded = String(on);
    if (!on) return this.#menu.focus();
    this.#rearrange(); // a pending redraw may add the link that is to get the focus
    this.#focus(Math.max(0, this.#indexOf(this.#current)));
  }
}

/** A key that no room's name begins with. @param {string} prefix */
function keyOf(prefix) {
  return `\0${prefix}`;
}

/** @param {Row} row */
function keyOfRow(row) {
  return "room" in row ? row.room.name : keyOf(row.prefix);
}

/**
 * @param {HTMLElement} badge
 * @param {number} unread
 * @param {boolean} some whether there is any, counted or not
 */
function count(badge, unread, some) {
  badge.hidden = !some;
  set(badge, unread >= MANY_UNREAD ? `${MANY_UNREAD - 1}+` : unread ? String(unread) : "");
  badge.ariaLabel = unread ? strings.unread(unread) : strings.unreadSome;
  badge.role = "img";
}

/** @param {Room} room */
function newestLine({ newest }) {
  if (!newest) return "";
  return `${newest.user.slice(0, LINE)}: ${plain((newest.text ?? newest.type ?? strings.data).slice(0, LINE))}`;
}
