"""Long work on poems comes in steps, none of which grows with what is asked for, so that others can have their turn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from zhseq.batching import Array, Batch, Ints
from zhseq.poetry.network import Floats, Network, State
from zhseq.poetry.poet import Poet
from zhseq.poetry.request import COUPLET_RANKING, Ranking, Request, Sampling

MOST = 300
"""Symbols that are read in a step, rows times length; more take longer than a tenth of a second."""
LINES = ("白日依山尽", "黄河入海流", "欲穷千里目", "更上一层楼")
LONG = "".join(line + mark for _ in range(60) for line, mark in zip(LINES, "，。，。", strict=True))


class Counting:
    """A network that counts the symbols that it reads."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.read = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.network, name)

    def step(self, ids: Ints, state: State | None = None) -> tuple[Floats, State]:
        self.read += ids.size
        return self.network.step(ids, state)

    def follow(self, ids: Ints, targets: Ints, state: State | None = None) -> tuple[Floats, State]:
        self.read += ids.size
        return self.network.follow(ids, targets, state)

    def token_losses(self, batch: Batch[Array]) -> Floats:
        self.read += batch.ids.size
        return self.network.token_losses(batch)


@pytest.fixture(scope="module")
def counting() -> tuple[Poet, Counting]:
    poet = Poet.load()
    network = Counting(poet.network)
    poet.network = poet._writer.network = network  # type: ignore[assignment]
    return poet, network


def steps(work: Iterator[Any], network: Counting) -> list[int]:
    """Return the symbols that are read in each step."""
    found = []
    network.read = 0
    for _ in work:
        found.append(network.read)
        network.read = 0
    return found


@pytest.mark.parametrize(
    "wishes", [{"form": "七律", "about": "秋夜"}, {"tune": "浣溪沙"}, {"form": "五绝", "author": "李白"}]
)
def test_verse_is_written_place_by_place(counting: tuple[Poet, Counting], wishes: dict[str, str]) -> None:
    poet, network = counting
    request = Request(**wishes, ranking=Ranking(64))  # type: ignore[arg-type]
    found = steps(poet.steps(request, 4), network)
    assert len(found) >= 20
    assert max(found) <= 2 * 256  # by two readers, one of whom knows the subject
    assert max(steps(poet.growing(request), network)) <= MOST


def test_a_place_is_mended_in_steps_whatever_the_length_of_the_poem(counting: tuple[Poet, Counting]) -> None:
    poet, network = counting
    for text in (LONG.replace("千", "？", 1), LONG[:600].replace("日", "？", 1), LONG[:24].replace("流", "□")):
        found = steps(poet.suggestions(poet.check(text)), network)
        assert max(found) <= MOST
        assert sum(found) <= 48 * 330 + 2 * 400


def test_other_judgements_come_in_steps(counting: tuple[Poet, Counting]) -> None:
    poet, network = counting
    assert max(steps(poet.surprising(poet.check(LONG)), network)) <= MOST
    assert max(steps(poet.rewriting(Request(), LINES, 1, 32), network)) <= MOST
    assert max(steps(poet.answers("明月松间照", 2, "classical", Sampling()), network)) <= COUPLET_RANKING.best_of


def test_what_is_far_from_a_place_is_not_read(counting: tuple[Poet, Counting]) -> None:
    poet, _ = counting
    text = LONG.replace("千", "？", 1)
    one, other = (poet.suggest(poem, num=3) for poem in (text, text[: len(LONG) // 24 * 12]))
    assert one == other
    assert len(one[0].characters) == 3
