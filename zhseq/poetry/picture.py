"""Draw a poem as SVG, or as PNG with Pillow (the extra `picture`), in vertical columns or horizontal rows.

Layout and colours are those of the web page. Imports no torch.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from xml.sax.saxutils import escape

from zhseq.errors import ConfigError, InputError
from zhseq.poetry.reading import split_lines

LAYOUTS = ("down", "across")
"""Vertical columns from right to left, or horizontal rows."""
SUFFIXES = (".png", ".svg")

_SIZE = 44  # size of a character in pixels
_SMALL = 0.65  # size of a character of the heading, relative to `_SIZE`
_STEP = 1.12  # distance between characters, relative to their size
_ROW = 1.75  # distance between rows or columns, relative to `_SIZE`
_EDGE, _FRAME, _FOOT = 72, 20, 40  # margin around the verse, margin of the frame, room for the seal, in pixels
_SCALE = 2  # pixels of a PNG per pixel of the layout, for screens of high resolution
_LONGEST_STRIP = 24  # characters after which a row or column of a stanza is broken at the next mark
_SEAL, _SEAL_TEXT = 34, "诗"
_PAPER, _LINE, _INK, _SOFT, _RED, _ON_RED = "#fbf8f1", "#ddd5c5", "#27231d", "#665e52", "#a5301f", "#fff9f2"
_MARKS = "，。、；：？！"
_FAMILIES = ("Songti SC", "Source Han Serif SC", "Noto Serif CJK SC", "Noto Serif SC", "STSong", "SimSun", "serif")
_FONT_FILES = (
    "/System/Library/Fonts/Supplemental/Songti.ttc",
    "/System/Library/Fonts/PingFang.ttc",
    "C:/Windows/Fonts/simsun.ttc",
    "C:/Windows/Fonts/msyh.ttc",
    "/usr/share/fonts/opentype/noto/NotoSerifCJK-Regular.ttc",
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
)
"""Fonts with Chinese characters to try on systems without fontconfig."""


@dataclass(frozen=True)
class _Cell:
    """A character and the position of its centre, in pixels."""

    text: str
    x: float
    y: float
    size: float
    colour: str


@dataclass(frozen=True)
class _Sheet:
    width: float
    height: float
    cells: tuple[_Cell, ...]
    seal: tuple[float, float]
    """Upper left corner of the seal."""


def write_picture(
    path: Path | str, text: str, heading: str = "", *, layout: str = "down", stanzas: bool = False
) -> None:
    """Draw a poem to a file.

    Args:
        path: A file name that ends in `.png` or `.svg`.
        text: The poem with punctuation, one couplet or stanza per row.
        heading: Title and author, or an empty string.
        layout: One of `LAYOUTS`.
        stanzas: The rows are stanzas, whose lines are set one after the other.

    Raises:
        InputError: The layout or the suffix is unknown.
        ConfigError: Pillow or a font with Chinese characters is missing, which a PNG needs.
    """
    path = Path(path)
    check_picture(path, layout)
    sheet = _lay_out(list(_strips(text, heading, layout, stanzas)), layout)
    if path.suffix.lower() == ".svg":
        path.write_text(_svg(sheet), encoding="utf-8")
    else:
        _write_png(sheet, path)


def check_picture(path: Path, layout: str) -> None:
    """Check the file name and the layout of a picture.

    Raises:
        InputError: The layout or the suffix is unknown.
    """
    if layout not in LAYOUTS:
        raise InputError(
            "unknown_layout",
            "the layout must be {layouts}, but is '{layout}'",
            layouts=" or ".join(LAYOUTS),
            layout=layout,
        )
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(
            "unknown_picture",
            "the name of a picture must end in {suffixes}, but {path} does not",
            suffixes=" or ".join(SUFFIXES),
            path=path,
        )


def _strips(text: str, heading: str, layout: str, stanzas: bool) -> Iterator[list[tuple[str, bool]]]:
    """Yield columns or rows, the heading first: characters, and whether each is drawn softly (marks, heading)."""
    yield [(character, True) for character in heading]
    for row in text.split("\n"):
        strip: list[tuple[str, bool]] = []
        for character in row:
            strip.append((character, character in _MARKS))
            alone = layout == "down" and not stanzas  # one column per line of a regulated poem
            if character in _MARKS and (alone or len(strip) > _LONGEST_STRIP):
                yield strip
                strip = []
        if strip:
            yield strip


def _lay_out(strips: Sequence[list[tuple[str, bool]]], layout: str) -> _Sheet:
    """Place the characters; the first strip is the heading and may be empty."""
    heading, shown = bool(strips[0]), [strip for strip in strips if strip]
    longest = max(len(strip) - (strip[-1][0] in _MARKS) * (layout == "down") for strip in shown)
    along, across = longest * _SIZE * _STEP, len(shown) * _SIZE * _ROW
    width = max(across if layout == "down" else along, 4 * _SIZE) + 2 * _EDGE
    height = (along if layout == "down" else across) + 2 * _EDGE + _FOOT
    cells = []
    for number, strip in enumerate(shown):
        offset = _EDGE + _SIZE * (_ROW / 2 + number * _ROW)
        size = _SIZE * (_SMALL if heading and number == 0 else 1)
        # Rows are centred below their heading; columns begin at the top.
        begin = _EDGE if layout == "down" else (width - len(strip) * size * _STEP) / 2
        for place, (character, soft) in enumerate(strip):
            at = begin + (_SIZE if layout == "down" else size) * _STEP / 2 + place * size * _STEP
            colour = _SOFT if soft else _INK
            if layout == "across":
                cells.append(_Cell(character, at, offset, size, colour))
            elif character in _MARKS:  # at the foot of the character before
                cells.append(_Cell(character, width - offset + _SIZE * 0.55, at - _SIZE * 0.6, size, colour))
            else:
                cells.append(_Cell(character, width - offset, at, size, colour))
    return _Sheet(width, height, tuple(cells), (_EDGE, height - _EDGE + 10 - _SEAL / 2))


def _svg(sheet: _Sheet) -> str:
    """Return the picture as SVG, displayed in a serif font of the viewer's system."""
    width, height = round(sheet.width), round(sheet.height)
    x, y = sheet.seal
    rows = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
        f'<rect width="{width}" height="{height}" fill="{_PAPER}"/>',
        f'<rect x="{_FRAME}" y="{_FRAME}" width="{width - 2 * _FRAME}" height="{height - 2 * _FRAME}" fill="none" '
        f'stroke="{_LINE}"/>',
        f'<g font-family="{", ".join(_FAMILIES)}" text-anchor="middle" dominant-baseline="central">',
    ]
    for cell in sheet.cells:
        place = f'x="{cell.x:.1f}" y="{cell.y:.1f}" font-size="{cell.size:.1f}"'
        rows.append(f'<text {place} fill="{cell.colour}">{escape(cell.text)}</text>')
    rows += [
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{_SEAL}" height="{_SEAL}" rx="5" fill="{_RED}"/>',
        f'<text x="{x + _SEAL / 2:.1f}" y="{y + _SEAL / 2:.1f}" font-size="22" fill="{_ON_RED}">{_SEAL_TEXT}</text>',
        "</g>",
        "</svg>",
    ]
    return "\n".join(rows) + "\n"


def _write_png(sheet: _Sheet, path: Path) -> None:
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError as error:
        raise ConfigError(
            "no_pillow",
            "a PNG needs Pillow, which is not installed; run `pip install 'zhseq[picture]'` or write an SVG",
        ) from error
    font_file, face = _font()
    image = Image.new("RGB", (round(sheet.width * _SCALE), round(sheet.height * _SCALE)), _PAPER)
    pen = ImageDraw.Draw(image)
    fonts: dict[float, ImageFont.FreeTypeFont] = {}

    def put(text: str, x: float, y: float, size: float, colour: str) -> None:
        font = fonts.setdefault(size, ImageFont.truetype(font_file, round(size * _SCALE), index=face))
        # Centre the em square of a character, not its ink: a comma is in the lower part of its square.
        pen.text((x * _SCALE, (y + size * 0.38) * _SCALE), text, fill=colour, font=font, anchor="ms")

    inner = [_FRAME * _SCALE, _FRAME * _SCALE, (sheet.width - _FRAME) * _SCALE, (sheet.height - _FRAME) * _SCALE]
    pen.rectangle(inner, outline=_LINE, width=_SCALE)
    for cell in sheet.cells:
        put(cell.text, cell.x, cell.y, cell.size, cell.colour)
    x, y = sheet.seal
    box = [x * _SCALE, y * _SCALE, (x + _SEAL) * _SCALE, (y + _SEAL) * _SCALE]
    pen.rounded_rectangle(box, 5 * _SCALE, fill=_RED)
    put(_SEAL_TEXT, x + _SEAL / 2, y + _SEAL / 2, 22, _ON_RED)
    image.save(path, format="PNG")


@lru_cache(maxsize=1)
def _font() -> tuple[str, int]:
    """Return the file of a font with Chinese characters and the index of its face.

    Raises:
        ConfigError: No such font was found.
    """
    with suppress(OSError, subprocess.SubprocessError, ValueError):
        pattern = ",".join(_FAMILIES) + ":lang=zh-cn"
        asked = ["fc-match", "-f", "%{file}|%{index}|%{lang}", pattern]
        file, index, languages = subprocess.run(
            asked, capture_output=True, text=True, timeout=20, check=True
        ).stdout.split("|")
        if "zh" in languages and Path(file).is_file():
            return file, int(index) & 0xFFFF  # the upper bits select instances of variable fonts
    for file in _FONT_FILES:
        if Path(file).is_file():
            return file, 0
    raise ConfigError(
        "no_chinese_font",
        "a PNG needs a font with Chinese characters, and there is none; install one (Noto Serif CJK) or write an SVG",
    )


def heading_of(title: str, author: str) -> str:
    """Return the heading of a poem: title and author."""
    return " ".join(filter(None, (title, author)))


def numbered(path: Path, number: int) -> Path:
    """Return the file name of picture `number`, from 1: out.png, out-2.png and so on."""
    return path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")


def marks_of(text: str) -> list[str]:
    """Return the mark after each line of a text with punctuation."""
    flat = text.replace("\n", "")
    marks, at = [], 0
    for line in split_lines(text):
        at = flat.index(line, at) + len(line)
        marks.append(flat[at : at + 1])
    return marks
