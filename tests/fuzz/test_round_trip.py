"""What is written in any way that is usual is read as what it was, or refused, and never read as something else."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.fuzzing import fuzzed, result_or_error
from tests.tagging.tiny_tagger import tiny_features, tiny_model
from zhseq.corpus.tagging import read_tagged
from zhseq.errors import CorpusError, InputError, Message
from zhseq.tagging.dictionary_file import read_entries
from zhseq.tagging.model import TorchNetwork, save
from zhseq.tagging.tagger import Tagger
from zhseq.text.normalize import normalize
from zhseq.text.tags import Span

pytestmark = pytest.mark.fuzz

HAN = "今天天气很好我们学校图书馆在城市北边他昨天开会讨论经济问题和新的计划中国人民银行上海电影院喜欢看书的孩子"
MARKS = "，。！？、：；（）“”"
LATIN = ("AI", "GPS", "5", "1998", "3.14", "iPhone", "km")
POS = ("n", "v", "a", "r", "p", "d", "vn", "m", "w")
NAMES = ("PER", "LOC", "ORG")
ENDS = ("\n", "\n", "\r\n", "\r", "\r\r\n")

Word = tuple[str, str]
Sentence = tuple[tuple[Word, ...], tuple[tuple[int, int, str], ...]]  # entities: first word, word behind, label


@st.composite
def sentences(draw: st.DrawFn) -> Sentence:
    """Words with parts of speech, no two Latin ones side by side, and entities of one to three words."""
    words: list[Word] = []
    for _ in range(draw(st.integers(1, 9))):
        kind = draw(st.integers(0, 9))
        word = "".join(draw(st.lists(st.sampled_from(HAN), min_size=1, max_size=4)))
        if kind == 8 and words:
            word = draw(st.sampled_from(MARKS))
        if kind == 9 and words and not words[-1][0][-1].isascii():
            word = draw(st.sampled_from(LATIN))
        words.append((word, draw(st.sampled_from(POS))))
    entities, place = [], 0
    while place < len(words):
        size = min(draw(st.integers(1, 3)), len(words) - place)
        if draw(st.integers(0, 3)) == 0:
            entities.append((place, place + size, draw(st.sampled_from(NAMES))))
        place += size
    return tuple(words), tuple(entities)


def text_of(sentence: Sentence) -> str:
    return "".join(word for word, _ in sentence[0])


def edges_of(sentence: Sentence) -> list[int]:
    return [0, *np.cumsum([len(word) for word, _ in sentence[0]]).tolist()]


def words_of(sentence: Sentence, labelled: bool) -> tuple[Span, ...]:
    edges = edges_of(sentence)
    return tuple(Span(edges[i], edges[i + 1], pos if labelled else "") for i, (_, pos) in enumerate(sentence[0]))


def entities_of(sentence: Sentence) -> tuple[Span, ...]:
    edges = edges_of(sentence)
    return tuple(Span(edges[start], edges[end], label) for start, end, label in sentence[1])


def scheme_tags(length: int, spans: Sequence[Span], scheme: str) -> list[str]:
    """Tags of characters: letters for begin, inside, end, single."""
    begin, inside, end, single = scheme
    tags = ["O"] * length
    for span in spans:
        own = [begin, *[inside] * (span.end - span.start - 2), end] if span.end - span.start > 1 else [single]
        tags[span.start : span.end] = [f"{letter}-{span.label}" for letter in own]
    return tags


@dataclass(frozen=True)
class Manner:
    """One way to write sentences: lines, how each is read, and whether the reader need not be told the format."""

    format: str
    lines: Callable[[Sequence[Sentence], int], list[str]]
    words: bool = False
    labelled: bool = True
    entities: bool = False
    only_if_marked: bool = False
    """Entities are None where none of the file has one."""
    told: bool = True


def _slashed(found: Sequence[Sentence], way: int) -> list[str]:
    lines = []
    for words, entities in found:
        tokens = [f"{word}/{pos}" for word, pos in words]
        for start, end, label in entities:
            tokens[start] = f"[{tokens[start]}"
            tokens[end - 1] += f"]{label}"
        lines.append((" ", "  ", "\t", "\u3000")[way % 4].join(tokens))
    return lines


def _segmented(found: Sequence[Sentence], way: int) -> list[str]:
    return [(" ", "  ", "\u3000")[way % 3].join(word for word, _ in words) for words, _ in found]


def _characters(scheme: str) -> Callable[[Sequence[Sentence], int], list[str]]:
    def lines(found: Sequence[Sentence], way: int) -> list[str]:
        between = (" ", "\t", ",", " _ _ ", "\tx\t")[way % 5]
        written = ["-DOCSTART- -X- O O", ""] if way % 7 == 0 else []
        for sentence in found:
            text = text_of(sentence)
            tags = scheme_tags(len(text), entities_of(sentence), scheme)
            written += [f"{character}{between}{tag}" for character, tag in zip(text, tags, strict=True)]
            written += [""] * (1 + (way % 3 == 2))
        return written

    return lines


def _columns_of_words(found: Sequence[Sentence], way: int) -> list[str]:
    between = ("\t", " ", "\t-\t")[way % 3]
    header = [f"word{between}pos"] if way % 4 == 0 and len(between) == 1 else []
    return header + [line for words, _ in found for line in [*(f"{word}{between}{pos}" for word, pos in words), ""]]


def _conllu(found: Sequence[Sentence], way: int) -> list[str]:
    lines = []
    for sentence in found:
        edges, words = edges_of(sentence), sentence[0]
        lines += [f"# text = {text_of(sentence)}"] if way % 2 else []
        for index, (word, pos) in enumerate(words):
            marks = [
                f"Entity={label}:{edges[start]}-{edges[end]}" for start, end, label in sentence[1] if start == index
            ]
            lines.append(f"{index + 1}\t{word}\t_\t{pos}\t_\t_\t_\t_\t_\t" + "|".join([*marks, "SpaceAfter=No"]))
        lines.append("")
    return lines


def _spans(spans: Sequence[Span], names: tuple[str, str, str]) -> list[dict[str, object]]:
    return [dict(zip(names, (span.start, span.end, span.label), strict=True)) for span in spans]


def _json(found: Sequence[Sentence], way: int) -> list[str]:
    records: list[dict[str, object]] = []
    for sentence in found:
        entities = entities_of(sentence)
        record: dict[str, object] = {"text": text_of(sentence)}
        if way % 4 == 0:
            record["entities"] = _spans(entities, ("start", "end", "label"))
        elif way % 4 == 1:
            record["label"] = [[span.start, span.end, span.label] for span in entities]
        elif way % 4 == 2:
            record["labels"] = [[span.start, span.end, span.label] for span in entities]
        else:
            record["entities"] = _spans(entities, ("start_offset", "end_offset", "label"))
        records.append(record)
    if way % 3 == 0:
        return json.dumps(records, ensure_ascii=way % 2 == 0, indent=way % 5 or None).split("\n")
    return [json.dumps(record, ensure_ascii=way % 2 == 0) for record in records]


def _cluener(found: Sequence[Sentence], way: int) -> list[str]:
    lines = []
    for sentence in found:
        text, label = text_of(sentence), dict[str, dict[str, list[list[int]]]]()
        for span in entities_of(sentence):
            mentions = label.setdefault(span.label, {})
            mentions.setdefault(text[span.start : span.end], []).append([span.start, span.end - 1])
        lines.append(json.dumps({"text": text, "label": label}, ensure_ascii=way % 2 == 0))
    return lines


def _uner(found: Sequence[Sentence], way: int) -> list[str]:
    lines = []
    for sentence in found:
        words, entities = sentence
        tags = scheme_tags(len(words), [Span(*entity) for entity in entities], "BIIB")
        lines += [f"# text = {text_of(sentence)}"]
        lines += [
            f"{index}\t{word}\t{tag}\t-\t-" for index, ((word, _), tag) in enumerate(zip(words, tags, strict=True), 1)
        ]
        lines += [""]
    return lines


MANNERS = {
    "text": Manner("text", _slashed, words=True, entities=True, only_if_marked=True),
    "words": Manner("words", _segmented, words=True, labelled=False),
    "BIO": Manner("columns", _characters("BIIB"), entities=True),
    "BIOES": Manner("columns", _characters("BIES"), entities=True),
    "BMES": Manner("columns", _characters("BMES"), entities=True),
    "BILOU": Manner("columns", _characters("BILU"), entities=True),
    "parts of speech": Manner("columns", _columns_of_words, words=True),
    "conllu": Manner("conllu", _conllu, words=True, entities=True, only_if_marked=True),
    "json": Manner("jsonl", _json, entities=True),
    "cluener": Manner("cluener", _cluener, entities=True),
    "uner": Manner("uner", _uner, entities=True, told=False),
}

OUTSIDE: Sentence = ((("好", "a"),), ())
"""In each file, for BMES without any O is read as words."""

Read = tuple[str, tuple[Span, ...] | None, tuple[Span, ...] | None]


def expected(found: Sequence[Sentence], manner: Manner) -> list[Read]:
    marked = any(sentence[1] for sentence in found)
    return [
        (
            text_of(sentence),
            words_of(sentence, manner.labelled) if manner.words else None,
            entities_of(sentence) if manner.entities and (marked or not manner.only_if_marked) else None,
        )
        for sentence in found
    ]


@st.composite
def dressed(draw: st.DrawFn, lines: list[str]) -> bytes:
    """A file of lines with any of the line ends, marks, blanks at the ends and encodings that occur."""
    end = draw(st.sampled_from(ENDS))
    if draw(st.integers(0, 5)) == 0:
        lines = [line if line.startswith("# text") else line + " " for line in lines]
    text = "\n".join(lines) + "\n" * draw(st.integers(0, 2))
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "gb18030", "big5"]))
    data = text.replace("\n", end).encode(encoding, "replace" if encoding == "big5" else "strict")
    if encoding in ("gb18030", "big5") and data.decode(encoding).replace(end, "\n") != text:
        return text.encode()
    return data


def told(notes: Sequence[Message]) -> bool:
    """Whether it was said how the bytes were read: 喜 alone is a Greek letter in UTF-8, and something else in Big5."""
    return any(note.code in ("not_utf8", "doubtful_encoding") for note in notes)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "file.dat"


@fuzzed()
@given(data=st.data(), found=st.lists(sentences(), min_size=1, max_size=8), way=st.integers(0, 10_000))
@pytest.mark.parametrize("name", MANNERS)
def test_tagged_texts_are_read_as_what_they_are(
    place: Path, name: str, data: st.DataObject, found: list[Sentence], way: int
) -> None:
    manner = MANNERS[name]
    found.append(OUTSIDE)
    place.write_bytes(data.draw(dressed(manner.lines(found, way))))
    wanted = expected(found, manner)
    formats = ["auto", manner.format] if manner.told else [manner.format]
    for format in formats:
        corpus = result_or_error(lambda format=format: read_tagged(place, format=format), CorpusError)  # type: ignore[misc]
        if corpus is not None:
            read = [(text.text, text.words, text.entities) for text in corpus.texts]
            assert read == wanted or told(corpus.notes)


@pytest.mark.parametrize("name", MANNERS)
def test_plain_files_of_all_kinds_are_not_refused(place: Path, name: str) -> None:
    """Otherwise nothing above would be held to anything."""
    manner = MANNERS[name]
    found: list[Sentence] = [
        ((("我们", "r"), ("在", "p"), ("北京", "ns"), ("开会", "v"), ("。", "w")), ((2, 3, "LOC"),)),
        ((("他", "r"), ("喜欢", "v"), ("AI", "n")), ()),
    ]
    for way in range(60):
        place.write_text("\n".join(manner.lines(found, way)) + "\n", encoding="utf-8")
        for format in ["auto", manner.format] if manner.told else [manner.format]:
            texts = read_tagged(place, format=format).texts
            assert [(text.text, text.words, text.entities) for text in texts] == expected(found, manner)


ENTRY = st.tuples(
    st.one_of(
        st.text(HAN, min_size=1, max_size=6),
        st.sampled_from(["New York", "C++", "iPhone", "卡拉OK", "5G", "the shy", "Edu Trust认证", "和/或", "1,000"]),
    ),
    st.none() | st.integers(0, 9999),
    st.sampled_from(["", "", *POS, "nz"]),
    st.sampled_from(["", "", *NAMES]),
    st.booleans(),
)


@fuzzed(2)
@given(data=st.data(), entries=st.lists(ENTRY, min_size=1, max_size=12), tabs=st.booleans(), wide=st.booleans())
def test_dictionaries_are_read_as_what_they_are(
    place: Path,
    data: st.DataObject,
    entries: list[tuple[str, int | None, str, str, bool]],
    tabs: bool,
    wide: bool,
) -> None:
    """In jieba's way, with a frequency before each part of speech, or with tabs."""
    lines, wanted = [], []
    for word, frequency, pos, label, force in entries:
        number = "force" if force else "" if frequency is None else str(frequency)
        if tabs:
            lines.append("\t".join([word, number, pos, label]).rstrip() + "\t")
        else:
            blank = "\u3000" if wide else " "
            number, label = number or "7", ""
            lines.append(blank.join(filter(None, [word, number, pos])))
        mode = "force" if force else ""
        value = math.nan if force or not number else float(number)
        wanted.append((normalize(word), pos, label, value, mode))
        if data.draw(st.integers(0, 5)) == 0:
            lines.append(data.draw(st.sampled_from(["", "# 说明", "// 5 n", " \u3000"])))
    place.write_bytes(data.draw(dressed(lines)))
    notes: list[Message] = []
    columns = result_or_error(lambda: read_entries(place, notes.append), InputError)
    if columns is not None:
        rows = [columns.words, columns.pos, columns.labels, columns.frequencies, columns.modes]
        assert repr(list(zip(*rows, strict=True))) == repr(wanted) or told(notes)


@fuzzed(0.2)
@given(seed=st.integers(0, 2**31), texts=st.lists(st.text(HAN + MARKS, max_size=30), max_size=3))
def test_a_tagger_that_is_saved_and_read_tags_as_before(
    tmp_path_factory: pytest.TempPathFactory, seed: int, texts: list[str]
) -> None:
    import torch

    model = tiny_model()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():  # numbers that float16 holds
            parameter.copy_(torch.randn(parameter.shape, generator=generator).half().float())
    place = tmp_path_factory.mktemp("saved") / "model"
    save(place, model, tiny_features(), {})
    before, after = Tagger(TorchNetwork(model, tiny_features())), Tagger.load(place, backend="torch")
    assert list(after.stream(texts)) == list(before.stream(texts))
