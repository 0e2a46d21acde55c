from scripts.evaluate_traditional import to_traditional
from zhseq.corpus.tagging import TaggedText
from zhseq.text.tags import Span


def test_characters_are_turned_one_for_one() -> None:
    words = (Span(0, 2, "n"), Span(2, 4, "v"))
    (turned,) = to_traditional([TaggedText("语言学习", words, None, "1")])
    assert turned == TaggedText("語言學習", words, None, "1")
