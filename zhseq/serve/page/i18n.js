// The language of the page, and what it says about errors and faults.

import { REFUSALS } from "./refusals.js";
import { STRINGS } from "./strings.js";
import { remember } from "./prefs.js";

const LANGUAGES = ["zh-Hans", "en"];

/** Return whether the page speaks Chinese now. */
export const isChinese = () => document.documentElement.lang !== "en";

/** Return a text in the language of the page, its gaps filled in. */
export function t(key, ...values) {
  return inLanguage(STRINGS[key], values);
}

function inLanguage(texts, values) {
  return texts[isChinese() ? 0 : 1].replace(/\{(\d)\}/g, (_, number) => values[Number(number)]);
}

/** Put the texts of the language into all elements that name one. */
export function translate() {
  for (const element of document.querySelectorAll("[data-i18n]")) element.textContent = t(element.dataset.i18n);
  for (const element of document.querySelectorAll("[data-i18n-label]"))
    element.setAttribute("aria-label", t(element.dataset.i18nLabel));
  for (const element of document.querySelectorAll("[data-i18n-placeholder]"))
    element.placeholder = t(element.dataset.i18nPlaceholder);
}

/** Speak the other language; whoever shows texts of its own listens to the event. */
export function switchLanguage() {
  document.documentElement.lang = LANGUAGES[isChinese() ? 1 : 0];
  remember("language", isChinese() ? "zh" : "en");
  translate();
  document.dispatchEvent(new CustomEvent("zhseq:language"));
}

/** Call a function now and whenever the language changes. */
export function inEachLanguage(show) {
  document.addEventListener("zhseq:language", show);
  show();
}

/** Say in one sentence what an error of the service means. */
export function explainError(error) {
  if (error.code === undefined) return t("failed", "page", error.message);
  const { text, detail } = REFUSALS[error.code] ?? {};
  const value = detail ? detail.exec(error.message)?.[1] : Math.max(1, error.retryAfter);
  if (text && value) return inLanguage(text, [value]);
  if (error.status >= 500) return t("failed", error.status, error.message);
  return t("refused", error.message);
}

/** Say why something is a fault. The service says it in English. */
export function explainFault(fault, expected) {
  if (!isChinese()) return fault.reason;
  const line = /(?:in|of) line (\d+)/.exec(fault.reason)?.[1];
  const term = /[（(](三平调|孤平|失对|失粘)[)）]/.exec(fault.reason)?.[1];
  const group = /group (.+)\)/.exec(fault.reason)?.[1];
  const counts = fault.reason.match(/\d+/g) ?? [];
  if (term) return line ? `${term}（与第 ${line} 句）` : term;
  if (fault.kind === "tone") return t(expected === "平" ? "dueLevel" : "dueOblique");
  if (fault.kind === "rhyme") return `出韵（韵部：${group ?? ""}）`;
  if (fault.kind === "repetition") return `与第 ${line} 句重复`;
  if (counts.length > 1) return `此句 ${counts[0]} 字，当为 ${counts[1]} 字`;
  if (counts.length) return `句数不合，当为 ${counts[0]} 句`;
  return fault.reason;
}

/** Say what a review has to add. The service says it in English. */
export function explainNote({ note, form }) {
  if (!isChinese()) return note.replace(/, which "form.* lists/, "");
  const strict = /have (\d+) faults?/.exec(note)?.[1];
  return strict ? t("oldStyle", form, strict) : note;
}
