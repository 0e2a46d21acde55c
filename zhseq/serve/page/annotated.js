// Tagged text: words with their parts of speech, names around them. Offsets count code points, as the service does.

import { h } from "./dom.js";

const FAMILIES = {
  NOUN: "noun", PROPN: "noun", VERB: "verb", AUX: "verb", ADJ: "modifier", ADV: "modifier",
  NUM: "quantity", PRON: "quantity", DET: "quantity", PUNCT: "mark", SYM: "mark", X: "mark",
};

/** Return the family, and so the colour, of a part of speech. */
export const familyOf = (upos) => FAMILIES[upos] ?? "function";

const PART = 150; // words of a paragraph that are laid out together
const LONG = 8; // characters from which on a word may go on in the next line
const ENDS = /[。！？；!?;\n]$/u;

/**
 * Set a document as a paragraph, in parts, so that others can do something in between.
 *
 * Yields the paragraph, and again whenever it has grown by a part; `families` tells the family of each tag. A long paragraph
 * consists of several blocks, cut behind sentences.
 */
export function* paragraph(document, families) {
  const characters = Array.from(document.text);
  const text = (start, end) => characters.slice(start, end).join("");
  const whole = h("p", {});
  const names = [...(document.entities ?? [])].sort((a, b) => a.start - b.start);
  const words = document.words ?? [];
  let result = whole;
  if (words.length > 2 * PART) whole.append((result = h("span", { className: "part" })));
  let [box, name, position, count] = [result, null, 0, 0];
  for (const word of words) {
    if (name && word.start >= name.end) [box, name] = [result, null];
    if (result !== whole && !name && count >= PART && (ENDS.test(text(position - 1, position)) || count > 2 * PART)) {
      yield whole;
      whole.append((result = h("span", { className: "part" })));
      [box, count] = [result, 0];
    }
    count += 1;
    if (word.start > position) (name && position >= name.start ? box : result).append(text(position, word.start));
    while (names.length && names[0].end <= word.start) names.shift();
    if (!name && names.length && names[0].start < word.end) {
      name = names.shift();
      box = h("span", { className: "name" });
      box.dataset.label = name.label;
      result.append(box);
    }
    box.append(wordOf(word, text(word.start, word.end), families));
    position = word.end;
  }
  result.append(text(position));
  yield whole;
}

function wordOf(word, text, families) {
  const element = h("span", { className: text.length > LONG ? "word long" : "word" }, text);
  element.dataset.pos = word.pos;
  element.dataset.family = families.get(word.pos) ?? "function";
  return element;
}

/** Count how often each tag occurs, as `{pos: Map, ner: Map}`. */
export function countTags(documents) {
  const pos = new Map();
  const ner = new Map();
  const count = (map, tag) => map.set(tag, (map.get(tag) ?? 0) + 1);
  for (const { words = [], entities = [] } of documents) {
    for (const word of words) count(pos, word.pos);
    for (const entity of entities) count(ner, entity.label);
  }
  return { pos, ner };
}
