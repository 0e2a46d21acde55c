// The tagger: words and names of a text in colour, a legend, own words, files to take away.

import { countTags, familyOf, paragraph } from "./annotated.js";
import { call } from "./api.js";
import { $, download, h } from "./dom.js";
import { toConllu, toJsonLines } from "./exports.js";
import { inEachLanguage, isChinese, t } from "./i18n.js";
import { attempt, notify } from "./notice.js";
import { waitIn } from "./waiting.js";
import { offerTags, ownWords, propose, startWords } from "./words.js";

const notice = $("tagger-notice");
let tags = { pos: [], ner: [] };
const SLICE = 6; // milliseconds of work after which the browser may do something else
const BATCH = 4000; // characters that are asked for at once; one text is never cut

let documents = null;
let about = null; // the text and the words that the documents belong to
let tagging = null; // the AbortController of the request under way
let highlighted = ""; // the tag that the legend makes stand out

const nameOf = (row) => (isChinese() ? row.chinese : row.english);
const universal = () => new Map(tags.pos.map((row) => [row.tag, row.upos]));
const families = () => new Map(tags.pos.map((row) => [row.tag, familyOf(row.upos)]));

/** Prepare the tagger. */
export function startTagger() {
  $("tag-form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (tagging) tagging.abort();
    else if ($("text").value.trim()) tag();
    else notify(notice, t("textMissing"));
  });
  $("text").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("tag-form").requestSubmit();
  });
  for (const name of ["words", "names"])
    $(`show-${name}`).addEventListener("change", (event) => $("result").classList.toggle(name, event.target.checked));
  $("jsonl").addEventListener("click", () => save("tagged.jsonl", toJsonLines(documents), "application/x-ndjson"));
  $("conllu").addEventListener("click", () => save("tagged.conllu", toConllu(documents, universal()), "text/plain"));
  $("text").addEventListener("input", showState);
  $("text").addEventListener("select", ({ target }) => {
    propose(target.value.slice(target.selectionStart, target.selectionEnd));
  });
  document.addEventListener("selectionchange", () => {
    const selection = document.getSelection();
    if ($("result").contains(selection.anchorNode) && !selection.isCollapsed) propose(selection.toString());
  });
  startWords(() => (documents ? tag() : undefined));
  inEachLanguage(show);
}

/** Take over what the tagger of the service knows. */
export function useTags(found) {
  tags = found;
  show();
}

/** What stands in the fields now, as one value that can be compared. */
const asked = () => JSON.stringify([$("text").value, ownWords()]);

async function tag() {
  tagging?.abort();
  const mine = (tagging = new AbortController());
  const end = waitIn($("tag-waiting"), t("tagging"));
  $("result").setAttribute("aria-busy", "true");
  $("tag").textContent = t("stopTagging");
  showState();
  const key = asked();
  let laying = false; // whether the sheet holds a part only
  await attempt(notice, async () => {
    const found = await documentsOf($("text").value, ownWords(), mine.signal);
    if (tagging !== mine) return;
    end.say(t("laying"));
    [documents, about, highlighted] = [found, key, ""];
    laying = true;
    show();
    await layOut(found, mine.signal);
    laying = false;
  }, tag);
  end();
  if (tagging !== mine) return; // something else is being tagged by now
  tagging = null;
  if (laying) documents = null; // stopped
  $("result").setAttribute("aria-busy", "false");
  $("tag").textContent = t("tag");
  show();
}

/** Ask for the documents of a text, some paragraphs at a time. */
async function documentsOf(text, words, signal) {
  const texts = text.replace(/\n$/, "").split("\n");
  const found = [];
  while (found.length < texts.length) {
    const batch = [];
    let count = 0;
    for (const each of texts.slice(found.length)) {
      if (batch.length && count + each.length > BATCH) break;
      batch.push(each);
      count += each.length + 1;
    }
    found.push(...(await call("v1/tag", { texts: batch, words }, signal)).documents);
  }
  return found;
}

/** Set documents, some words at a time, so that a long text does not hold up the page. */
async function layOut(found, signal) {
  const known = families();
  let begin = performance.now();
  $("result").replaceChildren();
  for (const document of found)
    for (const paragraphSoFar of paragraph(document, known)) {
      if (!paragraphSoFar.isConnected) $("result").append(paragraphSoFar);
      if (performance.now() - begin < SLICE) continue;
      await new Promise((resolve) => setTimeout(resolve));
      signal.throwIfAborted();
      begin = performance.now();
    }
}

/** Show whether the result is about what stands in the fields; only then it is summed up and can be taken away. */
function showState() {
  const current = documents !== null && about === asked();
  $("exports").hidden = !current || tagging !== null;
  $("result").classList.toggle("outdated", documents !== null && !current);
  const { pos, ner } = countTags(current ? documents : []);
  const sum = (map) => [...map.values()].reduce((total, count) => total + count, 0);
  $("summary").textContent = current ? t("summary", sum(pos), sum(ner)) : documents ? t("outdated") : "";
}

/** Show all that depends on the language, and on what was found. */
function show() {
  offerTags(tags, nameOf);
  $("result").hidden = !documents;
  showState();
  const { pos, ner } = countTags(documents ?? []);
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
