// What one waits for, and for how long already.

import { h } from "./dom.js";
import { t } from "./i18n.js";

const PATIENCE = 3; // seconds after which it is said how long it has taken

/** Show in an element that something is under way; the function that comes back takes it away. */
export function waitIn(element, text) {
  const words = h("span", {}, text);
  const seconds = h("span", { className: "seconds", "aria-hidden": "true" }); // a reader need not hear each of them
  element.replaceChildren(h("span", { className: "brush", "aria-hidden": "true" }), words, " ", seconds);
  element.hidden = false;
  const begin = performance.now();
  const tick = setInterval(() => {
    const passed = Math.floor((performance.now() - begin) / 1000);
    if (passed >= PATIENCE) seconds.textContent = t("seconds", passed);
  }, 1000);
  const end = () => {
    clearInterval(tick);
    if (element.contains(words)) {
      element.hidden = true;
      element.replaceChildren();
    }
  };
  end.say = (other) => {
    words.textContent = other;
  };
  return end;
}
