// The page: which view is shown, theme and language, what the service can do.

import { call, useKey } from "./api.js";
import { Combobox } from "./combobox.js";
import { $, h } from "./dom.js";
import { inEachLanguage, switchLanguage, t, translate } from "./i18n.js";
import { attempt } from "./notice.js";
import { startLookup } from "./lookup.js";
import { recall, remember } from "./prefs.js";
import { startStudio } from "./studio.js";
import { startTagger, useTags } from "./tagger.js";

const VIEWS = ["studio", "lookup", "tagger"];
const THEMES = ["auto", "light", "dark"];
const NAMES_SHOWN = 4; // other names of a tune or an author that stand beside it; all are found
let options = { tunes: [], authors: [], author_names: [], dynasties: [], rhymes: [], tags: { pos: [], ner: [] } };

function showView() {
  const wanted = location.hash.slice(1).split("?")[0] || VIEWS[0]; // behind a step back from another view
  const view = VIEWS.includes(wanted) ? wanted : document.querySelector(".view:not([hidden])").id;
  for (const name of VIEWS) {
    $(name).hidden = name !== view;
    if (name === view) $(`to-${name}`).setAttribute("aria-current", "page");
    else $(`to-${name}`).removeAttribute("aria-current");
  }
  document.title = `${t(view)} · zhseq`;
}

function startTheme() {
  const button = $("theme");
  const show = () => {
    const theme = document.documentElement.dataset.theme ?? "auto";
    button.textContent = t(`theme${theme[0].toUpperCase()}${theme.slice(1)}`);
    button.setAttribute("aria-label", `${t("theme")}: ${button.textContent}`);
  };
  button.addEventListener("click", () => {
    const now = THEMES.indexOf(document.documentElement.dataset.theme ?? "auto");
    const next = THEMES[(now + 1) % THEMES.length];
    if (next === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    remember("theme", next);
    show();
  });
  inEachLanguage(show);
}

function startLanguage() {
  const button = $("language");
  button.addEventListener("click", switchLanguage);
  inEachLanguage(() => {
    const chinese = document.documentElement.lang !== "en";
    button.textContent = chinese ? "EN" : "中文";
    button.lang = chinese ? "en" : "zh";
    showView();
  });
}

function startForms() {
  const some = (others) => others.slice(0, NAMES_SHOWN).join("、");
  const tunes = () =>
    options.tunes.map(({ name, poems, lines, characters, other_names: others }) => {
      const note = [others.length ? t("alsoCalled", some(others)) : "", t("tuneNote", poems, lines, characters)];
      return { value: name, others, note: note.filter(Boolean).join(" · ") };
    });
  const authors = () => {
    const named = new Map(options.author_names.map((author) => [author.name, author.other_names]));
    return options.authors.map((value) => {
      const others = named.get(value) ?? [];
      return { value, others, note: some(others) };
    });
  };
  const tune = new Combobox($("tune"), tunes);
  new Combobox($("own-tune"), tunes);
  new Combobox($("sought-tune"), tunes);
  new Combobox($("author"), authors);
  new Combobox($("dynasty"), () => options.dynasties.map((value) => ({ value })));
  const showTune = (focus) => {
    const chosen = document.querySelector("input[name=form]:checked").value;
    $("tune-field").hidden = chosen !== "tune";
    if (focus && chosen === "tune") tune.input.focus();
  };
  for (const input of document.querySelectorAll("input[name=form]")) {
    input.checked = input.value === recall("form", "auto");
    input.addEventListener("change", () => showTune(false));
  }
  if (!document.querySelector("input[name=form]:checked")) $("forms").querySelector("input").checked = true;
  showTune(false);
}

function showRhymes() {
  const chosen = $("rhyme").value || "auto";
  $("rhyme").replaceChildren(...options.rhymes.map((value) => h("option", { value }, t(`rhyme_${value}`))));
  $("rhyme").value = options.rhymes.includes(chosen) ? chosen : options.rhymes[0] ?? "";
}

async function loadOptions() {
  options = await call("v1/options");
  showRhymes();
  useTags(options.tags);
}

function startKey() {
  $("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    useKey($("key").value.trim());
    $("key-form").hidden = true;
    attempt($("studio-notice"), loadOptions);
  });
}

translate();
startTheme();
startLanguage();
startForms();
startKey();
const ready = attempt($("studio-notice"), loadOptions);
startStudio(ready);
startTagger();
startLookup(ready);
window.addEventListener("hashchange", showView);
document.addEventListener("zhseq:language", showRhymes);
