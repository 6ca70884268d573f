// The rooms beside the list, in the order of their names: what is clicked must not move. What is unread in all of them
// is in the window's title too.

import { element, make } from "./dom.js";
import { language } from "./language.js";
import { MANY_UNREAD } from "./past.js";
import { visible } from "./text.js";
import { words } from "./words.js";

/** @import { Room } from "./room.js" */
/** @import { Rooms } from "./rooms.js" */

/** Made once: `localeCompare` with a language makes one for each two names. */
const ORDER = new Intl.Collator(language);
/** How much of a newest line is put into the document; the rest is out of sight anyway. */
const LINE = 120;

/**
 * @typedef {object} Row
 * @property {HTMLAnchorElement} link
 * @property {HTMLElement} line
 * @property {HTMLElement} unread
 */

export class Sidebar {
  #list = element("rooms", HTMLUListElement);
  #more = element("more-rooms", HTMLElement);
  #menu = element("menu", HTMLButtonElement);
  #aside = element("sidebar", HTMLElement);
  #shade = element("shade", HTMLElement);
  #rest = element("room-view", HTMLElement);
  /** @type {Map<string, Row>} */
  #rows = new Map();
  #due = false;
  #rooms;
  #open;
  #current = "";

  /**
   * @param {Rooms} rooms
   * @param {(name: string) => void} open
   */
  constructor(rooms, open) {
    this.#rooms = rooms;
    this.#open = open;
    this.#list.addEventListener("click", (event) => this.#clicked(event));
    this.#menu.addEventListener("click", () => this.#slide(true));
    this.#shade.addEventListener("click", () => this.#slide(false));
    this.#aside.addEventListener("keydown", ({ key }) => key === "Escape" && this.#slide(false));
  }

  /** @param {string} name */
  choose(name) {
    this.#current = name;
    if (document.documentElement.classList.contains("menu-open")) this.#slide(false);
    this.changed();
  }

  /** Shows, soon, what is known now; a burst is one change. */
  changed() {
    if (this.#due) return;
    this.#due = true;
    setTimeout(() => {
      this.#due = false;
      this.#draw();
    }, 100);
  }

  #draw() {
    const { all, more } = this.#rooms;
    this.#forget(all);
    const names = [...all.keys()].sort(ORDER.compare);
    let next = this.#list.firstElementChild;
    for (const name of names) {
      const { link } = this.#row(name);
      const item = /** @type {HTMLElement} */ (link.parentElement);
      if (item === next) next = next.nextElementSibling;
      else this.#list.insertBefore(item, next);
      this.#fill(/** @type {Room} */ (all.get(name)));
    }
    this.#more.hidden = !more;
    const unread = [...all.values()].reduce((sum, room) => sum + room.unread, 0);
    document.title = `${unread ? `(${unread}) ` : ""}${visible(this.#current).replaceAll(/\p{C}/gu, "")} · roomcast`;
  }

  /** @param {Map<string, Room>} all what is still there */
  #forget(all) {
    for (const [name, { link }] of this.#rows) {
      if (all.has(name)) continue;
      // Where the focus was on it, it goes on in the list.
      if (link === document.activeElement) element("messages", HTMLElement).focus();
      link.parentElement?.remove();
      this.#rows.delete(name);
    }
  }

  /** @param {string} name */
  #row(name) {
    const present = this.#rows.get(name);
    if (present) return present;
    const line = make("bdi", "newest");
    const unread = make("span", "unread");
    const link = make("a", "", make("bdi", "room-name", visible(name)), unread, line);
    link.href = `?${new URLSearchParams({ room: name })}`;
    link.dataset.room = name;
    make("li", "", link);
    const row = { link, line, unread };
    this.#rows.set(name, row);
    return row;
  }

  /** @param {Room} room */
  #fill(room) {
    const { link, line, unread } = this.#row(room.name);
    link.ariaCurrent = room.name === this.#current ? "page" : null;
    set(line, newestLine(room));
    unread.hidden = !room.unread;
    set(unread, room.unread >= MANY_UNREAD ? `${MANY_UNREAD - 1}+` : String(room.unread));
    unread.ariaLabel = words.unread(room.unread);
    unread.role = "img";
  }

  /** @param {MouseEvent} event */
  #clicked(event) {
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    // With a key, as anywhere, the browser opens it in another tab.
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    this.#open(link.dataset.room ?? "");
  }

  /**
   * On a narrow screen the rooms come over the list, and have the keyboard to themselves.
   * @param {boolean} on
   */
  #slide(on) {
    if (on === document.documentElement.classList.contains("menu-open")) return;
    document.documentElement.classList.toggle("menu-open", on);
    this.#rest.inert = on;
    this.#menu.ariaExpanded = String(on);
    if (!on) return this.#menu.focus();
    this.#draw(); // what is due may be the very link
    this.#rows.get(this.#current)?.link.focus();
  }
}

/** @param {Room} room */
function newestLine({ newest }) {
  if (!newest) return "";
  const said = newest.text ?? newest.type ?? words.data;
  return `${newest.user.slice(0, LINE)}: ${said.slice(0, LINE)}`;
}

/**
 * @param {HTMLElement} element
 * @param {string} text
 */
function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
