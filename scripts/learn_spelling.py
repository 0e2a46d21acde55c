"""Write `zhseq/text/spelling.tsv`: how simplified editions print characters that the models read in one form.

    python scripts/learn_spelling.py # reads poetry-source, in simplified characters, from $ZHSEQ_CORPORA

Folding gives 乾坤 and 乾杯 one character, and lets some variants be. Which form is printed depends on the word: for
each pair of forms the words are counted, and those that go against the rule are kept, two characters each.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

from zhseq.corpus.poetry import read_source
from zhseq.text.normalize import _pairs

TARGET = Path(__file__).resolve().parent.parent / "zhseq" / "text" / "spelling.tsv"
WORDS = {"干": "干乾", "沈": "沉沈", "祇": "只祇", "苹": "蘋苹", "拼": "拚拼"}
"""A character as the models write it; the form that is the rule in print, and the one that stands in certain words."""
VARIANTS = {"隠": "隐", "疎": "疏", "髪": "发", "鶑": "莺"}
"""Variants that folding lets be, and that no simplified edition prints."""
KNOWN = "乾乾 乾元 乾象 乾道 乾德 乾符 乾健 乾枢 乾阳 乾光 乾隆 乾清 乾宁 乾陵 乾封"
"""Words of the trigram 乾, too rare in verse to be counted."""
SLIPS = {"杯干"}
"""Words that the edition itself prints wrongly."""
LEAST, SHARE = 20, 0.8
"""How often a word must occur, and how large the share of the other form must be in it."""
BEYOND = 0x20000
"""From here on characters are in few fonts: where these are the simplified forms, editions print traditional ones."""


def words_of(text: str, written: str, rule: str, other: str) -> dict[str, str]:
    """Return the words in which the form that is not the rule is printed, by how they are written.

    Words that begin with the character come first; those that end with it are looked for in what is left, since 里乾坤
    tells of 乾坤 and not of 里乾.
    """
    found = {}
    forms = "".join({written, rule, other})
    for pattern in (f"[{forms}][^\n]", f"[^\n][{forms}]"):
        at = 0 if pattern.startswith(f"[{forms}]") else 1
        counts: Counter[str] = Counter()
        often: Counter[str] = Counter()
        for pair in (match[1] for match in re.finditer(f"(?=({pattern}))", text)):
            word = pair[:at] + written + pair[at + 1 :]
            counts[word] += 1
            often[word] += pair[at] == other
        enough = [word for word, number in often.items() if number >= max(LEAST, SHARE * counts[word])]
        chosen = [word for word in enough if word[1 - at] not in forms and word not in SLIPS]
        found |= {word: word[:at] + other + word[at + 1 :] for word in chosen}
        text = re.sub("|".join(f"[{forms}]{word[1]}" for word in chosen) or "(?!)", "\n", text)
    return found


def rows(text: str) -> list[tuple[str, str]]:
    """Return what is written and what is printed: single characters first, then words that go against them."""
    characters = Counter(text)
    single = dict(VARIANTS) | {
        simplified: traditional
        for traditional, simplified in _pairs("fold.tsv")
        if ord(traditional) < BEYOND <= ord(simplified) and characters[traditional] > characters[simplified]
    }
    words: dict[str, str] = {}
    for written, (rule, other) in WORDS.items():
        if rule != written:
            single[written] = rule
        words |= words_of(text, written, rule, other)
    words |= {word.replace("乾", "干"): word for word in KNOWN.split()}
    return sorted(single.items()) + sorted(words.items())


def main() -> None:
    """Count and write the table."""
    folder = Path(os.environ["ZHSEQ_CORPORA"]) / "poetry-source"
    text = "\n".join(poem.text for poem in read_source("poetry-source", folder))
    han = re.sub("[^\u3400-\u9fff\U00020000-\U000323ff]+", "\n", text)
    head = "# written\tprinted\n# Made by scripts/learn_spelling.py from poetry-source.\n"
    TARGET.write_text(head + "".join(f"{old}\t{new}\n" for old, new in rows(han)), encoding="utf-8")


if __name__ == "__main__":
    main()
