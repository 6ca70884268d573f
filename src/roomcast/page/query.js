// A search in a room: words, or `type:`, `user:` or `room:` before a text that this field must have; `-` before a term
// excludes matches.

/** @import { Message } from "../roomcast.js" */

const FIELD = /^(-?)(?:(type|user|room):)?(.+)$/i;

/** @typedef {{not: boolean, field: string, part: string, begins: boolean}} Term */

/** A parsed search. */
export class Query {
  /** @type {Term[]} */
  #terms;

  /** @param {string} typed */
  constructor(typed) {
    const parts = typed.match(/-?(?:\w+:)?"[^"]*"|\S+/g) ?? [];
    this.#terms = parts.flatMap((part) => {
      const [, not, field = "", text = ""] = FIELD.exec(part.toLowerCase().replaceAll('"', "")) ?? [];
      return text ? [{ not: not === "-", field: field.toLowerCase(), part: text.replace(/\*$/, ""), begins: text.endsWith("*") }] : [];
    });
  }

  /** Whether it has no terms, so that every message matches. */
  get isEmpty() {
    return !this.#terms.length;
  }

  /**
   * Whether a message matches all terms.
   * @param {Message} message
   * @returns {boolean}
   */
  fits(message) {
    return this.#terms.every((term) => has(message, term) !== term.not);
  }
}

/**
 * @param {Message} message
 * @param {Term} term
 */
function has({ room, user, type = "", text = "", data = "" }, { field, part, begins }) {
  const one = { type, user, room }[field]?.toLowerCase();
  if (one !== undefined) return begins ? one.startsWith(part) : one.includes(part);
  return [text, String(data), user, type].some((each) => each.toLowerCase().includes(part));
}
