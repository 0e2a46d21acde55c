// Writing: a poem comes line by line, the one before stays until the first line is there, and what was written stays.

import { call, events } from "./api.js";
import { begin, grow, headingOf, leave, notice, poem, put } from "./desk.js";
import { $ } from "./dom.js";
import { t } from "./i18n.js";
import { offerAnswers } from "./mending.js";
import { attempt, notify } from "./notice.js";
import { remember } from "./prefs.js";
import { guessMark, layOut, layOutCouplet } from "./verse.js";
import { waitIn } from "./waiting.js";
import { readCouplet, readWishes, WishError } from "./wishes.js";

let writing = null; // {button, controller} of what is being written

/** Prepare the forms. */
export function startWriting() {
  const submit = (id, button, work) =>
    $(id).addEventListener("submit", (event) => {
      event.preventDefault();
      if (writing?.button === button) writing.controller.abort();
      else work();
    });
  submit("write-form", "write", () => fulfil(readWishes, write));
  submit("couplet-form", "answer", () => fulfil(readCouplet, answer));
  $("go-on").addEventListener("click", goOn);
}

/** Stop what is being written, if anything is: what was asked for later shall not be covered by it. */
export function stopWriting() {
  writing?.controller.abort();
}

/** Read wishes and do with them what is to be done; those that cannot be sent are named. */
export function fulfil(reading, work) {
  try {
    work(reading());
  } catch (error) {
    if (!(error instanceof WishError)) throw error;
    notify(notice, error.message);
  }
}

/** Carry something out that can be stopped, and let its button and the sheet say so. */
async function carryOut(button, name, words, work) {
  writing?.controller.abort();
  const mine = { button, controller: new AbortController() };
  writing = mine;
  const end = waitIn($("waiting"), words);
  $(button).textContent = t("stop");
  $("verse").setAttribute("aria-busy", "true");
  $("heard").textContent = "";
  if (matchMedia("(max-width: 60rem)").matches)
    $("sheet").scrollIntoView({ block: "start", behavior: reducedMotion() ? "auto" : "smooth" });
  await attempt(notice, () => work(mine.controller.signal, end.say), () => carryOut(button, name, words, work));
  end();
  $(button).textContent = t(name);
  if (writing !== mine) return; // something else is being written by now
  writing = null;
  $("verse").setAttribute("aria-busy", "false");
}

/** Write a poem, or several one after the other; each line is shown as soon as it comes. */
export function write(wishes) {
  remember("form", wishes.tune ? "tune" : wishes.form ?? "auto");
  const fields = { wishes, tune: wishes.tune ?? "", heading: headingOf(wishes), rhyme: wishes.rhyme ?? "", seed: wishes.seed };
  return carryOut("write", "write", t("composing"), async (signal, say) => {
    try {
      for await (const event of events("v1/poems", { ...wishes, stream: true }, signal)) {
        if (event.done) finish(event, fields);
        else take(event, fields);
        say(t("writing", event.done ? 1 : event.line + 2));
      }
    } finally {
      leave(); // stopped or failed: the lines that stand are kept
    }
  });
}

function take({ line, text, mark, poem: number }, fields) {
  if (line === 0) begin({ ...fields, form: fields.tune ? "" : fields.wishes.form ?? formOfLength(text), number: number + 1 });
  grow(text, mark);
  $("heard").textContent += text + mark;
}

function finish({ done, poem: number }, fields) {
  const rows = layOut(done.lines, done.text) ?? done.lines.map((text, n) => ({ text, ...guessMark("七绝", n) }));
  const { tune, form, seed, note } = done;
  put({ ...fields, rows, tune, form, seed, note, number: number + 1, of: fields.wishes.num ?? 1 });
}

/** Go on with a poem that is not whole. */
function goOn() {
  const { start, ...wishes } = poem().wishes;
  write({ ...wishes, lines: poem().rows.map((row) => row.text), num: 1 });
}

/** Answer an upper line. */
export function answer(wishes) {
  return carryOut("answer", "answerIt", t("answering"), async (signal) => {
    const { lower } = await call("v1/poems/couplet", wishes, signal);
    layCouplet(wishes, lower[0]);
    offerAnswers(wishes.upper, lower);
    $("heard").textContent = lower[0];
  });
}

/** Lay a couplet on the sheet. */
export function layCouplet(wishes, lower) {
  const rows = layOutCouplet(wishes.upper, lower);
  put({ rows, tune: "", form: "", heading: "", rhyme: "", wishes, seed: wishes.seed, couplet: true, lower });
}

const formOfLength = (text) => ([...text].length === 5 ? "五绝" : "七绝");
const reducedMotion = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
