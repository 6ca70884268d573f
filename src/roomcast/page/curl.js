// The line that publishes from a shell, and the addresses in it.

const EXAMPLE = "was geht ab in buxtehude?";

/** @param {string} room */
export function curlPost(room) {
  const body = `{"text": ${JSON.stringify(EXAMPLE)}, "room": ${JSON.stringify(room)}}`;
  return `curl -X POST -H 'Content-Type: application/json' -d ${quoted(body)} ${url("messages")}`;
}

/** @param {string} path below where the page is, which need not be the root */
export function url(path) {
  return new URL(path, new URL(".", document.baseURI)).href;
}

/**
 * One word for a shell, whatever is in it.
 * @param {string} text
 */
export function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
