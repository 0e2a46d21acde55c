// The sheet: a poem set as verse, across or down, with tones, rhymes and faults; its characters can be chosen.

import { $, h } from "./dom.js";
import { t } from "./i18n.js";

const STEPS = {
  across: { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] },
  down: { ArrowDown: [0, 1], ArrowUp: [0, -1], ArrowLeft: [1, 0], ArrowRight: [-1, 0] },
};

export class Sheet {
  constructor() {
    this.verse = $("verse");
    this.onpick = () => {}; // called with line and place when a character is chosen
    this.rows = []; // {text, mark, ends} of each line
    this.heading = "";
    this.verse.addEventListener("click", (event) => this.#pick(event.target.closest(".char")));
    this.verse.addEventListener("keydown", (event) => this.#key(event));
    this.verse.addEventListener("scroll", () => this.#showRest(), { passive: true });
    new ResizeObserver(() => this.#showRest()).observe(this.verse);
    $("further").addEventListener("click", () => {
      const step = 0.8 * (this.layout === "down" ? this.verse.clientWidth : this.verse.clientHeight);
      this.verse.scrollBy(this.layout === "down" ? { left: -step } : { top: step });
    });
  }

  get layout() {
    return this.verse.classList.contains("down") ? "down" : "across";
  }

  set layout(name) {
    this.verse.classList.toggle("down", name === "down");
    this.#showRest();
  }

  /** Take everything off and get ready for lines. */
  begin(heading, form) {
    this.heading = heading;
    this.form = form;
    this.rows = [];
    this.verse.dataset.form = form;
    this.verse.replaceChildren(...(heading ? [h("p", { className: "heading" }, heading)] : []));
    this.verse.scrollTo(0, 0);
    $("empty").hidden = true;
  }

  /** Set one more line, as soon as it is written. */
  add(row) {
    this.rows.push(row);
    if (this.rows.length === 1 || this.rows.at(-2).ends) this.verse.append(h("p", { className: "row" }));
    this.verse.lastElementChild.append(this.#line(row, this.rows.length - 1, "line fresh"));
    this.#showRest();
  }

  /** Set a whole poem. */
  show(rows, heading, form) {
    this.begin(heading, form);
    for (const row of rows) {
      if (!this.rows.length || this.rows.at(-1).ends) this.verse.append(h("p", { className: "row" }));
      this.rows.push(row);
      this.verse.lastElementChild.append(this.#line(row, this.rows.length - 1, "line"));
    }
    this.name();
    this.#showRest();
  }

  /** Give each character its name for those who hear the page, in the language of the page. */
  name() {
    this.verse.setAttribute("role", "group");
    this.verse.setAttribute("aria-label", t("poemLabel"));
    for (const character of this.verse.querySelectorAll(".char")) {
      const { line, place, tone = "", bits, pinyin = "" } = character.dataset;
      const label = t("charLabel", character.textContent, Number(line) + 1, Number(place) + 1);
      const known = [label, pinyin, tone, bits === undefined ? "" : t("bits", bits)];
      character.setAttribute("aria-label", known.filter(Boolean).join(", "));
    }
  }

  /** Show what a review found; without one take it off. */
  annotate(review) {
    for (const character of this.verse.querySelectorAll(".char")) {
      const line = Number(character.dataset.line);
      const place = Number(character.dataset.place);
      const last = place === [...this.rows[line].text].length - 1;
      delete character.dataset.tone;
      delete character.dataset.bits;
      delete character.dataset.pinyin;
      character.classList.remove("fault", "rhyme", "oblique");
      if (!review || review.lines.length !== this.rows.length) continue;
      character.dataset.tone = review.tones[line]?.[place] ?? "";
      const bits = review.surprise?.[line]?.[place];
      if (bits !== undefined) character.dataset.bits = Math.round(bits);
      const sound = review.pinyin?.[line]?.[place];
      if (sound && sound !== "?") character.dataset.pinyin = sound;
      character.classList.toggle("oblique", character.dataset.tone === "仄");
      character.classList.toggle("rhyme", last && review.rhyming[line] > 0);
      character.classList.toggle("fault", review.faults.some((fault) => covers(fault, line, place)));
    }
    for (const [number, line] of [...this.verse.querySelectorAll(".line")].entries()) {
      line.title = (review?.rhyming[number] && review.rhyme_names[number]) || "";
      line.dataset.rhyme = sealOf(line.title);
    }
    this.name();
  }

  /** Mark the line that is read aloud, or none. */
  speak(number) {
    this.verse.querySelectorAll(".line").forEach((line, place) => line.classList.toggle("spoken", place === number));
  }

  /** Mark one character as chosen, or none. */
  select(line, place) {
    for (const each of this.verse.querySelectorAll(".chosen")) each.classList.remove("chosen");
    this.#char(line, place)?.classList.add("chosen");
  }

  focus(line, place) {
    const character = this.#char(line, place);
    if (!character) return;
    for (const each of this.verse.querySelectorAll(".char[tabindex='0']")) each.tabIndex = -1;
    character.tabIndex = 0;
    character.focus();
  }

  /** Say how many lines lie beyond the edge of the sheet, and offer to go there. */
  #showRest() {
    const { scrollLeft, scrollTop, scrollWidth, scrollHeight, clientWidth, clientHeight } = this.verse;
    const down = this.layout === "down";
    const rest = down ? scrollWidth - clientWidth + scrollLeft : scrollHeight - clientHeight - scrollTop;
    const edge = this.verse.getBoundingClientRect();
    const beyond = (line) => {
      const { left, bottom } = line.getBoundingClientRect();
      return down ? left < edge.left - 1 : bottom > edge.bottom + 1;
    };
    const more = rest > 4 ? [...this.verse.querySelectorAll(".line")].filter(beyond).length : 0;
    this.verse.classList.toggle("more", more > 0);
    $("further").hidden = !more;
    $("further").textContent = t("further", more);
  }

  #line(row, number, className) {
    const line = h("span", { className });
    [...row.text].forEach((text, place) => {
      const character = h("span", { className: "char", role: "button", tabIndex: number + place ? -1 : 0 }, text);
      Object.assign(character.dataset, { line: number, place });
      character.classList.toggle("open", text === "？");
      line.append(character);
    });
    if (row.mark) line.append(h("span", { className: "mark" }, row.mark));
    return line;
  }

  #char(line, place) {
    return this.verse.querySelector(`.char[data-line="${line}"][data-place="${place}"]`);
  }

  #pick(character) {
    if (!character) return;
    const [line, place] = [Number(character.dataset.line), Number(character.dataset.place)];
    this.focus(line, place);
    this.onpick(line, place);
  }

  #key(event) {
    const here = event.target.closest(".char");
    if (!here) return;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.#pick(here);
      return;
    }
    let [line, place] = [Number(here.dataset.line), Number(here.dataset.place)];
    const step = STEPS[this.layout][event.key];
    if (!step && event.key !== "Home" && event.key !== "End") return;
    event.preventDefault();
    const length = (number) => [...(this.rows[number]?.text ?? "")].length;
    if (event.key === "Home") [line, place] = [0, 0];
    else if (event.key === "End") [line, place] = [this.rows.length - 1, length(this.rows.length - 1) - 1];
    else {
      line += step[0];
      place += step[1];
      if (place < 0) place = length((line -= 1)) - 1;
      else if (step[1] && place >= length(line)) [line, place] = [line + 1, 0];
      else place = Math.min(place, length(line) - 1);
    }
    this.focus(line, place);
  }
}

function covers(fault, line, place) {
  return fault.line === line + 1 && (fault.place === 0 || fault.place === place + 1);
}

/** Shorten the name of a rhyme to what its seal holds: 庚 of 下平八庚 (生), 七 of 第七部平声 (寒). */
function sealOf(name) {
  const [book] = name.split(" ");
  return book.match(/^第(.+?)部/u)?.[1] ?? [...book].at(-1) ?? "";
}
