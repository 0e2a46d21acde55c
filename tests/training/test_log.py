import json
from pathlib import Path

import pytest

from zhseq.errors import InputError
from zhseq.training.state import append_log, open_log, read_log

ENTRY = {"step": 4, "epoch": 0, "seconds": 1.5, "loss": 2.5, "rate": 0.1, "score": -3.0, "bits": 3.0}
GOOD = json.dumps(ENTRY) + "\n"


def test_appended_and_read_is_the_same(tmp_path: Path) -> None:
    open_log(tmp_path, 0)
    assert (tmp_path / "log.jsonl").read_bytes() == b""
    for step in (4, 8):
        append_log(tmp_path, {**ENTRY, "step": step})
    assert read_log(tmp_path) == [ENTRY, {**ENTRY, "step": 8}]


@pytest.mark.parametrize(
    ("step", "ending", "kept"),
    [(12, "", 3), (11, "", 2), (8, "", 2), (7, "", 1), (0, "", 0), (99, "{", 3), (8, "\x00\xff", 2), (99, "3\n", 3)],
)
def test_a_log_is_cut_at_the_step_it_is_resumed_from(tmp_path: Path, step: int, ending: str, kept: int) -> None:
    lines = [json.dumps({**ENTRY, "step": number}) + "\n" for number in (4, 8, 12)]
    (tmp_path / "log.jsonl").write_text("".join(lines) + ending, encoding="latin-1")
    open_log(tmp_path, step)
    assert (tmp_path / "log.jsonl").read_text() == "".join(lines[:kept])
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]


def test_a_whole_last_line_without_its_end_gets_one(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text(GOOD.rstrip())
    open_log(tmp_path, 4)
    append_log(tmp_path, ENTRY)
    assert read_log(tmp_path) == [ENTRY, ENTRY]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"log\.jsonl is empty"),
        ("{\n", r"log\.jsonl, line 1: .* not valid \("),
        (GOOD + "{}\n", r"log\.jsonl, line 2: .*'step' is not among them"),
        (GOOD + "[1]\n", r"log\.jsonl, line 2: .*'step' is not among them"),
        (GOOD + GOOD.replace("-3.0", '"x"'), r"log\.jsonl, line 2"),
        (GOOD + "\n" + GOOD, r"log\.jsonl, line 2"),
        (GOOD + GOOD.replace('"rate"', '"speed"'), r"log\.jsonl, line 2: .*'rate' is not among them"),
        (GOOD + "\udcff", r"log\.jsonl cannot be read as text"),
    ],
)
def test_a_broken_log_names_file_and_line(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "log.jsonl").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=message) as caught:
        read_log(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["empty", "missing"])
def test_a_directory_without_a_log_is_no_run(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        InputError, match=f"{name} is not a run: it contains no log\\.jsonl; give the output= of a training run"
    ):
        read_log(tmp_path / name)
