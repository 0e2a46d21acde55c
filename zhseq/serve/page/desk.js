// The desk: the poem on the sheet, what is known of it, the drafts before and behind it. Whoever waited for something asks
// here whether it is still about this poem.

import { call } from "./api.js";
import { $ } from "./dom.js";
import { Drafts } from "./drafts.js";
import { isChinese, say, t } from "./i18n.js";
import { attempt, notify, quiet } from "./notice.js";
import { recall } from "./prefs.js";
import { Sheet } from "./sheet.js";
import { formOf, print } from "./verse.js";
import { waitIn } from "./waiting.js";

export const notice = $("studio-notice");
export const sheet = new Sheet();

/** What may stand beside the characters. */
export const ASIDES = ["tones", "rhymes", "surprise", "pinyin"];

const drafts = new Drafts();
let unfinished = null; // the poem that is being written, as far as it is
let review = null; // what the service found in the poem as it stands now
let told = () => {};

/**
 * Return the poem on the sheet, or null.
 *
 * `{rows, tune, form, heading, rhyme, wishes, seed}`, and `held`: the form whose rules it was held to; `own`: a person's;
 * `couplet`; `partial`: not whole; `edited`: no longer what its seed gives; `note`; `number` and `of`: of several.
 */
export const poem = () => unfinished ?? drafts.now;
export const reviewed = () => review;
export const wants = (name) => recall(name, "no") === "yes";
/** Return whether a poem can be judged and mended. */
export const isWhole = (one) => one !== null && !one.partial && !one.couplet;

/** Prepare the desk; `onchange` is called when another text lies on the sheet. */
export function startDesk(onchange) {
  told = onchange;
  show();
}

/** Lay another poem on the sheet; the one before can be had again. */
export function put(next) {
  unfinished = null;
  drafts.put(next);
  show();
  annotateIfWanted();
}

/** Know more of the poem on the sheet, but leave its text. */
export function amend(fields) {
  drafts.amend(fields);
}

/** Go back to the draft before, or forth. */
export function step(by) {
  if (unfinished) return;
  drafts.step(by);
  show();
  if (poem().own) $("own").value = print(poem().rows, poem().heading);
  annotateIfWanted();
}

/** Begin a poem that comes line by line; only now the one before leaves the sheet. */
export function begin(fields) {
  unfinished = { rows: [], ...fields, partial: true };
  show();
}

/** Set the next line of it. */
export function grow(text, mark) {
  const row = { text, mark, ends: !unfinished.tune && mark === "。" };
  unfinished.rows.push(row);
  sheet.add(row);
  showTools();
}

/** Keep what there is of a poem that nobody writes on. */
export function leave() {
  if (!unfinished) return;
  const rows = unfinished.rows.map((row, number, all) => (number < all.length - 1 ? row : { ...row, ends: true }));
  put({ ...unfinished, rows });
}

function show() {
  const now = poem();
  review = null;
  if (now) sheet.show(now.rows, now.heading, now.couplet ? "对联" : now.form);
  showTools();
  if (now?.note) notify(notice, say(now.note));
  else quiet(notice);
  told();
}

function showTools() {
  const now = poem();
  for (const id of ["copy", "picture", "link", "read"]) $(id).disabled = !now;
  $("check").disabled = !isWhole(now);
  $("undo").disabled = unfinished !== null || !drafts.canUndo;
  $("redo").disabled = unfinished !== null || !drafts.canRedo;
  $("hint").hidden = !isWhole(now);
  $("go-on").hidden = !now?.partial || unfinished !== null;
  showCaption();
}

/** Say below the poem what it is. */
export function showCaption() {
  $("caption").textContent = poem() ? captionOf(poem()) : "";
}

/** What takes the service some time and is asked for only where it is to be seen. */
const dear = () => ({ surprise: wants("surprise"), pinyin: wants("pinyin") });

/** Let the service judge the poem and show what it found; false if another text lies there by then. */
export async function annotate() {
  const asked = poem();
  const found = await call("v1/poems/check", { ...textOf(asked), ...dear() });
  if (poem() !== asked) return false;
  know(found);
  return true;
}

/** Show what was found in the poem on the sheet. */
export function know(found) {
  const { surprise = review?.surprise, pinyin = review?.pinyin } = found; // the poem is the same
  review = { ...found, surprise, pinyin };
  sheet.annotate(review);
  showCaption();
}

/** Take back what was found: it is not about this text any more. */
export function forget() {
  review = null;
  sheet.annotate(null);
  showCaption();
}

/** Ask for what is to be seen beside the characters. */
export function annotateIfWanted() {
  if (!isWhole(poem()) || !ASIDES.some(wants)) return;
  if (review && Object.entries(dear()).every(([name, wanted]) => !wanted || review[name])) return;
  const end = waitIn($("annotating"), t("annotating"));
  attempt(notice, annotate).finally(end);
  if (poem().note) notify(notice, say(poem().note)); // what was said of the poem is said on
}

/** Return a poem as the service reads it. */
export function textOf({ rows, tune, held, rhyme }, lines = rows.map((row) => row.text)) {
  return { text: lines.join("，"), tune, form: held ?? "auto", rhyme: rhyme === "modern" ? "modern" : "classical" };
}

/** Return what stands above a poem that was asked for. */
export function headingOf({ tune = "", about = "", title = "" }) {
  return [tune, about || title].filter(Boolean).join(" · ");
}

function captionOf({ rows, form, tune, seed, wishes, own, couplet, partial, edited, number, of }) {
  const rhymes = [...new Set(review?.rhyme_names ?? [])].filter(Boolean).join("、");
  const manner = wishes.author ? (isChinese() ? `仿${wishes.author}` : wishes.author) : "";
  const pattern = review && review.pattern !== tune ? review.pattern : "";
  const known = own ? formOf(rows.map((row) => row.text)) || tune || form : tune || form;
  const state = partial && !unfinished ? t("unfinished") : edited ? t("edited") : "";
  const parts = [couplet ? t("couplet") : known, pattern, rhymes && `韵 ${rhymes}`, manner];
  parts.push(seed === undefined ? "" : t("seedOf", seed), of > 1 ? t("numberOf", number, of) : "", state);
  return parts.filter(Boolean).join(" · ");
}
