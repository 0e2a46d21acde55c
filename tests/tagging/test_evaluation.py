import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics import classification_report, f1_score

from zhseq.tagging.evaluation import NOTHING, Score, SpanCounts
from zhseq.text.tags import Span, spans_to_tags, tags_to_spans


def words(*parts: str) -> tuple[str, list[Span]]:
    text, spans = "", []
    for part in parts:
        word, _, label = part.partition("/")
        spans.append(Span(len(text), len(text) + len(word), label))
        text += word
    return text, spans


def test_words_and_joint_scores_by_hand() -> None:
    text, gold = words("国家/n", "主席/n", "江/nr", "泽民/nr", "讲话/n")
    _, predicted = words("国家主席/n", "江/nr", "泽民/nz", "讲话/n")
    counts = SpanCounts()
    counts.add(text, gold, predicted)
    assert counts.extents == Score(correct=3, predicted=4, gold=5)
    assert counts.extents.f1 == pytest.approx(2 * 3 / 9)
    assert (counts.labelled.precision, counts.labelled.recall) == (2 / 4, 2 / 5)
    assert counts.by_label == {"n": Score(1, 2, 3), "nr": Score(1, 1, 2), "nz": Score(0, 1, 0)}
    assert counts.labels == {("nr", "nz"): 1, ("n", NOTHING): 2, (NOTHING, "n"): 1}
    assert counts.cuts == {("国家 主席", "国家主席"): 1}


def test_texts_add_up() -> None:
    text, gold = words("我/r", "们/k")
    _, joined = words("我们/r")
    counts = SpanCounts()
    counts.add(text, gold, joined)
    counts.add(text, gold, gold)
    counts.add("", [], [])
    assert counts.extents == Score(2, 3, 4)
    assert counts.cuts == {("我 们", "我们"): 1}


def test_nothing_predicted_and_nothing_wanted_is_a_score_of_zero() -> None:
    assert (Score().precision, Score().recall, Score().f1) == (0.0, 0.0, 0.0)


TAGS = st.lists(st.sampled_from(["O", "O", "B-PER", "I-PER", "B-LOC.NAM", "I-LOC.NAM"]), min_size=1, max_size=12)


@given(st.lists(st.tuples(TAGS, TAGS), min_size=1, max_size=5))
def test_entity_scores_are_those_of_seqeval(pairs: list[tuple[list[str], list[str]]]) -> None:
    counts, gold_tags, predicted_tags = SpanCounts(), [], []
    for gold, predicted in pairs:
        length = min(len(gold), len(predicted))
        spans = [tags_to_spans(tags[:length], "BIO") for tags in (gold, predicted)]
        counts.add("x" * length, *spans)
        gold_tags.append(spans_to_tags(spans[0], length, "BIO"))
        predicted_tags.append(spans_to_tags(spans[1], length, "BIO"))
    assert counts.labelled.f1 == pytest.approx(f1_score(gold_tags, predicted_tags, zero_division=0))
    if not counts.by_label:
        return  # seqeval warns of empty means there
    report = classification_report(gold_tags, predicted_tags, output_dict=True, zero_division=0)
    for label, score in counts.by_label.items():
        assert score.precision == pytest.approx(report[label]["precision"])
        assert score.recall == pytest.approx(report[label]["recall"])
        assert score.f1 == pytest.approx(report[label]["f1-score"])


@given(st.lists(st.tuples(TAGS, TAGS), min_size=1, max_size=5))
def test_spans_as_rows_of_numbers_score_the_same(pairs: list[tuple[list[str], list[str]]]) -> None:
    counts, offset = SpanCounts(), 0
    rows: tuple[list[tuple[int, int, int]], ...] = ([], [])
    for gold, predicted in pairs:
        length = min(len(gold), len(predicted))
        spans = [tags_to_spans(tags[:length], "BIO") for tags in (gold, predicted)]
        counts.add("x" * length, *spans)
        for side, found in zip(rows, spans, strict=True):
            side += [(offset + span.start, offset + span.end, len(span.label)) for span in found]
        offset += length
    gold_rows, predicted_rows = (np.array(side, dtype=np.int64).reshape(-1, 3) for side in rows)
    assert Score.of(predicted_rows, gold_rows) == counts.labelled
    assert Score.of(predicted_rows[:, :2], gold_rows[:, :2]) == counts.extents
