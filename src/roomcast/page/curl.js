// The line that publishes from a shell, and the addresses in it.

export const EXAMPLE = "was geht ab in buxtehude?";

/** The token of a shell, where one is needed; never that of this page. */
const BEARER = `-H "Authorization: Bearer $ROOMCAST_TOKEN" `;

/**
 * @param {string} room
 * @param {boolean} withToken
 */
export function curlPost(room, withToken) {
  return curl(`{"text": ${JSON.stringify(EXAMPLE)}, "room": ${JSON.stringify(room)}}`, withToken);
}

/**
 * A command that sends a message again: all fields except those that the server sets.
 * @param {string} json as it was stored
 * @param {boolean} withToken
 */
export function curlRepeat(json, withToken) {
  const { id, timestamp } = JSON.parse(json);
  const body = json.replace(`"id":${JSON.stringify(id)},`, "").replace(new RegExp(`,"timestamp":"${timestamp}"}$`), "}");
  return curl(body, withToken);
}

/**
 * @param {string} body
 * @param {boolean} withToken
 * @param {string} [key]
 */
export function curl(body, withToken, key) {
  const once = key ? `-H ${quoted(`Idempotency-Key: ${key}`)} ` : "";
  return `curl -X POST ${withToken ? BEARER : ""}-H 'Content-Type: application/json' ${once}-d ${quoted(body)} ${url("messages")}`;
}

/**
 * @param {string} stream its address
 * @param {boolean} withToken
 */
export function curlFollow(stream, withToken) {
  return `curl -N ${withToken ? BEARER : ""}${quoted(stream)}`;
}

/** @param {string} path below where the page is, which need not be the root */
export function url(path) {
  return new URL(path, new URL(".", document.baseURI)).href;
}

/**
 * Quotes any text as one word for a shell.
 * @param {string} text
 */
function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
