import numpy as np

from zhseq.poetry.prosody import Pattern
from zhseq.poetry.prosody.tunes import WordTable, learn_tunes
from zhseq.poetry.prosody.verse_table import VerseTable, windows
from zhseq.recipes.prosody import _stanza_ends

# Words 0-3 are level and rhyme (class 0), 4-7 oblique and rhyme (class 1), 8-11 level, 12-15 oblique, without rhyme.
WORDS = WordTable(
    tones=np.repeat([1, -1, 1, -1], 4),
    level=np.repeat([1.0, 0.0, 1.0, 0.0], 4),
    rhymes=np.arange(16)[:, None] // 4 == np.arange(2),
)


def table(poems: list[list[list[int]]], tunes: list[str]) -> VerseTable:
    lines = [line for poem in poems for line in poem]
    return VerseTable(
        characters="".join(chr(0x4E00 + index) for index in range(16)),
        ids=np.array([word for line in lines for word in line]),
        line_lengths=np.array([len(line) for line in lines]),
        marks=np.array([ord("，。"[number % 2]) for poem in poems for number in range(len(poem))]),
        poem_lines=np.array([len(poem) for poem in poems]),
        forms=np.array(["词" if tune else "五绝" for tune in tunes]),
        tunes=np.array(tunes),
        names=np.array([str(number) for number in range(len(poems))]),
    )


def poem(rng: np.random.Generator, *, oblique: bool = False, long: bool = False) -> list[list[int]]:
    """Lines 平仄中 / 仄平韵 / 平仄 / 平韵: the second and the fourth rhyme."""
    level, slant, either = rng.integers(8, 12, 9), rng.integers(12, 16, 9), rng.integers(8, 16, 9)
    rhyme = rng.integers(4, 8, 2) if oblique else rng.integers(0, 4, 2)
    lines = [
        [level[0], slant[0], either[0]],
        [slant[1], level[1], rhyme[0]],
        [level[2], slant[2]],
        [level[3], rhyme[1]],
    ]
    return [[int(word) for word in line] for line in (lines + lines[:2] if long else lines)]


def test_a_tune_with_variants() -> None:
    rng = np.random.default_rng(4)
    poems = [poem(rng) for _ in range(60)] + [poem(rng, oblique=True) for _ in range(30)]
    poems += [poem(rng, long=True) for _ in range(20)] + [poem(rng) for _ in range(3)]
    tunes = ["花间"] * 110 + ["孤调"] * 2 + [""]
    stanzas = {str(number): (6,) for number in range(50)} | {str(number): (5,) for number in range(50, 60)}
    found = learn_tunes(table(poems, tunes), WORDS, stanzas)
    assert list(found) == ["花间"], "the other tune has too few poems"
    tune = found["花间"]
    assert (tune.total, tune.count) == (110, 60)
    assert tune.line_lengths == (3, 3, 2, 2)
    assert tune.tones == ("平仄中", "仄平平", "平仄", "平平")
    assert tune.rhymes == (0, 1, 0, 1)
    assert tune.marks == "，。，。"
    assert tune.breaks == (2,)
    oblique, long = tune.variants
    assert oblique == Pattern((3, 3, 2, 2), ("平仄中", "仄平仄", "平仄", "平仄"), (0, 1, 0, 1), "，。，。", (2,), 30)
    assert (long.line_lengths, long.count, long.breaks) == ((3, 3, 2, 2, 3, 3), 20, ())


def test_two_rhymes_of_one_tune_are_told_apart() -> None:
    rng = np.random.default_rng(5)
    poems = []
    for _ in range(40):
        first, second = rng.integers(4, 8, 2), rng.integers(0, 4, 2)
        poems.append([[8, int(first[0])], [8, int(first[1])], [8, int(second[0])], [8, int(second[1])]])
    tune = learn_tunes(table(poems, ["转韵"] * 40), WORDS, {})["转韵"]
    assert tune.rhymes == (1, 1, 2, 2)
    assert [line[-1] for line in tune.tones] == ["仄", "仄", "平", "平"]


def test_windows_cut_runs() -> None:
    words = np.array([1, 2, 3, 4, 5, 6, 7, 8, 9])
    runs = np.array([0, 0, 0, 0, 0, 0, 1, 2, 2])
    np.testing.assert_array_equal(windows(words, runs, 4), [[1, 2, 3, 4], [5, 6, -1, -1], [8, 9, -1, -1]])
    assert windows(words[:0], runs[:0], 4).shape == (0, 4)


def test_stanza_ends_are_counted_in_characters() -> None:
    assert _stanza_ends("一二三，四五。六、七！\n八九。十？") == (7,)
    assert _stanza_ends("一二三，四五。\n\n六、七！\n八九。十？") == (5, 7)
    assert _stanza_ends("一二三，四五。") == ()


def test_an_end_that_some_leave_without_rhyme_has_the_tone_of_the_rhyme() -> None:
    rng = np.random.default_rng(5)
    poems = [poem(rng) for _ in range(60)]
    for lines in poems[:27]:  # so many end the second line without rhyme, on an oblique tone
        lines[1][-1] = 12
    tune = learn_tunes(table(poems, ["花间"] * 60), WORDS, {})["花间"]
    assert tune.rhymes == (0, 1, 0, 1)
    assert tune.tones == ("平仄中", "仄平平", "平仄", "平平")
