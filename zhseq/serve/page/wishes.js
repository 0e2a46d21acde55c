// The form of wishes: what is asked of a poem, as the service wants it.

import { $ } from "./dom.js";
import { t } from "./i18n.js";

/** A wish that cannot be sent. */
export class WishError extends Error {}

/** Return the wishes as the fields of a request; only what was filled in. */
export function readWishes() {
  const wishes = {};
  const form = document.querySelector("input[name=form]:checked").value;
  if (form === "tune") {
    wishes.tune = $("tune").value.trim();
    if (!wishes.tune) throw new WishError(t("tuneMissing"));
  } else if (form !== "auto") wishes.form = form;
  for (const name of ["start", "acrostic", "about", "author", "rhyme-group"]) {
    const value = $(name).value.trim();
    if (value) wishes[name.replace("-", "_")] = value;
  }
  if (wishes.acrostic) wishes.acrostic_at = $("acrostic-at").value;
  if ($("rhyme").value && $("rhyme").value !== "auto") wishes.rhyme = $("rhyme").value;
  if ($("traditional").checked) wishes.traditional = true;
  const seed = $("seed").value.trim();
  if (seed && !/^\d{1,15}$/.test(seed)) throw new WishError(t("seedWrong"));
  wishes.seed = seed ? Number(seed) : crypto.getRandomValues(new Uint32Array(1))[0] % 1_000_000;
  return wishes;
}

/** Return the wishes that a new version of a line has to keep, too. */
export function lastingWishes({ wishes, tune, rhyme, lines }) {
  const kept = { tune, rhyme };
  for (const name of ["about", "author", "acrostic", "acrostic_at", "traditional"])
    if (wishes[name]) kept[name] = wishes[name];
  const start = wishes.start?.replace(/[^\p{Script=Han}〇]/gu, "");
  if (start && lines.join("").startsWith(start)) kept.start = start;
  return Object.fromEntries(Object.entries(kept).filter(([, value]) => value));
}
