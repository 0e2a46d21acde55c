// The tagger: words and names of a text in colour, a legend, own words, files to take away.

import { countTags, familyOf, paragraph } from "./annotated.js";
import { call } from "./api.js";
import { $, download, h } from "./dom.js";
import { toConllu, toJsonLines } from "./exports.js";
import { inEachLanguage, isChinese, t } from "./i18n.js";
import { attempt, notify } from "./notice.js";
import { offerTags, ownWords, propose, startWords } from "./words.js";

const notice = $("tagger-notice");
let tags = { pos: [], ner: [] };
let documents = null;
let tagging = null; // the AbortController of the request under way
let highlighted = ""; // the tag that the legend makes stand out

const nameOf = (row) => (isChinese() ? row.chinese : row.english);
const universal = () => new Map(tags.pos.map((row) => [row.tag, row.upos]));
const families = () => new Map(tags.pos.map((row) => [row.tag, familyOf(row.upos)]));

/** Prepare the tagger. */
export function startTagger() {
  $("tag-form").addEventListener("submit", (event) => {
    event.preventDefault();
    if ($("text").value.trim()) tag();
    else notify(notice, t("textMissing"));
  });
  $("text").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("tag-form").requestSubmit();
  });
  for (const name of ["words", "names"])
    $(`show-${name}`).addEventListener("change", (event) => $("result").classList.toggle(name, event.target.checked));
  $("jsonl").addEventListener("click", () => save("tagged.jsonl", toJsonLines(documents), "application/x-ndjson"));
  $("conllu").addEventListener("click", () => save("tagged.conllu", toConllu(documents, universal()), "text/plain"));
  $("text").addEventListener("select", ({ target }) => {
    propose(target.value.slice(target.selectionStart, target.selectionEnd));
  });
  document.addEventListener("selectionchange", () => {
    const selection = document.getSelection();
    if ($("result").contains(selection.anchorNode) && !selection.isCollapsed) propose(selection.toString());
  });
  startWords(() => documents && tag());
  inEachLanguage(show);
}

/** Take over what the tagger of the service knows. */
export function useTags(found) {
  tags = found;
  show();
}

function tag() {
  const texts = $("text").value.replace(/\n$/, "").split("\n");
  tagging?.abort();
  tagging = new AbortController();
  const { signal } = tagging;
  return attempt(notice, async () => {
    $("result").setAttribute("aria-busy", "true");
    try {
      ({ documents } = await call("v1/tag", { texts, words: ownWords() }, signal));
    } finally {
      $("result").setAttribute("aria-busy", "false");
    }
    highlighted = "";
    $("result").replaceChildren(...documents.map((document) => paragraph(document, families())));
    show();
  });
}

/** Show all that depends on the language, and on what was found. */
function show() {
  offerTags(tags, nameOf);
  for (const id of ["result", "exports"]) $(id).hidden = !documents;
  const { pos, ner } = countTags(documents ?? []);
  const sum = (map) => [...map.values()].reduce((total, count) => total + count, 0);
  $("summary").textContent = documents ? t("summary", sum(pos), sum(ner)) : "";
  const seen = (rows, counts, kind) =>
    rows.filter((row) => counts.has(row.tag)).map((row) => entry(row, counts.get(row.tag), kind));
  const rows = [...seen(tags.ner, ner, "label"), ...seen(tags.pos, pos, "pos")];
  $("legend").replaceChildren(...(rows.length ? rows : [h("li", { className: "hint" }, t("noLegend"))]));
  highlight();
}

function entry(row, count, kind) {
  const swatch = h("span", { className: kind === "label" ? "name" : "word", "aria-hidden": "true" }, row.tag);
  if (kind === "label") swatch.dataset.label = row.tag;
  else swatch.dataset.family = familyOf(row.upos);
  const press = () => {
    highlighted = highlighted === row.tag ? "" : row.tag;
    highlight();
  };
  const button = h("button", { type: "button", onclick: press }, swatch, h("span", {}, nameOf(row)), h("small", {}, `${count}`));
  button.setAttribute("aria-label", `${row.tag} ${nameOf(row)} ${count}`);
  button.dataset.tag = row.tag;
  return h("li", {}, button);
}

/** Let one tag stand out, or all again. */
function highlight() {
  for (const button of $("legend").querySelectorAll("button"))
    button.setAttribute("aria-pressed", String(button.dataset.tag === highlighted));
  $("result").classList.toggle("dimmed", highlighted !== "");
  for (const element of $("result").querySelectorAll(".word, .name")) {
    const tagOf = element.dataset.pos ?? element.dataset.label;
    element.classList.toggle("lit", tagOf === highlighted);
  }
}

function save(name, text, type) {
  download(name, new Blob([text], { type: `${type};charset=utf-8` }));
}
