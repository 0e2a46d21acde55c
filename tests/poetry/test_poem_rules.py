"""The options of the poem command that need tones and rhymes, end to end inside this process."""

import json
import shutil
import sys

import pytest

from tests.poetry.conftest import make_prosody
from zhseq.cli import run_main
from zhseq.poem import main
from zhseq.poetry.faults import explain
from zhseq.poetry.poet import Poet


@pytest.fixture(scope="module")
def model(tiny_model_dir, tmp_path_factory):
    """A model directory with a prosody."""
    directory = tmp_path_factory.mktemp("ruled") / "model"
    shutil.copytree(tiny_model_dir, directory)
    make_prosody().save(directory)
    return directory


@pytest.fixture
def front_door(model, capsys, monkeypatch):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["zhseq.poem", "--model", str(model), *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            run_main(main)
        return exit_.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def poem_file(model, tmp_path):
    """A file with one poem that keeps all rules."""
    path = tmp_path / "poem.txt"
    path.write_text(Poet.load(model).write(form="五绝", seed=2).text, encoding="utf-8")
    return path


def test_what_is_written_passes_the_critic(front_door, tmp_path):
    for options in (["--form", "七律"], ["--form", "五绝"], ["--form", "七绝", "--rhyme-with", "春"]):
        _, output, _ = front_door(*options, "--num", "5")
        path = tmp_path / "poems.txt"
        path.write_text(output, encoding="utf-8")
        status, output, _ = front_door("--check", path)
        assert status == 0, output
        assert output.count("no fault") == 5
    (tmp_path / "ci.txt").write_text(front_door("--tune", "小令")[1], encoding="utf-8")
    assert front_door("--check", tmp_path / "ci.txt")[0] == 0


def test_a_fault_is_named_and_mended(front_door, poem_file):
    text = poem_file.read_text(encoding="utf-8").strip()
    poem_file.write_text(text[:-2] + "北。", encoding="utf-8")
    status, output, _ = front_door("--check", poem_file, "--suggest")
    assert status == 1
    assert f"{poem_file}, line 4, character 5 '北': its tone is oblique" in output
    marked = text[:-2] + "？。"
    poem_file.write_text(marked, encoding="utf-8")
    status, output, _ = front_door("--suggest", poem_file, "--json")
    found = json.loads(output)
    assert status == 0
    assert [(mark["line"], mark["place"]) for mark in found["suggestions"]] == [(4, 5)]
    for proposed in found["suggestions"][0]["characters"][:3]:
        poem_file.write_text(text[:-2] + proposed + "。", encoding="utf-8")
        assert front_door("--check", poem_file)[0] == 0


def test_verse_in_the_old_style_is_told_before_its_faults(front_door, poem_file):
    poem_file.write_text("春风来去雪，山水夜听月。春山来去人，春风夜听雪。", encoding="utf-8")
    status, output, _ = front_door("--check", poem_file)
    note, verdict = output.splitlines()
    assert note.startswith(f"{poem_file} reads as old-style verse (古体): it rhymes on oblique words; as a 五绝 ")
    assert (status == 0) == verdict.endswith("no fault (五绝 古体)")
    status, output, _ = front_door("--check", poem_file, "--form", "五绝")
    assert status == 1
    assert "old-style" not in output
    assert "line 4, character 5 '雪': the rhyme word is already used in line 1" in output
    assert front_door("--check", poem_file, "--form", "七言")[0] == 2


def test_a_start_that_breaks_the_rules_is_named(front_door):
    status, output, errors = front_door("--start", "春春春春春", "--form", "五绝")
    assert status == 0
    assert output.startswith("春春春春春")
    assert errors.startswith(
        "note: no pattern of 五绝 allows the given characters: '春' in line 1 would have to be oblique; "
    )
    assert errors.count("\n") == 1
    _, output, errors = front_door("--start", "春春春春春", "--form", "五绝", "--json")
    assert json.loads(output)["note"].startswith("no pattern of 五绝")
    assert errors == ""
    _, output, errors = front_door("--start", "春", "--form", "五绝", "--json")
    assert "note" not in json.loads(output)
    assert errors == ""


def test_a_poem_goes_on_from_a_file(front_door, poem_file):
    lines = poem_file.read_text(encoding="utf-8").replace("\n", "").replace("。", "，").split("，")[:3]
    poem_file.write_text("\n".join(lines), encoding="utf-8")
    _, output, _ = front_door("--continue", poem_file, "--json")
    assert json.loads(output)["lines"][:3] == lines


def test_tunes_are_listed(front_door):
    assert front_door("--list-tunes")[1] == "小令\t40\t4\t15\n"
    assert json.loads(front_door("--list-tunes", "--json")[1]) == {"tune": "小令", "poems": 40, "lines": 4, "han": 15}


def test_authors_are_listed_with_their_other_names(front_door):
    rows = front_door("--list-authors")[1].splitlines()
    assert rows[0].startswith("李白\tname\t太白 李太白")
    first = json.loads(front_door("--list-authors", "--json")[1].splitlines()[0])
    assert (first["author"], first["by"], first["other_names"][0]) == ("李白", "name", "太白")


def test_couplets_are_answered(front_door):
    status, output, _ = front_door("--couplet", "春风来去月", "--num", "2")
    assert status == 0
    assert [len(line) for line in output.splitlines()] == [5, 5]
    assert json.loads(front_door("--couplet", "春风来去月", "--json")[1])["upper"] == "春风来去月"


def test_explain_shows_tones_pattern_rhyme_and_surprise(front_door):
    _, output, _ = front_door("--start", "春", "--form", "五绝", "--explain")
    rows = output.splitlines()
    assert rows[3].startswith("五绝 平起") or rows[3].startswith("五绝 仄起")
    assert sum(row.startswith("声 ") for row in rows) == 4
    assert sum("韵 " in row for row in rows[4:]) >= 2
    assert "\x1b" not in output  # colours are for terminals


def test_the_command_line_speaks_chinese_where_the_user_does(front_door, poem_file, monkeypatch):
    monkeypatch.setenv("ZHSEQ_LANG", "zh")
    assert "没有不合之处（五绝 " in front_door("--check", poem_file)[1]
    text = poem_file.read_text(encoding="utf-8").strip()
    poem_file.write_text(text[:-2] + "北。", encoding="utf-8")
    status, output, _ = front_door("--check", poem_file, "--suggest")
    assert status == 1
    assert f"{poem_file}, 第 4 句第 5 字「北」：此字仄声，此处当用平声" in output
    assert f"{poem_file}，第 4 句第 5 字「北」：" in output
    status, _, errors = front_door("--num", "0")
    assert (status, errors) == (2, "zhseq: --num 须至少为 1，而这里是 0\n")


def test_the_dynasty_can_be_asked_for(front_door):
    assert front_door("--dynasty", "唐", "--form", "五绝")[0] == 0
    status, _, errors = front_door("--dynasty", "美")
    assert status == 2
    assert "no dynasty '美'" in errors


def test_colours_are_for_terminals_only(model):
    poet = Poet.load(model)
    found = poet.check("春风来去雪，山水夜听春。人山来去月，春水夜听春。", form="五绝")
    rows = explain(found, poet.surprise(found), poet.prosody, colour=True)
    assert any("\x1b[31m" in row for row in rows)
    assert any("!" in row for row in explain(found, poet.surprise(found), poet.prosody, colour=False))


def test_modern_rhyme_needs_modern_readings(front_door):
    assert front_door("--rhyme", "none")[0] == 0
    assert front_door("--rhyme", "modern")[0] == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["--acrostic", "春夏秋冬春夏秋冬春", "--form", "七律"],
        ["--acrostic", "abcd"],
        ["--acrostic", "春夏秋冬", "--acrostic-at", "end", "--form", "七绝"],
        ["--acrostic", "春", "--acrostic-at", "middle"],
        ["--tune", "大令"],
        ["--tune", "小令", "--form", "五绝"],
        ["--rhyme-group", "空"],
        ["--rhyme-group", "春", "--rhyme-with", "风"],
        ["--rhyme-with", "春", "--rhyme", "none"],
        ["--rhyme", "blank"],
        ["--title", "春", "--about", "风"],
        ["--best-of", "0"],
        ["--couplet", ""],
        ["--couplet", "abc"],
        ["--couplet", "春风来去月", "--num", "0"],
        ["--couplet", "春风来去月", "--list-tunes"],
        ["--list-authors", "--list-tunes"],
        ["--couplet", "春风来去月", "--start", "春"],
        ["--suggest"],
        ["--check", "missing.txt"],
        ["--check", "empty.txt"],
        ["--check", "prose.txt"],
        ["--check", "bytes.txt"],
        ["--check", "prose.txt", "--suggest", "mixed.txt"],
        ["--continue", "empty.txt"],
        ["--continue", "missing.txt"],
        ["--continue", "mixed.txt", "--form", "七绝"],
        ["--continue", "mixed.txt", "--start", "春"],
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(front_door, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").write_text("", encoding="utf-8")
    (tmp_path / "prose.txt").write_text("今天我们去学校，老师说了很多话，大家都很高兴。", encoding="utf-8")
    (tmp_path / "mixed.txt").write_text("春风来去，山水夜听春。春风，山水夜听人月。", encoding="utf-8")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xff")
    status, output, message = front_door(*arguments)
    assert (status, output) == (2, "")
    assert message.startswith("zhseq: ")
    assert message.count("\n") == 1


def test_lines_without_rhyme_are_told_as_prose(front_door, tmp_path):
    path = tmp_path / "mixed.txt"
    path.write_text("春风来去，山水夜听春。春风，山水夜听人月。", encoding="utf-8")
    status, output, message = front_door("--check", str(path))
    assert (status, message) == (2, "")
    assert output.startswith(
        f"{path} read as prose or free verse: hardly any of its 4 lines, of 4、5、2、6 characters, rhyme"
    )
    assert output.count("\n") == 1
