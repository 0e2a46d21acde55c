import numpy as np
import torch

from scripts.ablation import cnn_first, part_of, softmax, table
from tests.tagging.tiny_tagger import POS, tiny_features, tiny_model
from zhseq.recipes.tagged_texts import encode_pieces
from zhseq.text.tags import Span

TEXTS = ["北京大学", "中国", "人", "中国人民在北京大学学习。"]


def test_without_transitions_the_loss_is_that_of_a_softmax() -> None:
    model, features = tiny_model(), tiny_features()
    softmax(model)
    rng = np.random.default_rng(0)
    batch = features.batch(TEXTS, [rng.integers(0, len(POS), len(text)) for text in TEXTS], "pos").to("cpu")
    assert batch.targets is not None
    emissions = model.emissions(batch)["pos"]
    expected = torch.nn.functional.cross_entropy(emissions[batch.mask], batch.targets[batch.mask])
    assert torch.allclose(model.loss(batch), expected, rtol=1e-4)
    found = model.crf("pos").decode(emissions, batch.mask)
    assert torch.equal(found[batch.mask], emissions.argmax(-1)[batch.mask])


def test_a_cnn_first_reads_windows_alone() -> None:
    model, features = tiny_model(), tiny_features()
    before = model.encode(features.batch(TEXTS).to("cpu"))
    cnn_first(model)
    after = model.encode(features.batch(TEXTS).to("cpu"))
    assert after.shape == before.shape
    alone = model.encode(features.batch(TEXTS[:1]).to("cpu"))[0]
    assert torch.allclose(after[0, : len(TEXTS[0])], alone, atol=1e-5)


def test_a_part_keeps_texts_and_spans_together() -> None:
    whole = encode_pieces([("一" * size, [Span(0, size, "x")]) for size in range(1, 60)], 99, covered=True)
    part = part_of(whole, 0.3)
    assert 0.2 * len(whole) < len(part) < 0.4 * len(whole)
    assert [spans[0].end for spans in part.spans] == part.lengths.tolist()
    assert len(part.points) == part.lengths.sum()


def test_the_table_shows_means_and_changes() -> None:
    figures = {"words_f1": 0.9, "pos_f1": 0.8, "ner_f1": 0.7, "parameters": 2e6, "seconds": 10.0}
    rows = table({"whole": [figures], "part": [{**figures, "ner_f1": 0.6}, {**figures, "ner_f1": 0.65}]}).splitlines()
    assert rows[2] == "| whole | 80.00 | 90.00 | 70.00 | 2.00 M | 10 |"
    assert rows[3] == "| part | 80.00 | 90.00 | 62.50 (-7.50) | 2.00 M | 10 |"
