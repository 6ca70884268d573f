// The button that changes the theme: the system's, light, dark. theme.js applies the chosen one before the first paint.

import { element, onClick } from "./dom.js";
import { browser, remember } from "./storage.js";
import { strings } from "./strings.js";

const THEMES = ["", "light", "dark"];
const { dataset } = document.documentElement;

onClick("theme", () => {
  const theme = THEMES[(THEMES.indexOf(dataset.theme ?? "") + 1) % THEMES.length] ?? "";
  remember(browser, "theme", theme);
  if (theme) dataset.theme = theme;
  else delete dataset.theme;
  describe();
});
describe();

function describe() {
  const button = element("theme");
  button.title = button.ariaLabel = strings.theme[dataset.theme ?? "system"] ?? "";
}
