// The studio: a poem is written line by line, judged, mended, copied, saved.

import { call, events } from "./api.js";
import { Bench } from "./bench.js";
import { $, confirmOn, copyText, download } from "./dom.js";
import { inEachLanguage, isChinese, say, t } from "./i18n.js";
import { attempt, notify } from "./notice.js";
import { draw } from "./picture.js";
import { recall, remember } from "./prefs.js";
import { Sheet } from "./sheet.js";
import { asWritten, formOf, guessMark, layOut, layOutOwn, print, withCharacter } from "./verse.js";
import { lastingWishes, readWishes, WishError } from "./wishes.js";

const notice = $("studio-notice");
const sheet = new Sheet((line, place) => offer(line, place));
const go = (line, place) => sheet.focus(line, place);
const bench = new Bench($("bench"), { exchange, versions, replace, go, strictly, close });

let poem = null; // {rows, tune, form, held, rhyme, wishes, seed, own}; held: the form whose rules it was held to
let review = null; // what the service found in the poem as it stands now
let turns = 0; // seeds of the versions of a line
let writing = null; // the AbortController of the poem that is being written

/** Prepare the studio. */
export function startStudio() {
  $("write-form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (writing) writing.abort();
    else write();
  });
  $("own-form").addEventListener("submit", (event) => {
    event.preventDefault();
    judgeOwn(false);
  });
  $("suggest-own").addEventListener("click", () => judgeOwn(true));
  $("check").addEventListener("click", () => judge());
  $("copy").addEventListener("click", async () => {
    await copyText(print(poem.rows));
    confirmOn($("copy"), t("copied"));
  });
  $("picture").addEventListener("click", async () => {
    const name = [...poem.rows[0].text].slice(0, 7).join("").replaceAll("？", "");
    download(`${name || "zhseq"}.png`, await draw(poem, sheet.heading, sheet.layout));
  });
  for (const name of ["tones", "rhymes"]) startToggle(name);
  for (const input of document.querySelectorAll("input[name=layout]")) {
    input.checked = input.value === recall("layout", "across");
    input.addEventListener("change", () => setLayout(input.value));
  }
  setLayout(recall("layout", "across"));
  inEachLanguage(() => {
    $("caption").textContent = poem ? captionOf(poem) : "";
    sheet.name();
  });
}

function startToggle(name) {
  const button = $(`show-${name}`);
  const set = (on) => {
    button.setAttribute("aria-pressed", String(on));
    $("verse").classList.toggle(name, on);
  };
  set(recall(name, "no") === "yes");
  button.addEventListener("click", () => {
    const on = button.getAttribute("aria-pressed") !== "true";
    set(on);
    remember(name, on ? "yes" : "no");
    if (poem && !review) attempt(notice, annotate);
  });
}

function setLayout(name) {
  sheet.layout = name;
  remember("layout", name);
}

/** Write a poem; each line is shown as soon as it comes. */
async function write() {
  let wishes;
  try {
    wishes = readWishes();
  } catch (error) {
    if (!(error instanceof WishError)) throw error;
    notify(notice, error.message);
    return;
  }
  writing = new AbortController();
  const { signal } = writing;
  begin(wishes);
  await attempt(notice, async () => {
    const heading = headingOf(wishes);
    for await (const event of events("v1/poems", { ...wishes, stream: true }, signal)) {
      if (event.done) finish(event.done, wishes);
      else {
        if (event.line === 0) sheet.begin(heading, wishes.tune ? "" : wishes.form ?? formOfLength(event.text));
        sheet.add(event.text);
        $("heard").textContent += event.text + guessMark("七绝", event.line).mark;
      }
    }
  });
  writing = null;
  $("write").textContent = t("write");
  $("verse").setAttribute("aria-busy", "false");
}

function begin(wishes) {
  setPoem(null);
  bench.clear();
  $("heard").textContent = "";
  $("write").textContent = t("stop");
  $("verse").setAttribute("aria-busy", "true");
  if (matchMedia("(max-width: 60rem)").matches)
    $("sheet").scrollIntoView({ block: "start", behavior: reducedMotion() ? "auto" : "smooth" });
  remember("form", wishes.tune ? "tune" : wishes.form ?? "auto");
}

function finish(done, wishes) {
  const rows = layOut(done.lines, done.text) ?? done.lines.map((text, n) => ({ text, ...guessMark("七绝", n) }));
  const rhyme = wishes.rhyme ?? "";
  setPoem({ rows, tune: done.tune, form: done.form, rhyme, wishes, seed: done.seed, own: false });
  attempt(notice, showWanted);
  if (done.note) notify(notice, say(done.note));
}

/** Make this the poem on the sheet, or none. */
function setPoem(next) {
  poem = next;
  review = null;
  for (const id of ["check", "copy", "picture"]) $(id).disabled = !poem;
  $("hint").hidden = !poem;
  $("caption").textContent = poem ? captionOf(poem) : "";
  if (poem) sheet.show(poem.rows, headingOf(poem.wishes), poem.form);
}

async function showWanted() {
  if (recall("tones", "no") === "yes" || recall("rhymes", "no") === "yes") await annotate();
}

async function annotate() {
  review = await call("v1/poems/check", textOf(poem));
  sheet.annotate(review);
  $("caption").textContent = captionOf(poem);
}

/** Judge the poem on the sheet. */
function judge() {
  return attempt(notice, async () => {
    await annotate();
    bench.review(review);
  });
}

/** Judge a poem that reads as old-style verse by the rules of its form. */
function strictly() {
  poem.held = review.form;
  judge();
}

/** Judge a person's own poem, or suggest characters for it. */
function judgeOwn(suggesting) {
  const text = $("own").value;
  if (!text.trim()) return notify(notice, t("ownMissing"));
  return attempt(notice, async () => {
    const tune = $("own-tune").value.trim();
    const rhyme = $("own-rhyme").value;
    const found = await call(`v1/poems/${suggesting ? "suggest" : "check"}`, { text, tune, rhyme });
    const rows = layOutOwn(found.lines, text);
    setPoem({ rows, tune: found.tune, form: found.form, rhyme, wishes: {}, own: true });
    review = found;
    sheet.annotate(found);
    $("caption").textContent = captionOf(poem);
    const marks = asWritten(found.lines, text);
    const named = found.suggestions?.map((mark) => ({ ...mark, character: [...marks[mark.line - 1]][mark.place - 1] }));
    bench.review(found, named);
  });
}

/** Offer characters for one place. */
function offer(line, place) {
  if (!poem) return;
  const now = [...poem.rows[line].text][place];
  sheet.select(line, place);
  bench.wait();
  attempt(notice, async () => {
    const lines = poem.rows.map((row) => row.text);
    lines[line] = withCharacter(lines[line], place, "？");
    const { suggestions } = await call("v1/poems/suggest", { ...textOf(poem, lines), num: 10 });
    const here = suggestions.find((mark) => mark.line === line + 1 && mark.place === place + 1);
    const others = (here?.characters ?? []).filter((character) => character !== now);
    bench.place(line, place, now, now === "？" ? others : [now, ...others]);
  });
}

/** Offer other versions of a line. */
function versions(line) {
  bench.wait();
  const old = poem.rows[line].text;
  const lines = poem.rows.map((row) => row.text);
  attempt(notice, async () => {
    const wishes = lastingWishes({ ...poem, lines });
    turns += 1;
    const answer = await call("v1/poems/rewrite", { ...wishes, lines, index: line, num: 5, seed: turns });
    bench.versions(line, old, answer.lines);
  });
}

function exchange(line, place, character) {
  replace(line, withCharacter(poem.rows[line].text, place, character));
  sheet.focus(line, place);
}

function replace(line, text) {
  const judged = review !== null;
  setPoem({ ...poem, rows: poem.rows.map((row, number) => (number === line ? { ...row, text } : row)) });
  if (poem.own) $("own").value = print(poem.rows);
  if (!judged) return;
  attempt(notice, async () => {
    await annotate();
    bench.refresh(review);
  });
}

function close() {
  bench.clear();
  sheet.select(-1, -1);
}

/** Return a poem as the service reads it. */
function textOf({ rows, tune, held, rhyme }, lines = rows.map((row) => row.text)) {
  return { text: lines.join("，"), tune, form: held ?? "auto", rhyme: rhyme === "modern" ? "modern" : "classical" };
}

function headingOf({ tune = "", about = "" }) {
  return [tune, about].filter(Boolean).join(" · ");
}

function captionOf({ form, tune, seed, wishes, own }) {
  const rhymes = [...new Set(review?.rhyme_names ?? [])].filter(Boolean).join("、");
  const manner = wishes.author ? (isChinese() ? `仿${wishes.author}` : wishes.author) : "";
  const pattern = review && review.pattern !== tune ? review.pattern : "";
  const known = own ? formOf(poem.rows.map((row) => row.text)) || tune || form : tune || form;
  const parts = [known, pattern, rhymes && `韵 ${rhymes}`, manner, own ? "" : t("seedOf", seed)];
  return parts.filter(Boolean).join(" · ");
}

function formOfLength(text) {
  return [...text].length === 5 ? "五绝" : "七绝";
}

const reducedMotion = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
