// The bench below the sheet: characters that fit at a place, other versions of a line, faults.

import { h } from "./dom.js";
import { addressOf } from "./entries.js";
import { say, t } from "./i18n.js";
import { waitIn } from "./waiting.js";

export class Bench {
  /** `acts`: what the buttons do: `exchange(line, place, character)`, `versions(line)`, `replace(line, text)`, `answer(text)`, … */
  constructor(root, acts) {
    this.root = root;
    this.acts = acts;
    this.paint = () => [];
    document.addEventListener("zhseq:language", () => this.#draw());
  }

  clear() {
    this.#put(() => []);
  }

  /** Say what is being done, and for how long already; the function that comes back takes that away. */
  wait(words) {
    const line = h("p", { className: "waiting hint" });
    const end = waitIn(line, words);
    this.#put(() => [line]);
    return () => {
      end();
      if (this.root.contains(line)) this.clear();
    };
  }

  /** Offer characters for one place, and to rewrite its line. */
  place(line, place, now, characters) {
    this.#put(() => [
      this.#head(t("placeTitle", line + 1, place + 1, now)),
      this.#characters(line, place, now, characters),
      h(
        "p",
        { className: "together" },
        h("button", { type: "button", className: "rewrite", onclick: () => this.acts.versions(line) }, t("rewriteLine")),
        ...lookup(now),
      ),
    ]);
  }

  /** Offer to look up a character of a poem that is not to be mended. */
  known(line, place, now) {
    this.#put(() => [this.#head(t("placeTitle", line + 1, place + 1, now)), h("p", {}, ...lookup(now))]);
  }

  /** Offer other versions of a line; `old` is how it was. */
  versions(line, now, old, found) {
    const option = (text, note) =>
      h(
        "li",
        {},
        h(
          "button",
          { type: "button", lang: "zh", "aria-pressed": String(text === now), onclick: () => this.acts.replace(line, text) },
          text,
          ...(note ? [h("small", { lang: document.documentElement.lang }, note)] : []),
        ),
      );
    this.#put(() => [
      this.#head(t("versions", line + 1)),
      ...(found.length ? [] : [h("p", { className: "hint" }, t("noVersions"))]),
      h("ul", { className: "versions" }, ...found.map((text) => option(text, "")), option(old, t("asItWas"))),
      h("button", { type: "button", className: "rewrite", onclick: () => this.acts.versions(line) }, t("rewriteLine")),
    ]);
  }

  /** Offer the answers to an upper line. */
  answers(now, found) {
    const option = (text) => {
      const pressed = { lang: "zh", "aria-pressed": String(text === now) };
      return h("li", {}, h("button", { type: "button", ...pressed, onclick: () => this.acts.answer(text) }, text));
    };
    this.#put(() => [this.#head(t("answers")), h("ul", { className: "versions" }, ...found.map(option))]);
  }

  /** List the faults of a review, and the characters that would mend them if there are suggestions. */
  review(found, suggestions) {
    const count = found.faults.length;
    const verdict = () => {
      if (count) return count === 1 ? t("oneFault") : t("faultCount", count);
      if (suggestions) return t(suggestions.length ? "marksTitle" : "nothingToMend");
      return found.note ? t("noFault") : t("faultless");
    };
    this.#put(() => [
      this.#head(verdict()),
      ...(found.note ? [this.#note(found)] : []),
      ...(count ? [h("ul", { className: "faults" }, ...found.faults.map((fault) => this.#fault(fault)))] : []),
      ...(suggestions ?? []).flatMap((mark) => [
        h("h3", {}, t("placeTitle", mark.line, mark.place, mark.character.replace("?", "？"))),
        this.#characters(mark.line - 1, mark.place - 1, mark.character, mark.characters),
      ]),
    ]);
  }

  /** Say that a poem was judged as old-style verse, and offer to hold it to the rules of the form. */
  #note(found) {
    const strictly = h("button", { type: "button", onclick: () => this.acts.strictly() }, t("judgeStrictly", found.form));
    return h("p", { className: "hint" }, say(found.note), " ", strictly);
  }

  #fault(fault) {
    const place = fault.place
      ? t("faultPlace", fault.line, fault.place, fault.character)
      : t("faultLine", fault.line);
    const go = () => this.acts.go(fault.line - 1, Math.max(0, fault.place - 1));
    return h("li", {}, h("button", { type: "button", className: "plain", onclick: go }, place), " ", say(fault.reason));
  }

  #characters(line, place, now, characters) {
    if (!characters.length) return h("p", { className: "hint" }, t("noChars"));
    const use = (character) => () => this.acts.exchange(line, place, character);
    const button = (character) => {
      const named = { lang: "zh", "aria-label": t("nowUse", character), "aria-pressed": String(character === now) };
      return h("button", { type: "button", ...named, onclick: use(character) }, character);
    };
    const list = h("div", { className: "characters", role: "group" }, ...characters.map(button));
    list.setAttribute("aria-label", t("otherChars"));
    return list;
  }

  #head(text) {
    const close = h("button", { type: "button", className: "plain", onclick: () => this.acts.close() }, t("close"));
    return h("div", { className: "head" }, h("h2", {}, text), close);
  }

  #put(paint) {
    this.paint = paint;
    this.#draw();
  }

  #draw() {
    const held = this.root.contains(document.activeElement);
    this.root.replaceChildren(...this.paint());
    if (held) this.root.focus(); // else the button that was pressed would take the focus with it
  }
}

/** Return a link to what is known of a character. */
function lookup(character) {
  return character === "？" ? [] : [h("a", { href: addressOf("character", character) }, t("lookUpCharacter", character))];
}
