"""The command line of the poet, end to end in processes of its own."""

import json
import subprocess
import sys

import pytest

from zhseq import poem as poem_door
from zhseq.cli import run_main
from zhseq.errors import InputError
from zhseq.poem import main


def poem(*arguments, model):
    command = [sys.executable, "-W", "error", "-m", "zhseq.poem", "--model", str(model), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=120, check=False)


@pytest.fixture
def front_door(tiny_model_dir, capsys, monkeypatch):
    """Run the command inside this process, which is quicker, and return exit status, output and messages."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["zhseq.poem", "--model", str(tiny_model_dir), *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            run_main(main)
        return exit_.value.code, *capsys.readouterr()

    return run


def test_writes_poems_and_nothing_else(tiny_model_dir):
    done = poem("--start", "春", "--form", "五绝", "--num", "2", "--seed", "4", model=tiny_model_dir)
    assert (done.returncode, done.stderr) == (0, b"")
    first, second = done.stdout.decode().split("\n\n")
    assert first != second
    assert all(text.startswith("春") and len(text.strip()) == 25 for text in (first, second))


def test_json_output_has_all_parts(front_door):
    _, output, _ = front_door("--start", "风", "--title", "山", "--author", "李白", "--json", "--num", "3")
    records = [json.loads(line) for line in output.splitlines()]
    assert len(records) == 3
    assert records[0].keys() == {"form", "title", "author", "lines", "text", "seed"}
    assert records[0]["form"] == "七绝"


def test_scores_a_file_and_adds_a_total(front_door, tmp_path):
    file = tmp_path / "poems.txt"
    file.write_text('春风花月，山水云雨。\n\n{"content": "春风|花月", "form": "五绝"}\n', encoding="utf-8-sig")
    _, output, _ = front_door("--score", file)
    first, second, total = map(json.loads, output.splitlines())
    assert (first["han"], second["han"]) == (8, 4)
    assert total["bits"] == pytest.approx(first["bits"] + second["bits"])
    assert total["bits_per_han"] == pytest.approx(total["bits"] / 12)
    assert total["poems"] == 2


def test_scores_every_poem_of_a_long_file(front_door, tmp_path):
    """More than two blocks: a progress bar must not end what it counts."""
    file = tmp_path / "poems.txt"
    file.write_text("春风花月，山水云雨。\n" * (2 * poem_door._BLOCK + 3), encoding="utf-8")
    _, output, _ = front_door("--score", file)
    *scores, total = map(json.loads, output.splitlines())
    assert len(scores) == total["poems"] == 2 * poem_door._BLOCK + 3
    assert total["han"] == 8 * total["poems"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--start", "Hello"],
        ["--start", "🌸"],
        ["--start", "  "],
        ["--start", "春" * 300],
        ["--form", "六言"],
        ["--author", "nobody"],
        ["--num", "0"],
        ["--drafts", "0"],
        ["--drafts", "17"],
        ["--temperature", "-2"],
        ["--device", "tpu"],
        ["--threads", "99999999999999999999"],
        ["--score", "missing.txt"],
        ["--score", "."],
        ["--model", "no/such/model"],
        ["--model", "."],
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(front_door, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    status, output, message = front_door(*arguments)
    assert (status, output) == (2, "")
    assert message.startswith("zhseq: ")
    assert message.count("\n") == 1


@pytest.mark.parametrize("option", ["--score", "--check", "--suggest", "--continue"])
def test_a_file_that_cannot_be_read_is_refused_with_a_code(tmp_path, option):
    for path in (tmp_path / "missing.txt", tmp_path):
        with pytest.raises(InputError, match="the file cannot be read") as caught:
            poem_door.main([option, str(path)])
        assert caught.value.code == "unreadable_file"


def test_bytes_that_are_no_text_are_refused_too(tiny_model_dir):
    done = poem("--start", b"\xff\xfe".decode("utf-8", "surrogateescape"), model=tiny_model_dir)
    assert done.returncode == 2
    assert b"U+DCFF" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("春风".encode() + b"\xff", "expected UTF-8, found the byte 0xFF"),
        (b"", "contains no poem"),
        (b"\x00\x01", "no Chinese"),
        ("春\n{".encode(), "line 2"),
        (
            "春风花月。\n山行\t杜甫\t春风花月。\n".encode(),
            "line 2: expected only one poem per line, found columns of a table",
        ),
    ],
)
def test_files_that_hold_no_poems_are_refused_with_the_place(front_door, tmp_path, content, reason):
    file = tmp_path / "poems.txt"
    file.write_bytes(content)
    status, _, message = front_door("--score", file)
    assert status == 2
    assert reason in message
    assert message.count("\n") == 1


def test_what_is_no_poem_does_not_end_the_check_of_the_others(tmp_path, capsys):
    file = tmp_path / "poems.txt"
    file.write_text(
        "《一》\n春风hello，\n\n《二》\n白日依山尽，黄河入海流。欲穷千里目，更上一层楼。\n", encoding="utf-8"
    )
    assert poem_door.main(["--check", str(file)]) == 2
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{file} 《一》: a poem consists of Chinese characters, but this text contains 'h'")
    assert second.startswith(f"{file} 《二》: no fault")
    assert poem_door.main(["--check", str(file), "--json"]) == 2
    refused, judged = map(json.loads, capsys.readouterr().out.splitlines())
    assert (refused["title"], refused["error"]["code"], judged["faults"]) == ("一", "not_chinese", [])
    assert judged["rhyme_names"] == ["", "下平十一尤 (秋)", "", "下平十一尤 (秋)"]


@pytest.mark.parametrize("encoding", ["gb18030", "big5", "utf-8-sig"])
def test_own_poems_may_be_in_any_encoding_that_the_tagger_reads(front_door, tmp_path, encoding):
    file = tmp_path / "poem.txt"
    file.write_bytes("春風花月開\n山水雲雨來\n".encode(encoding))
    for option in ("--score", "--continue"):
        status, output, message = front_door(option, file, "--seed", "1")
        assert status == 0
        assert (f"{file}: not UTF-8 (line 1), read as" in message) == (encoding != "utf-8-sig")
    assert output.startswith("春風花月開")


def test_a_poem_may_come_from_standard_input(tiny_model_dir):
    command = [sys.executable, "-m", "zhseq.poem", "--model", str(tiny_model_dir), "--json", "--score"]
    for name in ("-", "/dev/stdin"):
        done = subprocess.run([*command, name], input="春风\n".encode(), capture_output=True, timeout=120, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
        assert json.loads(done.stdout.splitlines()[-1])["poems"] == 1
    closed = subprocess.run(
        ["bash", "-c", '"$@" <&-', "-", *command, "-"], capture_output=True, timeout=120, check=False
    )
    assert closed.returncode == 2
    assert closed.stderr.decode() == "zhseq: standard input is closed; expected text to read.\n"


@pytest.mark.parametrize("num", [3000, 10**20])
def test_a_closed_pipe_is_no_error(tiny_model_dir, num):
    command = f"{sys.executable} -m zhseq.poem --model {tiny_model_dir} --num {num} --form 五绝 | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, timeout=120, check=False)
    assert done.stderr == b""
    assert len(done.stdout.decode().splitlines()) == 1


def test_poems_are_drawn_and_read_aloud(front_door, tmp_path):
    pytest.importorskip("pypinyin")
    arguments = ("--start", "春风", "--form", "五绝", "--num", "2", "--picture", tmp_path / "poem.svg", "--pinyin")
    status, output, _ = front_door(*arguments)
    assert status == 0
    assert output.startswith("chūn fēng ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["poem-2.svg", "poem.svg"]
    _, output, _ = front_door(*arguments, "--json")
    assert json.loads(output.splitlines()[0])["pinyin"][0][:2] == ["chūn", "fēng"]
    for wrong in (["--picture", "poem.jpg"], ["--picture", "a.svg", "--layout", "up"], ["--check", "-", "--pinyin"]):
        status, output, message = front_door(*wrong)
        assert (status, output, message.count("\n")) == (2, "", 1)


@pytest.mark.parametrize("name", ["poems.csv", "poems.TSV"])
def test_tables_are_no_poems(front_door, tmp_path, name):
    (tmp_path / name).write_text("山行,杜甫,春风花月。\n", encoding="utf-8")
    status, output, message = front_door("--score", tmp_path / name)
    assert (status, output) == (2, "")
    assert f"{name}: expected only one poem per line, found columns of a table" in message
