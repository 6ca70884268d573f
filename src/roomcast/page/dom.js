// Elements found and made. Text only ever becomes text here: nothing in the page parses HTML.

/**
 * The element of index.html with this id and of this kind.
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} kind
 * @returns {T}
 */
export function element(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`index.html has no ${kind.name} #${id}`);
  return found;
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
 * Only changes: a screen reader reads aloud whatever is set.
 * @param {HTMLElement} element
 * @param {string} text
 */
export function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * A dialog of index.html that goes by its button, and by a click beside it.
 * @param {string} id
 */
export function dialogOf(id) {
  const dialog = element(id, HTMLDialogElement);
  element(`${id}-close`, HTMLButtonElement).addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", ({ target }) => target === dialog && dialog.close());
  return dialog;
}
