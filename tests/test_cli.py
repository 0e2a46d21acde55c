import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PRELUDE = "import sys\nfrom zhseq.cli import run_main\nfrom zhseq.errors import *\n"


def script(body: str) -> list[str]:
    """A program whose main function has this body."""
    indented = "".join(f"    {line}\n" for line in body.splitlines())
    return [sys.executable, "-c", f"{PRELUDE}def main(arguments):\n{indented}run_main(main)"]


def run(body: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(script(body), capture_output=True, env=os.environ | environment, timeout=60, check=False)


def test_the_status_of_main_is_the_exit_status() -> None:
    done = run("assert arguments is None\nprint('春')\nreturn 3")
    assert (done.returncode, done.stdout.decode(), done.stderr) == (3, "春\n", b"")


@pytest.mark.parametrize("kind", ["ZhseqError", "InputError", "CorpusError", "CheckpointError", "ConfigError"])
def test_our_errors_are_one_sentence_and_status_2(kind: str) -> None:
    done = run(f"print('before')\nraise {kind}('empty', 'the file is empty; give another')")
    assert done.returncode == 2
    assert done.stdout == b"before\n"
    assert done.stderr == b"zhseq: the file is empty; give another\n"


def test_a_missing_file_is_a_sentence_with_its_name() -> None:
    done = run("open('/no/such/file')")
    assert (done.returncode, done.stderr) == (2, b"zhseq: No such file or directory (/no/such/file)\n")
    done = run("raise OSError('odd')")
    assert (done.returncode, done.stderr) == (2, b"zhseq: odd\n")


def test_a_file_to_read_that_is_missing_is_an_error_with_a_code() -> None:
    done = run("from zhseq.cli import open_input\nwith open_input('/no/such/file'): pass")
    expected = b"zhseq: /no/such/file: the file cannot be read: No such file or directory.\n"
    assert (done.returncode, done.stderr) == (2, expected)


def test_a_bug_stays_a_traceback() -> None:
    done = run("return 1 // 0")
    assert done.returncode == 1
    assert b"ZeroDivisionError" in done.stderr


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "gbk"])
def test_any_text_can_be_printed_whatever_the_locale(encoding: str) -> None:
    done = run("print('春\\ud800😀')\nraise InputError('odd', '\\udc80 is no character')", PYTHONIOENCODING=encoding)
    assert done.stdout.decode() == "春\\ud800😀\n"
    assert done.stderr.decode() == "zhseq: \\udc80 is no character\n"
    assert done.returncode == 2


def test_a_closed_pipe_ends_silently() -> None:
    program = script("for _ in range(100000): print('x' * 100)\nreturn 0")
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 0


def test_a_pipe_closed_before_the_last_flush_ends_silently(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    program = script(
        f"import os, time\nprint('x')\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)\nreturn 0"
    )
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        gate.touch()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 0


def test_interruption_is_status_130_without_a_traceback() -> None:
    program = script("import time\nprint('ready', flush=True)\ntime.sleep(60)\nreturn 0")
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
        assert process.stderr.read() == b"zhseq: interrupted\n"
