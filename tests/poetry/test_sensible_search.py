"""What the table of sense holds is kept by the search: an untrained model does so by construction only."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from zhseq.batching import Ints
from zhseq.poetry.poet import Poet
from zhseq.poetry.request import Ranking, Request, Sampling
from zhseq.poetry.rules import FacingTables, SenseTables
from zhseq.poetry.sampling import largest
from zhseq.poetry.sense import Facing, Sense
from zhseq.text.vocab import SPECIALS, Vocab

SENSE = Sense("山", {"春": ("春", "东风"), "秋": ("秋", "雁来"), "夜": ("夜",)}, {"春秋": 2.0})
VOCAB = Vocab([*SPECIALS, *"春东风秋雁来夜山是人"])


def lines(*texts: str) -> Ints:
    return np.stack([VOCAB.encode(text) for text in texts])


@pytest.fixture(scope="module")
def tables() -> SenseTables:
    return SenseTables(SENSE, VOCAB)


def test_arrays_tell_what_the_table_tells(tables: SenseTables) -> None:
    texts = ["春人人", "东风秋", "风东人", "雁来夜", "来雁人"]
    for text, row in zip(texts, tables.times(lines(*texts)).tolist(), strict=True):
        assert {name for name, found in zip(tables.names, row, strict=True) if found} == set(SENSE.times([text])), text


def test_a_line_of_another_season_clashes(tables: SenseTables) -> None:
    before = tables.times(lines("东风人", "人人人"))
    candidates = np.stack([lines("秋人人", "春人人", "夜人人", "春秋人")] * 2)
    assert tables.clash(before, candidates).tolist() == [[2, 0, 0, 2], [0, 0, 0, 2]]


def test_a_table_without_pairs_and_with_unknown_words_is_no_error() -> None:
    tables = SenseTables(Sense("龘", {"春": ("龘", "春龘")}, {}), VOCAB)
    assert not tables.times(lines("春东风")).any()
    assert not tables.doubled.any()


@pytest.fixture(scope="module")
def sensible_poet(ruled_poet: Poet) -> Poet:
    return Poet(ruled_poet.network, ruled_poet.vocab, prosody=ruled_poet.prosody, sense=SENSE)


def write(poet: Poet, num: int, **wishes: object) -> list[tuple[str, ...]]:
    wishes = {"sampling": Sampling(1.5, seed=3), "ranking": Ranking(rarity=0.0), **wishes}
    return [poem.lines for poem in poet.stream(Request(**wishes), num)]  # type: ignore[arg-type]


@pytest.mark.parametrize("wishes", [{"form": "五绝"}, {"form": "七绝"}, {"tune": "小令"}])
def test_only_listed_characters_are_doubled(sensible_poet: Poet, ruled_poet: Poet, wishes: dict[str, str]) -> None:
    def doubled(poet: Poet) -> set[str]:
        poems = write(poet, 60, **wishes)
        return {a for poem in poems for line in poem for a, b in pairwise(line) if a == b}

    assert doubled(sensible_poet) <= {"山"}
    assert len(doubled(ruled_poet)) > 1


def test_seasons_are_kept_apart_where_there_is_a_choice(sensible_poet: Poet) -> None:
    def mixed(**wishes: object) -> int:
        return sum(bool(SENSE.mixed(poem)) for poem in write(sensible_poet, 60, form="五绝", **wishes))

    assert mixed(ranking=Ranking(seasons=100.0, rarity=0.0)) < mixed(ranking=Ranking(seasons=0.0, rarity=0.0)) / 2


def test_the_season_of_a_title_counts(sensible_poet: Poet) -> None:
    def autumn(title: str) -> int:
        poems = write(sensible_poet, 60, form="五绝", title=title, ranking=Ranking(seasons=100.0, rarity=0.0))
        return sum("秋" in SENSE.times(poem) for poem in poems)

    assert autumn("春") < autumn("秋") / 2


def test_poems_with_sense_do_not_depend_on_how_many_are_asked_for(sensible_poet: Poet) -> None:
    assert write(sensible_poet, 3, form="七绝") == write(sensible_poet, 20, form="七绝")[:3]


def test_the_table_comes_with_the_model(tiny_model_dir: Path, small_prosody, tmp_path: Path) -> None:
    for path in tiny_model_dir.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    small_prosody.save(tmp_path)
    plain = write(Poet.load(tmp_path), 20, form="五绝")
    SENSE.save(tmp_path)
    assert write(Poet.load(tmp_path), 20, form="五绝") != plain


@pytest.mark.parametrize(("size", "count"), [(8800, 128), (8800, 1), (80, 128), (81, 9), (64, 8), (64, 7)])
def test_the_largest_scores_are_those_of_a_sort(size: int, count: int) -> None:
    scores = np.random.default_rng(1).standard_normal((5, size), dtype=np.float32)
    scores[:, ::3] = -np.inf
    best, ids = largest(scores, min(count, size))
    assert (best == -np.sort(-scores, axis=1)[:, :count]).all()
    assert (np.take_along_axis(scores, ids, axis=1) == best).all()
    assert all(len(set(row)) == len(row) for row in ids.tolist())


FACING = Facing(
    {"春": {"秋": 9, "夜": 4}, "秋": {"春": 9}, "夜": {"春": 4}, "龘": {"山": 2}, "山": {"龘": 2}, "春风": {"秋人": 2}},
    {"春": 20, "秋": 10, "夜": 10, "龘": 2, "山": 4, "春风": 2, "秋人": 2},
    {1: 100, 2: 50},
)


def test_arrays_of_facing_characters_tell_what_the_table_tells() -> None:
    tables = FacingTables(FACING, VOCAB)
    upper, lower = lines("春春山"), lines("秋人人", "夜秋山")
    expected = [[FACING.lift(a, b) for a, b in zip("春春山", text, strict=True)] for text in ("秋人人", "夜秋山")]
    assert tables.lift(upper, lower) == pytest.approx(np.mean(expected, axis=1))
    others, lifts = tables.partners(int(VOCAB.id("春")))
    assert {VOCAB.symbol(index): float(nats) for index, nats in zip(others.tolist(), lifts, strict=True)} == {
        other: pytest.approx(FACING.lift("春", other)) for other in "秋夜"
    }
    assert len(tables.partners(int(VOCAB.id("山")))[0]) == 0, "a character that the vocabulary lacks"


def test_arrays_of_facing_words_tell_what_the_table_tells() -> None:
    tables = FacingTables(FACING, VOCAB)
    upper, lower = lines("春风山"), lines("秋人山", "秋月山")
    nats = FACING.lift("春风", "秋人")
    assert nats > 0
    assert tables.word_lift(upper, lower) == pytest.approx([nats / 3, 0])
    assert tables.word_lift(lines("山春风"), lines("山秋人")) == pytest.approx([nats / 3]), "at any place"
    others, lifts = tables.endings(upper[0, :2], VOCAB.id("秋"))
    assert [VOCAB.symbol(index) for index in others.tolist()] == ["人"]
    assert lifts == pytest.approx([nats])
    assert not len(tables.endings(upper[0, :2], VOCAB.id("夜"))[0])
    assert not len(tables.endings(upper[0, 1:], VOCAB.id("秋"))[0])


def test_without_facing_words_nothing_is_lifted() -> None:
    tables = FacingTables(Facing({}, {}, {1: 0, 2: 0}), VOCAB)
    assert tables.lift(lines("春山"), lines("秋人")).tolist() == [0]
    assert tables.word_lift(lines("春山"), lines("秋人")).tolist() == [0]


def test_couplets_set_against_each_other_what_people_do(ruled_poet: Poet, tmp_path: Path) -> None:
    pairs = {"春": {"雪": 9}, "雪": {"春": 9}, "来": {"去": 9}, "去": {"来": 9}}
    Facing(pairs, dict.fromkeys("春雪来去", 9), {1: 1000, 2: 0}).save(tmp_path)
    poet = Poet(ruled_poet.network, ruled_poet.vocab, prosody=ruled_poet.prosody, sense=Sense("", directory=tmp_path))
    answers = poet.couplet("春风来月", 8)
    plain = ruled_poet.couplet("春风来月", 8)
    assert sum(lower[0] == "雪" for lower in answers) > sum(lower[0] == "雪" for lower in plain)


def test_couplets_answer_words_by_words_that_people_set_against_them(ruled_poet: Poet, tmp_path: Path) -> None:
    def answers(words: dict[str, dict[str, int]]) -> list[str]:
        Facing(words, dict.fromkeys(("春风", "雪日"), 9), {1: 0, 2: 1000}).save(tmp_path)
        sense = Sense("", directory=tmp_path)
        poet = Poet(ruled_poet.network, ruled_poet.vocab, prosody=ruled_poet.prosody, sense=sense)
        return poet.couplet("春风来月", 8)

    with_words, without = answers({"春风": {"雪日": 9}, "雪日": {"春风": 9}}), answers({})
    assert sum(lower.startswith("雪日") for lower in with_words) > sum(lower.startswith("雪日") for lower in without)


@pytest.mark.parametrize("upper", ["春春风来日", "春风来春日", "春风来日，春来月日"])
def test_what_an_upper_line_repeats_its_answer_repeats(ruled_poet: Poet, upper: str) -> None:
    def places(text: str) -> list[int]:
        bare = text.replace("，", "").replace("。", "")
        return [bare.index(character) for character in bare]

    for lower in ruled_poet.couplet(upper, 5):
        assert places(lower) == places(upper)


def test_characters_lead_the_lines_that_are_cut_behind_them(ruled_poet: Poet) -> None:
    sense = Sense("", leads={"小令": (1, 2)}, leaders={"看": 50.0})
    poet = Poet(ruled_poet.network, ruled_poet.vocab, prosody=ruled_poet.prosody, sense=sense)
    for poem in write(poet, 20, tune="小令"):
        assert {poem[1][0], poem[2][0]} == {"看"}
