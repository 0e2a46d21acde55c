import itertools

import numpy as np
import pytest
import torch

from tests.tagging.tiny_tagger import tiny_features, tiny_model
from zhseq.tagging.blocks import PIECE, TextBlock
from zhseq.tagging.decoding import Spans, find_spans, tag_table
from zhseq.tagging.model import TorchNetwork
from zhseq.text.normalize import codepoints
from zhseq.text.tags import spans_from_ids

LINES = ["中国 人民在北京大学学习。", "", "  ", "上海", "中" * (PIECE + 40), "和的了,来自北京。" * 40]


def found(lines: list[str], heads: tuple[str, ...] = ("pos", "ner"), **options: object) -> dict[str, list[Spans]]:
    return find_spans(TorchNetwork(tiny_model(), tiny_features()), TextBlock.of(lines), heads, **options)  # type: ignore[arg-type]


def rows(spans: Spans) -> list[tuple[int, int, int]]:
    return list(zip(spans.starts.tolist(), spans.ends.tolist(), spans.labels.tolist(), strict=True))


def test_a_block_by_hand() -> None:
    block = TextBlock.of([" 中國 a", "", "\u3000", "好"])
    assert block.points.tolist() == codepoints("中国a好").tolist()
    assert block.positions.tolist() == [1, 2, 4, 6]
    assert block.lines.tolist() == [0, 5, 5, 6, 7]
    assert block.first.tolist() == [True, False, False, True]
    assert block.after_blank.tolist() == [True, False, True, True]
    assert block.pieces.tolist() == [[0, 3, 0, 3], [3, 4, 3, 4]]
    assert block.owner.tolist() == [0, 3]


def test_pieces_cover_every_character_once() -> None:
    block = TextBlock.of(LINES)
    covered = np.concatenate([np.arange(begin, end) for begin, end, _, _ in block.pieces.tolist()])
    assert sorted(covered.tolist()) == list(range(len(block.points)))
    assert (block.pieces[:, 2] <= block.pieces[:, 0]).all()
    assert (block.pieces[:, 3] >= block.pieces[:, 1]).all()


def test_words_cover_every_character_but_blanks() -> None:
    words = found(LINES)["pos"][0]
    text = "".join(LINES)
    assert "".join(text[start:end] for start, end, _ in rows(words)) == "".join(text.split())


def test_the_same_spans_alone_and_together() -> None:
    together = found(LINES)
    offset = 0
    collected: dict[str, list[tuple[int, int, int]]] = {"pos": [], "ner": []}
    for line in LINES:
        for head, readings in found([line]).items():
            collected[head] += [(start + offset, end + offset, label) for start, end, label in rows(readings[0])]
        offset += len(line)
    assert collected == {head: rows(readings[0]) for head, readings in together.items()}


def test_a_short_line_is_decoded_by_its_crf() -> None:
    model, features = tiny_model(), tiny_features()
    text = "中国人民在北京"
    batch = features.batch([text]).to("cpu")
    path = model.crf("pos").decode(model.emissions(batch)["pos"], batch.mask)[0].numpy()
    starts, ends, labels = spans_from_ids(path, tag_table(model.config.heads["pos"]))
    expected = list(zip(starts.tolist(), ends.tolist(), labels.tolist(), strict=True))
    assert rows(found([text])["pos"][0]) == expected


def test_scores_are_least_marginals() -> None:
    model, features = tiny_model(), tiny_features()
    text = "中国人民在北京"
    batch = features.batch([text]).to("cpu")
    emissions = model.emissions(batch)["pos"]
    path = model.crf("pos").decode(emissions, batch.mask)[0]
    odds = model.crf("pos").marginals(emissions, batch.mask)[0].gather(1, path[:, None])[:, 0]
    spans = found([text], scores=True)["pos"][0]
    assert spans.scores is not None
    expected = [float(odds[start:end].min()) for start, end, _ in rows(spans)]
    assert spans.scores.tolist() == pytest.approx(expected, abs=1e-5)
    assert all(0 < score <= 1 + 1e-5 for score in expected)


def test_readings_are_the_best_paths() -> None:
    model, features = tiny_model(), tiny_features()
    batch = features.batch(["中国人"]).to("cpu")
    paths, _ = model.crf("ner").nbest(model.emissions(batch)["ner"], batch.mask, 5)
    table = tag_table(model.config.heads["ner"])
    expected = [[column.tolist() for column in spans_from_ids(path, table)] for path in paths[0].numpy()]
    readings = found(["中国人"], ("ner",), nbest=5)["ner"]
    assert [[r.starts.tolist(), r.ends.tolist(), r.labels.tolist()] for r in readings] == expected


def test_readings_of_a_long_line_combine_those_of_its_pieces() -> None:
    """The sum of the scores of the pieces is what orders the readings of the line."""
    model, features = tiny_model(), tiny_features()
    first, second = "中" * 100 + "。", "国" * 99 + "。"
    batches = [features.batch([text]).to("cpu") for text in (first, second)]
    best = [model.crf("ner").nbest(model.emissions(batch)["ner"], batch.mask, 4) for batch in batches]
    sums = sorted((float(a + b) for a, b in itertools.product(best[0][1][0], best[1][1][0])), reverse=True)[:4]
    readings = found([first + second], ("ner",), nbest=4)["ner"]
    table = tag_table(model.config.heads["ner"])
    scores = []
    for reading in readings:
        tags = np.full(len(first + second), table.outside_id)
        for start, end, label in rows(reading):
            tags[start:end] = table.tag_ids[label, 1]
            tags[end - 1] = table.tag_ids[label, 2]
            tags[start] = table.tag_ids[label, 0 if end - start > 1 else 3]
        score = torch.zeros(())
        for batch, part in zip(batches, (tags[: len(first)], tags[len(first) :]), strict=True):
            score = score + model.crf("ner").score(model.emissions(batch)["ner"], torch.from_numpy(part)[None])[0]
        scores.append(float(score.detach()))
    assert scores == pytest.approx(sums, rel=1e-4)


def test_fewer_readings_than_wanted_repeat_the_last() -> None:
    readings = found(["中"], ("pos",), nbest=9)["pos"]
    assert len({tuple(rows(reading)) for reading in readings}) == 3  # a character alone is one of three labels
    assert rows(readings[-1]) == rows(readings[2])
