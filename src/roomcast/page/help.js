// What the keys do.

import { element, make } from "./dom.js";
import { words } from "./words.js";

const dialog = element("help", HTMLDialogElement);
const list = make("dl", "", ...words.help.flatMap(([keys = "", does = ""]) => [make("dt", "", ...pressed(keys)), make("dd", "", does)]));
element("help-content", HTMLElement).replaceChildren(list);
element("help-close", HTMLButtonElement).addEventListener("click", () => dialog.close());
dialog.addEventListener("click", ({ target }) => target === dialog && dialog.close());

export function show() {
  dialog.showModal();
}

/** @param {string} keys */
function pressed(keys) {
  return keys.split(" ").flatMap((key) => [make("kbd", "", key), " "]);
}
