import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
from check_prosody import (  # noqa: E402
    Words,
    faults,
    keeps_tones,
    report_book,
    report_oblique,
    report_oblique_groups,
    rhyming,
)

from zhseq.poetry.prosody.prosody import Prosody, RhymeGroup, Tone, ToneTable  # noqa: E402
from zhseq.poetry.prosody.verse_table import VerseTable  # noqa: E402

# Characters 0 level, 1 oblique, 2 either.
WORDS = Words(np.array([1, -1, 0]), np.eye(3, dtype=bool), np.eye(3, dtype=bool))


def lines(text: str) -> np.ndarray:
    return np.array([["平仄中".index(sign) for sign in text.replace(" ", "")]])


@pytest.mark.parametrize(
    ("poem", "kept"),
    [
        ("仄仄平平仄 平平仄仄平 平平平仄仄 仄仄仄平平", True),
        ("仄仄平平仄 平平仄仄平 平平仄平仄 仄仄仄平平", True),
        ("仄仄平平仄 平平仄仄平 平平平平仄 仄仄仄平平", False),
        ("仄仄平平仄 平平仄仄平 仄仄平平仄 平平仄仄平", False),
        ("中中中中中 中中中中中 中中中中中 中中中中中", True),
        ("仄仄平平平 平平仄仄平 平平平仄仄 仄仄仄平仄", False),
    ],
)
def test_tone_rules(poem: str, kept: bool) -> None:
    assert keeps_tones(lines(poem), WORDS, "五绝").tolist() == [kept]


def test_faults_name_their_place() -> None:
    found = faults(lines("仄仄平平仄 平平仄仄平 平平平仄仄 仄平仄平平"), WORDS, "五绝")
    assert np.argwhere(found[0, 0]).tolist() == [[3, 1]]


def test_all_words_must_share_a_group() -> None:
    groups = np.array([[True, False], [True, True], [False, True]])
    assert rhyming(groups, np.array([[0, 1], [1, 2], [0, 2]])).tolist() == [True, True, False]


def test_a_book_is_judged_by_use(capsys: pytest.CaptureFixture[str]) -> None:
    """Four rhyme words 东风秋流 and the oblique 月, of which the learned tables know 流 wrongly as oblique."""
    characters = "东月流秋风"
    poem = [characters.index(c) for c in "月月月月月 月月月月东 月月月月月 月月月月风" if c != " "]
    other = [characters.index(c) for c in "月月月月月 月月月月流 月月月月月 月月月月秋" if c != " "]
    ids = np.array([*poem * 3, *other])
    table = VerseTable(
        characters,
        ids,
        line_lengths=np.full(16, 5),
        marks=np.zeros(16, dtype=np.int64),
        poem_lines=np.full(4, 4),
        forms=np.array(["五绝"] * 4),
        tunes=np.array([""] * 4),
        names=np.array(list("abcd")),
    )
    groups = np.array([[1, 0], [0, 0], [0, 0], [0, 1], [1, 1]], dtype=bool)
    words = Words(np.array([1, -1, -1, 1, 0]), groups, groups)
    book = {"level 东": "東風", "level 尤": "秋流", "oblique 月": "月"}
    report_book(table, words, book, np.random.default_rng(0))
    tones, rhymes, false = capsys.readouterr().out.strip().splitlines()
    assert tones.startswith("by the book, characters of one tone, 80 tokens: 95.000 % have it, 1.2500 % the other")
    assert rhymes.endswith("accepted: 75.00 % of 4")
    assert 20 < float(false.split("accepted: ")[1].split(" %")[0]) < 30, "of four kinds of pairs only 秋 and 风"


def test_a_missing_prosody_is_one_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "scripts/check_prosody.py", "--prosody", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)})
    assert done.returncode == 2
    assert "holds no prosody.json" in done.stderr
    assert "Traceback" not in done.stderr


def test_learning_without_corpora_is_one_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "zhseq.train", "prosody", "--out", str(tmp_path / "out")]
    environment = {"PYTHONPATH": str(ROOT), "ZHSEQ_CORPORA": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_oblique_tones_are_judged_by_characters_and_by_uses(capsys: pytest.CaptureFixture[str]) -> None:
    characters = "酒友秀月"
    groups = [
        RhymeGroup(0, "酒", Tone.OBLIQUE, "酒友秀", "", "第十二部仄声"),
        RhymeGroup(1, "月", Tone.OBLIQUE, "月", "", "第十八部入声"),
    ]
    table = ToneTable(characters, np.zeros(4, np.float32), "仄" * 4, np.ones(4, bool), rising="酒", departing="秀友")
    book = {"rising 有": "酒友", "departing 宥": "秀", "entering 月": "月"}
    report_oblique(Prosody(table, groups, {}), book, {"酒": 3, "友": 1, "秀": 5, "月": 2})
    rows = capsys.readouterr().out.splitlines()
    assert rows[0].startswith("by the book 上, characters: 2, known 100.0 %; of these 上 alone 50.0 %")
    assert rows[1].startswith("by the book 上, uses: 4, known 100.0 %; of these 上 alone 75.0 %")
    assert all("alone 100.0 %" in row for row in rows[2:])
    assert len(rows) == 6


def test_oblique_groups_are_judged_but_for_the_words_that_name_them(capsys: pytest.CaptureFixture[str]) -> None:
    table = ToneTable(
        "路渡住雨",
        np.zeros(4, np.float32),
        "仄" * 4,
        np.ones(4, bool),
        oblique_groups={"去声七遇": "路渡", "去声六御": "住", "上声三讲、二十二养": "雨"},
    )
    book = {"departing 去声七遇": "路渡住", "rising 二十二养": "雨", "departing 六御": "去"}
    report_oblique_groups(Prosody(table, [], {}), book, {"渡": 6, "住": 3, "雨": 1, "去": 5, "路": 9})
    assert capsys.readouterr().out.splitlines() == [
        "去声七遇: 1 of 1 characters",
        "去声六御: 0 of 1 characters, not 住",
        "上声三讲、二十二养: 1 of 1 characters",
        "by the book, oblique groups, characters: 3 told, 66.7 % right; 80.0 % of those in the book are told",
        "by the book, oblique groups, uses: 10 told, 70.0 % right; 79.2 % of those in the book are told",
    ]
