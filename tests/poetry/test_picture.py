"""Poems as pictures."""

import sys
from xml.etree import ElementTree

import pytest

from zhseq.errors import ConfigError, InputError
from zhseq.poetry import picture
from zhseq.poetry.picture import marks_of, numbered, write_picture

TEXT = "白日依山尽，黄河入海流。\n欲穷千里目，更上一层楼。"
SVG = "{http://www.w3.org/2000/svg}"


def texts(path):
    """Characters of a picture, with where each stands."""
    found = ElementTree.parse(path).iter(f"{SVG}text")
    return {each.text: (float(each.get("x")), float(each.get("y"))) for each in found}


def test_lines_stand_in_columns_from_right_to_left(tmp_path):
    path = tmp_path / "poem.svg"
    write_picture(path, TEXT, "登楼 甲")
    at = texts(path)
    assert "".join(at) == "登楼 甲白日依山尽，黄河入海流。欲穷千里目更上一层诗"  # 楼 and the marks stand twice
    assert at["登"][0] > at["白"][0] > at["黄"][0] > at["欲"][0] > at["更"][0] > at["诗"][0]
    assert at["白"][1] < at["日"][1] < at["尽"][1] < at["诗"][1]
    assert at["白"][1] == at["更"][1]


def test_couplets_stand_in_rows(tmp_path):
    path = tmp_path / "poem.svg"
    write_picture(path, TEXT, layout="across")
    at = texts(path)
    assert at["白"][1] == at["黄"][1] < at["欲"][1]
    assert at["白"][0] < at["黄"][0]
    assert at["诗"][0] < at["日"][0]  # the seal is at the left


def test_lines_of_a_stanza_run_on(tmp_path):
    path = tmp_path / "ci.svg"
    write_picture(path, "一二三，四五六。\n七八九。", stanzas=True)
    at = texts(path)
    assert at["一"][0] == at["四"][0] > at["七"][0]


def test_a_png_has_the_colours_of_the_page(tmp_path):
    image = pytest.importorskip("PIL.Image")
    path = tmp_path / "poem.PNG"
    try:
        write_picture(path, TEXT)
    except ConfigError:
        pytest.skip("this system has no Chinese font")
    with image.open(path) as drawn:
        colours = {colour for _, colour in drawn.getcolors(1 << 20)}
        assert drawn.format == "PNG"
        assert drawn.width > drawn.height / 2
    assert {(0xFB, 0xF8, 0xF1), (0x27, 0x23, 0x1D), (0xA5, 0x30, 0x1F)} <= colours


@pytest.mark.parametrize(("name", "layout"), [("poem.jpg", "down"), ("poem", "down"), ("poem.svg", "up")])
def test_other_pictures_are_refused(tmp_path, name, layout):
    with pytest.raises(InputError, match=r"must end in \.png or \.svg|down or across"):
        write_picture(tmp_path / name, TEXT, layout=layout)
    assert not list(tmp_path.iterdir())


def test_what_a_png_needs_is_said(tmp_path, monkeypatch):
    pytest.importorskip("PIL")
    monkeypatch.setattr(picture, "_FONT_FILES", ())
    monkeypatch.setenv("PATH", "")
    picture._font.cache_clear()
    with pytest.raises(ConfigError, match="needs a font"):
        write_picture(tmp_path / "poem.png", TEXT)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ConfigError, match="needs Pillow"):
        write_picture(tmp_path / "poem.png", TEXT)
    picture._font.cache_clear()


def test_several_pictures_are_numbered(tmp_path):
    assert [numbered(tmp_path / "a.png", number).name for number in (1, 2)] == ["a.png", "a-2.png"]


def test_marks_are_those_behind_the_lines():
    assert marks_of(TEXT) == ["，", "。", "，", "。"]
    assert marks_of("春") == [""]
