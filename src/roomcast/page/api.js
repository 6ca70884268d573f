// The server's HTTP API as this page uses it: its addresses, its shapes, and the words it refuses with.

/**
 * @typedef {object} Message
 * @property {string} id `<epoch>-<seq>`
 * @property {string} room
 * @property {string} user
 * @property {string} timestamp RFC 3339, when it was stored
 * @property {string} [text] left out where there is only data
 * @property {string} [type] its event type
 * @property {unknown} [data] any JSON value
 */

/**
 * @typedef {object} Gap
 * @property {number | null} lost_at_most
 * @property {string} reason `trimmed`, `epoch`, `future` or `malformed`
 */

/**
 * Why something failed, in words for the reader.
 * @typedef {object} Failure
 * @property {string} why words to follow a colon, the server's own where it has some
 * @property {boolean} passing whether the same request may well succeed soon
 * @property {string} [pointer] the field at fault, such as `/user`
 * @property {number} [retryAfter] seconds that the server asks to wait
 */

/** The newest messages that are asked for, and kept: a longer list is slow, and nobody reads it here. */
export const KEPT = 1000;

const UNREACHABLE = { why: "the server cannot be reached", passing: true };

/**
 * The address of messages; relative to the page, so that it holds below a path as well.
 * @param {Record<string, string>} parameters
 */
export function messagesUrl(parameters = {}) {
  const url = new URL("messages", document.baseURI);
  url.search = new URLSearchParams(parameters).toString();
  return url;
}

/**
 * The newest messages of a room as one page of JSON; or why the server refuses it. `EventSource` never tells
 * the status or the body it was refused with, so this is also how the page learns the reason.
 * @param {string} room
 * @param {number} limit
 * @returns {Promise<{messages: Message[]} | Failure>}
 */
export function newest(room, limit) {
  return page({ room, replay: String(limit), limit: String(limit) });
}

/**
 * What came after an id.
 * @param {string} room
 * @param {string} id
 * @returns {Promise<{messages: Message[]} | Failure>}
 */
export function after(room, id) {
  return page({ room, after: id });
}

/**
 * @param {Record<string, string>} parameters
 * @returns {Promise<{messages: Message[]} | Failure>}
 */
async function page(parameters) {
  const options = { headers: { Accept: "application/json" }, cache: /** @type {const} */ ("no-store") };
  const answer = await request(messagesUrl(parameters), options, 10);
  return answer instanceof Response ? readPage(answer) : answer;
}

/**
 * Publishes; null when the message is stored.
 * @param {string} body JSON
 * @param {string} key its Idempotency-Key
 * @param {AbortSignal} stop
 * @returns {Promise<Failure | null>}
 */
export async function publish(body, key, stop) {
  const headers = { "Content-Type": "application/json", "Idempotency-Key": key };
  const answer = await request(messagesUrl(), { method: "POST", headers, body }, 30, stop);
  return answer instanceof Response ? null : answer;
}

/**
 * A response that is `ok`, or why there is none.
 * @param {URL} url
 * @param {RequestInit} options
 * @param {number} seconds after which the server counts as not reached
 * @param {AbortSignal[]} stop
 * @returns {Promise<Response | Failure>}
 */
async function request(url, options, seconds, ...stop) {
  const signal = AbortSignal.any([AbortSignal.timeout(seconds * 1000), ...stop]);
  try {
    const response = await fetch(url, { ...options, signal });
    return response.ok ? response : await failure(response);
  } catch {
    return UNREACHABLE;
  }
}

/**
 * @param {Response} response
 * @returns {Promise<{messages: Message[]} | Failure>}
 */
async function readPage(response) {
  try {
    return await response.json();
  } catch {
    return { why: "something other than roomcast answered", passing: true };
  }
}

/**
 * The server's own words (RFC 9457), or a proxy's status.
 * @param {Response} response
 * @returns {Promise<Failure>}
 */
async function failure(response) {
  const { status, statusText, headers } = response;
  const problem = await response.json().catch(() => ({}));
  return {
    why: words(problem, status) || `the server answered ${status} ${statusText}`.trimEnd(),
    passing: status >= 500 || [408, 425, 429].includes(status),
    pointer: problem.errors?.[0]?.pointer,
    retryAfter: Number.parseInt(headers.get("Retry-After") ?? "", 10) || undefined,
  };
}

/**
 * What the server could not do is in the title; what the request did wrong is all in the detail.
 * @param {{title?: string, detail?: string}} problem
 * @param {number} status
 */
function words({ title, detail }, status) {
  const said = status >= 500 ? new Set([title, detail]) : new Set([detail ?? title]);
  return [...said].filter(Boolean).join(": ");
}
