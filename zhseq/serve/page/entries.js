// Entries of the handbook as they are shown. Words lead to other entries.

import { h } from "./dom.js";
import { t } from "./i18n.js";

const TONES = { "○": "平", "●": "仄", "◎": "中", "△": "韵", "▲": "换韵", "▽": "三韵", "▼": "四韵", "◇": "五韵", "◆": "六韵" };
const OTHERS = 3; // patterns of a tune from which on they are folded away

/** Return the part of the address that brings an entry. */
export function addressOf(kind, text, book) {
  const query = new URLSearchParams({ [kind]: text, ...(kind === "rhymes" ? { book } : {}) });
  return `#lookup?${query}`;
}

const zh = (name, properties, ...children) => h(name, { lang: "zh", ...properties }, ...children);
const to = (kind, text, label = text, book = "classical") => zh("a", { href: addressOf(kind, text, book) }, label);
const title = (text) => zh("h2", { tabIndex: -1 }, text);
const hint = (text) => h("p", { className: "hint" }, text);
const each = (items, draw) => items.flatMap((item, number) => (number ? [" ", draw(item)] : [draw(item)]));

/** Set a row of words below what they are. */
function row(label, ...children) {
  return h("p", {}, h("span", { className: "what" }, label), " ", zh("span", {}, ...children));
}

/** Name rhyme groups; each leads to its words. */
function groups(names, book) {
  return each(names, (name) => {
    const [, word] = /\((.+)\)$/u.exec(name) ?? [];
    return word ? to("rhymes", word, name, book) : name;
  });
}

export function ofCharacter(found) {
  const reading = ({ tone, pinyin, share, groups: shi, ci_groups: ci, words }) =>
    h(
      "section",
      { className: "reading" },
      zh("h3", {}, [tone, ...pinyin, found.readings.length > 1 ? `${Math.round(share * 100)}%` : ""].filter(Boolean).join("　")),
      ...(shi.length ? [row(t("rhymesOfShi"), ...groups(shi, "classical"))] : []),
      ...(ci.length ? [row(t("rhymesOfCi"), ...groups(ci, "ci"))] : []),
      ...(words.length ? [row(t("readSoIn"), words.join(" "))] : []),
    );
  return [
    title(found.character),
    ...found.readings.map(reading),
    ...(found.learned ? [] : [hint(t("toneOfToday"))]),
    h(
      "section",
      { className: "reading" },
      ...(found.endings.length ? [row(t("rhymesIn", found.rhymes), found.endings.join(" "))] : []),
      ...(found.facing.length ? [row(t("facedBy"), ...each(found.facing, (word) => to("character", word)))] : []),
      h("p", {}, h("a", { href: addressOf("facing", found.character) }, t("allFacing"))),
    ),
  ];
}

export function ofRhymes(found, acts, num) {
  const line = (word) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, to("character", word.character), ...(word.certain ? [] : [h("small", {}, ` ${t("severalReadings")}`)])),
      h("td", { className: "count" }, word.rhymes.toLocaleString()),
      zh("td", {}, word.endings.join(" ")),
    );
  const head = h("tr", {}, ...[t("word"), t("timesRhymed"), t("endings")].map((text) => h("th", { scope: "col" }, text)));
  return [
    title(found.name),
    hint(t("groupNote", found.tone, found.size, t(`rhyme_${found.book}`))),
    h("table", {}, h("thead", {}, head), h("tbody", {}, ...found.words.map(line))),
    ...rest(found.size > num && found.words.length === num, acts),
  ];
}

export function ofTune(found, acts) {
  const pattern = ({ poems, characters, rows }, number) =>
    h(
      "section",
      { className: "reading" },
      h("h3", {}, t(number ? "otherPattern" : "mainPattern", number + 1, poems, characters)),
      h("div", { className: "drawn", role: "img", "aria-label": rows.map(spoken).join("\n") }, ...rows.map((text) => h("p", {}, text))),
    );
  const all = found.patterns.map(pattern);
  const [first, others] = all.length > OTHERS ? [all.slice(0, 1), all.slice(1)] : [all, []];
  const wanted = new URLSearchParams({ tune: found.name });
  return [
    title(found.name),
    hint(t("tuneCounts", found.poems, found.patterns.length, found.patterns[0].characters)),
    ...(found.names.length ? [row(t("otherNames"), found.names.join("、"))] : []),
    ...first,
    ...(others.length ? [h("details", {}, h("summary", {}, t("otherPatterns", others.length)), ...others)] : []),
    hint(t("signs")),
    h(
      "p",
      { className: "together" },
      h("button", { type: "button", onclick: acts.example }, t("writeExample")),
      h("a", { href: `#studio?${wanted}` }, t("writeToTune")),
    ),
    ...(found.example ? [zh("p", { className: "example" }, found.example)] : []),
  ];
}

/** Say a drawn pattern in words, for those who hear the page. */
const spoken = (text) => [...text].map((sign) => TONES[sign] ?? sign).join("");

export function ofFacing(found, acts, num) {
  const item = ({ word, count }) => h("li", {}, to("facing", word), " ", h("small", {}, count.toLocaleString()));
  return [
    title(found.word),
    hint(t(found.facing.length ? "facingNote" : "nothingFaces", found.word)),
    ...(found.facing.length ? [h("ul", { className: "words" }, ...found.facing.map(item))] : []),
    ...rest(found.facing.length === num, acts),
  ];
}

export function ofPoems(found, acts, num) {
  const item = ({ dynasty, author, title: name, text }) =>
    zh("li", {}, h("span", { className: "what" }, `${dynasty}·${author}《${name}》`), h("p", {}, ...marked(text, found.text)));
  return [
    title(found.text),
    hint(t("poemsThatHold", found.poems.toLocaleString())),
    h("ol", { className: "places" }, ...found.places.map(item)),
    ...rest(found.poems > num && found.places.length === num, acts),
  ];
}

/** Mark what was looked for. */
function marked(text, sought) {
  const start = text.indexOf(sought);
  return start < 0 ? [text] : [text.slice(0, start), h("mark", {}, sought), text.slice(start + sought.length)];
}

function rest(more, acts) {
  return more ? [h("button", { type: "button", onclick: acts.all }, t("showMore"))] : [];
}
