import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from scripts import judge_corpus
from zhseq.checkpoint import shipped
from zhseq.poetry.prosody import Prosody

GOOD = "白日依山尽，黄河入海流。欲穷千里目，更上一层楼。"
WRONG = "白日依山尽，黄河入海流。欲穷千里目，更上一层天。"


def test_faults_are_counted_by_poem_and_by_character(capsys: pytest.CaptureFixture[str]) -> None:
    prosody = Prosody.load(shipped("poem"))
    judge_corpus.report(judge_corpus.judge([GOOD, GOOD, WRONG, "，"], prosody))
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("  ，: ")  # no poem to the checker, which says why
    assert printed[1:4] == [
        "3 poems",
        "  regulated with at most 0 faults: 66.67 %",
        "  regulated with at most 1 faults: 100.00 %",
    ]
    assert "faults {'no_rhyme': 1}" in printed
    assert any(line.startswith("no_rhyme 天") for line in printed)


def test_a_book_judges_beside_what_was_learned(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """This one has 楼 in another rhyme than 流, and does not know 海."""
    book = {
        "level one": "流黃河依山窮千層",
        "level two": "樓天",
        "rising three": "白日盡入欲里目更上一",
        "entering": "一",
    }
    (tmp_path / "book.json").write_text(json.dumps(book), encoding="utf-8")
    monkeypatch.setattr(judge_corpus, "poems_of", lambda form, dynasties, split: [GOOD, GOOD])
    arguments = ["--form", "五绝", "--prosody", str(shipped("poem")), "--rhyme-book", str(tmp_path / "book.json")]
    assert judge_corpus.main(arguments) == 0
    learned, printed = capsys.readouterr().out.split("by book.json\n")
    assert "regulated with at most 0 faults: 100.00 %" in learned
    assert "regulated with at most 0 faults: 0.00 %" in printed
    assert "faults {'no_rhyme': 2}" in printed
    assert "above the book: 0.00 points" in printed  # with one fault at most both read all


def test_a_dynasty_without_poems_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def none(form: str, dynasties: Sequence[str], split: str) -> list[str]:
        return []

    monkeypatch.setattr(judge_corpus, "poems_of", none)
    with pytest.raises(SystemExit):
        judge_corpus.main(["--dynasty", "夏"])
    assert "no 七律 of 夏" in capsys.readouterr().err
