"""Named corpora, telling of formats, errors, and the division into train and dev."""

import bz2
import gzip
import io
import json
import lzma
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zhseq.corpus.tagging import FORMATS, TaggedText, drop_repeats, named_parts, read_tagged, split_dev
from zhseq.errors import ConfigError, CorpusError
from zhseq.text.tags import Span

PFR = "19980101-01-001-001/m  迈向/v  充满/v  希望/n  \r\n"
EXAMPLES = {
    "pfr": PFR,
    "text": "江/nr 泽民/nr 发表/v 讲话/n\n好/a 。/w\n",
    "words": "今天  天气  很  好  。\n我们 走 。\n",
    "columns": "历 B-LOC\n博 I-LOC\n、 O\n\n人 O\n",
    "conllu": "# text = 子曰\n1\t子\t子\tNOUN\tn\t_\t2\tnsubj\t_\t_\n2\t曰\t曰\tVERB\tv\t_\t0\troot\t_\t_\n\n",
    "cluener": '{"text": "浙商银行", "label": {"company": {"浙商银行": [[0, 3]]}}}\n',
    "jsonl": '{"text": "人", "words": [{"text": "人", "start": 0, "end": 1, "pos": "n"}], "entities": []}\n',
}


def _parquet(data: bytes) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.table({"tokens": [[data.decode()]]}), stream)
    return stream.getvalue()


def _zip(data: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.txt", data)
    return stream.getvalue()


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
    "ZIP": _zip,
    "Parquet": _parquet,
    "PDF": lambda data: b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n" + data,
    "UTF-16": lambda data: data.decode().encode("utf-16-le"),
    "binary": lambda data: bytes(1000) + data,
}


def write(folder: Path, text: str, name: str = "a.txt", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("format", EXAMPLES)
def test_the_format_is_told_from_the_content(tmp_path: Path, format: str) -> None:
    path = write(tmp_path, EXAMPLES[format])
    told, named = read_tagged(path), read_tagged(path, format=format)
    assert told.texts == named.texts
    other = [name for name in EXAMPLES if name not in (format, "text", "pfr")]
    assert all(_fails_or_differs(path, name, told.texts) for name in other)


def _fails_or_differs(path: Path, format: str, texts: list[TaggedText]) -> bool:
    try:
        return read_tagged(path, format=format).texts != texts
    except CorpusError:
        return True


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_the_encoding_is_told_too(tmp_path: Path, encoding: str) -> None:
    for format, text in EXAMPLES.items():
        assert (
            read_tagged(write(tmp_path, text, encoding=encoding)).texts == read_tagged(write(tmp_path, text)).texts
        ), format


@pytest.mark.parametrize(
    ("format", "text", "line", "expected"),
    [
        ("pfr", PFR + "19980101-01-001-002/m  迈向/v  充满  希望/n\n", 2, "words with tags like 希望/n"),
        ("text", "江/nr 泽民/nr\n发表/\n", 2, "words with tags like 希望/n"),
        ("columns", "历 B-LOC\n博\n", 2, "a character and its tag"),
        ("columns", "历 B-LOC\n博 I-LOC\n人 PER\n", 3, "a tag like B-PER"),
        ("conllu", "1\t子\t子\tNOUN\n", 1, "a word and eight more columns"),
        ("conllu", "1\t\t子\tN\tn\t_\t2\tn\t_\t_\n\n", 1, "a word and eight more columns"),
        ("conllu", "1\t子\t子\tN\tn\t_\t2\tn\t_\tEntity=PER:0-2\n\n", 1, "entities within the text"),
        ("conllu", "# text = 子曰\n1\t孟\t子\tN\tn\t_\t2\tn\t_\t_\n\n", 2, "make up the text of the sentence"),
        ("cluener", '{"text": "浙商", "label": {"x": {"浙商": [[0, 2]]}}}\n', 1, "ends inclusive"),
        ("jsonl", '{"text": "人"}\n{"text": \n', 2, "a JSON object"),
        ("jsonl", '{"txt": "人"}\n', 1, 'a JSON object with "text"'),
        ("jsonl", '{"text": "人", "words": {}}\n', 1, '"words" to be a list'),
        ("jsonl", '{"text": "人", "entities": [{"start": 0, "end": 2, "label": "PER"}]}\n', 1, "fit the text"),
        ("jsonl", '{"text": "人", "entities": [{"start": 0, "end": 1, "text": "天"}]}\n', 1, "fit the text"),
        ("jsonl", '{"text": "天人", "words": [{"start": 0, "end": 2}, {"start": 1, "end": 2}]}\n', 1, "do not overlap"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, format: str, text: str, line: int, expected: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(CorpusError) as caught:
        read_tagged(path, format=format)
    assert f"{path}, line {line}: expected" in str(caught.value)
    assert expected in str(caught.value)


def test_a_broken_line_does_not_change_the_format_that_is_told(tmp_path: Path) -> None:
    path = write(tmp_path, "历 B-LOC\n博 I-LOC\n、 O\n\n" * 20 + "博\n")
    with pytest.raises(CorpusError, match="line 81: expected a character and its tag"):
        read_tagged(path)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nothing.txt", "expected a file, or one of the corpora pfr199801"),
        ("empty.txt", "found an empty file"),
        ("blank.txt", "found an empty file"),
        ("bytes.txt", "line 2, byte 4: expected UTF-8"),
        ("odd.txt", "expected one of the formats"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, source: str, message: str) -> None:
    write(tmp_path, "", "empty.txt")
    write(tmp_path, "\n  \n", "blank.txt")
    write(tmp_path, "人 O B-X\n今天 天气 很 好\n" * 2, "odd.txt")
    (tmp_path / "bytes.txt").write_bytes("人 O\n人".encode() + b"\xff O\n")
    with pytest.raises(CorpusError, match=message):
        read_tagged(tmp_path / source)


def test_names_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZHSEQ_CORPORA", str(tmp_path))
    with pytest.raises(ConfigError, match="one of auto, pfr"):
        read_tagged("a.txt", format="xml")
    with pytest.raises(ConfigError, match="pos or ner"):
        read_tagged("a.txt", task="dep")
    with pytest.raises(ConfigError, match=r"one of train, train-named, .*found 'test'"):
        read_tagged("weibo_ner:test")
    with pytest.raises(CorpusError, match=r"zhseq corpus get weibo_ner"):
        read_tagged("weibo_ner:dev")
    assert {"pfr199801", "weibo_ner", "weibo_ner:dev", "ud_chinese_gsd:dev"} <= set(named_parts())
    assert set(EXAMPLES) < set(FORMATS)


def test_named_corpora_come_from_the_corpora_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZHSEQ_CORPORA", str(tmp_path))
    (tmp_path / "msra_ner").mkdir()
    write(tmp_path / "msra_ner", "历\tB-LOC\n博\tI-LOC\n\n" * 150, "dh_msra.train.txt")
    corpus = read_tagged("msra_ner")
    assert [text.document for text in corpus.texts] == ["msra_ner#0"] * 100 + ["msra_ner#1"] * 50
    assert corpus.report() == "msra_ner: 150 texts, 300 characters"


def test_a_task_keeps_one_kind_of_labels(tmp_path: Path) -> None:
    path = write(tmp_path, json.dumps({"text": "人", "words": [{"start": 0, "end": 1}], "entities": []}) + "\n")
    both, pos, ner = (read_tagged(path, task=task).texts[0] for task in (None, "pos", "ner"))
    assert (both.words, both.entities) == ((Span(0, 1, ""),), ())
    assert (pos.words, pos.entities) == ((Span(0, 1, ""),), None)
    assert (ner.words, ner.entities) == (None, ())
    with pytest.raises(CorpusError, match="expected texts with entities"):
        read_tagged(write(tmp_path, "今天 天气 很 好\n"), task="ner")


def texts(*contents: tuple[str, str]) -> list[TaggedText]:
    return [TaggedText(text, None, (), document) for text, document in contents]


@given(
    st.lists(
        st.tuples(st.text("一二三 ", min_size=1, max_size=4), st.sampled_from("abcdefg")), min_size=1, max_size=30
    ),
    st.integers(0, 5),
)
def test_train_and_dev_share_neither_documents_nor_texts(contents: list[tuple[str, str]], seed: int) -> None:
    given_texts = texts(*contents)
    train, dev = split_dev(given_texts, 0.3, seed)
    assert not {text.document for text in train} & {text.document for text in dev}
    assert not {text.text.replace(" ", "") for text in train} & {text.text.replace(" ", "") for text in dev}
    assert dev
    assert sorted(train + dev, key=given_texts.index) == drop_repeats(given_texts)
    assert (train, dev) == split_dev(given_texts, 0.3, seed)


def test_the_dev_part_has_about_the_size_asked_for() -> None:
    given_texts = texts(*((f"{index:05d}", str(index)) for index in range(1000)))
    assert len(split_dev(given_texts, 0.1, 1)[1]) == 100
    assert split_dev(given_texts, 0.1, 1) != split_dev(given_texts, 0.1, 2)
    with pytest.raises(ConfigError, match="between 0 and 1"):
        split_dev(given_texts, 1.0, 0)


def test_repeats_are_found_in_any_script_and_width() -> None:
    first, *rest = texts(("１９９８年漢語", "a"), ("1998 年汉语", "b"), ("1999年", "c"))
    assert drop_repeats([first, *rest]) == [first, rest[1]]
    assert drop_repeats(rest, seen=[first]) == [rest[1]]


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("name", "count", "characters", "words", "entities"),
    [
        ("pfr199801", 17472, 1666448, 1014605, None),
        ("ud_chinese_gsd", 3997, None, 98616, 0),
        ("ud_chinese_gsd:dev", 500, None, 12663, 0),
        ("msra_ner", 50658, 2169879, 0, 17618 + 36517 + 20574),
        ("weibo_ner", 1350, 73778, 0, None),
        ("weibo_ner:dev", 270, 14509, 0, None),
        ("resume_ner", 3821, 124099, 0, 13440),
        ("cluener2020", 10748, 401764, 0, None),
        ("cclue_ner:dev", 238, 20122, 0, None),
        ("modern_text", 6508, None, None, None),
        ("modern_text:dev", 591, None, None, None),
        ("modern_labels", 42645, 1248860, 758327, 54317),
        ("modern_written", 1632, None, 16886, 2360),
        ("uner_gsdsimp", 3997, None, 0, 2148 + 2858 + 1112),
        ("cnc_words", 51733, 2228745, 1452960, 0),
    ],
)
def test_the_published_counts_are_found(
    name: str, count: int, characters: int | None, words: int | None, entities: int | None
) -> None:
    found = read_tagged(name).texts
    assert len(found) == count
    assert characters in (None, sum(len(text.text) for text in found))
    assert words in (None, sum(len(text.words or ()) for text in found))
    assert entities in (None, sum(len(text.entities or ()) for text in found))


@given(
    format=st.sampled_from(sorted(set(FORMATS) - {"datasets", "parallel"})),
    lines=st.lists(
        st.one_of(
            st.sampled_from([line for text in EXAMPLES.values() for line in text.splitlines()]),
            st.text('历/[]nOB-I \t\u3000#1=_{}":人\r\x00', max_size=12),
            st.text(st.characters(exclude_categories=("Cs",)), max_size=8),
        ),
        max_size=6,
    ),
)
def test_any_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, format: str, lines: list[str]) -> None:
    path = write(tmp_path_factory.getbasetemp(), "\n".join(lines), "any.txt")
    try:
        corpus = read_tagged(path, format=format)
    except CorpusError as error:
        assert str(error).startswith(str(path))  # noqa: PT017
        return
    for text in corpus.texts:
        for spans in (text.words or (), text.entities or ()):
            ends = [0, *(place for span in spans for place in (span.start, span.end)), len(text.text)]
            assert ends == sorted(ends)
            assert all(span.start < span.end for span in spans)


COLUMNS = "历 B-LOC\n博 I-LOC\n、 O\n\n人 O\n江 B-PER\n民 I-PER\n"


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf\xef\xbb\xbf" + COLUMNS.encode(),
        COLUMNS.replace("人 O", "\ufeff人 O").encode(),
        *(COLUMNS.replace("\n", end).encode() for end in ("\r\n", "\r", "\r\r\n", "\x85", "\u2028")),
    ],
    ids=["two marks", "a mark inside", "CR LF", "CR", "CR CR LF", "NEL", "U+2028"],
)
def test_marks_and_line_ends_of_all_kinds_change_nothing(tmp_path: Path, data: bytes) -> None:
    path, plain = tmp_path / "a.txt", tmp_path / "b.txt"
    path.write_bytes(data)
    plain.write_text(COLUMNS, encoding="utf-8")
    found, expected = ([(text.text, text.entities) for text in read_tagged(each).texts] for each in (path, plain))
    assert found == expected
    assert len(found) == 2


DEEP = "[" * 50_000 + "]" * 50_000


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (f'[{{"text": {DEEP}}}]', "broken_array"),
        ('[{"text": "人", "entities": []}, {"text": ', "broken_array"),
        (f'{{"text": {DEEP}}}\n', "broken_line"),
        (f'{{"text": "人", "label": {DEEP}}}\n', "broken_line"),
        ('{"text": "人", "entities": [{"start": %s, "end": 1, "label": "x"}]}\n' % ("9" * 5000), "broken_line"),
        ('{"text": "人人", "entities": [{"start": false, "end": true, "label": "x"}]}\n', "broken_line"),
        ('{"text": "\\ud83d", "entities": []}\n', "broken_line"),
        ('{"text": "人", "words": [{"start": 0, "end": 1, "pos": "\\ud83d"}]}\n', "strange_label"),
        (COLUMNS.replace("LOC", "L\x1b[31mOC"), "strange_label"),
        (COLUMNS.replace("LOC", "L" * 99), "strange_label"),
        ("B-LOC 历\nI-LOC 博\nO 、\n", "broken_line"),
        ("B-LOC\t历\nI-LOC\t博\nO\t、\n", "broken_line"),
        ("nr/江 nr/泽民 v/发表 n/讲话\n", "broken_line"),
    ],
)
def test_what_would_be_read_as_something_else_is_refused(tmp_path: Path, text: str, code: str) -> None:
    with pytest.raises(CorpusError) as error:
        read_tagged(write(tmp_path, text))
    assert error.value.code == code
    assert len(str(error.value)) < 700
    assert str(error.value).isprintable()


@pytest.mark.parametrize("size", [1, 40])
@pytest.mark.parametrize("pack", PACKED)
def test_what_is_no_text_is_named(tmp_path: Path, pack: str, size: int) -> None:
    """Whole, and cut off."""
    data = PACKED[pack](COLUMNS.encode() * 20)
    (tmp_path / "a.txt").write_bytes(data[: len(data) // size + 20])
    with pytest.raises(CorpusError, match=pack) as error:
        read_tagged(tmp_path / "a.txt")
    assert error.value.code == "no_text"


def test_a_line_of_brackets_is_read_in_no_time(tmp_path: Path) -> None:
    begin = time.process_time()
    assert len(read_tagged(write(tmp_path, COLUMNS + "[" * 100_000 + " O\n")).texts) == 2
    assert time.process_time() - begin < 5


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("浙;B-ORG\n商;I-ORG\n好;O\n", "words_apart"),
        ("浙|B-ORG\n商|I-ORG\n好|O\n", "words_apart"),
        ('"浙","B-ORG"\n"商","I-ORG"\n"好","O"\n', "words_apart"),
        ("他们_r 在_p 上海_ns\n", "words_apart"),
        ("他们/r 在/p 上海/ns\n他们 在 上海\n", "words_apart"),
        ("他们 / 在 / 上海\n", "words_apart"),
        ("他们|在|上海\n", "words_apart"),
        ("<html><head><title>通知</title></head>\n<body><p>下午 开会</p></body>\n</html>\n", "words_apart"),
        ("他们 在\0 上海\n", "words_apart"),
        ("昨天开会讨论了预算。\n下周再说，大家先回去看材料。\n", "words_apart"),
        ("浙 b-org\n商 i-org\n好 o\n", "tags_in_capitals"),
        ("浙 B-ORG 商 I-ORG\n好 O\n", "one_pair_a_line"),
        ("id,字,标签\n1,浙,B-ORG\n2,商,I-ORG\n", "no_number_first"),
        ('{"text": "浙商", "entities": [{"start": 0, "end": 2, "type": "ORG"}]}\n', "spans_that_fit"),
        ('{"text": "浙商", "words": [{"start": 0, "end": 2, "tag": "nt"}]}\n', "spans_that_fit"),
    ],
)
def test_what_no_format_is_like_is_not_read_as_words(tmp_path: Path, text: str, code: str) -> None:
    with pytest.raises(CorpusError) as error:
        read_tagged(write(tmp_path, text))
    assert (error.value.code, error.value.message.values["expected"].code) == ("broken_line", code)


@pytest.mark.parametrize("between", [" ", "\t", ","])
def test_names_of_columns_are_left_out_and_said(tmp_path: Path, between: str) -> None:
    lines = ["token label", "浙 B-ORG", "商 I-ORG", "好 O"]
    corpus = read_tagged(write(tmp_path, "\n".join(lines).replace(" ", between) + "\n"))
    assert [(text.text, text.entities) for text in corpus.texts] == [("浙商好", (Span(0, 2, "ORG"),))]
    assert [note.code for note in corpus.notes] == ["names_of_columns"]
    assert corpus.notes[0].values["line"] == 1


def test_lines_with_other_columns_are_counted(tmp_path: Path) -> None:
    corpus = read_tagged(write(tmp_path, "浙 x B-ORG\n商 x I-ORG\n好 O\n" + "人 x O\n" * 20))
    assert [(note.code, note.values["count"], note.values["line"]) for note in corpus.notes] == [
        ("other_columns", 1, 3)
    ]


def test_words_and_parts_of_speech_with_blanks_between_are_columns(tmp_path: Path) -> None:
    (text,) = read_tagged(write(tmp_path, "他们 r\n在 p\nUSB n\n口 n\n")).texts
    assert [span.label for span in text.words or ()] == ["r", "p", "n", "n"]


@pytest.mark.parametrize(("row", "format"), [("_\tn", "conllu"), ("NOUN\t_", "conllu-xpos")])
def test_parts_of_speech_in_the_other_column_are_said(tmp_path: Path, row: str, format: str) -> None:
    path = write(tmp_path, f"1\t人\t人\t{row}\t_\t0\troot\t_\t_\n\n")
    (note,) = read_tagged(path, format=format).notes
    assert note.code == "empty_column"
    other = read_tagged(path, format=str(note.values["format"]))
    assert other.notes == ()
    assert [word.label for word in other.texts[0].words or ()] == [row.replace("_", "").strip()]
