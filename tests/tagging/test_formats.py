import copy
import dataclasses
import json
import pickle
import re
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tagging.fake_tagger import Document, Entity, Tagger, Word
from zhseq.corpus.tagging import FORMATS as READABLE
from zhseq.corpus.tagging import TaggedText, read_tagged
from zhseq.errors import InputError
from zhseq.tagging.formats import FORMATS, PKU_TO_UPOS, UPOS, Columns, lazy_documents, make_writer

BOTH = ("pos", "ner")
TEXT = "我在北京 大学，3楼\t。"
# Lines as the front door gives them: no line feed inside, no lone surrogates.
LINES = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\n"), max_size=30)


def document(text: str, words: list[tuple[int, int, str]], entities: list[tuple[int, int, str]]) -> Document:
    return Document(
        text,
        tuple(Word(text[start:end], start, end, label) for start, end, label in words),
        tuple(Entity(text[start:end], start, end, label) for start, end, label in entities),
    )


def write(format: str, given: Document, tasks: tuple[str, ...] = BOTH) -> str:
    return make_writer(format, tasks).write(given, "\n")


def test_text() -> None:
    given = document(
        "江泽民在北京", [(0, 1, "nr"), (1, 3, "nr"), (3, 4, "p"), (4, 6, "ns")], [(0, 3, "PER"), (4, 6, "LOC")]
    )
    assert write("text", given) == "[江/nr 泽民/nr]PER 在/p [北京/ns]LOC\n"
    assert write("text", given, ("pos",)) == "江/nr 泽民/nr 在/p 北京/ns\n"
    assert write("text", document("好 的", [(0, 1, ""), (2, 3, "")], []), ("pos",)) == "好 的\n"
    assert (
        write("text", document("江泽民 在北京。", [], [(0, 3, "PER"), (5, 7, "LOC")]), ("ner",))
        == "[江泽民]PER 在 [北京]LOC 。\n"
    )
    assert write("text", document("", [], [])) == "\n"


def test_text_keeps_words_whole_where_an_entity_cuts_them() -> None:
    given = document("中美关系", [(0, 2, "j"), (2, 4, "n")], [(0, 1, "LOC"), (1, 2, "LOC")])
    assert write("text", given) == "[中美/j]LOC 关系/n\n"


def test_scores_are_shown_where_there_are_some() -> None:
    scored = Tagger()("在北京", scores=True)
    assert write("text", scored) == "[在北/n:0.500 京/w:0.500]LOC:0.500\n"
    assert json.loads(write("jsonl", scored))["words"][0]["score"] == 0.5
    assert "Score=0.500" in write("conllu", scored)


def test_jsonl_has_what_was_asked_for() -> None:
    given = Tagger()("在北京")
    assert json.loads(write("jsonl", given)) == {
        "text": "在北京",
        "words": [{"text": "在北", "start": 0, "end": 2, "pos": "n"}, {"text": "京", "start": 2, "end": 3, "pos": "w"}],
        "entities": [{"text": "北京", "start": 1, "end": 3, "label": "LOC"}],
    }
    assert list(json.loads(write("jsonl", given, ("ner",)))) == ["text", "entities"]
    assert list(json.loads(write("jsonl", given, ("pos",)))) == ["text", "words"]


def test_several_readings_are_for_jsonl() -> None:
    readings = next(Tagger().stream(["北京"], nbest=2))
    shown = json.loads(make_writer("jsonl", BOTH, nbest=2).write(readings))
    assert shown["nbest"] == [{key: shown[key] for key in ("words", "entities")}] * 2
    with pytest.raises(InputError, match="expected format='jsonl' for 2 readings of each text, found text"):
        make_writer("text", BOTH, nbest=2)


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_no_line_end_of_a_text_ends_a_line_of_conllu(end: str) -> None:
    comment = write("conllu", document(f"江{end}好", [], [])).split("\n")[1]
    assert comment == f"# text = 江{' ' * len(end)}好"


def test_conllu() -> None:
    given = document(
        "江泽民　在 北京", [(0, 1, "nr"), (1, 3, "nr"), (4, 5, "p"), (6, 8, "xx")], [(0, 3, "PER"), (6, 8, "LOC")]
    )
    assert write("conllu", given) == (
        "# sent_id = 1\n# text = 江泽民　在 北京\n"
        "1\t江\t江\tPROPN\tnr\t_\t_\t_\t_\tEntity=PER:0-3|SpaceAfter=No\n"
        "2\t泽民\t泽民\tPROPN\tnr\t_\t_\t_\t_\tSpacesAfter=　\n"
        "3\t在\t在\tADP\tp\t_\t_\t_\t_\t_\n"
        "4\t北京\t北京\tX\txx\t_\t_\t_\t_\tEntity=LOC:6-8|SpaceAfter=No\n\n"
    )
    assert "\tNOUN\t_\t" in write("conllu", document("江", [(0, 1, "NOUN")], []))
    with pytest.raises(InputError, match="expected task='pos' or task='pos,ner' with format='conllu', found ner"):
        make_writer("conllu", ("ner",))


def test_bio() -> None:
    given = document("在北京 。", [(0, 1, "p"), (1, 3, "ns"), (4, 5, "w")], [(1, 3, "LOC")])
    assert write("bio", given) == "在\tS-p\tO\n北\tB-ns\tB-LOC\n京\tE-ns\tI-LOC\n。\tS-w\tO\n\n"
    assert write("bio", given, ("ner",)) == "在\tO\n北\tB-LOC\n京\tI-LOC\n。\tO\n\n"


def test_brat_counts_from_the_beginning_of_the_input() -> None:
    lines = [("在北京\r\n", "\r\n"), ("\n", "\n"), ("1998年", "")]
    whole = "".join(text for text, _ in lines)
    writer = make_writer("brat", BOTH)
    shown = "".join(writer.write(Tagger()(text.removesuffix(end)), end) for text, end in lines)
    rows = [line.split("\t") for line in shown.splitlines()]
    assert [row[0] for row in rows] == [f"T{index}" for index in range(1, len(rows) + 1)]
    for _, place, text in rows:
        _, start, end = place.split(" ")
        assert whole[int(start) : int(end)] == text
    assert {row[2] for row in rows} >= {"北京", "1998", "在北"}


def test_every_tag_of_the_pku_standard_has_a_universal_one() -> None:
    tags = "n nr ns nt nz nx v vd vn a ad an b z d r m q t f s p c u y e o h k i l j w Ng Vg Ag Dg Tg Rg Bg Mg Yg"
    assert set(PKU_TO_UPOS) == set(tags.split())
    assert len(UPOS) == 17


@given(LINES)
def test_a_line_of_text_and_jsonl_stays_one_line(text: str) -> None:
    for format in ("text", "jsonl"):
        for tasks in (BOTH, ("pos",), ("ner",)):
            shown = write(format, Tagger()(text, tasks=tasks), tasks)
            assert shown.endswith("\n")
            assert len(shown[:-1].splitlines()) <= 1
    read = json.loads(write("jsonl", Tagger()(text)))
    assert read["text"] == text
    assert all(text[part["start"] : part["end"]] == part["text"] for part in read["words"] + read["entities"])


@given(text=LINES.filter(lambda text: bool(text.strip()) and "\r" not in text))
@pytest.mark.parametrize("format", ["jsonl", "conllu"])
def test_what_is_written_can_be_read(tmp_path_factory: pytest.TempPathFactory, format: str, text: str) -> None:
    tagged = Tagger()(text)
    path = tmp_path_factory.mktemp("out") / "a.out"
    path.write_text(write(format, tagged), encoding="utf-8", newline="")
    back = read_tagged(path, format="conllu-xpos" if format == "conllu" else format).texts[0]
    assert back.text == text
    assert [(span.start, span.end, span.label) for span in back.words or ()] == [
        (w.start, w.end, w.pos) for w in tagged.words
    ]
    assert [(span.start, span.end, span.label) for span in back.entities or ()] == [
        (entity.start, entity.end, entity.label) for entity in tagged.entities
    ]


def test_text_and_bio_can_be_read(tmp_path: Path) -> None:
    tagged = Tagger()("在北京大学1998")
    for format in ("text", "bio"):
        path = tmp_path / format
        path.write_text(write(format, tagged), encoding="utf-8")
        back: TaggedText = read_tagged(path).texts[0]
        assert back.text == tagged.text
        assert len(back.entities or ()) == 2
    assert set(FORMATS) == {"text", "bio", "jsonl", "conllu", "brat"}


def test_the_documented_table_is_the_one_in_use() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")
    section = page.split("universal part-of-speech tags")[1]
    rows = [row.strip("| ").split(" | ") for row in section.splitlines() if "|" in row]
    documented = {tag.rstrip(","): upos for upos, tags in rows[2:] for tag in tags.partition(",")[0].split()}
    assert documented == PKU_TO_UPOS


def test_the_documented_formats_are_those_there_are() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")
    written, read = page.split("## What is read")
    assert set(re.findall(r"^\| `([a-z-]+)` \|", read, re.MULTILINE)) == set(READABLE) - {"auto"}
    assert set(re.findall(r"^\| `([a-z-]+)` \|", written, re.MULTILINE)) == set(FORMATS)


def test_a_document_is_printed_as_tagged_text() -> None:
    words = (Word("江", 0, 1, "nr"), Word("泽民", 1, 3, "nr"), Word("在", 3, 4, "p"), Word("北京", 5, 7, "ns"))
    entities = (Entity("江泽民", 0, 3, "PER"), Entity("北京", 5, 7, "LOC", 0.25))
    text = "江泽民在 北京"
    assert str(Document(text, words, entities)) == "[江/nr 泽民/nr]PER 在/p [北京/ns]LOC:0.250"
    assert str(Document(text, words, ())) == "江/nr 泽民/nr 在/p 北京/ns"
    assert str(Document(text, (), entities)) == "[江泽民]PER 在 [北京]LOC:0.250"
    assert str(Document("", (), ())) == ""


LINES_OF_BLOCK = ["江泽民在北京", "", "好 的"]


def documents(scores: bool, entities: bool = True) -> list[tuple[Document, Document]]:
    """Return documents that nobody has looked at, and the same made of tuples."""
    spans = [[(0, 1, 0), (1, 3, 0), (3, 4, 1), (4, 6, 2)], [], [(0, 1, 1), (2, 3, 2)]]
    names = [[(0, 3, 0), (4, 6, 1)], [], []]
    found = []
    for kind, of_lines, labels in ((Word, spans, ("nr", "p", "ns")), (Entity, names, ("PER", "LOC"))):
        starts, ends, numbers = np.array([span for line in of_lines for span in line]).T
        odds = np.full(len(starts), 0.25, dtype=np.float32) if scores else None
        bounds = np.cumsum([0, *map(len, of_lines)]).tolist()
        found.append(Columns(kind, (starts, ends, numbers, odds), bounds, labels))
    score = 0.25 if scores else None
    made = [
        Document(
            text,
            tuple(Word(text[s:e], s, e, ("nr", "p", "ns")[n], score) for s, e, n in words),
            tuple(Entity(text[s:e], s, e, ("PER", "LOC")[n], score) for s, e, n in own if entities),
        )
        for text, words, own in zip(LINES_OF_BLOCK, spans, names, strict=True)
    ]
    return list(zip(lazy_documents(LINES_OF_BLOCK, found[0], found[1] if entities else None), made, strict=True))


@pytest.mark.parametrize("scores", [True, False])
@pytest.mark.parametrize(
    "look",
    [
        lambda document: document.words,
        lambda document: (document.entities, document.words),
        repr,
        hash,
        str,
        dataclasses.astuple,
        lambda document: dataclasses.replace(document, text="x"),
        lambda document: pickle.loads(pickle.dumps(document)),
        copy.copy,
        copy.deepcopy,
        lambda document: {type(word) for word in document.words},
        lambda document: hasattr(document, "colour"),
        lambda document: [write(format, document) for format in FORMATS],
        lambda document: [write("text", document, ("ner",)), write("jsonl", document, ("pos",))],
    ],
)
def test_documents_are_the_same_before_and_after_somebody_looks(
    look: Callable[[Document], object], scores: bool
) -> None:
    for lazy, made in documents(scores):
        assert look(lazy) == look(made)
        assert look(lazy) == look(made)
        assert lazy == made
        assert vars(type(lazy))["__match_args__"] == ("text", "words", "entities", "alternatives")
    for lazy, made in documents(scores, entities=False):
        assert look(lazy) == look(made)


def test_writers_make_no_objects() -> None:
    for lazy, _ in documents(scores=False):
        for format in FORMATS:
            write(format, lazy)
        with pytest.raises(AttributeError):
            type(lazy).words.__get__(lazy)  # the slot is empty


def test_a_document_stays_frozen_and_has_no_more_attributes() -> None:
    lazy = documents(scores=False)[0][0]
    with pytest.raises(dataclasses.FrozenInstanceError):
        lazy.words = ()  # type: ignore[misc]
    with pytest.raises(AttributeError, match="'Document' object has no attribute 'colour'"):
        lazy.colour  # type: ignore[attr-defined]  # noqa: B018
    assert not hasattr(lazy, "__dict__")


def test_threads_may_look_at_the_same_time() -> None:
    pairs = [pair for _ in range(300) for pair in documents(scores=True)]
    wrong: list[object] = []

    def look() -> None:
        wrong.extend(lazy for lazy, made in pairs if lazy.words != made.words or lazy.entities != made.entities)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("text", ["江泽民", 'a"b', "a\\b", "a\u2028b", "a\x7fb", "a\tb"])
def test_json_of_arrays_is_that_of_objects_whatever_needs_an_escape(text: str) -> None:
    labels = ('n"r', "a\u2028b")
    arrays = np.array([0, 1]), np.array([1, 3]), np.array([0, 1]), np.array([0.25, 0.5], dtype=np.float32)
    (lazy,) = lazy_documents([text], Columns(Word, arrays, [0, 2], labels), Columns(Entity, arrays, [0, 2], labels))
    written = write("jsonl", lazy)
    made = dataclasses.replace(lazy)  # its words and entities are objects
    assert written == write("jsonl", made)
    assert written.splitlines() == [written.rstrip("\n")]
    found = json.loads(written)
    assert [word["pos"] for word in found["words"]] == [entity["label"] for entity in found["entities"]] == list(labels)
    assert "".join(word["text"] for word in found["words"]) == found["text"] == text
