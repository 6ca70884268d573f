// Finds and makes elements. Text only ever becomes text here: nothing in the page parses HTML.

/**
 * The element of index.html with this id and of this kind. Throws an `Error` if there is none.
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 * @param {new () => T} [kind]
 * @returns {T}
 */
export function element(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof (kind ?? HTMLElement))) throw new Error(`no #${id} of this kind`);
  return /** @type {T} */ (found);
}

/**
 * Calls a function at each click.
 * @param {string} id of an element in index.html
 * @param {(event: MouseEvent) => void} act
 */
export function onClick(id, act) {
  element(id).addEventListener("click", act);
}

/**
 * A new element with a class and, inside, text or other elements.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {string} className
 * @param {(string | Node)[]} inside
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(tag, className, ...inside) {
  const made = document.createElement(tag);
  made.className = className;
  made.append(...inside);
  return made;
}

/**
 * A new button that does not submit a form.
 * @param {string} className
 * @param {() => void} act called at each click
 * @param {(string | Node)[]} inside
 * @returns {HTMLButtonElement}
 */
export function button(className, act, ...inside) {
  const made = make("button", className, ...inside);
  made.type = "button";
  made.addEventListener("click", act);
  return made;
}

/**
 * A list of names with their values.
 * @param {[string | Node, string | Node][]} pairs
 * @returns {HTMLDListElement}
 */
export function facts(pairs) {
  return make("dl", "", ...pairs.flatMap(([name, value]) => [make("dt", "", name), make("dd", "", value)]));
}

/**
 * A text that scrolls, also with the keyboard.
 * @param {string | Node} text
 * @returns {HTMLPreElement}
 */
export function scrolling(text) {
  const made = make("pre", "", text);
  made.tabIndex = 0;
  return made;
}

/**
 * Sets an element's text if it differs: a screen reader reads aloud whatever is set.
 * @param {HTMLElement} element
 * @param {string} text
 */
export function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * A dialog of index.html. Its close button closes it, and so does a click beside it.
 * @param {string} id
 * @returns {HTMLDialogElement}
 */
export function dialogOf(id) {
  const dialog = element(id, HTMLDialogElement);
  onClick(`${id}-close`, () => dialog.close());
  dialog.addEventListener("click", ({ target }) => target === dialog && dialog.close());
  return dialog;
}
