"""Any bytes as a file of tagged texts, of texts to tag, of words: read or refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.corpus.test_tagging import EXAMPLES
from tests.fuzz.fuzzing import fuzzed, mutated, result_or_error
from zhseq.bulk.inputs import JSON, TEXT, Source
from zhseq.bulk.records import Reading, read_units
from zhseq.corpus.tagging import FORMATS, read_tagged
from zhseq.errors import ConfigError, CorpusError, InputError
from zhseq.tagging.lexicon import read_word_list

pytestmark = pytest.mark.fuzz

FILES = tuple(text.encode(encoding) for text in EXAMPLES.values() for encoding in ("utf-8", "gb18030"))
READERS = sorted(set(FORMATS) - {"datasets", "parallel"})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "file.txt"


@fuzzed()
@given(data=mutated(FILES))
@pytest.mark.parametrize("format", READERS)
def test_any_tagged_file_is_read_or_refused(place: Path, format: str, data: bytes) -> None:
    place.write_bytes(data)
    corpus = result_or_error(lambda: read_tagged(place, format=format), CorpusError, InputError)
    for text in corpus.texts if corpus is not None else ():
        for spans in (text.words or (), text.entities or ()):
            assert all(0 <= span.start < span.end <= len(text.text) for span in spans)


@fuzzed()
@given(texts=mutated((b"\xe5\x8e\x86 \xe5\x8d\x9a\n",)), tags=mutated((b"B-LOC I-LOC\n",)))
def test_any_parallel_files_are_read_or_refused(place: Path, texts: bytes, tags: bytes) -> None:
    source = place.with_name("source.txt")
    source.write_bytes(texts)
    place.with_name("target.txt").write_bytes(tags)
    result_or_error(lambda: read_tagged(source, format="parallel"), CorpusError, InputError, ConfigError)


@fuzzed()
@given(
    data=mutated(
        ("你好\r\n世界".encode(), '{"text": "你好", "id": 1}\n{"text": ""}\n'.encode(), "编码，啊".encode("gb18030"))
    ),
    kind=st.sampled_from([TEXT, JSON]),
    errors=st.sampled_from(["strict", "replace"]),
    keep=st.booleans(),
)
def test_any_file_to_tag_is_read_or_refused(place: Path, data: bytes, kind: str, errors: str, keep: bool) -> None:
    place.write_bytes(data)
    source = Source(str(place), place, kind, "", len(data))
    reading = Reading("auto", errors, keep_records=keep)
    units = result_or_error(lambda: list(read_units(source, reading, lambda note: None, lambda size: None)), InputError)
    if kind == TEXT and units is not None:
        assert len(units) == data.count(b"\n") + (not data.endswith(b"\n") and data != b"")


@fuzzed()
@given(data=mutated(("云计算 5\n李小福\n北京\t7 ns\n".encode(),)))
def test_any_word_list_is_read_or_refused(place: Path, data: bytes) -> None:
    place.write_bytes(data)
    words = result_or_error(lambda: read_word_list(place), InputError)
    assert words is None or all(word and frequency > 0 for word, frequency in words.items())
