"""Training joins halves that belong together, padding says nothing, and what is told is counted."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("datasets")

from zhseq import Poet
from zhseq.poetry.coherence import Critic, in_steps

QUATRAIN = ("白日依山尽", "黄河入海流", "欲穷千里目", "更上一层楼")


@pytest.fixture(autouse=True)
def _scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend("scripts")


def test_batches_hold_poems_of_one_kind_cut_at_one_place_and_come_again() -> None:
    from scripts.learn_critic import Cuts

    kinds = [np.arange(1, 1 + 70 * 20).reshape(70, 4, 5), np.arange(2000, 2000 + 70 * 56).reshape(70, 8, 7)]
    batches = Cuts(kinds, 16, (1, 0), number=20)
    shapes = set()
    for index in range(20):
        ids = batches[index].ids.numpy()
        assert (ids == batches[index].ids.numpy()).all()
        before, behind = ids[:16], ids[16:]
        lengths = {(int((row > 0).sum()), int((other > 0).sum())) for row, other in zip(before, behind, strict=True)}
        assert len(lengths) == 1
        # What follows begins where what stands before ends.
        assert ((before.max(axis=1) + 1) == behind[:, 0]).all()
        shapes |= lengths
    assert len(shapes) > 3
    with pytest.raises(IndexError):
        batches[20]


def test_training_joins_what_belongs_together() -> None:
    from scripts.learn_critic import SIZE, Cuts, Halves, as_critic, stored

    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    model = Halves(torch.randn(3 * SIZE, SIZE + 20))
    topics = rng.integers(0, 8, 256)
    poems = 1 + topics[:, None, None] * 40 + rng.integers(0, 40, (256, 4, 5))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    batches = Cuts([poems], 64, (1, 0), number=60)
    losses = []
    for index in range(60):
        loss = model.loss(batches[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.5
    critic = as_critic(model)
    assert not critic.vectors[0].any()
    tensors = {name: tensor.numpy() for name, tensor in stored(model).items()}
    np.testing.assert_allclose(in_steps(tensors, "vectors"), critic.vectors, atol=0.02)
    before, behind = poems[:, :2].reshape(256, -1), poems[:, 2:].reshape(256, -1)
    other = np.roll(np.arange(256), 1)
    differs = topics != topics[other]
    assert (critic.lift(before, behind) > critic.lift(before, behind[other]))[differs].mean() > 0.9


def test_what_is_told_is_counted() -> None:
    from scripts.learn_critic import foreign

    poet = Poet.load()
    vectors = np.zeros((len(poet.vocab), 2), dtype=np.float32)
    vectors[poet.vocab.encode("白日黄河更上一层楼")] = (1, 0)
    vectors[poet.vocab.encode("孤舟")] = (0, 1)
    critic = Critic(vectors, np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32), 5.0)
    other = ("木落雁南渡", "北风江上秋", "孤舟孤舟舟", "孤舟孤舟孤")
    assert foreign(critic, poet, [(QUATRAIN, other)]) == {"poems": 1, "auc": 1, "told": 1}
    assert foreign(critic, poet, [(QUATRAIN, QUATRAIN)]) == {"poems": 1, "auc": 0, "told": 0}
    assert foreign(critic, poet, []) == {"poems": 0}


def test_kinds_need_a_level_rhyme() -> None:
    from scripts.learn_critic import kind_of

    prosody = Poet.load().reviewing()
    found = kind_of(QUATRAIN, prosody)
    assert found is not None
    assert found[1] == "仄"
    assert kind_of((*QUATRAIN[:3], "更上一层天"), prosody) is None
