"""Count the words in which poets use characters: `python scripts/learn_words.py --out checkpoints/poem`.

Read are the training poems alone, and the prosody in the directory. `words.tsv` then holds for each character

* how often it ends a line that rhymes, and the words of two characters with which such lines end;
* if it has a level and an oblique reading, how often verse asks for each, and in which words. The place asks: the even
  places of a regulated line alternate, so the next but one that is of one tone tells the tone that is due.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from zhseq.cli import run_main
from zhseq.corpus import load_poems, select_split
from zhseq.poetry.lookup import WORDS_FILE, CharacterUse, VerseWords
from zhseq.poetry.prosody import CI, Prosody
from zhseq.poetry.prosody.patterns import FORM_SHAPES
from zhseq.poetry.prosody.rhymes import OLD_FORMS, closed
from zhseq.poetry.prosody.verse_table import VerseTable

Ints = npt.NDArray[np.int64]

FEWEST_ENDS = 20
"""Rhymes that a character must have made."""
FEWEST, SHARE = 4, 0.85
"""How often a word is seen, and how much of it with one reading, to tell that reading."""
MOST = 12
"""Words of each kind."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Count, write the file and say what it holds."""
    parser = argparse.ArgumentParser(description="Count the words in which verse uses characters.")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help=f"holds prosody; gets {WORDS_FILE}")
    options = parser.parse_args(arguments)
    words = learn(VerseTable.from_dataset(select_split(load_poems(), "train")), Prosody.load(options.out))
    words.save(options.out)
    double = sum(bool(use.level_words or use.oblique_words) for use in words.uses.values())
    print(
        f"{len(words.uses)} characters, {double} of them with words that tell a reading; in {options.out / WORDS_FILE}"
    )
    return 0


def learn(table: VerseTable, prosody: Prosody) -> VerseWords:
    """Count in the poems of a table, whose tones and rhymes are known."""
    ends, before = rhyme_words(table)
    found: dict[str, CharacterUse] = {}
    counts = np.bincount(ends, minlength=len(table.characters))
    listed = _common(ends, before, table.characters)
    double = readings(table, prosody)
    for row in np.argsort(-counts, kind="stable").tolist():
        character = table.characters[row]
        if counts[row] >= FEWEST_ENDS or character in double:
            level, oblique, level_words, oblique_words = double.get(character, (0, 0, (), ()))
            endings = listed.get(character, ())[:MOST]
            found[character] = CharacterUse(int(counts[row]), endings, level, oblique, level_words, oblique_words)
    return VerseWords(found)


def rhyme_words(table: VerseTable) -> tuple[Ints, Ints]:
    """Return the last characters of lines that rhyme, and those before them, both (lines,), as numbers."""
    forms = table.forms[table.poem_of]
    rhyming = (np.isin(forms, OLD_FORMS) & (table.line_number % 2 == 1)) | ((forms == CI) & closed(table))
    last = np.cumsum(table.line_lengths)[rhyming & (table.line_lengths > 2)] - 1
    return table.ids[last], table.ids[last - 1]


def _common(ends: Ints, before: Ints, characters: str) -> dict[str, tuple[str, ...]]:
    """Return for each character the words that end on it, those first that stand out most by number and lift."""
    size = np.int64(len(characters))
    keys, counts = np.unique(before * size + ends, return_counts=True)
    chance = np.bincount(before, minlength=size)[keys // size] * np.bincount(ends, minlength=size)[keys % size]
    weight = counts * np.log(counts * float(len(ends)) / chance)
    order = np.lexsort((keys, -weight))
    result: dict[str, tuple[str, ...]] = {}
    for key in keys[order][(counts[order] >= FEWEST) & (weight[order] > 0)].tolist():
        first, second = divmod(key, int(size))
        result[characters[second]] = (*result.get(characters[second], ()), characters[first] + characters[second])
    return result


def readings(table: VerseTable, prosody: Prosody) -> dict[str, tuple[int, int, tuple[str, ...], tuple[str, ...]]]:
    """Return for each character of both tones how often each is due, and the words that tell which."""
    classes = np.array(["平仄中".index(prosody.tone_class(character).value) for character in table.characters])
    asked = list(_asked(table, classes))
    owner, partner, first, due = (np.concatenate(column) for column in zip(*asked, strict=True))
    uses = np.zeros((len(table.characters), 2), dtype=np.int64)
    np.add.at(uses, (owner, due), 1)
    size = np.int64(len(table.characters))
    keys, places = np.unique((owner * size + partner) * 2 + first, return_inverse=True)
    counts = np.zeros((len(keys), 2), dtype=np.int64)
    np.add.at(counts, (places, due), 1)
    words: dict[int, tuple[list[str], list[str]]] = {}
    for row in np.argsort(-counts.sum(axis=1), kind="stable").tolist():
        total = counts[row].sum()
        if total < FEWEST:
            break
        reading = int(counts[row].argmax())
        if counts[row, reading] >= SHARE * total:
            pair, is_first = divmod(int(keys[row]), 2)
            one, other = (table.characters[number] for number in divmod(pair, int(size)))
            kept = words.setdefault(pair // int(size), ([], []))[reading]
            word = one + other if is_first else other + one
            if word not in kept and len(kept) < MOST:
                kept.append(word)
    return {
        table.characters[row]: (int(uses[row, 0]), int(uses[row, 1]), tuple(level), tuple(oblique))
        for row, (level, oblique) in words.items()
    }


def _asked(table: VerseTable, classes: Ints) -> Iterator[tuple[Ints, Ints, Ints, Ints]]:
    """Yield where verse asks for one tone of a character of both.

    Yields:
        The characters; the others of their words; 1 where the character is the first of the word, else 0; the tone
        that is due, 0 level and 1 oblique. All of shape (uses,).
    """
    for form, poems in table.regulated().items():
        length = FORM_SHAPES[form][1]
        lines = poems.reshape(-1, length)
        tones = classes[lines]
        for place in range(1, length - 1, 2):
            other = place + 2 if place + 2 < length - 1 else place - 2
            rows = (tones[:, place] == 2) & (tones[:, other] < 2)
            here, due = lines[rows, place], 1 - tones[rows, other]
            yield here, lines[rows, place - 1], np.zeros(len(here), dtype=np.int64), due
            if place == length - 2:
                yield here, lines[rows, place + 1], np.ones(len(here), dtype=np.int64), due


if __name__ == "__main__":
    run_main(main)
