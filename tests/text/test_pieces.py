from hypothesis import given
from hypothesis import strategies as st

from zhseq.text.pieces import cut_pieces, with_context

TEXT = st.text("中国人。，a \n！", max_size=200)


@given(TEXT, st.integers(2, 40))
def test_pieces_cover_the_text_within_the_limit(text: str, limit: int) -> None:
    pieces = cut_pieces(text, limit)
    assert "".join(text[start:end] for start, end in pieces) == text
    assert all(0 < end - start <= limit for start, end in pieces)


@given(TEXT, st.integers(2, 40), st.integers(0, 5))
def test_context_contains_the_piece_and_stays_in_the_text(text: str, limit: int, overlap: int) -> None:
    pieces = cut_pieces(text, limit)
    for (start, end), (first, last) in zip(pieces, with_context(text, pieces, overlap), strict=True):
        assert 0 <= first <= start < end <= last <= len(text)
        assert start - first <= overlap
        assert last - end <= overlap


def test_cuts_prefer_sentences_then_commas() -> None:
    assert cut_pieces("今天好。明天也好。", 5) == [(0, 4), (4, 9)]
    assert cut_pieces("今天好。明天。", 7) == [(0, 7)]
    assert cut_pieces("一二三四,五六七八", 7) == [(0, 5), (5, 9)]


def test_only_cuts_through_running_text_get_context() -> None:
    text = "一二三四五六七八。九十"
    pieces = [(0, 4), (4, 9), (9, 11)]
    assert with_context(text, pieces, 2) == [(0, 6), (2, 9), (9, 11)]
