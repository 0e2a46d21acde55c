// Looking verse up: characters, rhymes, tunes, what faces a word, where a line stands. Each entry has an address of its own.

import { call } from "./api.js";
import { $ } from "./dom.js";
import { addressOf, ofCharacter, ofFacing, ofPoems, ofRhymes, ofTune } from "./entries.js";
import { inEachLanguage, t } from "./i18n.js";
import { attempt, notify } from "./notice.js";
import { waitIn } from "./waiting.js";

/** What can be looked up: what is asked of the service, how it is shown, and what its field is called. */
const KINDS = {
  character: { body: (text) => ({ character: text, num: 12 }), draw: ofCharacter, label: "soughtCharacter", example: "看" },
  rhymes: { body: (word, book, num) => ({ word, rhyme: book, num }), draw: ofRhymes, label: "soughtRhyme", example: "秋", first: 60, most: 1000 },
  tune: { body: (tune, book, num, example) => ({ tune, example }), draw: ofTune, label: "tune", example: "" },
  facing: { body: (word, book, num) => ({ word, num }), draw: ofFacing, label: "soughtWord", example: "明月", first: 60, most: 1000 },
  find: { body: (text, book, num) => ({ text, num }), draw: ofPoems, label: "soughtLine", example: "春风得意", first: 20, most: 100 },
};
const BOOKS = ["classical", "ci", "modern"];

let asking = null; // the AbortController of the request under way
let shown = null; // {kind, text, book, found} of the entry that is shown

/** Prepare the view; `ready` is a promise of what the service can do. */
export function startLookup(ready) {
  for (const input of document.querySelectorAll("input[name=what]")) input.addEventListener("change", showFields);
  $("lookup-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const [kind, text] = [chosen(), fieldOf(chosen()).value.trim()];
    if (!text) return notify($("lookup-notice"), t("soughtMissing"));
    const address = addressOf(kind, text, $("sought-book").value);
    if (address === location.hash) follow();
    else location.hash = address;
  });
  showFields();
  inEachLanguage(() => {
    showFields();
    draw();
  });
  ready.then(follow);
  window.addEventListener("hashchange", follow);
}

const chosen = () => document.querySelector("input[name=what]:checked").value;
const fieldOf = (kind) => $(kind === "tune" ? "sought-tune" : "sought");

function showFields() {
  const kind = chosen();
  $("sought-tune-field").hidden = kind !== "tune";
  $("sought-field").hidden = kind === "tune";
  $("sought-book-field").hidden = kind !== "rhymes";
  $("sought-label").textContent = t(KINDS[kind].label);
  $("sought").placeholder = KINDS[kind].example;
}

/** Look up what the address asks for. */
function follow() {
  const [view, ...behind] = location.hash.slice(1).split("?");
  if (view !== "lookup" || !behind.length) return;
  const query = new URLSearchParams(behind.join("?"));
  const kind = Object.keys(KINDS).find((name) => query.get(name));
  if (!kind) return;
  const book = BOOKS.includes(query.get("book")) ? query.get("book") : BOOKS[0];
  document.querySelector(`input[name=what][value=${kind}]`).checked = true;
  showFields();
  fieldOf(kind).value = query.get(kind);
  $("sought-book").value = book;
  ask({ kind, text: query.get(kind), book, num: KINDS[kind].first });
}

/** Ask the service, and show what it found unless something else is asked for by then. */
async function ask(wanted) {
  asking?.abort();
  const mine = (asking = new AbortController());
  const end = waitIn($("lookup-waiting"), t(wanted.example ? "writingExample" : "lookingUp"));
  const { kind, text, book, num, example = false } = wanted;
  const done = await attempt($("lookup-notice"), async () => {
    const found = await call(`v1/verse/${kind}`, KINDS[kind].body(text, book, num, example), mine.signal);
    if (asking !== mine) return;
    shown = { ...wanted, found };
    draw();
  }, () => ask(wanted));
  end();
  if (asking !== mine) return;
  asking = null;
  if (!done && !(shown?.kind === kind && shown.text === text)) shown = null; // an entry never stands below another question
  if (!done) draw();
  else if (document.activeElement === document.body) $("entry").querySelector("h2").focus(); // its link is out of sight
}

function draw() {
  $("entry").hidden = !shown;
  $("entry-empty").hidden = shown !== null;
  if (!shown) return $("entry").replaceChildren();
  const held = $("entry").contains(document.activeElement);
  const { kind, found } = shown;
  const acts = {
    all: () => ask({ ...shown, num: KINDS[kind].most }),
    example: () => ask({ ...shown, example: true }),
  };
  $("entry").replaceChildren(...KINDS[kind].draw(found, acts, shown.num));
  if (held) $("entry").querySelector("h2").focus();
}
