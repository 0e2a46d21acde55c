"""What verse sets together: what is counted of it, what is no such table, and that the search listens to it."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from scripts import learn_usage
from scripts.learn_usage import count
from zhseq import checkpoint
from zhseq.errors import CheckpointError
from zhseq.poetry.coherence import HABITS, USAGE_FILE, Bytes, Usage
from zhseq.poetry.poet import Poet
from zhseq.poetry.request import Ranking, Request, Sampling
from zhseq.text.vocab import Vocab

POEMS = [("春风花月雨", "花月雨云山")] * 3 + [("春风来", "山风花")]


def some_usage(vocab_size: int, levels: Bytes | None = None) -> Usage:
    """Of a verse that has nothing but neighbours of some levels."""
    levels = np.zeros((2, 1), dtype=np.uint8) if levels is None else levels
    vectors = np.zeros((len(levels), 1), dtype=np.float32)
    return Usage(levels, np.zeros(8, dtype=np.uint8), np.zeros(vocab_size, dtype=np.float32), vectors, vectors)


@pytest.fixture
def usage(tiny_vocab: Vocab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Usage:
    monkeypatch.setattr(learn_usage, "PLACES", 1 << 16)
    checkpoint.write_tensors(tmp_path / USAGE_FILE, count(tiny_vocab, POEMS))
    return Usage.load(tmp_path, len(tiny_vocab))


def habit(usage: Usage, vocab: Vocab, name: str, *lines: str) -> list[float]:
    found: list[float] = usage.habits(np.stack([vocab.encode(line) for line in lines]))[:, HABITS.index(name)].tolist()
    return found


def test_neighbours_that_verse_never_had_are_counted(usage: Usage, tiny_vocab: Vocab) -> None:
    lines = np.stack([tiny_vocab.encode(text) for text in ("春风花", "花春风", "雨花雨", "北北北")])
    assert usage.unheard(lines).tolist() == [0, 1, 2, 2]  # a line ends what stands side by side


def test_neighbours_count_the_more_the_oftener_they_are_some(usage: Usage, tiny_vocab: Vocab) -> None:
    often, once, never = habit(usage, tiny_vocab, "neighbours, least", "春风", "风来", "来春")
    assert often > once == 0 > never
    same, less = habit(usage, tiny_vocab, "neighbours against chance, mean", "春风", "来春")
    assert same > less


def test_three_in_a_row_are_known_if_they_stand_there_three_times(usage: Usage, tiny_vocab: Vocab) -> None:
    lines = ("春风花月", "春风来花", "山风花月", "来山风花")
    assert habit(usage, tiny_vocab, "triples that verse has", *lines) == [1, 0, 0.5, 0]
    assert habit(usage, tiny_vocab, "the last triple", *lines) == [1, 0, 1, 0]


def test_what_meets_in_lines_is_tied(usage: Usage, tiny_vocab: Vocab) -> None:
    met, apart = habit(usage, tiny_vocab, "ties, mean", "春花花", "云春春")
    assert met > apart
    # Of three characters only the outer two are no neighbours.
    outer, last = (habit(usage, tiny_vocab, name, "春花雨") for name in ("ties, mean", "ties of the last character"))
    assert outer == pytest.approx(last)


def test_two_characters_have_neither_triples_nor_ties(usage: Usage, tiny_vocab: Vocab) -> None:
    for name in HABITS[5:]:
        assert habit(usage, tiny_vocab, name, "春风") == [0]


def packed(content: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(zlib.compress(content)), dtype=torch.uint8)


@pytest.mark.parametrize(
    "damage",
    [
        lambda own: own.pop("levels"),
        lambda own: own.update(levels=own["levels"][:-3]),
        lambda own: own.update(levels=packed(b"123")),
        lambda own: own.update(triples=packed(b"123")),
        lambda own: own.update(levels=packed(bytes(1 << 25))),
        lambda own: own.update(triples=packed(bytes(1 << 25))),
        lambda own: own.update(frequency=own["frequency"][1:]),
        lambda own: own.update(frequency=torch.full_like(own["frequency"], float("nan"))),
        lambda own: own.update(later=own["later"][:, :1]),
        lambda own: own.update(earlier=own["earlier"][1:]),
    ],
)
def test_what_is_no_table_of_this_vocabulary_is_refused(
    damage: Callable[[dict[str, torch.Tensor]], object], tiny_vocab: Vocab, tmp_path: Path
) -> None:
    own = count(tiny_vocab, POEMS)
    damage(own)
    checkpoint.write_tensors(tmp_path / USAGE_FILE, own)
    with pytest.raises(CheckpointError, match=r"usage\.safetensors is not a usage table for a vocabulary"):
        Usage.load(tmp_path, len(tiny_vocab))


def test_the_search_takes_neighbours_that_verse_knows(usage: Usage, ruled_poet: Poet) -> None:
    usage.levels = np.random.default_rng(0).integers(0, 2, usage.levels.shape, dtype=np.uint8) * 0x11
    asked = Poet(ruled_poet.network, ruled_poet.vocab, prosody=ruled_poet.prosody, usage=usage)

    def unheard(poet: Poet, **wish: str) -> int:
        request = Request(ranking=Ranking(coherence=0.0), sampling=Sampling(1.5), **wish)  # type: ignore[arg-type]
        lines = [line for poem in poet.stream(request, 8) for line in poem.lines]
        return sum(int(usage.unheard(poet.vocab.encode(line))) for line in lines)

    for wish in ({"form": "七绝"}, {"tune": "小令"}):
        assert unheard(asked, **wish) < unheard(ruled_poet, **wish)
