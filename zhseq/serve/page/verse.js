// Poems as texts: where punctuation stands, where a row ends, which characters a person wrote.

const HAN = /\p{Script=Han}|〇/u;
const PLACE = /[？?□]/u;
const LENGTHS = { 五绝: [4, 5], 七绝: [4, 7], 五律: [8, 5], 七律: [8, 7] };
const ABOVE = 3; // rows above a poem that may be its title, author and preface

/** Return the marks and the ends of rows of lines whose printed text is not known yet: a comma and a stop in turn. */
export function guessMark(form, number) {
  if (!(form in LENGTHS)) return { mark: "", ends: false };
  return { mark: number % 2 ? "。" : "，", ends: number % 2 === 1 };
}

/** Return the regulated form of lines, or an empty text. */
export function formOf(lines) {
  const same = ([count, length]) => lines.length === count && lines.every((line) => [...line].length === length);
  return Object.keys(LENGTHS).find((form) => same(LENGTHS[form])) ?? "";
}

/** Return the lines of a text: its Chinese characters and open places, cut at everything else. */
export function linesOf(text) {
  return text.replace(/[?□]/gu, "？").split(/[^\p{Script=Han}〇？]+/u).filter(Boolean);
}

/**
 * Find lines in a printed text.
 *
 * Returns for each line `{text, mark, ends}`: what stands behind it, and whether its row ends there; null if the text is
 * another.
 */
export function layOut(lines, text) {
  let rest = text.trimStart();
  const rows = [];
  for (const line of lines) {
    if (!rest.startsWith(line)) return null;
    rest = rest.slice(line.length);
    const [between] = /^[^\p{Script=Han}〇？?□]*/u.exec(rest);
    rest = rest.slice(between.length);
    rows.push({ text: line, mark: between.replace(/\s/gu, "").slice(0, 1), ends: /\n/.test(between) });
  }
  if (rest || !rows.length) return null;
  rows.at(-1).ends = true;
  return rows;
}

/** Return lines with the characters as a person wrote them, where their number tells which is which. */
export function asWritten(lines, text) {
  const written = [...text].filter((character) => HAN.test(character) || PLACE.test(character));
  const count = lines.reduce((sum, line) => sum + [...line].length, 0);
  if (written.length !== count) return lines.map((line) => line.replaceAll("?", "？"));
  return lines.map((line) => written.splice(0, [...line].length).join("").replace(/[?□]/gu, "？"));
}

/** Return the rows of a poem that a person wrote, and what stands above it as its heading. */
export function layOutOwn(lines, text) {
  const printed = text.trim().replace(/[?□]/gu, "？").replace(/[ \t　]+/gu, "").split("\n");
  for (let above = 0; above <= ABOVE && above < printed.length; above++) {
    const verse = printed.slice(above).join("\n");
    const rows = layOut(asWritten(lines, verse), verse);
    if (rows) return { rows, heading: printed.slice(0, above).filter(Boolean).join(" ").replace(/^《(.*)》$/u, "$1") };
  }
  const written = asWritten(lines, text);
  const form = formOf(written);
  return { rows: written.map((line, number) => ({ text: line, ...guessMark(form || "七绝", number) })), heading: "" };
}

/** Return the rows of an upper and a lower line. */
export function layOutCouplet(upper, lower) {
  const rowsOf = (text, last) => {
    const lines = linesOf(text);
    const rows = layOut(lines, text) ?? lines.map((line) => ({ text: line, mark: "，", ends: false }));
    rows[rows.length - 1] = { ...rows.at(-1), mark: rows.at(-1).mark || last, ends: true };
    return rows;
  };
  return [...rowsOf(upper, "，"), ...rowsOf(lower, "。")];
}

/** Print rows, their heading above them. */
export function print(rows, heading = "") {
  const verse = rows.map((row) => row.text + row.mark + (row.ends ? "\n" : "")).join("").trimEnd();
  return heading ? `${heading}\n${verse}` : verse;
}

/** Return a line with one character exchanged. */
export function withCharacter(line, place, character) {
  const characters = [...line];
  characters[place] = character;
  return characters.join("");
}
