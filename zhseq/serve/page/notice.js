// What went wrong, where the user looks, and a way to try again.

import { $, h } from "./dom.js";
import { explainError, t } from "./i18n.js";

/** Show a sentence; `retry`, if given, gets a button. */
export function notify(element, text, retry) {
  const again = () => {
    quiet(element);
    retry();
  };
  element.replaceChildren(h("span", {}, text));
  if (retry) element.append(" ", h("button", { type: "button", onclick: again }, t("retry")));
  element.hidden = false;
}

/** Take the sentence away. */
export function quiet(element) {
  element.hidden = true;
  element.replaceChildren();
}

/**
 * Do something that asks the service; what goes wrong is shown, and can be tried again where that may help.
 *
 * `again` is what trying again does, by default the same.
 */
export async function attempt(element, work, again = () => attempt(element, work)) {
  quiet(element);
  try {
    await work();
    return true;
  } catch (error) {
    if (error.name === "AbortError") return false;
    if (error.status === 401) $("key-form").hidden = false;
    const hopeful = [0, 401, 503].includes(error.status);
    notify(element, explainError(error), hopeful ? again : undefined);
    if (error.status === undefined) console.error(error); // a fault of this page, not of the request
    return false;
  }
}
