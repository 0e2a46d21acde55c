"""The critic of whole poems: what it computes, what it refuses, and that the search listens to it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from zhseq import checkpoint
from zhseq.errors import CheckpointError
from zhseq.poetry.coherence import CRITIC_FILE, Critic
from zhseq.poetry.poet import Poet
from zhseq.poetry.request import Ranking, Request, Sampling
from zhseq.text.vocab import Vocab


def tensors(vocab: Vocab, size: int = 4) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    vectors = torch.randint(-127, 128, (len(vocab), size), generator=generator, dtype=torch.int8)
    vectors[0] = 0
    weights = {"vectors": vectors, "vectors steps": torch.tensor([0.02, 0.01, 0.01, 0.03])}
    return {**weights, "before": torch.eye(size), "behind": -torch.eye(size), "scale": torch.tensor([3.0])}


@pytest.fixture
def critic(tiny_vocab: Vocab, tmp_path: Path) -> Critic:
    checkpoint.write_tensors(tmp_path / CRITIC_FILE, tensors(tiny_vocab))
    return Critic.load(tmp_path, len(tiny_vocab))


def test_what_follows_is_as_close_as_its_direction(critic: Critic, tiny_vocab: Vocab) -> None:
    before, behind = tiny_vocab.encode("春风花"), tiny_vocab.encode("秋月")
    one, other = critic.vectors[before].mean(axis=0), -critic.vectors[behind].mean(axis=0)
    cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    assert critic.lift(before[None], behind[None])[0] == pytest.approx(3 * cosine, abs=1e-5)
    padded = np.concatenate([before, [0, 0]])
    assert critic.lift(padded[None], behind[None])[0] == pytest.approx(3 * cosine, abs=1e-5)
    assert critic.lift(np.zeros((1, 2), dtype=np.int64), behind[None]).tolist() == [0]


def test_a_poem_is_judged_by_its_halves_in_any_script(critic: Critic, tiny_vocab: Vocab) -> None:
    found = critic.score(
        [("春风", "花月", "云雨", "江山"), ("春風", "花月", "雲雨", "江山"), ("春", "秋月雪")], tiny_vocab
    )
    expected = critic.lift(tiny_vocab.encode("春风花月")[None], tiny_vocab.encode("云雨江山")[None])
    assert found[:2].tolist() == pytest.approx([expected[0]] * 2)
    assert found.shape == (3,)


@pytest.mark.parametrize(
    "damage",
    [
        lambda own: own.pop("scale"),
        lambda own: own.update(vectors=own["vectors"][:-1]),
        lambda own: own.update(before=torch.eye(3)),
        lambda own: own.update(behind=torch.full((4, 4), float("nan"))),
        lambda own: own.update(scale=torch.tensor([3])),
        lambda own: own.pop("vectors steps"),
        lambda own: own.update(vectors=own["vectors"].float()),
    ],
)
def test_what_is_no_critic_of_this_vocabulary_is_refused(
    damage: Callable[[dict[str, torch.Tensor]], object], tiny_vocab: Vocab, tmp_path: Path
) -> None:
    own = tensors(tiny_vocab)
    damage(own)
    checkpoint.write_tensors(tmp_path / CRITIC_FILE, own)
    with pytest.raises(CheckpointError, match=re.escape(str(tmp_path / CRITIC_FILE))):
        Critic.load(tmp_path, len(tiny_vocab))


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / CRITIC_FILE).write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match="damaged"):
        Critic.load(tmp_path, 70)


def test_the_search_takes_lines_that_follow(critic: Critic, ruled_poet: Poet) -> None:
    poet = Poet(ruled_poet.network, ruled_poet.vocab, prosody=ruled_poet.prosody, critic=critic)

    def mean(weight: float) -> float:
        ranking = Ranking(rarity=0.0, coherence=weight)
        poems = poet.stream(Request(form="五绝", ranking=ranking, sampling=Sampling(seed=3)), 12)
        return float(critic.score([poem.lines for poem in poems], poet.vocab).mean())

    assert mean(9.0) > mean(0.0) + 0.3


def test_no_verse_is_asked_to_follow_where_it_has_no_weight_and_ci_never_are(critic: Critic, ruled_poet: Poet) -> None:
    asked = Poet(ruled_poet.network, ruled_poet.vocab, prosody=ruled_poet.prosody, critic=critic)
    wishes = [(0.0, {"form": "五绝"}), (9.0, {"tune": "小令"})]
    for coherence, wish in wishes:
        request = Request(**wish, ranking=Ranking(coherence=coherence, unheard=0.0))  # type: ignore[arg-type]
        assert [p.lines for p in asked.stream(request, 3)] == [p.lines for p in ruled_poet.stream(request, 3)]
