import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zhseq.text import split_sentences

ANY_TEXT = st.text(st.characters(exclude_categories=()))
MARKED_TEXT = st.text("春a。！？!?；;…\n\r”’」』）)】》\"' ")  # almost nothing but marks


def sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in split_sentences(text)]


@settings(deadline=None)
@given(ANY_TEXT | MARKED_TEXT)
def test_spans_cover_the_text_in_order_and_none_is_empty(text: str) -> None:
    spans = split_sentences(text)
    assert all(start < end for start, end in spans)
    assert [start for start, _ in spans] == [0, *(end for _, end in spans)][: len(spans)]
    assert "".join(text[start:end] for start, end in spans) == text


@settings(deadline=None)
@given(MARKED_TEXT)
def test_a_line_break_always_ends_a_sentence(text: str) -> None:
    assert all("\n" not in sentence[:-1] for sentence in sentences(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("没有标点", ["没有标点"]),
        ("他来了。她走了！谁？", ["他来了。", "她走了！", "谁？"]),
        ("真的吗？！……好吧。", ["真的吗？！……", "好吧。"]),
        ("他说：“走吧。”然后走了。", ["他说：“走吧。”", "然后走了。"]),
        ("（完。）下一句", ["（完。）", "下一句"]),
        ("第一行\n第二行\n\n", ["第一行\n", "第二行\n", "\n"]),
        ("一句。\n二句", ["一句。\n", "二句"]),
        ("逗号，不断，顿号、也不断。", ["逗号，不断，顿号、也不断。"]),
        ("。。", ["。。"]),
    ],
)
def test_examples(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


def test_time_grows_with_the_text_and_not_with_its_square() -> None:
    text = "”’" * 500_000  # closing marks without a sentence: a backtracking pattern would never come back
    assert sentences(text) == [text]
