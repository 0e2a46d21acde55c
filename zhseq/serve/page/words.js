// The user's own words: kept in the browser, shown as text, sent with each request.

import { $, h } from "./dom.js";
import { inEachLanguage, t } from "./i18n.js";
import { notify, quiet } from "./notice.js";
import { recall, remember } from "./prefs.js";

const MOST = 1000; // words that the service takes with a request
const KEY = "words";
const UNPRINTABLE = /[\p{Cc}\p{Zl}\p{Zp}]/u;

let words = restore();
let changed = () => {};

function restore() {
  try {
    const found = JSON.parse(recall(KEY, "[]"));
    const text = (value) => (typeof value === "string" ? value : "");
    const whole = ({ word, pos, label, mode }) => ({
      word: text(word),
      pos: text(pos),
      label: text(label),
      mode: mode === "force" ? "force" : "prefer",
    });
    return found.filter((entry) => text(entry?.word)).map(whole).slice(0, MOST);
  } catch {
    return []; // something else has written there
  }
}

/** Return the words as the service wants them. */
export const ownWords = () => words;

/** Prepare form and list; `onchange` is called when the words have changed. */
export function startWords(onchange) {
  changed = onchange;
  $("word-form").addEventListener("submit", (event) => {
    event.preventDefault();
    add();
  });
  inEachLanguage(show);
}

/** Offer the parts of speech and the kinds of names of the tagger. */
export function offerTags(tags, nameOf) {
  const fill = (select, rows, none) => {
    const chosen = select.value;
    const options = rows.map((row) => h("option", { value: row.tag }, `${row.tag} ${nameOf(row)}`));
    select.replaceChildren(h("option", { value: "" }, none), ...options);
    select.value = chosen;
  };
  fill($("word-pos"), tags.pos, t("any"));
  fill($("word-label"), tags.ner, t("noLabel"));
}

/** Bring a text that was selected into the form. */
export function propose(text) {
  const word = text.trim();
  if (word && !/[\n\r]/.test(word) && word.length <= $("word").maxLength) $("word").value = word;
}

function add() {
  const word = $("word").value.trim();
  if (!word) return;
  if (UNPRINTABLE.test(word)) {
    notify($("tagger-notice"), t("wordWrong"));
    return;
  }
  quiet($("tagger-notice"));
  const others = words.filter((entry) => entry.word !== word);
  if (others.length >= MOST) {
    notify($("tagger-notice"), t("tooMany", MOST));
    return;
  }
  const mode = $("word-force").checked ? "force" : "prefer";
  keep([...others, { word, pos: $("word-pos").value, label: $("word-label").value, mode }]);
  $("word").value = "";
}

function keep(next) {
  words = next;
  remember(KEY, JSON.stringify(words));
  show();
  changed();
}

function show() {
  $("word-list").replaceChildren(...words.map(item));
}

function item(entry) {
  const remove = () => {
    keep(words.filter((other) => other !== entry));
    $("word").focus();
  };
  const details = [entry.pos, entry.label, entry.mode === "force" ? t("forced") : ""].filter(Boolean).join(" · ");
  return h(
    "li",
    {},
    h("span", { lang: "zh", className: "entry" }, entry.word),
    h("small", {}, details),
    h("button", { type: "button", className: "plain", "aria-label": t("remove", entry.word), onclick: remove }, "×"),
  );
}
