"""Labels leave their texts and find them again."""

import json
from pathlib import Path

import pytest

from scripts import detach_labels
from zhseq.corpus.tagging import read_tagged
from zhseq.errors import CorpusError, InputError

RAW = "你好。今天天气很好。\n王小明在北京工作。\n\n最后一行没有换行"
RECORDS = [
    {
        "document": "talk",
        "text": "王小明在北京工作。",
        "words": [{"start": 0, "end": 1, "pos": "nr"}, {"start": 1, "end": 3, "pos": "nr"}],
        "entities": [{"start": 0, "end": 3, "label": "PER"}, {"start": 4, "end": 6, "label": "LOC"}],
    },
    {"document": "talk", "text": "今天天气很好。", "entities": []},
    {"document": "talk", "text": "没有换行", "words": [{"start": 0, "end": 2, "pos": "v"}]},
]


@pytest.fixture
def labelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of labelled sentences beside the raw text that they are from."""
    monkeypatch.setenv("ZHSEQ_CORPORA", str(tmp_path))
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "talk.txt").write_text(RAW, encoding="utf-8")
    path = tmp_path / "labelled.jsonl"
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in RECORDS), encoding="utf-8")
    return path


def test_labels_without_texts_are_read_with_them(labelled: Path) -> None:
    apart = labelled.with_name("labels.jsonl")
    assert detach_labels.main([str(labelled), "--output", str(apart)]) == 0
    assert "天气" not in apart.read_text(encoding="utf-8")
    together, found = read_tagged(labelled).texts, read_tagged(apart, format="detached").texts
    assert [(text.text, text.words, text.entities) for text in found] == [
        (text.text, text.words, text.entities) for text in together
    ]


def test_a_text_that_is_not_there_is_said(labelled: Path) -> None:
    records = [{"document": "talk", "text": "没有这一句"}]
    with pytest.raises(InputError, match=r"talk.txt has no line with '没有这一句'"):
        detach_labels.detach(records, labelled.parent / "raw")
    apart = labelled.with_name("labels.jsonl")
    detach_labels.main([str(labelled), "--output", str(apart)])
    (labelled.parent / "raw" / "talk.txt").write_text("别的文字\n", encoding="utf-8")
    with pytest.raises(CorpusError, match=r"labels.jsonl, line 1: expected a line of talk.txt in the corpus raw"):
        read_tagged(apart, format="detached")
    (labelled.parent / "raw" / "talk.txt").unlink()
    with pytest.raises(CorpusError, match=r"talk.txt: cannot be read"):
        read_tagged(apart, format="detached")


@pytest.mark.parametrize(("start", "end"), [(-1, 3), (3, 3), (5, 3), (0, 99)])
def test_a_place_beyond_its_line_is_said(labelled: Path, start: int, end: int) -> None:
    apart = labelled.with_name("labels.jsonl")
    detach_labels.main([str(labelled), "--output", str(apart)])
    record = json.loads(apart.read_text(encoding="utf-8").splitlines()[1]) | {"start": start, "end": end}
    apart.write_text(json.dumps(record) + "\n", encoding="utf-8")
    with pytest.raises(CorpusError, match=r"line 1: expected a part of a line of 10 characters, found"):
        read_tagged(apart, format="detached")


def test_a_record_without_a_place_is_said(labelled: Path) -> None:
    with pytest.raises(CorpusError, match=r'line 1: expected an object with "file", "line", "start", "end", found'):
        read_tagged(labelled, format="detached")
