// JSON to the letter. JavaScript would show 12345678901234567890 as …67000, 1.0 as 1, -0 as 0, and of a key given twice
// only the last: a message's `data` stays the text that was sent.

const TOKEN = /"(?:[^"\\]|\\.)*"|[^\s",:[\]{}]+|[,:[\]{}]/g;
/** How deep the keys of a message are: in a stream, and in a page of history, `{"messages": [{…}]}`. */
const DEPTHS = [1, 3];

/**
 * The tokens of a JSON text, unchanged and without the white space between them.
 * @param {string} json
 * @returns {string[]}
 */
export function tokens(json) {
  return json.match(TOKEN) ?? [];
}

/**
 * Parses an answer or a message; `data` of messages becomes a string, the JSON as it was sent. Throws as `JSON.parse` does.
 * @param {string} json
 * @returns {any}
 */
export function parse(json) {
  return JSON.parse(json.includes('"data"') ? withDataAsText(json) : json);
}

/**
 * The same JSON with `data` as a string.
 * @param {string} json
 */
function withDataAsText(json) {
  let [result, done, depth, before] = ["", 0, 0, ""];
  /** Where the data begins, and how deep. @type {{at: number, depth: number} | undefined} */
  let data;
  for (const { 0: token, index } of json.matchAll(TOKEN)) {
    if (data?.depth === depth && (token === "," || token === "}")) {
      result += json.slice(done, data.at) + JSON.stringify(json.slice(data.at, index).trim());
      done = index;
      data = undefined;
    }
    if (token === ":" && before === '"data"' && !data && DEPTHS.includes(depth)) data = { at: index + 1, depth };
    depth += deeper(token);
    before = token;
  }
  return result + json.slice(done);
}

/** @param {string} token */
function deeper(token) {
  if (token === "{" || token === "[") return 1;
  return token === "}" || token === "]" ? -1 : 0;
}

/**
 * JSON over several lines, as `JSON.stringify(value, null, 2)` would have it, with every token unchanged.
 * @param {string} json
 * @returns {string}
 */
export function pretty(json) {
  let [result, depth, before] = ["", 0, ""];
  for (const [token] of json.matchAll(TOKEN)) {
    const closes = deeper(token) < 0;
    const opened = deeper(before) > 0;
    if (closes) depth -= 1;
    if (before === ":") result += " ";
    else if (closes ? !opened : opened || before === ",") result += `\n${"  ".repeat(depth)}`;
    result += token;
    if (!closes) depth += deeper(token);
    before = token;
  }
  return result;
}
