// Judging and mending: faults, characters that fit, other versions of a line. What comes too late for its text is dropped.

import { call } from "./api.js";
import { Bench } from "./bench.js";
import { amend, annotate, forget, isWhole, know, notice, poem, put, reviewed, sheet, textOf } from "./desk.js";
import { $ } from "./dom.js";
import { t } from "./i18n.js";
import { attempt, notify } from "./notice.js";
import { asWritten, layOutCouplet, layOutOwn, print, withCharacter } from "./verse.js";
import { lastingWishes } from "./wishes.js";

const go = (line, place) => sheet.focus(line, place);
const bench = new Bench($("bench"), { exchange, versions, replace, answer, go, strictly, close });
let offered = null; // shows what the bench offers, for the poem as it is by then
let changing = false; // whether the bench itself is changing the poem, and so stays
let asking = 0; // number of the newest question: answers to older ones come too late
let turns = 0; // seeds of the versions of a line
let stopWriting = () => {};

/** Prepare the bench; `stop` stops what is being written. */
export function startMending(stop) {
  stopWriting = stop;
  sheet.onpick = offer;
  $("check").addEventListener("click", judge);
  $("own-form").addEventListener("submit", (event) => {
    event.preventDefault();
    judgeOwn(false);
  });
  $("suggest-own").addEventListener("click", () => judgeOwn(true));
  // A verdict on a text that is being changed is not about it any more.
  for (const id of ["own", "own-tune", "own-rhyme"])
    $(id).addEventListener("input", () => {
      if (!poem()?.own || (!reviewed() && !$("bench").childElementCount)) return;
      forget();
      close();
    });
}

/** Clear the bench: what lay on it was about another poem. */
export function clearBench() {
  if (!changing) close();
}

function close() {
  offered = null;
  asking += 1;
  bench.clear();
  sheet.select(-1, -1);
}

/** Ask the service for something about the poem on the sheet, and show it if the poem is still there; `words` say what. */
async function ask(words, work) {
  const asked = poem();
  const turn = (asking += 1);
  const end = bench.wait(words);
  try {
    await attempt(notice, async () => {
      const shown = await work(asked);
      if (poem() !== asked || turn !== asking) return;
      offered = shown;
      shown(asked);
    });
  } finally {
    end();
  }
}

/** Judge the poem on the sheet. */
function judge() {
  return ask(t("checking"), async () => {
    await annotate();
    return () => bench.review(reviewed());
  });
}

/** Judge a poem that reads as old-style verse by the rules of its form. */
function strictly() {
  amend({ held: reviewed().form });
  judge();
}

/** Judge a person's own poem, or suggest characters for it. */
async function judgeOwn(suggesting) {
  const [text, tune, rhyme] = [$("own").value, $("own-tune").value.trim(), $("own-rhyme").value];
  if (!text.trim()) return notify(notice, t("ownMissing"));
  stopWriting();
  const end = bench.wait(t(suggesting ? "choosing" : "checking"));
  await attempt(notice, async () => {
    const found = await call(`v1/poems/${suggesting ? "suggest" : "check"}`, { text, tune, rhyme });
    const now = [$("own").value, $("own-tune").value.trim(), $("own-rhyme").value];
    if (String(now) !== String([text, tune, rhyme])) return; // it is about what stood there
    const { rows, heading } = layOutOwn(found.lines, text);
    put({ rows, tune: found.tune, form: found.form, heading, rhyme, wishes: {}, own: true });
    know(found);
    const lines = asWritten(found.lines, rows.map((row) => row.text).join(""));
    const named = found.suggestions?.map((mark) => ({ ...mark, character: [...lines[mark.line - 1]][mark.place - 1] }));
    bench.review(found, named);
  });
  end();
}

/** Offer characters for one place. */
function offer(line, place) {
  sheet.select(line, place);
  if (!isWhole(poem())) {
    asking += 1;
    offered = null;
    bench.known(line, place, [...poem().rows[line].text][place]);
    return;
  }
  ask(t("choosing"), async (asked) => {
    const lines = asked.rows.map((row) => row.text);
    const now = [...lines[line]][place];
    lines[line] = withCharacter(lines[line], place, "？");
    const { suggestions } = await call("v1/poems/suggest", { ...textOf(asked, lines), num: 10 });
    const here = suggestions.find((mark) => mark.line === line + 1 && mark.place === place + 1);
    const others = (here?.characters ?? []).filter((character) => character !== now);
    const characters = now === "？" ? others : [now, ...others];
    return (one) => bench.place(line, place, [...one.rows[line].text][place], characters);
  });
}

/** Offer other versions of a line. */
function versions(line) {
  ask(t("working"), async (asked) => {
    const lines = asked.rows.map((row) => row.text);
    const wishes = lastingWishes({ ...asked, lines });
    turns += 1;
    const found = await call("v1/poems/rewrite", { ...wishes, lines, index: line, num: 5, seed: turns });
    return (one) => bench.versions(line, one.rows[line].text, lines[line], found.lines);
  });
}

/** Offer the answers to an upper line; the first of them is on the sheet. */
export function offerAnswers(upper, answers) {
  const found = [...new Set(answers)]; // the same one may have been found several times
  offered = (one) => bench.answers(one.lower, found);
  offered(poem());
}

function answer(lower) {
  const now = poem();
  change({ ...now, lower, rows: layOutCouplet(now.wishes.upper, lower) });
  offered?.(poem());
}

function exchange(line, place, character) {
  replace(line, withCharacter(poem().rows[line].text, place, character));
  sheet.focus(line, place);
}

function replace(line, text) {
  const now = poem();
  if (text === now.rows[line].text) return;
  const judged = reviewed() !== null;
  const showing = offered;
  change({ ...now, rows: now.rows.map((row, number) => (number === line ? { ...row, text } : row)), edited: !now.own });
  if (poem().own) $("own").value = print(poem().rows, poem().heading);
  if (showing && $("bench").querySelector(".rewrite")) showing(poem()); // what was offered fits there still
  else if (judged) judge();
  else close();
}

function change(next) {
  changing = true;
  put(next);
  changing = false;
}
