import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tagging import fake_tagger
from zhseq.bulk.records import LINES
from zhseq.errors import InputError
from zhseq.tag import main

RUN = """
from tests.tagging import fake_tagger
from zhseq.cli import run_main
from zhseq.tag import main
run_main(lambda arguments: main(arguments, load=fake_tagger.Tagger.load))
"""
ROOT = Path(__file__).resolve().parent.parent


def tag(*arguments: Path | str) -> int:
    return main([*map(str, arguments)], load=fake_tagger.Tagger.load)  # type: ignore[arg-type]


def write(folder: Path, content: str | bytes, name: str = "a.txt") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def run(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", RUN, *arguments], input=stdin, capture_output=True, cwd=ROOT, timeout=60, check=False
    )


def test_one_line_for_each_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tag(write(tmp_path, "在北京\n\n  \r\n好")) == 0
    assert capsys.readouterr().out == "[在北/n 京/w]LOC\n\n\n好/w\n"


ODD_LINES = [
    "",
    " \t ",
    "\u3000\u00a0",
    "a\x00b\x07c",
    "👩‍👩‍👧‍👦好",
    "https://example.org/?q=1&r=2",
    "Python3.11",
    "𠮷野家",
    "e\u0301le\u0300ve",
    "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\x1dh\x1ei\rj",
    "\ufeff好",
    "\r",
    "无" * 5000,
]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", ["", "end"])
def test_odd_lines_come_out_as_they_went_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], end: str, last: str
) -> None:
    lines = ["首", *ODD_LINES]
    assert tag(write(tmp_path, "".join(line + end for line in lines) + last), "--format", "jsonl") == 0
    shown = capsys.readouterr().out.split("\n")
    assert shown.pop() == ""
    texts = [json.loads(line)["text"] for line in shown]
    if end == "\n":
        lines[lines.index("\r")] = ""  # there a carriage return before the line feed is part of the line end
    assert texts == lines + [last] * bool(last)
    for line in shown:
        record = json.loads(line)
        assert all(record["text"][w["start"] : w["end"]] == w["text"] for w in record["words"])


@pytest.mark.parametrize("format", ["text", "jsonl", "conllu", "bio", "brat"])
def test_an_empty_file_gives_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str], format: str) -> None:
    assert tag(write(tmp_path, ""), "--format", format) == 0
    assert capsys.readouterr().out == ""


def test_files_and_standard_input_follow_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("二\n".encode())))
    first, last = write(tmp_path, "一"), write(tmp_path, "\ufeff三\n", "b.txt")
    assert tag(first, "-", last, "--task", "pos") == 0
    assert capsys.readouterr().out == "一/w\n二/w\n三/w\n"


def test_tasks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, "在北京好\n")
    tag(path, "--task", "ner")
    tag(path, "--task", "pos")
    tag(path, "--task", "ner,pos", "--scores", "--format", "jsonl")
    ner, pos, both = capsys.readouterr().out.splitlines()
    assert (ner, pos) == ("在 [北京]LOC 好", "在北/n 京好/n")
    assert json.loads(both)["entities"][0]["score"] == 0.5
    with pytest.raises(InputError, match="pos, ner or pos,ner"):
        tag(path, "--task", "dep")


def test_gb18030_is_told_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, "ascii\n我在北京，𠮷\n".encode("gb18030"))
    assert tag(path, "--task", "ner") == 0
    shown = capsys.readouterr()
    assert shown.out == "ascii\n我在 [北京]LOC ，𠮷\n"
    assert shown.err == f"zhseq: {path}: not UTF-8 (line 2), read as GB18030\n"


def test_broken_bytes_are_named_or_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, "一\n二".encode() + b"\xe4\xb8" + "三\n".encode())
    with pytest.raises(InputError, match=r"a\.txt, line 2, byte 4: expected UTF-8, found the byte 0xE4"):
        tag(path)
    capsys.readouterr()
    assert tag(path, "--errors", "replace", "--format", "jsonl") == 0
    assert [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()] == ["一", "二\ufffd三"]


def test_what_cannot_be_opened_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected text files in the folder, found 0 other files"):
        tag(tmp_path)
    with pytest.raises(InputError, match="the file cannot be read"):
        tag(tmp_path / "no.txt")
    for number in ("0", "1000000", "9" * 30):
        with pytest.raises(InputError, match=f"expected nbest= of at least 1 and at most 100, found {number}"):
            tag(write(tmp_path, "好\n"), "--nbest", number, "--format", "jsonl")
    for number in ("0", "1025", "9" * 30):
        with pytest.raises(InputError, match=f"expected workers= of at least 1 and at most 1024, found {number}"):
            tag(write(tmp_path, "好\n"), "--workers", number)
    with pytest.raises(InputError, match="expected format='jsonl' for 3 readings"):
        tag(write(tmp_path, "好\n"), "--nbest", "3")
    with pytest.raises(InputError, match="each line of this format is a word"):
        tag(write(tmp_path, "好\n"), "--task", "ner", "--format", "conllu")


def test_the_output_appears_when_it_is_whole(tmp_path: Path) -> None:
    output = write(tmp_path, "old", "out.txt")
    with pytest.raises(InputError, match="line 5000"):
        tag(write(tmp_path, "好\n".encode() * 4999 + b"\xff\n"), "--output", str(output))
    assert output.read_text() == "old"
    path = write(tmp_path, "好\n")
    assert tag(path, "--output", str(output)) == 0
    assert output.read_text(encoding="utf-8") == "好/w\n"
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a.txt", "out.txt"]


def test_what_is_read_is_never_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, words = write(tmp_path, "好\n"), write(tmp_path, "北京\n", "words")
    (tmp_path / "link").symlink_to(path)
    (tmp_path / "hard").hardlink_to(path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.txt.tagged").hardlink_to(path)
    for name in ("a.txt", "./a.txt", "folder/../a.txt", "link", "hard", "folder/"):
        with pytest.raises(InputError, match=r"would overwrite an input file \(.*a\.txt\)") as caught:
            tag(path, "--output", f"{tmp_path}/{name}")
        assert caught.value.code == "output_is_input"
    with pytest.raises(InputError, match=r"\(.*words\)"):
        tag(path, "--dict", str(words), "--output", str(words))
    assert (path.read_text(encoding="utf-8"), words.read_text(encoding="utf-8")) == ("好\n", "北京\n")


def test_redirections_do_not_overwrite_what_is_read_either(tmp_path: Path) -> None:
    path = write(tmp_path, "好\n")
    command = [sys.executable, "-c", RUN]
    with path.open("rb") as stdin, path.open("ab") as stdout:
        for arguments, options in (([str(path)], {"stdout": stdout}), (["-", "--output", str(path)], {"stdin": stdin})):
            done = subprocess.run([*command, *arguments], stderr=subprocess.PIPE, cwd=ROOT, check=False, **options)  # type: ignore[call-overload]
            assert done.returncode == 2
            assert b"the output would overwrite an input file" in done.stderr
            assert done.stderr.count(b"\n") == 1
    assert path.read_text(encoding="utf-8") == "好\n"


def test_an_output_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    path = write(tmp_path, "好\n")
    with pytest.raises(InputError, match="the folder is not writable"):
        tag(path, "--output", str(tmp_path / "no" / "out.txt"))
    if os.geteuid() != 0:
        path.chmod(0o400)
        with pytest.raises(InputError, match="read-only"):
            tag(path, "--output", str(path))


def test_no_more_lines_are_held_than_the_tagger_asks_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = written = most = 0

    def counted(self: object, lines: object, **options: object) -> object:
        yield from original(self, _count(lines), **options)  # type: ignore[arg-type]

    def _count(lines: object) -> object:
        nonlocal taken
        for line in lines:  # type: ignore[attr-defined]
            taken += 1
            yield line

    class Output(io.StringIO):
        def write(self, text: str) -> int:
            nonlocal written, most
            most = max(most, taken - written)
            written += text.count("\n")
            return len(text)

    original = fake_tagger.Tagger.stream
    monkeypatch.setattr(fake_tagger.Tagger, "stream", counted)
    monkeypatch.setattr(sys, "stdout", Output())
    assert tag(write(tmp_path, "好\n" * 5000)) == 0
    assert (taken, written) == (5000, 5000)
    assert most <= LINES


def test_as_a_program() -> None:
    done = run("-", stdin="在北京\n\n".encode())
    assert (done.returncode, done.stdout.decode(), done.stderr) == (0, "[在北/n 京/w]LOC\n\n", b"")
    done = run("missing.txt")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode() == "zhseq: missing.txt: the file cannot be read: No such file or directory.\n"


SHELL = """
tag() { "$PYTHON" -c "$RUN" "$@"; }
"""


def shell(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the tagger from a shell, where it is called `tag`; `a.txt` is there to be read."""
    write(folder, "在北京\n")
    environment = {**os.environ, "PYTHON": sys.executable, "RUN": RUN, "PYTHONPATH": str(ROOT)}
    command = ["bash", "-c", SHELL + script]
    return subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", cwd=folder, env=environment, timeout=60, check=False
    )


RESULT = "[在北/n 京/w]LOC\n"


@pytest.mark.parametrize(
    ("script", "status", "output", "error"),
    [
        ("tag <(cat a.txt)", 0, RESULT, ""),
        ("tag /dev/stdin < a.txt", 0, RESULT, ""),
        ("cat a.txt | tag /dev/stdin --output /dev/stdout", 0, RESULT, ""),
        ("echo before > o; tag a.txt --output /dev/stdout >> o; cat o", 0, "before\n" + RESULT, ""),
        ("tag a.txt --output -", 0, RESULT, ""),
        ("tag a.txt >&-", 2, "", "zhseq: Bad file descriptor (standard output)\n"),
        ("tag a.txt --output o >&-; cat o", 0, RESULT, ""),
        ("tag a.txt > /dev/full", 2, "", "zhseq: No space left on device\n"),
        ("tag - <&-", 2, "", "zhseq: standard input is closed; expected text to read.\n"),
        ("tag /dev/stdin <&-", 2, "", "zhseq: standard input is closed; expected text to read.\n"),
        ("tag a.txt <&-", 0, RESULT, ""),
        ("iconv -f UTF-8 -t GBK a.txt | tag - --encoding auto 2>&-", 0, RESULT, ""),
        ("tag no.txt 2>&-", 2, "", ""),
        ("tag no.txt 2>&- >&- <&-", 2, "", ""),
    ],
)
def test_odd_streams_are_what_they_are_to_other_tools(
    tmp_path: Path, script: str, status: int, output: str, error: str
) -> None:
    done = shell(script, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (status, output, error)


def test_a_reader_that_goes_away_ends_it_quietly(tmp_path: Path) -> None:
    path = write(tmp_path, "今天天气很好\n" * 50000)
    program = subprocess.Popen(
        [sys.executable, "-c", RUN, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    )
    assert program.stdout is not None
    assert program.stderr is not None
    assert program.stdout.readline().decode() == "今天/n 天气/n 很好/n\n"
    program.stdout.close()
    assert program.stderr.read() == b""
    assert program.wait(timeout=60) == 0
    program.stderr.close()
