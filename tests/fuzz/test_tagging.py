"""Any text through the tagger and through every format; any dictionary."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.fuzzing import any_text, fuzzed, mutated, result_or_error
from tests.tagging.tiny_tagger import tiny_features, tiny_model
from zhseq.errors import InputError
from zhseq.tagging.dictionary import UserDictionary
from zhseq.tagging.formats import FORMATS, Document, make_writer
from zhseq.tagging.model import TorchNetwork
from zhseq.tagging.tagger import Tagger

pytestmark = pytest.mark.fuzz

DICTIONARY = "云计算 5\n李小福 2 nr\nNew York\t100\tns\tLOC\n中国人 force v\n\n北京\tforce\n".encode()


@pytest.fixture(scope="module")
def tagger() -> Tagger:
    return Tagger(TorchNetwork(tiny_model(), tiny_features()))


def check(document: Document, text: str) -> None:
    """Offsets hold, and the words cover all but the blanks."""
    assert document.text == text
    for spans in (document.words, document.entities):
        ends = [0, *(place for span in spans for place in (span.start, span.end)), len(text)]
        assert ends == sorted(ends)
        assert all(text[span.start : span.end] == span.text != "" for span in spans)
    words = "".join(word.text for word in document.words)  # one of a dictionary may hold a blank
    assert "".join(words.split()) == "".join(text.split())


@fuzzed()
@given(texts=st.lists(any_text(), max_size=4), scores=st.booleans(), nbest=st.sampled_from([1, 1, 3]))
def test_any_text_is_tagged(tagger: Tagger, texts: list[str], scores: bool, nbest: int) -> None:
    documents = list(tagger.stream(texts, scores=scores, nbest=nbest))
    for document, text in zip(documents, texts, strict=True):
        check(document, text)
        for reading in document.alternatives:
            check(reading, text)


@fuzzed()
@given(text=any_text(), end=st.sampled_from(["\n", "\r\n", ""]), scores=st.booleans())
@pytest.mark.parametrize("format", FORMATS)
def test_any_document_is_written(tagger: Tagger, format: str, text: str, end: str, scores: bool) -> None:
    text = text.replace("\n", "")  # a line has none
    document = next(tagger.stream([text], scores=scores))
    written = make_writer(format, tagger.tasks).write(document, end)
    lines = written.split("\n")
    if format == "jsonl":
        assert len(written.splitlines()) == 1
        record = json.loads(written)
        assert record["text"] == text
        assert [word["text"] for word in record["words"]] == [word.text for word in document.words]
    elif format == "text":
        assert len(lines) == 2
    elif format == "conllu":
        rows = [line.split("\t") for line in lines if line and not line.startswith("# ")]
        assert [len(row) for row in rows] == [10] * len(document.words)
        assert written.endswith("\n\n")
    elif format == "bio":
        assert [line.split("\t")[0] for line in lines[:-2]] == [c for c in text if not c.isspace()]
    else:
        assert len(lines) - 1 == len(document.words) + len(document.entities)
        assert all(line.count("\t") >= 2 for line in lines[:-1])


@fuzzed()
@given(data=mutated((DICTIONARY,)), texts=st.lists(any_text(40) | st.just("云计算在New York的中国人"), max_size=3))
def test_any_dictionary_is_used_or_refused(
    tagger: Tagger, tmp_path_factory: pytest.TempPathFactory, data: bytes, texts: list[str]
) -> None:
    path: Path = tmp_path_factory.getbasetemp() / "dictionary.txt"
    path.write_bytes(data)
    dictionary = result_or_error(lambda: UserDictionary.read(path), InputError)
    if dictionary is not None:
        for document, text in zip(tagger.stream(texts, dictionary=dictionary), texts, strict=True):
            check(document, text)


@fuzzed()
@given(words=st.lists(st.tuples(any_text(6), any_text(3), any_text(3)), max_size=4), text=any_text(60))
def test_any_words_are_added_or_refused(tagger: Tagger, words: list[tuple[str, str, str]], text: str) -> None:
    dictionary = UserDictionary()
    for word, pos, label in words:
        result_or_error(lambda entry=(word, pos, label): dictionary.add(*entry), InputError)  # type: ignore[misc]
    check(
        tagger(text + "".join(word for word, _, _ in words), dictionary=dictionary), text + "".join(w[0] for w in words)
    )
    for word, _, _ in words:
        dictionary.remove(word)
    check(tagger(text, dictionary=dictionary), text)
