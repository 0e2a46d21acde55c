import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
from check_prosody import Words, faults, keeps_tones, rhyming  # noqa: E402

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
