import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from zhseq.batching import IGNORED, Batch
from zhseq.errors import ConfigError
from zhseq.poetry.model import LanguageModel
from zhseq.poetry.network import LanguageModelConfig

VOCAB, OUTPUT = 23, 17
LENGTHS = [9, 1, 5, 9, 3]


def build(hidden_sizes: tuple[int, ...] = (10, 8), dropout: float = 0.0, heads: int = 0) -> LanguageModel:
    torch.manual_seed(0)
    config = LanguageModelConfig(
        6, hidden_sizes, dropout, dropout, dropout, attention_heads=heads, vocab_size=VOCAB, output_size=OUTPUT
    )
    model = LanguageModel(config)
    if model.attention is not None:  # as training leaves it: an output layer of zeros would hide every mistake
        torch.nn.init.normal_(model.attention.output.weight)
    return model


@pytest.fixture
def batch() -> Batch:
    generator = torch.Generator().manual_seed(1)
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    ids = torch.randint(1, VOCAB, mask.shape, generator=generator) * mask
    targets = torch.randint(0, OUTPUT, mask.shape, generator=generator).masked_fill(~mask, IGNORED)
    targets[0, :4] = IGNORED  # a prefix that is read and not scored
    return Batch(ids, mask, targets)


def rows(batch: Batch, chosen: list[int], length: int) -> Batch:
    assert batch.targets is not None
    return Batch(batch.ids[chosen, :length], batch.mask[chosen, :length], batch.targets[chosen, :length])


def logits(model: LanguageModel, batch: Batch) -> Tensor:
    return functional.linear(model.hidden(batch)[0], model.output_weight, model.output_bias)


def test_loss_is_the_mean_cross_entropy_of_the_scored_positions(batch: Batch) -> None:
    model = build()
    expected = functional.cross_entropy(
        logits(model, batch).flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORED
    )
    loss = model.loss(batch)
    assert loss.shape == ()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(model.token_losses(batch).sum() / batch.weight, expected)


@torch.no_grad()
def test_an_untrained_model_is_about_as_good_as_guessing(batch: Batch) -> None:
    assert abs(build().loss(batch).item() - math.log(OUTPUT)) < 0.5


def test_token_losses_are_zero_where_nothing_is_scored(batch: Batch) -> None:
    losses = build().token_losses(batch)
    assert losses.shape == batch.ids.shape
    assert bool(((losses > 0) == (batch.targets != IGNORED)).all())


@pytest.mark.parametrize("heads", [0, 2])
@pytest.mark.parametrize("hidden_sizes", [(10,), (10, 8), (10, 8, 6)])
def test_step_by_step_equals_the_full_pass(batch: Batch, hidden_sizes: tuple[int, ...], heads: int) -> None:
    model = build(hidden_sizes, 0.3, heads).eval()
    whole = rows(batch, [0, 3], 9)
    expected = logits(model, whole)
    for gradients in (True, False):
        with torch.set_grad_enabled(gradients):
            for sizes in ([1] * 9, [3, 1, 2, 1, 2], [9]):
                state, end = None, 0
                for piece in whole.ids.split(sizes, dim=1):
                    end += piece.shape[1]
                    found, _, state = model.step(piece, state)
                    torch.testing.assert_close(found, expected[:, end - 1])
    assert found.dtype == torch.float32


@pytest.mark.parametrize("heads", [0, 2])
def test_a_later_symbol_changes_nothing_before_it(batch: Batch, heads: int) -> None:
    model = build(heads=heads)
    before = logits(model, batch)
    changed = batch.ids.clone()
    changed[:, 5] = changed[:, 5] % (VOCAB - 1) + 1
    after = logits(model, Batch(changed, batch.mask))
    assert torch.equal(before[:, :5], after[:, :5])
    assert (before[:, 5:] != after[:, 5:]).any(dim=-1).all()


def test_attention_begins_as_nothing_and_then_reads_what_went_before(batch: Batch) -> None:
    plain, attentive = build(), build(heads=2)
    attentive.load_state_dict(plain.state_dict(), strict=False)
    found = logits(attentive, batch)
    assert (found[:, 1:] != logits(plain, batch)[:, 1:]).any(dim=-1).all()
    assert attentive.attention is not None
    torch.nn.init.zeros_(attentive.attention.output.weight)
    torch.testing.assert_close(logits(attentive, batch), logits(plain, batch))
    assert not any(part.numel() for part in attentive.attention.nothing(3))


@pytest.mark.parametrize("heads", [0, 2])
def test_a_row_scores_the_same_alone_and_in_any_batch(batch: Batch, heads: int) -> None:
    model = build(dropout=0.3, heads=heads).eval()
    together = model.token_losses(batch)
    for row, length in enumerate(LENGTHS):
        alone = model.token_losses(rows(batch, [row], length))
        torch.testing.assert_close(alone[0], together[row, :length])
    garbage = Batch(batch.ids.masked_fill(~batch.mask, VOCAB - 1), batch.mask, batch.targets)
    assert torch.equal(model.token_losses(garbage), together)


def test_the_loss_of_a_batch_is_the_weighted_mean_of_its_shards(batch: Batch) -> None:
    model = build()
    shards = [batch.shard(rank, 2) for rank in range(2)]
    total = sum(model.loss(shard) * shard.weight for shard in shards)
    torch.testing.assert_close(total / batch.weight, model.loss(batch))


def test_input_and_output_share_one_table(batch: Batch) -> None:
    model = build()
    assert model.output_weight.data_ptr() == model.embedding.characters.weight.data_ptr()
    assert "embedding.characters.weight" in model.state_dict()
    assert sum(parameter.numel() for parameter in model.parameters() if parameter.shape[0] == VOCAB) == VOCAB * 6
    model.loss(batch).backward()
    gradient = model.embedding.characters.weight.grad
    assert gradient is not None
    unread = sorted(set(range(1, VOCAB)) - set(batch.ids.flatten().tolist()))
    can_be_written = [index for index in unread if index < OUTPUT]
    assert can_be_written  # the softmax alone moves these
    assert bool(gradient[can_be_written].any(dim=1).all())


def test_dropout_works_in_training_only(batch: Batch) -> None:
    model = build(dropout=0.3)
    assert not torch.equal(model.loss(batch), model.loss(batch))
    model.eval()
    assert torch.equal(model.loss(batch), model.loss(batch))


@pytest.mark.skipif(torch.backends.cpu.get_cpu_capability() == "AVX2", reason="no LSTM in bfloat16 without AVX-512")
def test_autocast_keeps_the_loss_in_float32(batch: Batch) -> None:
    model = build()
    expected = model.loss(batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model.loss(batch)
        losses = model.token_losses(batch)
        with torch.no_grad():
            first, _, state = model.step(batch.ids[:, :3])
            second, _, _ = model.step(batch.ids[:, 3:4], state)
    assert {tensor.dtype for tensor in (loss, losses, first, second)} == {torch.float32}
    torch.testing.assert_close(loss, expected, rtol=0.02, atol=0)
    torch.testing.assert_close(second, logits(model, batch)[:, 3], rtol=0.05, atol=0.05)
    loss.backward()
    assert {parameter.grad.dtype for parameter in model.parameters() if parameter.grad is not None} == {torch.float32}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_sizes": ()}, "hidden_sizes"),
        ({"hidden_sizes": (8, 0)}, "hidden_sizes"),
        ({"output_size": 0}, "output_size"),
        ({"output_size": VOCAB + 1}, "output_size"),
        ({"embedding_dim": 0}, "embedding_dim"),
        ({"attention_heads": -1}, "attention_heads"),
        ({"input_dropout": 1.0}, "input_dropout"),
        ({"output_dropout": -0.1}, "output_dropout"),
    ],
)
def test_impossible_shapes_are_refused_by_name(changes: dict[str, object], message: str) -> None:
    settings: dict[str, object] = {"vocab_size": VOCAB, "output_size": OUTPUT, **changes}
    with pytest.raises(ConfigError, match=message):
        LanguageModel(LanguageModelConfig(**settings))
