// The forms of wishes: what is asked of a poem or a couplet, as the service wants it, and back into the fields.

import { $ } from "./dom.js";
import { t } from "./i18n.js";
import { linesOf } from "./verse.js";

const TEXTS = ["start", "acrostic", "about", "title", "author", "dynasty", "rhyme-group"];
const NUMBERS = { num: [1, 8], temperature: [0, 10], "best-of": [1, 64], drafts: [1, 16], "top-p": [0.01, 1], "top-k": [0, 100_000] };
const MOST_SEED = 1_000_000; // of those that are drawn here

/** A wish that cannot be sent. */
export class WishError extends Error {}

const nameOf = (id) => id.replace("-", "_");
const chosenForm = () => document.querySelector("input[name=form]:checked");

/** Return the wishes as the fields of a request; only what was filled in. */
export function readWishes() {
  const wishes = {};
  const form = chosenForm().value;
  if (form === "tune") {
    wishes.tune = $("tune").value.trim();
    if (!wishes.tune) throw new WishError(t("tuneMissing"));
  } else if (form !== "auto") wishes.form = form;
  for (const id of TEXTS) {
    const value = $(id).value.trim();
    if (value) wishes[nameOf(id)] = value;
  }
  if (wishes.about && wishes.title) throw new WishError(t("aboutAndTitle"));
  if (wishes.acrostic) wishes.acrostic_at = $("acrostic-at").value;
  const lines = linesOf($("lines").value);
  if (lines.length) wishes.lines = lines;
  if ($("rhyme").value && $("rhyme").value !== "auto") wishes.rhyme = $("rhyme").value;
  if ($("traditional").checked) wishes.traditional = true;
  Object.assign(wishes, numbers(Object.keys(NUMBERS)));
  wishes.seed = seedOf("seed");
  return wishes;
}

/** Return what is asked of a couplet. */
export function readCouplet() {
  const upper = $("upper").value.trim();
  if (!upper) throw new WishError(t("upperMissing"));
  return { upper, rhyme: $("upper-rhyme").value, num: 5, seed: seedOf("upper-seed") };
}

function numbers(ids) {
  const found = {};
  for (const id of ids) {
    const text = $(id).value.trim().replace("，", ".");
    if (!text) continue;
    const [least, most] = NUMBERS[id];
    const value = Number(text);
    const whole = id !== "temperature" && id !== "top-p";
    if (!(value >= least && value <= most) || (whole && !Number.isInteger(value)))
      throw new WishError(t(whole ? "notWhole" : "numberWrong", $(id).labels[0].textContent, least, most));
    found[nameOf(id)] = value;
  }
  return found;
}

function seedOf(id) {
  const seed = $(id).value.trim();
  if (seed && !/^\d{1,15}$/.test(seed)) throw new WishError(t("seedWrong"));
  return seed ? Number(seed) : crypto.getRandomValues(new Uint32Array(1))[0] % MOST_SEED;
}

/** Fill in the form so that `readWishes` gives these wishes. */
export function fillWishes(wishes) {
  const form = wishes.tune ? "tune" : wishes.form ?? "auto";
  const radio = [...document.querySelectorAll("input[name=form]")].find((input) => input.value === form);
  (radio ?? document.querySelector("input[name=form]")).click();
  $("tune").value = wishes.tune ?? "";
  for (const id of [...TEXTS, ...Object.keys(NUMBERS), "seed"]) $(id).value = wishes[nameOf(id)] ?? "";
  $("acrostic-at").value = wishes.acrostic_at === "end" ? "end" : "start";
  $("rhyme").value = wishes.rhyme ?? "auto";
  if ($("rhyme").selectedIndex < 0) $("rhyme").selectedIndex = 0;
  $("lines").value = (wishes.lines ?? []).join("\n");
  $("traditional").checked = wishes.traditional === true;
  $("more").open = $("more").open || ["author", "dynasty", "lines", "seed"].some((name) => name in wishes);
}

/** Return the wishes that a new version of a line has to keep, too. */
export function lastingWishes({ wishes, tune, rhyme, lines }) {
  const kept = { tune, rhyme };
  for (const name of ["about", "title", "author", "dynasty", "acrostic", "acrostic_at", "traditional", "temperature"])
    if (wishes[name]) kept[name] = wishes[name];
  const start = wishes.start?.replace(/[^\p{Script=Han}〇]/gu, "");
  if (start && lines.join("").startsWith(start)) kept.start = start;
  return Object.fromEntries(Object.entries(kept).filter(([, value]) => value));
}
