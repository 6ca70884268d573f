// Code that sends the typed message from elsewhere: in a shell, in Python, in JavaScript.

import { curl, url } from "./curl.js";
import { tokens } from "./exact.js";

/** Names of fields and their values, as JSON. @typedef {[string, string][]} Fields */

/** @type {Record<string, string>} */
const PYTHON = { true: "True", false: "False", null: "None", ",": ", ", ":": ": " };

/** @param {Fields} fields */
export function bodyOf(fields) {
  return `{${fields.map(([name, value]) => `${JSON.stringify(name)}: ${value}`).join(", ")}}`;
}

/**
 * @param {Fields} fields of a message, with its room first
 * @param {boolean} withToken
 * @param {string} [key] an Idempotency-Key, if one is wanted
 * @returns {Record<"curl" | "python" | "javascript", string>}
 */
export function lines(fields, withToken, key = "") {
  const [[, room = '""'] = [], ...others] = fields;
  const given = others.map(([name, value]) => `, ${name}=${python(value)}`).join("");
  const auth = withToken ? ', auth=os.environ["ROOMCAST_TOKEN"]' : "";
  const options = [...(withToken ? ["token"] : []), ...(key ? [`key: ${JSON.stringify(key)}`] : [])].join(", ");
  const python_ = [
    ...(withToken ? ["import os", ""] : []),
    "from roomcast.client import Client",
    "",
    `with Client(${JSON.stringify(url(""))}${auth}) as client:`,
    `    client.publish(${python(room)}${given}${key && `, idempotency_key=${JSON.stringify(key)}`})`,
  ];
  const javascript = [
    `import { publish } from "${url("roomcast.js")}";`,
    "",
    ...(withToken ? ['const token = async () => (await fetch("/token")).text();'] : []),
    `await publish(${bodyOf(fields)}${options && `, { ${options} }`});`,
  ];
  return { curl: curl(bodyOf(fields), withToken, key), python: python_.join("\n"), javascript: javascript.join("\n") };
}

/** JSON as Python writes it. @param {string} json */
function python(json) {
  return tokens(json)
    .map((token) => PYTHON[token] ?? token)
    .join("");
}
