// Reading a poem aloud, with a voice of the browser, line by line.

import { $ } from "./dom.js";
import { t } from "./i18n.js";
import { notify, quiet } from "./notice.js";

const RATE = 0.75; // verse is read slowly
const CUT_OFF = ["canceled", "interrupted"]; // by us, or by another page

let reading = false;

/** Prepare the button; `poem` returns the rows on the sheet, `show` marks the line that is read, `notice` holds complaints. */
export function startVoice(poem, show, notice) {
  $("read").hidden = !("speechSynthesis" in globalThis);
  $("read").addEventListener("click", () => {
    if (reading) return stopVoice();
    quiet(notice);
    const known = speechSynthesis.getVoices();
    const voice = known.find(({ lang }) => /^(zh|cmn)\b/i.test(lang));
    if (known.length && !voice) return notify(notice, t("noVoice"));
    begin(poem(), voice, show, notice);
  });
  window.addEventListener("pagehide", stopVoice);
}

/** Read no further. */
export function stopVoice() {
  if (!reading) return;
  reading = false;
  speechSynthesis.cancel();
  $("read").textContent = t("readAloud");
  $("read").setAttribute("aria-pressed", "false");
}

function begin(rows, voice, show, notice) {
  reading = true;
  $("read").textContent = t("stopReading");
  $("read").setAttribute("aria-pressed", "true");
  rows.forEach(({ text, mark }, number) => {
    const line = new SpeechSynthesisUtterance(text.replaceAll("？", "") + (mark || "。"));
    Object.assign(line, { lang: voice?.lang ?? "zh-CN", voice: voice ?? null, rate: RATE });
    line.onstart = () => show(number);
    line.onend = () => {
      if (number < rows.length - 1 || !reading) return;
      show(-1);
      stopVoice();
    };
    line.onerror = ({ error }) => {
      show(-1);
      if (CUT_OFF.includes(error) || !reading) return;
      stopVoice();
      notify(notice, t("noVoice"));
    };
    speechSynthesis.speak(line);
  });
}
