from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zhseq.errors import InputError
from zhseq.text.tags import (
    NO_BEGIN,
    NO_END,
    SCHEMES,
    Span,
    TagTable,
    allowed_transitions,
    detect_scheme,
    ids_from_spans,
    scheme_tags,
    spans_from_ids,
    spans_to_tags,
    split_tag,
    tags_to_spans,
)

LABELS = ("PER", "LOC", "ORG.NAM")


@st.composite
def spans_and_length(draw: st.DrawFn) -> tuple[list[Span], int]:
    spans, position = [], 0
    for gap, size, label in draw(
        st.lists(st.tuples(st.integers(0, 3), st.integers(1, 5), st.sampled_from(LABELS)), max_size=8)
    ):
        spans.append(Span(position + gap, position + gap + size, label))
        position += gap + size
    return spans, position + draw(st.integers(0, 3))


@pytest.mark.parametrize("scheme", SCHEMES)
@given(case=spans_and_length())
def test_spans_survive_the_way_to_tags_and_back(scheme: str, case: tuple[list[Span], int]) -> None:
    spans, length = case
    repairs: Counter[str] = Counter()
    tags = spans_to_tags(spans, length, scheme)
    assert len(tags) == length
    assert tags_to_spans(tags, scheme, repairs) == spans
    assert not repairs


@pytest.mark.parametrize("scheme", SCHEMES)
@given(case=spans_and_length())
def test_arrays_give_the_same_tags_and_spans(scheme: str, case: tuple[list[Span], int]) -> None:
    spans, length = case
    table = TagTable.build(scheme_tags(LABELS, scheme))
    ids = ids_from_spans(spans, length, table)
    assert [table.tags[index] for index in ids] == spans_to_tags(spans, length, scheme)
    starts, ends, labels = spans_from_ids(ids, table)
    assert [Span(s, e, table.labels[k]) for s, e, k in zip(starts, ends, labels, strict=True)] == spans


def by_hand(tags: list[str]) -> tuple[list[Span], int, int]:
    """The lenient reading as a plain automaton: spans, spans without a beginning, spans without an end."""
    spans: list[Span] = []
    no_begin = no_end = 0
    start, label = -1, ""
    for index, tag in enumerate([*tags, "O"]):
        place, _, own = tag.partition("-")
        if start >= 0 and place in "IME" and own == label:
            if place == "E":
                spans.append(Span(start, index + 1, label))
                start = -1
            continue
        if start >= 0:
            spans.append(Span(start, index, label))
            no_end += 1
            start = -1
        if place in "IME":
            no_begin += 1
        if place in "SE":
            spans.append(Span(index, index + 1, own))
        elif place in "BIM":
            start, label = index, own
    return spans, no_begin, no_end


@given(st.lists(st.sampled_from(scheme_tags(["X", "Y"], "BIOES")), max_size=12))
def test_broken_tags_are_read_as_the_automaton_reads_them(tags: list[str]) -> None:
    repairs: Counter[str] = Counter()
    spans = tags_to_spans(tags, "BIOES", repairs)
    assert (spans, repairs[NO_BEGIN], repairs[NO_END]) == by_hand(tags)


def test_a_lone_inside_begins_a_span_and_is_counted() -> None:
    repairs: Counter[str] = Counter()
    assert tags_to_spans(["I-PER", "I-PER", "O", "B-LOC", "I-PER"], "BIO", repairs) == [
        Span(0, 2, "PER"),
        Span(3, 4, "LOC"),
        Span(4, 5, "PER"),
    ]
    assert repairs == {NO_BEGIN: 2}


def test_a_span_that_is_never_closed_is_counted_even_if_no_tag_closes_any() -> None:
    repairs: Counter[str] = Counter()
    assert tags_to_spans(["B-PER", "O"], "BIOES", repairs) == [Span(0, 1, "PER")]
    assert repairs == {NO_END: 1}


def test_texts_laid_end_to_end_stay_apart() -> None:
    table = TagTable.build(["O", "B-X", "I-X"])
    first = np.array([True, False, True, False])
    starts, ends, _ = spans_from_ids(np.array([1, 2, 2, 0]), table, first)
    assert (starts.tolist(), ends.tolist()) == ([0, 2], [2, 3])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_allowed_transitions_are_exactly_those_of_span_sequences(scheme: str) -> None:
    tags = scheme_tags(["X", "Y"], scheme)
    follow, first, last = allowed_transitions(tags)
    for path in product(range(len(tags)), repeat=3):
        legal = bool(first[path[0]] and follow[path[0], path[1]] and follow[path[1], path[2]] and last[path[2]])
        sequence = [tags[index] for index in path]
        repairs: Counter[str] = Counter()
        tags_to_spans(sequence, scheme, repairs)
        assert legal == (not repairs), sequence


def test_segmentation_alone_has_no_label() -> None:
    spans = [Span(0, 2, ""), Span(2, 3, "")]
    assert spans_to_tags(spans, 3, "BMES") == ["B", "E", "S"]
    assert tags_to_spans(["B", "E", "S"], "BMES") == spans


def test_characters_of_no_word_hold_minus_one_where_there_is_no_outside() -> None:
    table = TagTable.build(scheme_tags(["n"], "BMES", outside=False))
    ids = ids_from_spans([Span(0, 1, "n"), Span(2, 4, "n")], 4, table)
    assert ids.tolist() == [table.tags.index("S-n"), -1, table.tags.index("B-n"), table.tags.index("E-n")]


@pytest.mark.parametrize(
    ("tags", "scheme"),
    [
        (["B-X", "I-X", "O"], "BIO"),
        (["O"], "BIO"),
        (["B-X", "I-X", "S-X"], "BIOES"),
        (["B-n", "M-n", "E-n"], "BMES"),
        (["B-n", "E-n", "O"], "BMES"),
    ],
)
def test_the_scheme_is_told_from_the_tags(tags: list[str], scheme: str) -> None:
    assert detect_scheme(tags) == scheme


@pytest.mark.parametrize("tag", ["", "PER", "X-PER", "B-", "O-PER", "b-PER", "BI-PER"])
def test_what_is_no_tag_is_refused(tag: str) -> None:
    with pytest.raises(ValueError, match="expected a tag like"):
        split_tag(tag)


@pytest.mark.parametrize(
    "spans", [[Span(0, 2, "X"), Span(1, 3, "X")], [Span(2, 2, "X")], [Span(3, 5, "X")], [Span(-1, 2, "X")]]
)
def test_spans_that_no_tags_can_express_are_refused(spans: list[Span]) -> None:
    with pytest.raises(ValueError, match="do not overlap"):
        spans_to_tags(spans, 4)


def test_tags_of_another_scheme_are_refused() -> None:
    with pytest.raises(ValueError, match="scheme BIO"):
        tags_to_spans(["B-X", "E-X"], "BIO")
    with pytest.raises(ValueError, match="BIO, BIOES, BMES"):
        tags_to_spans(["B-X"], "IOB9")
    with pytest.raises(ValueError, match="one tag scheme"):
        detect_scheme(["I-X", "M-X"])
    with pytest.raises(ValueError, match="must occur once"):
        TagTable.build(["O", "O"])


def test_an_unknown_label_is_named() -> None:
    with pytest.raises(InputError, match="'ORG'"):
        ids_from_spans([Span(0, 1, "ORG")], 1, TagTable.build(scheme_tags(["PER"])))
