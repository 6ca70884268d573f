// The list of keyboard shortcuts.

import { dialogOf, element, make } from "./dom.js";
import { words } from "./words.js";

const dialog = dialogOf("help");
const list = make("dl", "", ...words.help.flatMap(([keys = "", does = ""]) => [make("dt", "", ...pressed(keys)), make("dd", "", does)]));
element("help-content", HTMLElement).replaceChildren(list);

export function show() {
  dialog.showModal();
}

/** @param {string} keys */
function pressed(keys) {
  return keys.split(" ").flatMap((key) => [make("kbd", "", key), " "]);
}
