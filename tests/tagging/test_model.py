import dataclasses

import numpy as np
import pytest
import torch

from tests.tagging.tiny_tagger import NER, POS, tiny_features, tiny_model
from zhseq.batching import Batch
from zhseq.errors import ConfigError
from zhseq.tagging.features import SequenceTaggerConfig
from zhseq.tagging.model import SequenceTagger, widened

TEXTS = ["北京大学", "中国", "人", "中国人民在北京大学学习。"]


def tagged_batch(head: str = "pos") -> Batch[torch.Tensor]:
    tags = POS if head == "pos" else NER
    single = [index for index, tag in enumerate(tags) if tag[0] in "SO"]
    rng = np.random.default_rng(0)
    return tiny_features().batch(TEXTS, [rng.choice(single, len(text)) for text in TEXTS], head).to("cpu")


def test_shapes_of_emissions() -> None:
    batch = tagged_batch()
    emissions = tiny_model().emissions(batch)
    assert {head: tuple(scores.shape) for head, scores in emissions.items()} == {
        "pos": (4, 12, len(POS)),
        "ner": (4, 12, len(NER)),
    }
    assert list(tiny_model().emissions(batch, ("ner",))) == ["ner"]


def test_a_text_is_scored_the_same_alone_and_in_a_batch() -> None:
    model, features = tiny_model(), tiny_features()
    together = model.emissions(features.batch(TEXTS).to("cpu"))["pos"]
    for row, text in enumerate(TEXTS):
        alone = model.emissions(features.batch([text]).to("cpu"))["pos"][0]
        assert torch.allclose(together[row, : len(text)], alone, atol=1e-5)


@pytest.mark.parametrize("layers", [1, 2])
def test_more_units_change_nothing_until_they_are_trained(layers: int) -> None:
    model = tiny_model(num_layers=layers)
    wide, batch = widened(model, model.config.hidden_size + 3), tagged_batch()
    assert wide.config.hidden_size == model.config.hidden_size + 3
    before, after = model.emissions(batch), wide.emissions(batch)
    assert all(torch.allclose(before[head], after[head], atol=1e-6) for head in before)
    wide.loss(batch).backward()
    assert wide.projections["pos"].weight.grad.abs().amin(dim=0).gt(0).all()  # the new units are learned, too


def test_loss_is_the_mean_over_characters() -> None:
    model, batch = tiny_model(), tagged_batch()
    assert batch.targets is not None
    total = torch.zeros(())
    for row, text in enumerate(TEXTS):
        one = tiny_features().batch([text], [batch.targets[row, : len(text)].numpy()], "pos").to("cpu")
        total = total + model.loss(one) * len(text)
    assert torch.allclose(model.loss(batch), total / sum(map(len, TEXTS)), rtol=1e-4)


@pytest.mark.parametrize("head", ["pos", "ner"])
def test_a_loss_trains_its_head_and_the_encoder_only(head: str) -> None:
    model = tiny_model().train()
    model.loss(tagged_batch(head)).backward()
    touched = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    other = "ner" if head == "pos" else "pos"
    assert not any(other in name for name in touched)
    expected = {name for name, _ in model.named_parameters() if f".{other}." not in name}
    assert touched == expected


@pytest.mark.parametrize("sizes", [{"channels": 0}, {"num_layers": 2}, {"width": 5}])
def test_other_shapes_learn_a_batch_by_heart(sizes: dict[str, int]) -> None:
    model, batch = tiny_model(**sizes), tagged_batch()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    for _ in range(60):
        loss = model.loss(batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert batch.targets is not None
    found = model.crf("pos").decode(model.emissions(batch)["pos"], batch.mask)
    assert torch.equal(found[batch.mask], batch.targets[batch.mask])


def test_hidden_characters_are_hidden_in_training_only() -> None:
    settings = dataclasses.replace(tiny_model().config, unknown_rate=0.5, input_dropout=0.0, output_dropout=0.0)
    model = SequenceTagger(settings)
    batch = tagged_batch()
    model.eval()
    assert torch.equal(model.encode(batch), model.encode(batch))
    model.train()
    assert not torch.equal(model.encode(batch), model.encode(batch))


@torch.no_grad()
def test_lower_precision_changes_little() -> None:
    model, batch = tiny_model(), tagged_batch()
    exact = model.emissions(batch)["pos"]
    model.lower_precision()
    rounded = model.emissions(batch)["pos"]
    assert rounded.dtype == torch.bfloat16
    assert float((rounded - exact).abs().max()) < 0.1 * float(exact.abs().max())


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("heads", {}),
        ("heads", {"pos": ()}),
        ("width", 4),
        ("hidden_size", 0),
        ("hidden_size", 99_999_999),
        ("channels", 99_999_999),
        ("input_dropout", 1.0),
    ],
)
def test_settings_that_cannot_be(setting: str, value: object) -> None:
    settings = {"vocab_size": 9, "bigram_vocab_size": 0, "word_vocab_size": 0, "heads": {"ner": NER}, setting: value}
    with pytest.raises(ConfigError):
        SequenceTaggerConfig(**settings)  # type: ignore[arg-type]
