// The list of keyboard shortcuts.

import { dialogOf, element, facts, make } from "./dom.js";
import { strings } from "./strings.js";

const dialog = dialogOf("help");
element("help-content").replaceChildren(facts(strings.help.map(([keys, action]) => [pressed(keys), action])));

/** Opens the dialog. */
export function show() {
  dialog.showModal();
}

/** @param {string} keys */
function pressed(keys) {
  return make("span", "", ...keys.split(" ").flatMap((key) => [make("kbd", "", key), " "]));
}
