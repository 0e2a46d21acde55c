"""The whole of it, on verse made up by rule in an alphabet of real characters."""

from pathlib import Path

import numpy as np
import pytest

from tests.poetry.prosody.verse import LEVEL, OBLIQUE, SIZE, TONES, regulated
from zhseq.errors import CorpusError
from zhseq.poetry.prosody import Prosody, Tone
from zhseq.poetry.prosody.learning import learn
from zhseq.poetry.prosody.patterns import FORM_SHAPES
from zhseq.poetry.prosody.verse_table import VerseTable

pytest.importorskip("pypinyin")

GROUPS = 10
ALPHABET = "".join(chr(0x4E00 + 3 * index) for index in range(SIZE))


def made_up(poems: int, rng: np.random.Generator) -> VerseTable:
    """七律 on level rhymes, and four-line ci of one tune on oblique or on level ones; ten groups of six words each."""
    lines, length = FORM_SHAPES["七律"]
    verse = regulated("七律", poems, rng, noise=0.002).reshape(poems, lines, length)
    verse[:, 1::2, -1] = rng.integers(GROUPS, size=(poems, 1)) * 6 + rng.integers(6, size=(poems, 4))
    lyric = rng.integers(SIZE, size=(2 * poems, 4, 5))
    words = rng.integers(GROUPS, size=(2 * poems, 1)) * 6 + rng.integers(6, size=(2 * poems, 4))
    words[poems:] += LEVEL
    lyric[:, :, -1] = words
    number = len(lyric)
    return VerseTable(
        characters=ALPHABET,
        ids=np.concatenate([verse.ravel(), lyric.ravel()]),
        line_lengths=np.repeat([length, 5], [poems * lines, number * 4]),
        marks=np.array([ord(mark) for mark in "，。" * 4 * poems + "。。。。" * number]),
        poem_lines=np.repeat([lines, 4], [poems, number]),
        forms=np.repeat(["七律", "词"], [poems, number]),
        tunes=np.repeat(["", "无名令"], [poems, number]),
        names=np.array([str(index) for index in range(poems + number)]),
    )


@pytest.fixture(scope="module")
def prosody() -> Prosody:
    return learn(made_up(2500, np.random.default_rng(6)), {}).prosody


def test_tones(prosody: Prosody) -> None:
    wanted = [{1: Tone.LEVEL, -1: Tone.OBLIQUE, 0: Tone.EITHER}[int(tone)] for tone in TONES]
    right = [prosody.tone_class(character) is tone for character, tone in zip(ALPHABET, wanted, strict=True)]
    assert np.mean(right) > 0.95  # a few of these characters have modern readings that speak against the made-up tones
    assert prosody.table.learned.all()


@pytest.mark.parametrize("first", [0, LEVEL])
def test_rhymes(prosody: Prosody, first: int) -> None:
    words = [ALPHABET[first + 6 * group : first + 6 * group + 6] for group in range(GROUPS)]
    tone = Tone.LEVEL if first == 0 else Tone.OBLIQUE
    for view in (prosody, prosody.lyric()):
        groups = [group for group in view.rhyme_groups if group.tone is tone]
        assert sorted("".join(sorted(group.characters)) for group in groups) == sorted(words)
        assert sum(len(group.certain) for group in groups) > 0.95 * 6 * GROUPS
    assert prosody.rhyme(words[0][0], words[0][5])
    assert not prosody.rhyme(words[0][0], words[1][0])


def test_the_tune_has_a_level_and_an_oblique_pattern(prosody: Prosody) -> None:
    tune = prosody.tunes["无名令"]
    assert tune.rhymes == (1, 1, 1, 1)
    ends = {"".join(line[-1] for line in pattern.tones) for pattern in (tune, *tune.variants)}
    assert ends == {"平平平平", "仄仄仄仄"}
    assert set("".join(line[:-1] for line in tune.tones)) == {"中"}


def test_modern_readings_come_along(prosody: Prosody, tmp_path: Path) -> None:
    prosody.save(tmp_path)
    modern = Prosody.load(tmp_path).modern()
    assert len(modern.rhyme_groups) == 32
    assert modern.table.characters == ALPHABET
    assert modern.tunes.keys() == prosody.tunes.keys()


def test_poems_without_regulated_verse() -> None:
    table = made_up(5, np.random.default_rng(7))
    with pytest.raises(CorpusError, match="no regulated verse"):
        learn(table.select(table.forms == "词"), {})


def test_alphabet_covers_all_kinds() -> None:
    assert LEVEL + OBLIQUE < SIZE == len(set(ALPHABET))
