// Tagged text: words with their parts of speech, names around them. Offsets count code points, as the service does.

import { h } from "./dom.js";

const FAMILIES = {
  NOUN: "noun", PROPN: "noun", VERB: "verb", AUX: "verb", ADJ: "modifier", ADV: "modifier",
  NUM: "quantity", PRON: "quantity", DET: "quantity", PUNCT: "mark", SYM: "mark", X: "mark",
};

/** Return the family, and so the colour, of a part of speech. */
export const familyOf = (upos) => FAMILIES[upos] ?? "function";

/** Return a paragraph for a document; `families` tells the family of each tag. */
export function paragraph(document, families) {
  const characters = Array.from(document.text);
  const text = (start, end) => characters.slice(start, end).join("");
  const result = h("p", {});
  const names = [...(document.entities ?? [])].sort((a, b) => a.start - b.start);
  let [box, name, position] = [result, null, 0];
  for (const word of document.words ?? []) {
    if (name && word.start >= name.end) [box, name] = [result, null];
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
  return result;
}

function wordOf(word, text, families) {
  const element = h("span", { className: "word" }, text);
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
