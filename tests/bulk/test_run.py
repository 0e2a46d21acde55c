"""Whole runs with work that needs no model: what is written where, and what a kill leaves."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.bulk.jobs import echo_run
from zhseq.bulk.inputs import discover
from zhseq.bulk.outputs import ENDINGS, part_of
from zhseq.bulk.records import CHARACTERS, LINES, Reading, read_chunks
from zhseq.errors import InputError
from zhseq.tagging.formats import FORMATS

Program = subprocess.Popen[bytes]
ROOT = Path(__file__).resolve().parent.parent.parent
TEXT = "".join(f"第{number}行\n" for number in range(LINES * 6 + 17))
ECHO = "".join(f"{number}:{line}\n" for number, line in enumerate(TEXT.splitlines()))


def write(path: Path, text: str = TEXT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")
    return path


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text(encoding="utf-8")
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def process(source: Path, output: object, workers: int, *, resume: bool = False, hold: Path | None = None) -> Program:
    """Start an echo."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.bulk.jobs", source, str(output), str(workers), "resume" if resume else ""],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **({"ECHO_HOLD": str(hold)} if hold else {})},
    )


def wait_for(path: Path, program: Program) -> None:
    end = time.monotonic() + 60
    while not path.exists():
        assert program.poll() is None, program.communicate()
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.02)


def children(pid: int) -> list[int]:
    """Processes that descend from one and still run."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found += [int(status.parent.name), *children(int(status.parent.name))]
    return found


def alive(processes: list[int], seconds: float) -> list[int]:
    """Give processes some time to end; return those that do not."""
    end = time.monotonic() + seconds
    while (left := [pid for pid in processes if Path(f"/proc/{pid}").exists()]) and time.monotonic() < end:
        time.sleep(0.05)
    return left


def test_chunks_are_blocks_of_the_tagger_and_hold_all() -> None:
    from zhseq.tagging import tagger

    assert (LINES, CHARACTERS) == (tagger._BLOCK_LINES, tagger._BLOCK_CHARACTERS)


def test_chunks_hold_all_texts_and_know_where_they_stand(tmp_path: Path) -> None:
    paths = [write(tmp_path / "a", TEXT), write(tmp_path / "b", ""), write(tmp_path / "c", "x" * 50_000 + "\n" * 700)]
    sources = discover(list(map(str, paths)), column=None, notify=print).sources
    for together in (True, False):
        whole: dict[int, str] = {}
        documents: dict[int, int] = {}
        for chunk in read_chunks(sources, Reading("auto", "strict"), together=together, notify=print):
            assert chunk.lines == sum(len(segment.texts) for segment in chunk.segments) <= LINES
            for segment in chunk.segments:
                output = 0 if together else segment.source
                assert len(whole.setdefault(output, "")) == segment.characters
                assert documents.setdefault(output, 0) == segment.documents
                whole[output] += "".join(text + tail for text, tail in zip(segment.texts, segment.tails, strict=True))
                documents[output] += len(segment.texts)
        texts = [path.read_text(encoding="utf-8") for path in paths]
        assert list(whole.values()) == (["".join(texts)] if together else texts)


@pytest.mark.parametrize("workers", [1, 2])
def test_one_output_for_each_input_or_one_for_all(tmp_path: Path, workers: int) -> None:
    write(tmp_path / "in" / "b.txt", TEXT)
    write(tmp_path / "in" / "a" / "b.txt", "甲\n乙")
    write(tmp_path / "in" / "a" / "empty.txt", "")
    expected = {"a/b.txt.tagged": "0:甲\n1:乙\n", "a/empty.txt.tagged": "", "b.txt.tagged": ECHO}
    echo_run([str(tmp_path / "in")], str(tmp_path / "out"), workers=workers).execute()
    assert contents(tmp_path / "out") == expected
    echo_run([str(tmp_path / "in")], str(tmp_path / "all.txt"), workers=workers).execute()
    lines = ["甲", "乙", *TEXT.splitlines()]
    assert (tmp_path / "all.txt").read_text(encoding="utf-8") == "".join(
        f"{number}:{line}\n" for number, line in enumerate(lines)
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.txt", "in", "out"]


def test_inputs_of_one_name_have_outputs_of_their_own(tmp_path: Path) -> None:
    paths = [write(tmp_path / "x" / "a.txt", "甲"), write(tmp_path / "y" / "a.txt", "乙")]
    out = tmp_path / "out"
    echo_run([str(tmp_path / "y" / ".." / "x" / "a.txt"), str(paths[1])], f"{out}/").execute()
    assert contents(out) == {"x/a.txt.tagged": "0:甲\n", "y/a.txt.tagged": "0:乙\n"}
    with pytest.raises(InputError, match="this input is given twice"):
        echo_run([str(paths[0]), str(tmp_path / "y" / ".." / "x" / "a.txt")], str(out)).execute()
    assert set(ENDINGS) == set(FORMATS)


def test_outputs_that_would_be_inputs_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "in" / "a.txt", "甲")
    for output in (tmp_path / "in" / "out.txt", tmp_path / "in", tmp_path / "in" / "a" / "b"):
        with pytest.raises(InputError, match="expected an output outside of the input folder"):
            echo_run([str(tmp_path / "in")], str(output)).execute()
    (tmp_path / "link").symlink_to(tmp_path / "in")
    with pytest.raises(InputError, match="outside of the input folder"):
        echo_run([str(tmp_path / "in")], str(tmp_path / "link")).execute()
    taken = write(tmp_path / "in" / "a.txt.tagged", "乙")
    with pytest.raises(
        InputError, match=r"a\.txt: the result needs a file of its own, but .*tagged is an input or the output of"
    ):
        echo_run([str(path), str(taken)], str(tmp_path / "in")).execute()
    with pytest.raises(InputError, match="expected a file as output= for standard input"):
        echo_run(["-"], str(tmp_path)).execute()
    with pytest.raises(InputError, match="found an output that cannot be resumed"):
        echo_run([str(path)], "/dev/null", resume=True).execute()
    assert contents(tmp_path / "in") == {"a.txt": "甲", "a.txt.tagged": "乙"}


def test_long_names_and_odd_names(tmp_path: Path) -> None:
    names = ["长" * 80 + ".txt", "a b\n.txt", "-x.txt", "..txt"[1:] + "x"]
    for name in names[:3]:
        write(tmp_path / "in" / name, name)
    echo_run([str(tmp_path / "in")], str(tmp_path / "out")).execute()
    assert len(contents(tmp_path / "out")) == 3


def interrupted(tmp_path: Path, *, workers: int, folder: bool, how: int) -> tuple[Path, Path]:
    """Stop a run in the middle; return its input and output."""
    source = tmp_path / "in"
    write(source / "a.txt", "甲\n")
    write(source / "b.txt", TEXT + "hold\n" + TEXT)
    write(source / "c.txt", TEXT)
    output = tmp_path / ("out" if folder else "out.txt")
    program = process(source, output, workers, hold=tmp_path / "held")
    wait_for(tmp_path / "held", program)
    time.sleep(0.3)  # so that what was done before is noted
    family = children(program.pid)
    program.send_signal(how)
    program.wait(timeout=30)
    left = alive(family, seconds=0 if how == signal.SIGKILL else 10)
    if how == signal.SIGKILL:  # held processes of a parent that was killed would look at their pipe only in a minute
        for pid in left:
            os.kill(pid, signal.SIGKILL)
    error = program.communicate(timeout=30)[1].decode().splitlines()
    assert program.returncode == {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}[how]
    if how != signal.SIGKILL:
        assert left == []
        assert error[0] == "zhseq: finished work is kept: run the same command with --resume to continue"
    return source, output


@pytest.mark.parametrize(
    ("workers", "folder", "how"),
    [(2, True, signal.SIGKILL), (1, False, signal.SIGKILL), (2, False, signal.SIGTERM), (2, True, signal.SIGINT)],
)
def test_a_run_that_was_stopped_goes_on(tmp_path: Path, workers: int, folder: bool, how: int) -> None:
    source, output = interrupted(tmp_path, workers=workers, folder=folder, how=how)
    if how != signal.SIGKILL and folder:
        assert (output / "a.txt.tagged").exists()
    assert not (output / "b.txt.tagged" if folder else output).exists()
    journal = output / ".zhseq.journal" if folder else next(tmp_path.glob(".out*.journal"))
    assert len(journal.read_bytes().splitlines()) > 3
    program = process(source, output, 3 - workers, resume=True)
    _, error = program.communicate(timeout=60)
    assert (program.returncode, error) == (0, b"")
    whole = tmp_path / f"whole-{output.name}"
    echo_run([str(source)], str(whole)).execute()
    if folder:
        assert contents(output) == contents(whole)
    else:
        assert output.read_bytes() == whole.read_bytes()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_what_changed_since_is_refused(tmp_path: Path) -> None:
    source, output = interrupted(tmp_path, workers=1, folder=True, how=signal.SIGINT)
    names = [str(source)]
    whole = contents(source)
    for name, text in (("a.txt", "丙\n"), ("b.txt", whole["b.txt"].replace("第7行", "第8行"))):
        write(source / name, text)
        with pytest.raises(InputError, match="it had processed has changed"):
            echo_run(names, str(output), resume=True).execute()
        write(source / name, whole[name])
    write(source / "0.txt", "新\n")
    with pytest.raises(InputError, match=r"0\.txt\.tagged: expected the result of the interrupted run, found none"):
        echo_run(names, str(output), resume=True).execute()
    (source / "0.txt").unlink()
    with pytest.raises(InputError, match="found scores True instead of False"):
        echo_run(names, str(output), resume=True, scores=True).execute()
    write(source / "c.txt", "还没读\n")  # that was not read yet, and so may change
    echo_run(names, str(output), resume=True).execute()
    assert contents(output)["c.txt.tagged"] == "0:还没读\n"
    assert contents(output)["b.txt.tagged"].count("\n") == whole["b.txt"].count("\n")


def test_a_part_that_is_gone_is_said(tmp_path: Path) -> None:
    source, output = interrupted(tmp_path, workers=1, folder=True, how=signal.SIGINT)
    part = part_of(output / "b.txt.tagged")
    data = part.read_bytes()
    part.write_bytes(data[:10])
    with pytest.raises(InputError, match="written by the interrupted run, found fewer; start again"):
        echo_run([str(source)], str(output), resume=True).execute()
    part.unlink()
    with pytest.raises(InputError, match="the output of the interrupted run cannot be opened: No such file"):
        echo_run([str(source)], str(output), resume=True).execute()
    part.write_bytes(data)
    (output / "a.txt.tagged").rename(part_of(output / "a.txt.tagged"))  # as if killed between note and name
    echo_run([str(source)], str(output), resume=True).execute()
    assert set(contents(output)) == {"a.txt.tagged", "b.txt.tagged", "c.txt.tagged"}


def test_a_torn_line_of_the_journal_is_no_line(tmp_path: Path) -> None:
    source, output = interrupted(tmp_path, workers=1, folder=True, how=signal.SIGKILL)
    with (output / ".zhseq.journal").open("ab") as journal:
        journal.write(b'{"chunks": 99, "dig')
    echo_run([str(source)], str(output), resume=True).execute()
    echo_run([str(source)], str(tmp_path / "whole")).execute()
    assert contents(output) == contents(tmp_path / "whole")


def test_two_runs_cannot_share_an_output(tmp_path: Path) -> None:
    source = write(tmp_path / "a.txt", "甲\nhold\n")
    program = process(source, tmp_path / "out.txt", 1, hold=tmp_path / "held")
    wait_for(tmp_path / "held", program)
    with pytest.raises(InputError, match="another run is writing this output"):
        echo_run([str(source)], str(tmp_path / "out.txt")).execute()
    program.terminate()
    program.communicate(timeout=30)
    assert program.returncode == 143
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "held"]


def test_nothing_to_resume_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    echo_run([str(write(tmp_path / "a.txt", "甲"))], str(tmp_path / "out"), resume=True).execute()
    assert "nothing to resume" in capsys.readouterr().err
    assert (tmp_path / "out").read_text(encoding="utf-8") == "0:甲\n"


@pytest.mark.parametrize("workers", [1, 2])
def test_an_input_that_breaks_off_keeps_what_was_done(
    tmp_path: Path, workers: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "in" / "b.gz"
    write(tmp_path / "in" / "a.txt", TEXT)
    path.write_bytes(gzip.compress(TEXT.encode() * 4)[:-20])
    with pytest.raises(InputError, match=r"b\.gz: expected a whole compressed file"):
        echo_run([str(tmp_path / "in")], str(tmp_path / "out"), workers=workers).execute()
    assert "--resume" in capsys.readouterr().err
    path.write_bytes(gzip.compress(TEXT.encode() * 4))
    whole = "".join(f"{number}:{line}\n" for number, line in enumerate(TEXT.splitlines() * 4))
    echo_run([str(tmp_path / "in")], str(tmp_path / "out"), workers=workers, resume=True).execute()
    assert contents(tmp_path / "out") == {"a.txt.tagged": ECHO, "b.gz.tagged": whole}


def test_a_full_disk_is_said_and_nothing_is_lost(tmp_path: Path) -> None:
    source = write(tmp_path / "a.txt", TEXT)
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000));"
    program = f"{limit} import sys; from tests.bulk import jobs; from zhseq.cli import run_main; run_main(jobs.main)"
    done = subprocess.run(
        [sys.executable, "-c", program, str(source), str(tmp_path / "out"), "1", ""],
        cwd=ROOT,
        capture_output=True,
        check=False,
        timeout=60,
    )
    error = done.stderr.decode().splitlines()
    assert done.returncode == 2
    assert error[-1] == f"zhseq: {tmp_path / 'out'}: the disk is full; free some space."
    assert not (tmp_path / "out").exists()
    echo_run([str(source)], str(tmp_path / "out"), resume=True).execute()
    assert (tmp_path / "out").read_text(encoding="utf-8") == ECHO


def test_a_reader_that_goes_away_ends_the_processes(tmp_path: Path) -> None:
    source = write(tmp_path / "a.txt", TEXT * 30)
    program = process(source, "", 2)
    assert program.stdout is not None
    assert program.stdout.readline().decode() == "0:第0行\n"
    program.stdout.close()
    assert program.wait(timeout=60) == 0
    assert program.stderr is not None
    assert program.stderr.read() == b""
    program.stderr.close()
    assert children(program.pid) == []
