"""Very long texts are written piece by piece as they would be at once."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.tagging.fake_tagger import Document, Tagger
from zhseq.bulk import run
from zhseq.bulk.outputs import FileOutput
from zhseq.bulk.records import Chunk, Segment
from zhseq.bulk.run import Sent, TaggingJob, _sent, tag_sections, write_sections
from zhseq.errors import InputError
from zhseq.tagging import formats
from zhseq.tagging.formats import FORMATS, make_writer, number_annotations

TASKS = ("pos", "ner")
TEXT = "\u3000我们在北京等123天。\n “好！” 他说 " * 40 + "x" * 90 + "\u2028北京 "


@pytest.fixture(autouse=True)
def _short_sections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_SECTION", 60)
    monkeypatch.setattr(run, "_BEYOND", 12)
    monkeypatch.setattr(formats, "_IN_MEMORY", 100)


class OneWordTagger(Tagger):
    """Everything is one word, whatever its length."""

    def __call__(self, text: str, *, tasks: object = TASKS, scores: bool = False) -> Document:
        document = super().__call__(text)
        if not text.strip():
            return document
        start, end = len(text) - len(text.lstrip()), len(text.rstrip())
        word = type(super().__call__("一").words[0])(text[start:end], start, end, "n")
        return Document(text, (word,), ())


def whole(text: str, tasks: tuple[str, ...], tagger: Tagger) -> Document:
    """The sections as one document."""
    sections = list(tag_sections(tagger, text, tasks))  # type: ignore[arg-type]
    parts: dict[str, list[object]] = {"words": [], "entities": []}
    for offset, section in sections:
        for name, found in parts.items():
            for span in getattr(section, name):
                label = span.pos if name == "words" else span.label
                found.append(type(span)(span.text, offset + span.start, offset + span.end, label, span.score))
    return Document(text, tuple(parts["words"]), tuple(parts["entities"]))  # type: ignore[arg-type]


@pytest.mark.parametrize("tasks", [("pos", "ner"), ("pos",), ("ner",)])
@pytest.mark.parametrize("tagger", [Tagger(), OneWordTagger()], ids=["pairs", "endless words"])
@pytest.mark.parametrize("text", [TEXT, "北京" * 300, " " * 500, "好" + " " * 300 + "的", "。" * 200])
def test_sections_are_the_text_and_cut_nothing(text: str, tagger: Tagger, tasks: tuple[str, ...]) -> None:
    sections = list(tag_sections(tagger, text, tasks))  # type: ignore[arg-type]
    assert "".join(document.text for _, document in sections) == text
    assert len(sections) > 1 or not text.strip()
    assert not [document for _, document in sections[1:] if document.text[0].isspace()]
    found = whole(text, tasks, tagger)
    for span in (*found.words, *found.entities):
        assert text[span.start : span.end] == span.text
    if "pos" in tasks:
        assert "".join("".join(word.text for word in found.words).split()) == "".join(text.split())
    if "ner" in tasks and type(tagger) is Tagger:
        assert len(found.entities) == text.count("北京") + text.count("123")


def test_sections_end_after_sentences_where_there_are_some() -> None:
    text = "这是第一句话吗？（不是。）" * 30
    sections = [document.text for _, document in tag_sections(Tagger(), text, TASKS)]  # type: ignore[arg-type]
    assert {section[-1] for section in sections} <= set("？）。")


@pytest.mark.parametrize("tasks", [("pos", "ner"), ("pos",), ("ner",)])
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("text", [TEXT, "北京" * 300, "没有城市" * 50, " " * 500])
def test_pieces_are_what_the_writer_writes(format: str, text: str, tasks: tuple[str, ...]) -> None:
    if format == "conllu" and "pos" not in tasks:
        return
    before = {"documents": 4, "characters": 1000}
    sections = tag_sections(Tagger(), text, tasks)  # type: ignore[arg-type]
    pieces = list(write_sections(make_writer(format, tasks, **before), sections, text, "\n"))
    expected = make_writer(format, tasks, **before).write(whole(text, tasks, Tagger()), "\n")
    if format != "brat":
        assert "".join(pieces) == expected
        return
    lines, number = [], 0
    for piece in pieces:
        data, number = number_annotations(piece.encode(), number)
        lines += data.decode().splitlines()
    assert [line.split("\t")[0] for line in lines] == [f"T{1 + index}" for index in range(len(lines))]
    assert sorted(line.split("\t")[1:] for line in lines) == sorted(
        line.split("\t")[1:] for line in expected.splitlines()
    )


class DoubtfulTagger(Tagger):
    """In a second reading each text begins with a word of one character; there is none if it has no city."""

    def stream(self, lines: Iterable[str], *, nbest: int = 1, **options: object) -> Iterator[Document]:
        for line in lines:
            best = self(line)
            first, *rest = best.words
            shorter = (type(first)(first.text[:1], first.start, first.start + 1, "x"), *rest)
            others = (replace(best, words=shorter),) if best.entities else ()
            yield replace(best, alternatives=(best, *others)[:nbest])


@pytest.mark.parametrize("tasks", [("pos", "ner"), ("pos",), ("ner",)])
def test_readings_of_a_long_text_are_those_of_its_sections(tasks: tuple[str, ...]) -> None:
    text = "我们在北京。" * 30 + "没有人来了。" * 30
    sections = list(tag_sections(DoubtfulTagger(), text, tasks, nbest=5))  # type: ignore[arg-type]
    assert {len(section.alternatives) for _, section in sections} == {1, 2}
    found = json.loads("".join(write_sections(make_writer("jsonl", tasks, nbest=5), iter(sections), text)))
    names = [name for task, name in (("pos", "words"), ("ner", "entities")) if task in tasks]
    assert list(found) == ["text", *names, "nbest"]
    assert [list(reading) for reading in found["nbest"]] == [names, names]
    assert found["nbest"][0] == {name: found[name] for name in names}
    for reading in found["nbest"]:
        for span in (span for name in names for span in reading[name]):
            assert text[span["start"] : span["end"]] == span["text"]
    if "pos" in tasks:
        begins = {offset for offset, section in sections if section.entities}
        assert {word["start"] for word in found["nbest"][1]["words"] if word["pos"] == "x"} == begins


def test_a_section_ends_where_words_end_in_all_readings() -> None:
    tagger, text = Tagger(), "甲乙丙丁戊" * 100
    best, shifted = tagger(text[:72]), tagger("　" + text[:71])
    words = tuple(type(word)(word.text, word.start - 1, word.end - 1, word.pos) for word in shifted.words)
    words = (*words[:17], *best.words[17:])  # other borders in the first half, then the same
    document = replace(best, alternatives=(best, replace(best, words=words)))
    assert run._last_split_point(document, has_words=True) == 60  # type: ignore[arg-type]
    document = replace(best, alternatives=(best, replace(best, words=(words[0], type(words[0])("", 1, 72, "n")))))
    assert run._last_split_point(document, has_words=True) is None  # type: ignore[arg-type]


def test_a_record_is_kept() -> None:
    record = '{"id": "7\u2028", "text": "…"'
    sections = tag_sections(Tagger(), TEXT, TASKS)  # type: ignore[arg-type]
    found = "".join(write_sections(make_writer("jsonl", TASKS, records=True), sections, TEXT, record))
    assert found == make_writer("jsonl", TASKS, records=True).write(whole(TEXT, TASKS, Tagger()), record)
    assert found.startswith('{"id": "7\\u2028", "text": "…", "words": [{"text": "我们"')
    assert len(found.splitlines()) == 1


@pytest.mark.parametrize("format", FORMATS)
def test_a_chunk_with_a_long_text_is_the_same_in_another_process(format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zhseq.bulk.run.LONG", 100)
    segments = [
        Segment(0, "a", 0, False, 0, 0, ["你好"], ["\n"]),
        Segment(1, "b", 0, False, 0, 0, ["一", TEXT], ["\n", ""]),
    ]
    chunk = Chunk(segments, 3, 3 + len(TEXT))
    parts = list(TaggingJob(format=format)._tag(Tagger(), TASKS, chunk))  # type: ignore[arg-type]
    assert [source for source, _ in parts] == [0] + [1] * (len(parts) - 1)
    assert len(parts) > 3
    sent = _sent(chunk, parts)
    assert sent.packed
    assert list(sent.unpacked()) == parts
    assert list(Sent(parts, False).unpacked()) == parts
    if format == "jsonl":
        lines = b"".join(data for _, data in parts).decode().splitlines()
        assert [json.loads(line)["text"] for line in lines] == ["你好", "一", TEXT]


def test_a_full_disk_is_said() -> None:
    text = "北京" * 300
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # the operating system refuses larger files
    try:
        with pytest.raises(InputError, match=r"no space for temporary data .* name another folder in TMPDIR"):
            list(write_sections(make_writer("jsonl", TASKS), tag_sections(Tagger(), text, TASKS), text))  # type: ignore[arg-type]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_fails_within_a_long_text_is_done_again(tmp_path: Path) -> None:
    """What was written of a chunk before an error is not taken for its result."""

    def breaks_off() -> Iterator[tuple[int, bytes]]:
        yield 0, b"half"
        raise KeyboardInterrupt

    path, journal = tmp_path / "out", tmp_path / "journal"

    def first_run() -> None:
        with FileOutput([path], journal, {}, resume=False, notify=lambda note: None) as output:
            output.write([(0, b"whole\n")], "1")
            output._record()
            output.write(breaks_off(), "2")

    with pytest.raises(KeyboardInterrupt):
        first_run()
    with FileOutput([path], journal, {}, resume=True, notify=lambda note: None) as output:
        assert output.progress.chunks == 1
        output.write([(0, b"second\n")], "2")
        output.finish()
    assert path.read_bytes() == b"whole\nsecond\n"
