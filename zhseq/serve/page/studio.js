// The studio: which kind of poem is asked for, how it is looked at, how it is taken away.

import { annotateIfWanted, ASIDES, notice, poem, sheet, showCaption, startDesk, step } from "./desk.js";
import { $, confirmOn, copyText, download } from "./dom.js";
import { inEachLanguage, t } from "./i18n.js";
import { linkTo, readLink } from "./link.js";
import { clearBench, startMending } from "./mending.js";
import { draw } from "./picture.js";
import { keep, kept, recall, remember } from "./prefs.js";
import { linesOf, print } from "./verse.js";
import { startVoice, stopVoice } from "./voice.js";
import { fillWishes, readCouplet, readWishes } from "./wishes.js";
import { answer, fulfil, layCouplet, startWriting, stopWriting, write } from "./writing.js";

const FORMS = { new: "write-form", couplet: "couplet-form", own: "own-form" };
const EDITABLE = "input, textarea, select, [contenteditable]";

/** Prepare the studio; `ready` is a promise of what the service can do. */
export function startStudio(ready) {
  startFields();
  startMending(stopWriting);
  startWriting();
  startDesk(() => {
    stopVoice(); // it reads another poem
    clearBench();
  });
  startTools();
  startVoice(() => poem().rows, (line) => sheet.speak(line), notice);
  for (const name of ASIDES) startToggle(name);
  for (const input of document.querySelectorAll("input[name=layout]")) {
    input.checked = input.value === recall("layout", "across");
    input.addEventListener("change", () => setLayout(input.value));
  }
  setLayout(recall("layout", "across"));
  inEachLanguage(() => {
    showCaption();
    sheet.name();
  });
  ready.then(() => {
    followLink();
    annotateIfWanted();
  });
  window.addEventListener("hashchange", followLink);
}

/** Keep what was typed as long as the tab lives, and show the form that belongs to the kind of poem. */
function startFields() {
  const fields = [...document.querySelectorAll(".wishes :is(input:not([type=radio]), textarea, select)")].filter(({ id }) => id);
  let texts = {};
  try {
    texts = { ...JSON.parse(kept("fields", "{}")) };
  } catch {
    // something else has written there
  }
  for (const field of fields) {
    const value = texts[field.id];
    if (field.type === "checkbox") field.checked = value === true;
    else if (typeof value === "string" && field.id !== "rhyme") field.value = value;
  }
  const note = () => {
    const now = fields.map((field) => [field.id, field.type === "checkbox" ? field.checked : field.value]);
    keep("fields", JSON.stringify({ ...Object.fromEntries(now), whose: whose() }));
  };
  for (const input of document.querySelectorAll("input[name=whose]")) input.addEventListener("change", () => showForm(whose()));
  showForm(texts.whose in FORMS ? texts.whose : "new");
  document.querySelector(".wishes").addEventListener("input", note);
  document.querySelector(".wishes").addEventListener("change", note);
  window.addEventListener("pagehide", note); // what was filled in by a link or a click, too
}

const whose = () => document.querySelector("input[name=whose]:checked").value;

function showForm(kind) {
  document.querySelector(`input[name=whose][value=${kind}]`).checked = true;
  for (const [name, id] of Object.entries(FORMS)) $(id).hidden = name !== kind;
}

/** Bring back the poem that the address tells of. */
function followLink() {
  const found = readLink(location.hash);
  if (!found) return;
  history.replaceState(null, "", `${location.pathname}#studio`); // a reload shows the sheet as it is by then
  if (found.text) {
    showForm("own");
    [$("own").value, $("own-tune").value] = [found.text, found.tune];
    $("own-rhyme").value = found.rhyme === "modern" ? "modern" : "classical";
    $("own-form").requestSubmit();
  } else if (found.upper) {
    showForm("couplet");
    [$("upper").value, $("upper-seed").value] = [found.upper, found.seed ?? ""];
    $("upper-rhyme").value = found.rhyme === "modern" ? "modern" : "classical";
    if (linesOf(found.upper).length && linesOf(found.lower ?? "").length) layCouplet(found, found.lower);
    else fulfil(readCouplet, answer);
  } else {
    showForm("new");
    fillWishes(found);
    fulfil(readWishes, write);
  }
}

function startTools() {
  $("undo").addEventListener("click", () => step(-1));
  $("redo").addEventListener("click", () => step(1));
  document.addEventListener("keydown", (event) => {
    const undoes = event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey) && !event.altKey;
    if (!undoes || $("studio").hidden || event.target.closest(EDITABLE)) return; // fields have an undo of their own
    event.preventDefault();
    const button = event.shiftKey ? $("redo") : $("undo");
    if (!button.disabled) button.click();
  });
  $("copy").addEventListener("click", async () => {
    await copyText(print(poem().rows, poem().heading));
    confirmOn($("copy"), t("copied"));
  });
  $("link").addEventListener("click", async () => {
    await copyText(linkTo(poem()));
    confirmOn($("link"), t("copied"));
  });
  $("picture").addEventListener("click", async () => {
    const name = [...poem().rows[0].text].slice(0, 7).join("").replaceAll("？", "");
    download(`${name || "zhseq"}.png`, await draw(poem(), poem().heading, sheet.layout));
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
    annotateIfWanted();
  });
}

function setLayout(name) {
  sheet.layout = name;
  remember("layout", name);
}
