// "Use this room": code that follows this room and publishes to it. Fetched on demand.

import { snippet } from "./copy.js";
import { dialogOf, element, make } from "./dom.js";
import { exampleFor, following, publishing } from "./examples.js";
import { strings } from "./strings.js";

const dialog = dialogOf("use");
const list = element("snippets");

/** Opens the dialog with the code for one room. @param {string} room */
export function show(room) {
  list.replaceChildren(...part(strings.follow, following(room)), ...part(strings.publish, publishing(exampleFor(room))));
  dialog.showModal();
}

/**
 * @param {string} title
 * @param {[string, string][]} examples
 */
function part(title, examples) {
  return [make("h3", "", title), ...examples.map(([language, lines]) => snippet(language, lines))];
}
