import pytest

from scripts.evaluate_tagger import row, score
from zhseq.corpus.tagging import TaggedText
from zhseq.tagging.tagger import Tagger
from zhseq.text.tags import Span


def test_what_is_marked_is_scored() -> None:
    tagger = Tagger.load()
    text = "江泽民主席在北京会见了外宾。"
    document = tagger(text)
    words = tuple(Span(word.start, word.end, word.pos) for word in document.words)
    names = tuple(Span(name.start, name.end, "ORG") for name in document.entities)
    assert len(names) == 2
    scores = score(tagger, [TaggedText(text, words, None, ""), TaggedText(text, None, names, "")])
    assert scores == pytest.approx({"texts": 2, "words": 100, "joint": 100, "names": 0, "untyped": 100})
    assert row("a", scores) == "| a | 2 | 100.00 | 100.00 | 0.00 | 100.00 |"
    assert row("b", score(tagger, [TaggedText(text, None, names, "")])) == "| b | 1 |  |  | 0.00 | 100.00 |"
