from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zhseq.corpus.cleaning import CleanPoems, clean
from zhseq.corpus.poems import MAX_POEMS, MIN_SHARED, deduplicate, line_hashes, same_poems
from zhseq.corpus.poetry import SHI, RawPoem
from zhseq.text.normalize import codepoints

Poem = list[str]
PINNED = 14396752930749650690


def hashes_of(poems: list[Poem]) -> tuple[np.ndarray, np.ndarray]:
    lines = [line for poem in poems for line in poem]
    lengths = np.array([len(line) for line in lines], dtype=np.int64)
    return line_hashes(codepoints("".join(lines)), lengths), np.array([len(poem) for poem in poems], dtype=np.int64)


def cleaned(poems: list[Poem]) -> CleanPoems:
    records = [RawPoem(str(i), "题", "某", "唐", SHI, "", "。".join(poem) + "。") for i, poem in enumerate(poems)]
    result, dropped = clean("source", records)
    assert not dropped
    return result


def pairs(poems: list[Poem]) -> set[tuple[int, int]]:
    left, right = same_poems(*hashes_of(poems))
    found = list(zip(left.tolist(), right.tolist(), strict=True))
    assert len(found) == len(set(found))
    return set(found)


def by_definition(poems: list[Poem]) -> set[tuple[int, int]]:
    found = set()
    for (i, one), (j, two) in itertools.combinations(enumerate(poems), 2):
        shared = len(set(one) & set(two))
        if shared >= MIN_SHARED and 2 * shared >= min(len(one), len(two)):
            found.add((i, j))
    return found


@settings(deadline=None)  # the first call builds tables
@given(st.lists(st.lists(st.sampled_from("甲乙丙丁戊己庚辛"), min_size=1, max_size=6), max_size=8))
def test_same_poems_are_those_of_the_definition(poems: list[Poem]) -> None:
    assert pairs(poems) == by_definition(poems)


def test_a_refrain_brings_no_poems_together() -> None:
    poems = [["叠句一", "叠句二", f"{chr(0x4E00 + i)}行"] for i in range(MAX_POEMS)]
    assert len(pairs(poems)) == MAX_POEMS * (MAX_POEMS - 1) // 2
    assert pairs([*poems, ["叠句一", "叠句二", "末"]]) == set()


def test_line_hashes_know_order_length_and_place() -> None:
    lines = ["甲乙", "乙甲", "甲", "甲乙丙", "甲乙", "甲甲", "甲甲甲"]
    hashes, _ = hashes_of([lines])
    assert hashes[0] == hashes[4]
    assert len(set(hashes.tolist())) == len(lines) - 1


def test_line_hashes_never_change() -> None:
    # The splits are made from them: another value would move poems between train and test.
    assert line_hashes(codepoints("春山"), np.array([2])).tolist() == [PINNED]


SIX = ["春山一路花", "流水到人家", "日暮闻啼鸟", "东风满树霞", "行人归未得", "灯火隔江沙"]


@pytest.mark.parametrize(
    ("one", "two", "kept"),
    [
        (SIX[:4], [*SIX[:2], "别有一家春", "无人问落花"], [0]),  # half of the lines agree: one poem
        (SIX[:4], [*SIX[:1], "别有一家春", "无人问落花", "明月满江村"], [0, 1]),  # one line is a quotation
        ([*SIX, "一", "二"], SIX[:4], [1]),  # of a regulated shape, so better than a record of uneven lines
        (SIX[:4], [*SIX[:4], "水", "山"], [0]),
        ([*SIX, "明月满江村", "无人问落花"], SIX[2:6], [0]),  # of two regulated shapes the whole, not the excerpt
        (SIX[2:6], [*SIX, "明月满江村", "无人问落花"], [1]),
    ],
)
def test_which_edition_stays(one: Poem, two: Poem, kept: list[int]) -> None:
    result = deduplicate(cleaned([one, two]), [0, 1])
    assert result.kept.tolist() == kept


def test_the_better_source_wins_between_equal_editions() -> None:
    variant = [*SIX[:3], "东风满院霞"]
    for ranks, kept in (([0, 1], [0]), ([1, 0], [1])):
        assert deduplicate(cleaned([SIX[:4], variant]), ranks).kept.tolist() == kept


def test_the_edition_with_fewer_rare_characters_wins_over_the_better_source() -> None:
    variant = [*SIX[:3], "东风满树齾"]
    others = [[f"{mark}{line[1:]}" for line in SIX[:4]] for mark in "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往"]
    poems = cleaned([variant, SIX[:4], *others])
    result = deduplicate(poems, [0] + [1] * (len(poems) - 1))
    assert 0 not in result.kept
    assert 1 in result.kept


def test_likeness_is_not_handed_on_but_the_split_is() -> None:
    a = ["甲山一路花", "乙水到人家", "丙日闻啼鸟", "丁风满树霞"]
    b = ["丙日闻啼鸟", "丁风满树霞", "戊江流不尽", "己月照天涯", "己雨", "戊风"]
    c = ["戊江流不尽", "己月照天涯", "庚夜听寒雨", "辛晨看落花"]
    result = deduplicate(cleaned([a, b, c]), [0, 0, 0])
    assert result.kept.tolist() == [0, 2]  # b is a copy of both; a and c have nothing in common
    assert len(set(result.cluster_keys.tolist())) == 1


@settings(deadline=None)  # the first call builds tables
@given(st.permutations(range(6)))
def test_the_order_of_the_poems_does_not_matter(order: list[int]) -> None:
    poems = [
        SIX[:4],
        [*SIX[:3], "东风满院霞"],
        SIX[2:6],
        [*SIX[:2], "别有一家春", "无人问落花"],
        ["空山不见雪", "古寺一声钟", "归鸟无寻处", "斜阳在碧松"],
        ["空山不见雪", "古寺一声钟", "归鸟无寻处", "斜阳下碧松"],
    ]
    expected = deduplicate(cleaned(poems), [0] * 6)
    result = deduplicate(cleaned([poems[i] for i in order]), [0] * 6)
    chosen = {order[i]: key for i, key in zip(result.kept.tolist(), result.cluster_keys.tolist(), strict=True)}
    assert chosen == dict(zip(expected.kept.tolist(), expected.cluster_keys.tolist(), strict=True))


def test_no_poems_at_all() -> None:
    result = deduplicate(clean("source", [])[0], [])
    assert result.kept.tolist() == result.cluster_keys.tolist() == []
