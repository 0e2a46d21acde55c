// A link that brings a poem back: its wishes and seed, or its text where these would give another. It stays in the part of
// the address that is never sent.

import { print } from "./verse.js";

const TEXTS = [
  ...["form", "tune", "start", "acrostic", "acrostic_at", "about", "title", "author", "dynasty", "rhyme", "rhyme_group"],
  ...["upper", "lower"],
];
const DRAFTS_OF_SEVERAL = 2; // as in zhseq/poetry/request.py
const NUMBERS = ["seed", "num", "temperature", "best_of", "drafts", "top_p", "top_k"];
const BETWEEN = "/"; // between lines

/** Return the address of a poem on the desk. */
export function linkTo({ rows, tune, heading, rhyme, wishes, seed, own, partial, edited, number, of, lower }) {
  const query = new URLSearchParams();
  if (own || partial || edited) {
    query.set("text", print(rows, heading));
    if (tune) query.set("tune", tune);
    if (rhyme === "modern") query.set("rhyme", rhyme);
  } else {
    for (const name of TEXTS) if (wishes[name]) query.set(name, wishes[name]);
    if (lower) query.set("lower", lower);
    // One of several has one draft where nothing else was wished, but alone it would have more.
    const drafts = wishes.drafts ?? (of > 1 ? DRAFTS_OF_SEVERAL : undefined);
    const given = { ...wishes, seed, drafts, num: number > 1 ? number : undefined };
    for (const name of NUMBERS) if (given[name] !== undefined) query.set(name, given[name]);
    if (wishes.traditional) query.set("traditional", "yes");
    if (wishes.lines) query.set("lines", wishes.lines.join(BETWEEN));
  }
  return `${location.origin}${location.pathname}#studio?${query}`;
}

/**
 * Read what stands behind the view in an address.
 *
 * Returns `{text, tune, rhyme}`, `{upper, …}` or wishes; null if there is nothing.
 */
export function readLink(hash) {
  const [view, ...behind] = hash.replace(/^#/, "").split("?");
  if (view !== "studio" || !behind.length) return null;
  const query = new URLSearchParams(behind.join("?"));
  if (query.get("text")) return { text: query.get("text"), tune: query.get("tune") ?? "", rhyme: query.get("rhyme") ?? "" };
  const wishes = {};
  for (const name of TEXTS) if (query.get(name)) wishes[name] = query.get(name);
  for (const name of NUMBERS) if (/^\d+(\.\d+)?$/.test(query.get(name) ?? "")) wishes[name] = Number(query.get(name));
  if (query.get("traditional") === "yes") wishes.traditional = true;
  if (query.get("lines")) wishes.lines = query.get("lines").split(BETWEEN);
  return Object.keys(wishes).length ? wishes : null;
}
