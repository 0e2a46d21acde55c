"""A poem as a picture: SVG, or PNG by Pillow (the extra `picture`), set down in columns or across in rows.

The layout and the colours are those of the page. Imports no torch.
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
"""In columns from right to left, or in rows."""
SUFFIXES = (".png", ".svg")

_SIZE = 44  # of a character, in pixels
_SMALL = 0.65  # of a character of the heading, in characters
_STEP = 1.12  # from one character to the next, likewise
_ROW = 1.75  # from one row of verse to the next, likewise
_EDGE, _FRAME, _FOOT = 72, 20, 40  # around the verse, of the frame, and the room of the seal, in pixels
_SCALE = 2  # pixels of a PNG for one of these, sharp on screens of high resolution, too
_LONGEST_STRIP = 24  # characters of a row of a stanza
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
"""Where systems that cannot be asked keep a font with Chinese characters."""


@dataclass(frozen=True)
class _Cell:
    """A character and where its middle stands, in pixels."""

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
    """Draw a poem into a file.

    Args:
        path: A file that ends in `.png` or `.svg`.
        text: The poem with punctuation, a couplet or stanza a row.
        heading: Title and author, or nothing.
        layout: One of `LAYOUTS`.
        stanzas: The rows are stanzas, whose lines run on.

    Raises:
        InputError: The layout or the ending is not known.
        ConfigError: A PNG needs Pillow and a font with Chinese characters, and one of the two is missing.
    """
    path = Path(path)
    check_picture(path, layout)
    sheet = _lay_out(list(_strips(text, heading, layout, stanzas)), layout)
    if path.suffix.lower() == ".svg":
        path.write_text(_svg(sheet), encoding="utf-8")
    else:
        _write_png(sheet, path)


def check_picture(path: Path, layout: str) -> None:
    """Refuse a file or layout of which no picture can be made.

    Raises:
        InputError: The layout or the ending is not known.
    """
    if layout not in LAYOUTS:
        raise InputError(
            "unknown_layout", "a poem is set {layouts}, not '{layout}'", layouts=" or ".join(LAYOUTS), layout=layout
        )
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(
            "unknown_picture",
            "a picture ends in {suffixes}, but {path} does not",
            suffixes=" or ".join(SUFFIXES),
            path=path,
        )


def _strips(text: str, heading: str, layout: str, stanzas: bool) -> Iterator[list[tuple[str, bool]]]:
    """Yield columns or rows, the heading first: characters, and whether each is soft (a mark, or of the heading)."""
    yield [(character, True) for character in heading]
    for row in text.split("\n"):
        strip: list[tuple[str, bool]] = []
        for character in row:
            strip.append((character, character in _MARKS))
            alone = layout == "down" and not stanzas  # lines of a regulated poem; those of a stanza run on
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
        # Rows stand in the middle, below their heading; columns begin at the top.
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
    """Return the picture as SVG, in the serif font of whoever looks at it."""
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
        # The middle of the square of a character, not of its ink: a comma stands low in its own.
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
    """Return the file of a font with Chinese characters and the number of its face in it.

    Raises:
        ConfigError: This system has none.
    """
    with suppress(OSError, subprocess.SubprocessError, ValueError):
        pattern = ",".join(_FAMILIES) + ":lang=zh-cn"
        asked = ["fc-match", "-f", "%{file}|%{index}|%{lang}", pattern]
        file, index, languages = subprocess.run(
            asked, capture_output=True, text=True, timeout=20, check=True
        ).stdout.split("|")
        if "zh" in languages and Path(file).is_file():
            return file, int(index) & 0xFFFF  # above are the instances of variable fonts
    for file in _FONT_FILES:
        if Path(file).is_file():
            return file, 0
    raise ConfigError(
        "no_chinese_font",
        "a PNG needs a font with Chinese characters, and there is none; install one (Noto Serif CJK) or write an SVG",
    )


def heading_of(title: str, author: str) -> str:
    """Return what stands above a poem: title and author."""
    return " ".join(filter(None, (title, author)))


def numbered(path: Path, number: int) -> Path:
    """Return the file of one of several pictures: out.png, out-2.png and so on."""
    return path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")


def marks_of(text: str) -> list[str]:
    """Return the mark behind each line of a poem that is printed with punctuation."""
    flat = text.replace("\n", "")
    marks, at = [], 0
    for line in split_lines(text):
        at = flat.index(line, at) + len(line)
        marks.append(flat[at : at + 1])
    return marks
