"""How good is the learned prosody? Measures on poems it was not learned from, without any book of rhymes or tunes.

    python scripts/check_prosody.py --prosody checkpoints/poem --split dev

Printed are, for the poems of the chosen split: how often a character of one tone class stands where its line demands
that tone; how often words at the ends of even lines are accepted as rhymes, and how often words drawn from different
poems are; how many poems keep all rules; and how many ci have the shape, tones and rhymes of their tune. With
`--rhyme-book FILE` (JSON: `level NAME` or `oblique NAME` -> characters) tones and rhymes are also judged by a book that
the project does not hold; where its names are `rising NAME`, `departing NAME` and `entering NAME`, so are the oblique
tones, and the oblique groups by their names (`departing 去声七遇` or `departing 七遇`). Last comes how many names of
the 200 tunes to which most Song ci were written are found.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from datasets import Dataset

from zhseq.cli import run_main
from zhseq.corpus import load_poems, select_split
from zhseq.errors import CorpusError
from zhseq.poetry.prosody import CI, Prosody, Tone, TunePattern
from zhseq.poetry.prosody.books import OBLIQUE_GROUPS, other_names, standard_name
from zhseq.poetry.prosody.patterns import FORM_SHAPES
from zhseq.poetry.prosody.prosody import DEPARTING_TONE, ENTERING_TONE, RISING_TONE
from zhseq.poetry.prosody.tones import pattern_signs
from zhseq.poetry.prosody.verse_table import VerseTable
from zhseq.text.normalize import normalize

Ids = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]

_MOST_SUNG = 200
_OBLIQUE_KINDS = {RISING_TONE: "rising", DEPARTING_TONE: "departing", ENTERING_TONE: "entering"}
DRAWS = 200_000  # random pairs of rhyme words
_SIGNS = {Tone.LEVEL: 1, Tone.OBLIQUE: -1, Tone.EITHER: 0}


@dataclass(frozen=True)
class Words:
    """Tone (1, -1, 0) and rhyme groups of each character of a table, (characters,) and (characters, groups)."""

    tones: Ids
    groups: Booleans
    lyric: Booleans

    @classmethod
    def of(cls, prosody: Prosody, characters: str) -> Words:
        """Look up the characters of an alphabet."""
        tones = np.array([_SIGNS[prosody.tone_class(character)] for character in characters], dtype=np.int64)
        return cls(tones, _membership(prosody, characters), _membership(prosody.lyric(), characters))


def _membership(prosody: Prosody, characters: str) -> Booleans:
    result = np.zeros((len(characters), len(prosody.rhyme_groups)), dtype=bool)
    for row, character in enumerate(characters):
        result[row, list(prosody.groups(character))] = True
    return result


def demands(form: str) -> Ids:
    """Return the tones of the four patterns at the even places and the line ends, shape (4, lines, length)."""
    lines, length = FORM_SHAPES[form]
    kept = np.zeros((lines, length), dtype=bool)
    kept[:, 1:-1:2] = kept[:, -1] = True
    return np.where(kept, pattern_signs(form), 0)


def faults(poems: Ids, words: Words, form: str) -> Booleans:
    """Tell where a poem breaks each of the four patterns, shape (4, poems, lines, length).

    平平仄平仄 is as good as 平平平仄仄, so where the third but last is oblique the next may be level.
    """
    signs = demands(form)[:, None]
    tones = words.tones[poems].reshape(1, len(poems), *FORM_SHAPES[form])
    wrong = tones * signs < 0
    length = wrong.shape[-1]
    swaps = (signs[..., length - 4] > 0) & (signs[..., -1] < 0)
    wrong[..., length - 2] &= ~(swaps & (tones[..., length - 3] <= 0))
    return np.asarray(wrong)


def keeps_tones(poems: Ids, words: Words, form: str) -> Booleans:
    """Tell which poems keep one of the four patterns, shape (poems,)."""
    return np.asarray(~np.all(np.any(faults(poems, words, form), axis=(2, 3)), axis=0))


def rhyming(groups: Booleans, ends: Ids) -> Booleans:
    """Tell which poems have a group in which all of their words are, from words of shape (poems, words)."""
    return np.asarray(groups[ends].all(axis=1).any(axis=1))


def even_ends(poems: Ids, form: str) -> Ids:
    """Return the rhyme words, shape (poems, words)."""
    lines, length = FORM_SHAPES[form]
    return np.asarray(poems.reshape(-1, lines, length)[:, 1::2, -1])


def report_forms(table: VerseTable, words: Words, title: str) -> None:
    """Print how many poems of each form keep the rules."""
    print(f"\n{title}\n\n| form | poems | level rhyme on even lines | tones | both |\n|---|---|---|---|---|")
    level = words.groups & (words.tones >= 0)[:, None]
    for form, poems in table.regulated().items():
        rhymed, toned = rhyming(level, even_ends(poems, form)), keeps_tones(poems, words, form)
        shares = " | ".join(f"{100 * kept.mean():.1f} %" for kept in (rhymed, toned, rhymed & toned))
        print(f"| {form} | {len(poems):,} | {shares} |")


def report_tokens(table: VerseTable, words: Words) -> None:
    """Print how characters of one tone fare in poems that keep a pattern but for at most one character."""
    wrong = total = either = 0
    for form, poems in table.regulated().items():
        broken = faults(poems, words, form)
        number = broken.sum(axis=(2, 3))
        clear = np.flatnonzero(number.min(axis=0) <= 1)
        wanted = demands(form)[number.argmin(axis=0)[clear]].reshape(len(clear), -1)
        tones = words.tones[poems[clear]]
        wrong += int(number.min(axis=0)[clear].sum())
        total += int(((wanted != 0) & (tones != 0)).sum())
        either += int(((wanted != 0) & (tones == 0)).sum())
    print(f"\ncharacters of one tone that stand where it is demanded: {100 - 100 * wrong / total:.3f} % of {total:,}")
    print(f"characters that count as either: {100 * either / (either + total):.2f} % of those at such places")


def report_pairs(table: VerseTable, words: Words, rng: np.random.Generator) -> None:
    """Print how often neighbouring rhyme words are accepted, and words of different poems."""
    accepted = total = 0
    drawn: list[Ids] = []
    for form, poems in table.regulated().items():
        ends = even_ends(poems, form)
        ends = ends[(words.tones[ends] >= 0).all(axis=1)]
        together = (words.groups[ends[:, :-1]] & words.groups[ends[:, 1:]]).any(axis=2)
        accepted, total = accepted + int(together.sum()), total + together.size
        drawn.append(ends.ravel())
    pool = np.concatenate(drawn)
    pairs = rng.choice(pool, size=(DRAWS, 2))
    chance = (words.groups[pairs[:, 0]] & words.groups[pairs[:, 1]]).any(axis=1)
    home = _home(words)
    apart = (home[pairs[:, 0]] != home[pairs[:, 1]]) & (home[pairs] >= 0).all(axis=1)
    print(f"\nneighbouring even-line words accepted as rhymes: {100 * accepted / total:.2f} % of {total:,}")
    print(f"random pairs of rhyme words accepted: {100 * chance.mean():.2f} % of {DRAWS:,}")
    print(f"random pairs accepted though their first groups differ: {100 * chance[apart].mean():.3f} %")


def _home(words: Words) -> Ids:
    """Return the first level group of each character, -1 if it has none."""
    level = words.groups & (words.tones >= 0)[:, None]
    return np.where(level.any(axis=1), level.argmax(axis=1), -1)


def report_book(table: VerseTable, words: Words, book: Mapping[str, str], rng: np.random.Generator) -> None:
    """Print how tones and rhymes agree with a book of rhymes, weighted by their use in the verse of the table."""
    row_of = {character: row for row, character in enumerate(table.characters)}
    member = np.zeros((len(table.characters), len(book)), dtype=bool)
    for column, characters in enumerate(book.values()):
        member[[row_of[c] for c in set(normalize(characters)) if c in row_of], column] = True
    level = np.array([name.startswith("level") for name in book])
    signs = member[:, level].any(axis=1).astype(int) - member[:, ~level].any(axis=1).astype(int)
    verse = table.regulated()
    uses = sum(np.bincount(poems.ravel(), minlength=len(signs)) for poems in verse.values()) * (signs != 0)
    right, wrong = (float((uses * (words.tones == sign * signs)).sum()) for sign in (1, -1))
    total = float(uses.sum())
    print(f"\nby the book, characters of one tone, {int(total):,} tokens: {100 * right / total:.3f} % have it, "
          f"{100 * wrong / total:.4f} % the other, the rest count as either")  # fmt: skip
    rhymes = member[:, level]
    ends = [even_ends(poems, form) for form, poems in verse.items()]
    pairs = np.concatenate([np.stack([each[:, :-1], each[:, 1:]], axis=-1).reshape(-1, 2) for each in ends])
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    pairs = pairs[(rhymes[pairs[:, 0]] & rhymes[pairs[:, 1]]).any(axis=1)]
    accepted = (words.groups[pairs[:, 0]] & words.groups[pairs[:, 1]]).any(axis=1)
    print(f"by the book, neighbouring even-line rhymes accepted: {100 * accepted.mean():.2f} % of {len(pairs):,}")
    pool = np.concatenate([each.ravel() for each in ends])
    drawn = rng.choice(pool[rhymes[pool].any(axis=1)], size=(DRAWS, 2))
    drawn = drawn[~(rhymes[drawn[:, 0]] & rhymes[drawn[:, 1]]).any(axis=1)]
    false = (words.groups[drawn[:, 0]] & words.groups[drawn[:, 1]]).any(axis=1)
    print(f"by the book, level words that do not rhyme accepted: {100 * false.mean():.3f} % of {len(drawn):,}")


def report_oblique(prosody: Prosody, book: Mapping[str, str], uses: Mapping[str, int]) -> None:
    """Print how many characters to which a book gives one oblique tone have it, by characters and by their uses."""
    kinds: dict[str, set[str]] = {}
    for name, characters in book.items():
        for character in set(normalize(characters)):
            kinds.setdefault(character, set()).add(name.split(" ")[0])
    for tone, kind in _OBLIQUE_KINDS.items():
        words = [word for word, own in kinds.items() if own - {"level"} == {kind} and prosody.groups(word)]
        told = {word: prosody.oblique_tone(word) for word in words if prosody.tone_class(word) is not Tone.LEVEL}
        for title, weight in (("characters", dict.fromkeys(told, 1)), ("uses", uses)):
            total = sum(weight.get(word, 0) for word in told)
            known = sum(weight.get(word, 0) for word, own in told.items() if own != Tone.OBLIQUE.value)
            right = sum(weight.get(word, 0) for word, own in told.items() if own == tone)
            both = sum(weight.get(word, 0) for word, own in told.items() if len(own) > 1)
            if known:
                shares = [100 * known / total, 100 * right / known, 100 * both / known]
                print(f"by the book {tone}, {title}: {total:,}, known {shares[0]:.1f} %; of these {tone} alone "
                      f"{shares[1]:.1f} %, both {shares[2]:.1f} %")  # fmt: skip


def report_oblique_groups(prosody: Prosody, book: Mapping[str, str], uses: Mapping[str, int]) -> None:
    """Print how many characters of each oblique group stand there in a book; those that name it are left out."""
    listed: dict[tuple[str, str], set[str]] = {}  # kind and character -> groups
    for name, characters in book.items():
        kind, group = name.split(" ", 1)
        for character in normalize(characters):
            listed.setdefault((kind, character), set()).add(re.sub("^.声", "", normalize(group)))
    tried, right = Counter[str](), Counter[str]()
    every = {word for kind, word in listed if kind in _OBLIQUE_KINDS.values()}
    for title, members in prosody.table.oblique_groups.items():
        kind, names = _OBLIQUE_KINDS[title[0]], set(title[2:].split("、"))
        given = OBLIQUE_GROUPS.get(title, "")
        judged = [word for word in members if (kind, word) in listed and word not in given]
        same = [word for word in judged if names & listed[kind, word]]
        for name, weight in (("characters", dict.fromkeys(judged, 1)), ("uses", uses)):
            tried[name] += sum(weight.get(word, 0) for word in judged)
            right[name] += sum(weight.get(word, 0) for word in same)
        wrong = "".join(word for word in judged if word not in same)
        print(f"{title}: {len(same)} of {len(judged)} characters{f', not {wrong}' if wrong else ''}")
    told = set("".join(prosody.table.oblique_groups.values()))
    for name, weight in (("characters", dict.fromkeys(every, 1)), ("uses", uses)):
        covered, total = (sum(weight.get(word, 0) for word in words) for words in (every & told, every))
        print(f"by the book, oblique groups, {name}: {tried[name]:,} told, "
              f"{100 * right[name] / max(tried[name], 1):.1f} % right; "
              f"{100 * covered / max(total, 1):.1f} % of those in the book are told")  # fmt: skip


def report_names(poems: Dataset, prosody: Prosody) -> None:
    """Print how many names of the 200 tunes to which most Song ci were written are found."""
    written = Counter(tune for tune, of in zip(poems["tune"], poems["dynasty"], strict=True) if tune and of == "宋")
    tunes: Counter[str] = Counter()
    for name, count in written.items():
        tunes[standard_name(name)] += count
    wanted = [(tune, name) for tune, _ in tunes.most_common() if tune for name in (tune, *other_names(tune))]
    most = {tune for tune, _ in tunes.most_common(_MOST_SUNG + 1) if tune}
    wanted = [(tune, name) for tune, name in wanted if tune in most]
    missing = [name for tune, name in wanted if standard_name(normalize(name)) != tune or tune not in prosody.tunes]
    print(f"\nnames of the {len(most)} tunes most used in Song ci: {len(wanted) - len(missing)} of {len(wanted)} found"
          + (f"; not {'、'.join(missing)}" if missing else ""))  # fmt: skip


def report_tunes(table: VerseTable, words: Words, tunes: dict[str, TunePattern]) -> None:
    """Print how many ci have a known shape of their tune, and how well they keep tones and rhymes of it."""
    lyrics = table.select((table.forms == CI) & np.isin(table.tunes, list(tunes)))
    starts = np.cumsum(lyrics.poem_lines) - lyrics.poem_lines
    offsets = np.concatenate([[0], np.cumsum(lyrics.line_lengths)])
    main = known = 0
    tones, rhymes = np.zeros(2), np.zeros(2)
    for name, start, lines in zip(lyrics.tunes, starts, lyrics.poem_lines, strict=True):
        shape = tuple(lyrics.line_lengths[start : start + lines].tolist())
        tune = tunes[str(name)]
        fitting = [pattern for pattern in (tune, *tune.variants) if pattern.line_lengths == shape]
        main, known = main + (shape == tune.line_lengths), known + bool(fitting)
        if not fitting:
            continue
        ids = lyrics.ids[offsets[start] : offsets[start + lines]]
        signs = np.array([[{"平": 1, "仄": -1, "中": 0}[sign] for sign in "".join(p.tones)] for p in fitting])
        places = (signs != 0) & (words.tones[ids] != 0)
        right = (signs == words.tones[ids]) & places
        best = int((right.sum(axis=1) / np.maximum(places.sum(axis=1), 1)).argmax())
        tones += right[best].sum(), places[best].sum()
        ends = ids[np.cumsum(shape) - 1]
        for rhyme in set(fitting[best].rhymes) - {0}:
            line = ends[np.array(fitting[best].rhymes) == rhyme]
            together = (words.lyric[line[:-1]] & words.lyric[line[1:]]).any(axis=1)
            rhymes += together.sum(), together.size
    print(
        f"\nci to the {len(tunes)} tunes: {len(lyrics):,}; line lengths of the commonest pattern: "
        f"{100 * main / len(lyrics):.1f} %, of any: {100 * known / len(lyrics):.1f} %"
    )
    print(f"places with a tone that have it: {100 * tones[0] / tones[1]:.1f} % of {int(tones[1]):,}")
    print(f"neighbouring rhymes accepted: {100 * rhymes[0] / rhymes[1]:.1f} % of {int(rhymes[1]):,}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Measure the learned prosody on poems it was not learned from.")
    parser.add_argument("--prosody", type=Path, default=Path("checkpoints/poem"), help="directory of prosody.json")
    parser.add_argument("--split", default="dev", help="train, dev or test")
    parser.add_argument("--dynasty", help="only poems of one dynasty, 唐 for example; of all splits")
    parser.add_argument("--rhyme-book", type=Path, metavar="FILE", help="JSON of rhymes to judge by as well")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    prosody = Prosody.load(options.prosody)
    poems = every = load_poems()
    if options.dynasty:
        chosen = np.flatnonzero(np.array(poems["dynasty"]) == options.dynasty)
        poems, title = poems.select(chosen), f"Poems of {options.dynasty}"
    else:
        poems, title = select_split(poems, options.split), f"Poems of the {options.split} split"
    if len(poems) == 0:
        raise CorpusError(
            "no_poems",
            "there are no poems of the dynasty '{name}'; give one of the corpus, 唐 or 宋",
            name=options.dynasty,
        )
    table = VerseTable.from_dataset(poems)
    words = Words.of(prosody, table.characters)
    report_forms(table, words, title)
    report_tokens(table, words)
    report_pairs(table, words, np.random.default_rng(options.seed))
    if options.rhyme_book is not None:
        book = json.loads(options.rhyme_book.read_text(encoding="utf-8"))
        report_book(table, words, book, np.random.default_rng(options.seed))
        counts = np.bincount(table.ids, minlength=len(table.characters)).tolist()
        report_oblique(prosody, book, dict(zip(table.characters, counts, strict=True)))
        report_oblique_groups(prosody, book, dict(zip(table.characters, counts, strict=True)))
    if (np.isin(table.tunes, list(prosody.tunes))).any():
        report_tunes(table, words, prosody.tunes)
    report_names(every, prosody)
    return 0


if __name__ == "__main__":
    run_main(main)
