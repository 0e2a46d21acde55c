// Finding names: by their characters in any script, by their sound (huanxisha, hxs), by other names.

import { FORMS, SOUNDS } from "./names.js";

const HAN = /\p{Script=Han}/u;

const sounds = new Map(); // character -> its syllables
for (const row of SOUNDS.split(" ")) {
  const [syllable, characters] = row.split(":");
  for (const character of characters) sounds.set(character, [...(sounds.get(character) ?? []), syllable]);
}
const simplified = new Map(); // traditional or variant form -> character
for (const row of FORMS.split(" ")) {
  const [character, others] = row.split(":");
  for (const other of others) simplified.set(other, character);
}

const plain = (text) => [...text].map((character) => simplified.get(character) ?? character).join("");

/** Return what was typed as it is looked for: simplified, small letters, no tone marks, nothing between syllables. */
export function wish(text) {
  const letters = text.trim().toLowerCase().replace(/[üǖǘǚǜ]/gu, "v").normalize("NFD").replace(/\p{M}/gu, "");
  return plain(letters.normalize("NFC")).replace(/[\s'’·]+/gu, "");
}

/** Return whether characters, read from the first on, go with what was typed: whole syllables or their first letters. */
function heard(characters, typed) {
  if (!typed) return true;
  if (!characters.length) return false;
  const [first, ...rest] = characters;
  if (HAN.test(typed[0])) return typed.startsWith(first) && heard(rest, typed.slice(first.length));
  return (sounds.get(first) ?? []).some((syllable) => {
    if (syllable.startsWith(typed)) return true;
    if (typed.startsWith(syllable) && heard(rest, typed.slice(syllable.length))) return true;
    const initial = /^[zcs]h/.test(syllable) && typed.startsWith(syllable.slice(0, 2)) ? 2 : 1;
    return typed[0] === syllable[0] && heard(rest, typed.slice(initial));
  });
}

/** Return how well a name goes with what was typed (see `wish`): 0 best, and -1 if it does not at all. */
export function rank(name, others, typed) {
  const folded = plain(name);
  if (folded.startsWith(typed)) return 0;
  if (folded.includes(typed)) return 1;
  if (others.some((other) => plain(other).includes(typed))) return 2;
  const characters = [...folded];
  if (heard(characters, typed)) return 3;
  if (others.some((other) => heard([...plain(other)], typed))) return 4;
  return characters.some((_, start) => start && heard(characters.slice(start), typed)) ? 5 : -1;
}
