// The line that publishes from a shell, and the addresses in it.

const EXAMPLE = "was geht ab in buxtehude?";

/** The token of a shell, where one is needed; never that of this page. */
const BEARER = `-H "Authorization: Bearer $ROOMCAST_TOKEN" `;

/**
 * @param {string} room
 * @param {boolean} withToken
 */
export function curlPost(room, withToken) {
  const body = `{"text": ${JSON.stringify(EXAMPLE)}, "room": ${JSON.stringify(room)}}`;
  return `curl -X POST ${withToken ? BEARER : ""}-H 'Content-Type: application/json' -d ${quoted(body)} ${url("messages")}`;
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
 * One word for a shell, whatever is in it.
 * @param {string} text
 */
function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
