"""Lines that would teach a tagger most."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tagging.fake_tagger import Document, Word
from zhseq.bulk.selection import SelectionConfig, doubt, draw, fit_lines, select
from zhseq.corpus.__main__ import main
from zhseq.corpus.tagging import read_tagged
from zhseq.errors import InputError
from zhseq.tagging.tagger import Tagger

PLAIN = ["我们今天在学校里学习。", "他昨天去北京开会了。", "天气很好，大家都很高兴。"]
ODD = "鸿蒙座舱绝绝子内卷躺平破防了家人们谁懂啊。"


def test_lines_that_nobody_could_label_are_left_out() -> None:
    lines = [
        *PLAIN,
        PLAIN[0],
        f" {PLAIN[1]} ",
        "短句",
        "https://a.b/c?d=1 only latin",
        "哈" * 40,
        "坏\ufffd字" * 5,
        "一" * 300,
    ]
    assert list(fit_lines(lines, SelectionConfig())) == PLAIN


def test_the_same_line_in_another_script_is_the_same() -> None:
    assert len(list(fit_lines(["我们在学习汉语的历史", "我們在學習漢語的歷史"], SelectionConfig()))) == 1


def test_a_reservoir_draws_each_line_as_often_as_another() -> None:
    counts = dict.fromkeys(map(str, range(10)), 0)
    for seed in range(600):
        kept = draw(map(str, range(10)), 3, seed)
        assert len(set(kept)) == 3
        assert kept == sorted(kept, key=int)
        for line in kept:
            counts[line] += 1
    assert all(130 <= count <= 230 for count in counts.values())
    assert draw(["a", "b"], 5, 1) == ["a", "b"]


def test_what_the_tagger_is_unsure_of_comes_first() -> None:
    tagger = Tagger.load()
    chosen = select(tagger, [*PLAIN, ODD], 2)
    assert chosen[0].text == ODD
    assert doubt(chosen[0]) > doubt(chosen[1])


def test_no_two_chosen_lines_are_alike() -> None:
    tagger = Tagger.load()
    texts = [document.text for document in select(tagger, [ODD, ODD[:-1] + "！", ODD[:-1] + "吧。", *PLAIN], 6)]
    assert ODD[:12] in texts[0]
    assert sum(ODD[:12] in text for text in texts) == 1


def test_doubt_does_not_grow_with_sure_words() -> None:
    sure, unsure = Word(0, 1, "我", "r", 1.0), Word(1, 2, "们", "k", 0.5)
    short = Document("我们", (sure, unsure), ())
    long = Document("我们我我", (sure, unsure, sure, sure), ())
    assert doubt(short) > doubt(long) > 0  # type: ignore[arg-type]


def test_chosen_lines_are_read_back_as_training_texts(tmp_path: Path) -> None:
    raw, chosen = tmp_path / "raw.txt", tmp_path / "chosen.txt"
    raw.write_text("\n".join([*PLAIN, ODD]), encoding="utf-8")
    assert main(["select", str(raw), "--num", "3", "--output", str(chosen)]) == 0
    texts = read_tagged(chosen).texts
    assert len(texts) == 3
    assert {text.text for text in texts} <= {*PLAIN, ODD}
    assert all(text.words for text in texts)


def test_what_cannot_be_is_one_sentence(tmp_path: Path) -> None:
    raw = tmp_path / "raw.txt"
    raw.write_text("短\n", encoding="utf-8")
    with pytest.raises(InputError, match="no line is suitable for annotation"):
        main(["select", str(raw)])
    raw.write_text(ODD, encoding="utf-8")
    with pytest.raises(InputError, match="at least 1"):
        main(["select", str(raw), "--num", "0"])
    with pytest.raises(InputError):
        main(["select", str(raw), "--output", str(raw)])
    assert raw.read_text(encoding="utf-8") == ODD
