// The language of the page, and what the service has to say in it.

import { STRINGS } from "./strings.js";
import { remember } from "./prefs.js";

const LANGUAGES = ["zh-Hans", "en"];

/** Return whether the page speaks Chinese now. */
export const isChinese = () => document.documentElement.lang !== "en";

/** Return a text in the language of the page, its gaps filled in. */
export function t(key, ...values) {
  return STRINGS[key][isChinese() ? 0 : 1].replace(/\{(\d)\}/g, (_, number) => values[Number(number)]);
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

// A field of a request, perhaps with its value; a brace that stands for itself; a gap for a value.
const GAPS = /<([a-z_]+)(?:=([^<>]*))?>|\{\{|\}\}|\{(\w+)\}/gu;
const FIELDS = {
  about: "about", acrostic: "acrostic", acrostic_at: "acrosticAt", author: "author", form: "form", rhyme: "rhyme",
  rhyme_group: "rhymeGroup", seed: "seed", start: "start", text: "text", texts: "text", tune: "tune", words: "words",
};

/** Say what the service says as data: its sentence in the language of the page, fields under the names of the page. */
export function say({ templates, values }) {
  const fill = (template) =>
    template.replace(GAPS, (found, field, value, gap) => {
      if (field) return named(field, fill(value ?? ""));
      return gap ? shown(values[gap]) : found[0];
    });
  // The blanks around a field are those between a Chinese and a Latin word; here both are Chinese.
  return fill(isChinese() ? templates.zh.replaceAll(" <", "<").replaceAll("> ", ">") : templates.en);
}

const shown = (value) => (value?.templates ? say(value) : String(value));

function named(field, value) {
  const name = field in FIELDS ? t(FIELDS[field]) : field;
  const choice = field === "rhyme" && `rhyme_${value}` in STRINGS ? t(`rhyme_${value}`) : value;
  return t("quoted", `${name} ${choice}`.trim());
}

/** Say in one sentence what an error means. */
export function explainError(error) {
  if (error.code === undefined) return t("failed", "page", error.message);
  if (error.code === "offline") return t("offline");
  if (error.code === "unauthorized") return t("keyWrong");
  if (error.said?.templates) return say(error.said);
  return error.status >= 500 ? t("failed", error.status, error.message) : t("refused", error.message);
}
