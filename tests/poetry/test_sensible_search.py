"""What the table of sense holds is kept by the search: an untrained model does so by construction only."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from zhseq.batching import Ints
from zhseq.poetry.poet import Poet
from zhseq.poetry.request import Ranking, Request, Sampling
from zhseq.poetry.rules import SenseTables
from zhseq.poetry.sampling import largest
from zhseq.poetry.sense import Sense
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
