// Tagged text as files, written as `python -m zhseq.tag` writes them.

const BLANKS = { " ": "\\s", "\t": "\\t", "\n": "\\n", "\r": "\\r" };

/** Return documents as JSON, one a line. */
export function toJsonLines(documents) {
  // JSON may hold these as they are, but many a reader takes them for the end of a line.
  const escape = (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  const line = (document) => JSON.stringify(document).replace(/[\x7f\x85\u2028\u2029]/g, escape);
  return documents.map((document) => `${line(document)}\n`).join("");
}

/** Return documents as CoNLL-U; `universal` maps a part of speech to its universal one. */
export function toConllu(documents, universal) {
  return documents.map((document, number) => `${block(document, number + 1, universal)}\n\n`).join("");
}

function block({ text, words = [], entities = [] }, number, universal) {
  const characters = Array.from(text);
  const waiting = [...entities];
  const rows = words.map((word, index) => {
    const misc = [];
    const names = [];
    while (waiting.length && waiting[0].start < word.end) {
      const { label, start, end } = waiting.shift();
      names.push(`${label}:${start}-${end}`);
    }
    if (names.length) misc.push(`Entity=${names.join(",")}`);
    const gap = characters.slice(word.end, words[index + 1]?.start);
    if (!gap.length) misc.push("SpaceAfter=No");
    else if (gap.join("") !== " ") misc.push(`SpacesAfter=${gap.map((blank) => BLANKS[blank] ?? blank).join("")}`);
    const upos = universal.get(word.pos) ?? "X";
    const xpos = upos === word.pos ? "_" : word.pos || "_";
    return [index + 1, word.text, word.text, upos, xpos, "_", "_", "_", "_", misc.join("|") || "_"].join("\t");
  });
  return [`# sent_id = ${number}`, `# text = ${text}`, ...rows].join("\n");
}
