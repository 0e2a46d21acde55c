// A text field with a list of proposals: type to search, arrows and Enter to choose. After the ARIA pattern "combobox".

import { h } from "./dom.js";
import { rank, wish } from "./finding.js";
import { t } from "./i18n.js";

const MOST = 60; // proposals shown at once; typing narrows them down

/**
 * Turn a text field into a combobox.
 *
 * `items` returns `[{value, note, others}]`, the commonest first, `others` being other names for it; `onchange` is called
 * when a value was chosen or typed.
 */
export class Combobox {
  constructor(input, items, onchange = () => {}) {
    this.input = input;
    this.items = items;
    this.onchange = onchange;
    this.active = -1;
    this.list = h("ul", { id: `${input.id}-list`, role: "listbox", className: "proposals", hidden: true });
    this.list.setAttribute("aria-label", input.labels[0]?.textContent ?? "");
    this.status = h("span", { className: "sr-only", role: "status" });
    const attributes = { role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false" };
    for (const [name, value] of Object.entries(attributes)) input.setAttribute(name, value);
    input.setAttribute("aria-controls", this.list.id);
    input.autocomplete = "off";
    input.closest(".field").append(this.list, this.status);
    // While an input method composes, its letters are not the user's text yet: the list waits for what comes of them.
    input.addEventListener("input", (event) => event.isComposing || this.open());
    input.addEventListener("compositionend", () => this.open());
    input.addEventListener("click", () => this.open());
    input.addEventListener("keydown", (event) => this.#key(event));
    input.addEventListener("blur", () => this.close());
    input.addEventListener("change", () => this.onchange());
    this.list.addEventListener("mousedown", (event) => event.preventDefault()); // the field keeps the focus
    this.list.addEventListener("click", (event) => this.#choose(event.target.closest("li[role=option]")));
  }

  open() {
    const all = this.items();
    const found = matches(all, this.input.value.trim());
    this.list.replaceChildren(...found.slice(0, MOST).map((item, number) => this.#option(item, number)));
    if (!found.length) this.list.append(h("li", { className: "none" }, t("nothingFound")));
    this.status.textContent = t("found", found.length);
    this.list.hidden = false;
    this.input.setAttribute("aria-expanded", "true");
    this.#activate(-1);
  }

  close() {
    this.list.hidden = true;
    this.status.textContent = "";
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
  }

  #option(item, number) {
    const properties = { id: `${this.list.id}-${number}`, role: "option", "aria-selected": "false" };
    const option = h("li", properties, h("span", {}, item.value), h("small", {}, item.note ?? ""));
    option.dataset.value = item.value;
    return option;
  }

  #key(event) {
    if (event.isComposing || event.keyCode === 229) return; // Enter and arrows are the input method's
    const open = !this.list.hidden;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      if (!open) this.open();
      const count = this.list.querySelectorAll("[role=option]").length;
      if (count) this.#activate((this.active + step + count) % count);
    } else if (event.key === "Enter" && open && this.active >= 0) {
      event.preventDefault(); // choose, do not send the form
      this.#choose(this.list.children[this.active]);
    } else if (event.key === "Enter") {
      this.close(); // what was typed is sent as it is
    } else if (event.key === "Escape" && open) {
      event.preventDefault();
      this.close();
    }
  }

  #activate(number) {
    this.list.children[this.active]?.setAttribute?.("aria-selected", "false");
    this.active = number;
    const option = number >= 0 ? this.list.children[number] : null;
    if (!option) {
      this.input.removeAttribute("aria-activedescendant");
      return;
    }
    option.setAttribute("aria-selected", "true");
    option.scrollIntoView({ block: "nearest" });
    this.input.setAttribute("aria-activedescendant", option.id);
  }

  #choose(option) {
    if (!option) return;
    this.input.value = option.dataset.value;
    this.close();
    this.onchange();
  }
}

/** Return the items that go with a text, the best first; all of them for no text, and for one that is chosen already. */
function matches(all, text) {
  const typed = wish(text);
  if (!typed || all.some((item) => item.value === text)) return all;
  const ranked = all.map((item) => [rank(item.value, item.others ?? [], typed), item]);
  return ranked.filter(([place]) => place >= 0).sort(([a], [b]) => a - b).map(([, item]) => item);
}
