"""Clean poems: raw records -> lines of simplified Han characters, tune names, and a reason for each dropped record.

All texts of a source are concatenated to one array of code points, and character classes, breaks and lines are computed
for the whole array at once, without a Python loop over its characters. The result is stored in columns.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from zhseq.corpus.poetry import CI, QU, SHI, RawPoem
from zhseq.text.normalize import codepoints, is_han, normalize

Ints = npt.NDArray[np.int64]
Points = npt.NDArray[np.uint32]

_SEPARATOR = "\x1e"
"""Separator of concatenated records, a control character that no corpus contains."""

# Classes of code points of the upstream text. Defects are reported in this order.
_HAN, _MARK, _NEWLINE, _END, _IGNORED, _NOTE, _ILLEGIBLE, _COMPOSED, _OTHER = range(9)

_MARKS = {"，": "，,", "。": "。.．", "；": "；;", "？": "？", "！": "！!", "：": "：:∶"}
"""Punctuation that ends a line: normalised form -> accepted forms. An ASCII ? stands for an undecodable character."""
_IGNORED_CHARACTERS = "、“”‘’「」『』\"'《》〈〉· \t\r\u00a0\u200b\u3000\ufeff"
"""Pauses inside a line, quotation marks and blanks, which are removed without ending a line."""
_NOTE_CHARACTERS = "()（）[]［］〖〗〔〕【】<>|-0123456789"
_ILLEGIBLE_CHARACTERS = "□■○●◆◇◎?�*＊▆▅"
_COMPOSED_CHARACTERS = "{}/=+／⿰⿱⿲⿳⿴⿵⿶⿷⿸⿹⿺⿻"

EMPTY = "no text"
SUSPECTED = "suspected by upstream"
FRAGMENT = "fragment"
PROSE = "prose or no punctuation"
DUPLICATE = "duplicate"
_DEFECTS = {
    _NOTE: "editorial notes",
    _ILLEGIBLE: "illegible characters",
    _COMPOSED: "composed or private characters",
    _OTHER: "other symbols",
}
REASONS = (EMPTY, SUSPECTED, FRAGMENT, *_DEFECTS.values(), PROSE, DUPLICATE)
"""Reasons for dropping a record, in order of precedence; the first one that applies is reported."""

_FRAGMENT_TITLE = re.compile(r"[残断佚逸]?句(?:$|[\s其一二三四五六七八九十(])|存目$")
_MAX_LINE = 30
"""Maximum length of a line in characters; prose prefaces and unpunctuated texts have longer ones, songs do not."""
_MIN_LINES = 2
_MIN_CHARACTERS = 10
_MIN_EVEN_LINES = 4
"""Minimum number of lines of a shi with lines of equal length; a single couplet is a quotation of a lost poem."""

_NO_AUTHOR = ("", "不详", "佚名", "阙名")

DYNASTIES = ("先秦", "汉", "魏晋", "南北朝", "隋", "唐", "五代", "宋", "金", "元", "明", "清")
_DYNASTY_NAMES = {
    "秦": "先秦",
    "三国": "魏晋",
    "晋": "魏晋",
    "魏晋末南北朝初": "南北朝",
    "五代十国": "五代",
    "宋末金初": "金",
    "辽": "金",
    "金末元初": "金",
    "南宋": "宋",
    "北宋": "宋",
}
"""Upstream names of periods -> dynasty. 三国 and 晋 belong to 魏晋, 辽 (22 poems) and the transitions to 金."""

REGULATED = {(4, 5): "五绝", (4, 7): "七绝", (8, 5): "五律", (8, 7): "七律"}
_EVEN = {4: "四言", 5: "五言", 7: "七言"}
FORMS = (*REGULATED.values(), "五言", "七言", "四言", "杂言", "词", "曲")
"""Forms of poems. The first four are shapes (lines x characters); such poems need not follow the tone rules."""


@dataclass(frozen=True)
class CleanPoems:
    """Cleaned poems in columns. Lines contain only Han characters, simplified and with variants folded.

    Attributes:
        ids, titles, authors, dynasties, forms, tunes, sources: One string per poem.
        points: Code points of the concatenated lines, shape (characters,), dtype uint32.
        line_lengths: Number of characters of each line, shape (lines,), dtype int64.
        line_marks: Code point of the mark that ends each line, shape (lines,), dtype uint32.
        poem_lines: Number of lines of each poem, shape (poems,), dtype int64.
    """

    ids: list[str]
    titles: list[str]
    authors: list[str]
    dynasties: list[str]
    forms: list[str]
    tunes: list[str]
    sources: list[str]
    points: Points
    line_lengths: Ints
    line_marks: Points
    poem_lines: Ints

    def __len__(self) -> int:
        return len(self.ids)


def concatenate(parts: Sequence[CleanPoems]) -> CleanPoems:
    """Concatenate the poems of several sources."""
    columns: dict[str, Any] = {}
    for name in CleanPoems.__dataclass_fields__:
        values = [getattr(part, name) for part in parts]
        columns[name] = np.concatenate(values) if isinstance(values[0], np.ndarray) else [x for v in values for x in v]
    return CleanPoems(**columns)


def select(poems: CleanPoems, chosen: Ints) -> CleanPoems:
    """Return the poems with the given indices, which must be ascending."""
    mask = np.zeros(len(poems), dtype=bool)
    mask[chosen] = True
    line_mask = np.repeat(mask, poems.poem_lines)
    masks = {
        "points": np.repeat(line_mask, poems.line_lengths),
        "line_lengths": line_mask,
        "line_marks": line_mask,
        "poem_lines": mask,
    }
    columns: dict[str, Any] = {}
    for name in CleanPoems.__dataclass_fields__:
        values = getattr(poems, name)
        columns[name] = values[masks[name]] if name in masks else [values[index] for index in chosen.tolist()]
    return CleanPoems(**columns)


def clean(
    source: str,
    records: Sequence[RawPoem],
    *,
    skip: Collection[str] = (),
    composed: Mapping[str, str] = MappingProxyType({}),
    known_tunes: Collection[str] = (),
) -> tuple[CleanPoems, Counter[str]]:
    """Clean the records of one source.

    Args:
        source: Name of the corpus, the source of every poem.
        records: Raw records.
        skip: Ids of records that upstream suspects of being damaged, which are dropped.
        composed: Composed notation -> character.
        known_tunes: Tune names that may stand at the beginning of the title of a ci.

    Returns:
        The kept poems, in the order of `records`, and the number of dropped records by reason.
    """
    blob = "".join(_compose(record.text, composed) + _SEPARATOR for record in records)
    raw = codepoints(blob)
    classes = _classes()[raw]
    ends = np.flatnonzero(classes == _END)
    record_of = np.repeat(np.arange(len(records)), np.diff(ends, prepend=-1))
    first, lengths, marks = _lines(raw, classes)
    line_record = record_of[first]
    titles, authors, dynasties, tunes = _fields(records)
    kinds, tune_names, topics = _kinds_tunes_topics(records, titles, tunes, known_tunes)
    reasons = _reasons(records, titles, classes, record_of, skip)
    shape = _shape(lengths, line_record, len(records))
    _judge_shape(reasons, kinds, shape)
    forms = list(map(_form, kinds, tune_names, shape.lines.tolist(), shape.even.tolist()))
    kept = np.array([reason == "" for reason in reasons], dtype=bool)
    chosen = np.flatnonzero(kept).tolist()
    line_kept = kept[line_record]
    poems = CleanPoems(
        ids=[records[index].id for index in chosen],
        titles=[topics[index] for index in chosen],
        authors=[authors[index] for index in chosen],
        dynasties=[_dynasty(dynasties[index], authors[index], records[index].id) for index in chosen],
        forms=[forms[index] for index in chosen],
        tunes=[tune_names[index] for index in chosen],
        sources=[source] * len(chosen),
        points=codepoints(normalize(blob))[(classes == _HAN) & kept[record_of]],
        line_lengths=lengths[line_kept],
        line_marks=marks[line_kept],
        poem_lines=shape.lines[kept],
    )
    return poems, Counter(reason for reason in reasons if reason)


@lru_cache(maxsize=1)
def _classes() -> npt.NDArray[np.uint8]:
    """Build the table code point -> class, shape (0x110000,), dtype uint8."""
    table = np.full(0x110000, _OTHER, dtype=np.uint8)
    table[is_han(np.arange(0x110000, dtype=np.uint32))] = _HAN
    for start, end in ((ord("A"), ord("Z")), (ord("a"), ord("z")), (0xFF10, 0xFF19), (0x2460, 0x2473)):
        table[start : end + 1] = _NOTE
    for start, end in ((0xE000, 0xF8FF), (0xF0000, 0x10FFFF)):
        table[start : end + 1] = _COMPOSED
    for characters, value in (
        (_NOTE_CHARACTERS, _NOTE),
        (_ILLEGIBLE_CHARACTERS, _ILLEGIBLE),
        (_COMPOSED_CHARACTERS, _COMPOSED),
        (_IGNORED_CHARACTERS, _IGNORED),
        ("".join(_MARKS.values()), _MARK),
        ("\n", _NEWLINE),
        (_SEPARATOR, _END),
    ):
        table[codepoints(characters)] = value
    return table


@lru_cache(maxsize=1)
def _mark_table() -> Points:
    """Build the table code point -> normalised mark, shape (0x110000,), dtype uint32; 。 for other line breaks."""
    table = np.full(0x110000, ord("。"), dtype=np.uint32)
    for kept, read in _MARKS.items():
        table[codepoints(read)] = ord(kept)
    return table


def _lines(raw: Points, classes: npt.NDArray[np.uint8]) -> tuple[Ints, Ints, Points]:
    """Find the lines: maximal sequences of Han characters without a break between them.

    Returns:
        Position of the first character, number of characters, and final mark of each line, each of shape (lines,).
    """
    breaks = (classes == _MARK) | (classes == _NEWLINE) | (classes == _END)
    break_positions = np.flatnonzero(breaks)
    han_positions = np.flatnonzero(classes == _HAN)
    # The first break after a character ends its line.
    segment = np.searchsorted(break_positions, han_positions)
    starts = np.flatnonzero(np.diff(segment, prepend=-1))
    lengths = np.diff(np.append(starts, len(segment)))
    return han_positions[starts], lengths, _mark_table()[raw[break_positions[segment[starts]]]]


def _compose(text: str, composed: Mapping[str, str]) -> str:
    """Replace known composed notations by their character, and separators in the text by U+FFFD."""
    text = text.replace(_SEPARATOR, "\ufffd")
    if "{" not in text:
        return text
    return re.sub(r"\{[^{}]*\}", lambda match: composed.get(match.group(), match.group()), text)


def _fields(records: Sequence[RawPoem]) -> tuple[list[str], list[str], list[str], list[str]]:
    """Return title, author, dynasty and tune of all records, normalised and with blanks collapsed."""
    columns = []
    for name in ("title", "author", "dynasty", "tune"):
        text = _SEPARATOR.join(getattr(record, name).replace(_SEPARATOR, " ") for record in records)
        # Arrow strings must not contain lone surrogates, which JSON escapes can produce.
        text = normalize(text.encode("utf-8", "replace").decode("utf-8"))
        columns.append([" ".join(value.split()) for value in text.split(_SEPARATOR)][: len(records)])
    titles, authors, dynasties, tunes = columns
    return titles, ["无名氏" if author in _NO_AUTHOR else author for author in authors], dynasties, tunes


def _kinds_tunes_topics(
    records: Sequence[RawPoem], titles: Sequence[str], tunes: Sequence[str], known_tunes: Collection[str]
) -> tuple[list[str], list[str], list[str]]:
    """Return kind, tune and title of every record; a ci without a title has its tune as title."""
    kinds, names, topics = [], [], []
    for record, title, field in zip(records, titles, tunes, strict=True):
        tune, topic = "", title
        if record.kind in (CI, None):
            tune, topic = split_title(title, canonical_tune(field), known_tunes)
        if record.kind is None and tune not in known_tunes:
            tune, topic = "", title
        kind = record.kind or (CI if tune else SHI)
        kinds.append(kind)
        names.append(tune if kind == CI else "")
        topics.append(topic or tune or title or field if kind == CI else title)
    return kinds, names, topics


def _reasons(
    records: Sequence[RawPoem],
    titles: Sequence[str],
    classes: npt.NDArray[np.uint8],
    record_of: Ints,
    skip: Collection[str],
) -> list[str]:
    """Return the reason for dropping each record by its characters, title or id, or an empty string to keep it."""
    count = len(records)
    present = {kind: np.bincount(record_of[classes == kind], minlength=count) > 0 for kind in (_HAN, *_DEFECTS)}
    reasons = np.full(count, "", dtype=object)
    # Later assignments overwrite earlier ones, so assign in reverse order of precedence.
    for kind in reversed(list(_DEFECTS)):
        reasons[present[kind]] = _DEFECTS[kind]
    reasons[[_FRAGMENT_TITLE.match(title) is not None for title in titles]] = FRAGMENT
    reasons[[record.id in skip for record in records]] = SUSPECTED
    reasons[~present[_HAN]] = EMPTY
    return list(reasons)


@dataclass(frozen=True)
class _Shape:
    """Number of lines and characters, longest line and common line length (0 if lengths differ) of each record."""

    lines: Ints
    characters: Ints
    longest: Ints
    even: Ints


def _shape(lengths: Ints, line_record: Ints, records: int) -> _Shape:
    """Measure the lines of each record; all arrays have shape (records,) and dtype int64."""
    lines = np.bincount(line_record, minlength=records)
    shortest, longest, characters = np.zeros((3, records), dtype=np.int64)
    filled = np.flatnonzero(lines)
    if len(filled):
        starts = (np.cumsum(lines) - lines)[filled]
        shortest[filled] = np.minimum.reduceat(lengths, starts)
        longest[filled] = np.maximum.reduceat(lengths, starts)
        characters[filled] = np.add.reduceat(lengths, starts)
    return _Shape(lines, characters, longest, np.where(shortest == longest, longest, 0))


def _judge_shape(reasons: list[str], kinds: Sequence[str], shape: _Shape) -> None:
    """Add the reasons for dropping records that depend on number and length of the lines."""
    short = (shape.lines < _MIN_LINES) | (shape.characters < _MIN_CHARACTERS)
    couplet = (shape.lines < _MIN_EVEN_LINES) & np.isin(shape.even, list(_EVEN))
    for index in np.flatnonzero(short | couplet).tolist():
        if not reasons[index] and (short[index] or kinds[index] == SHI):
            reasons[index] = FRAGMENT
    for index in np.flatnonzero(shape.longest > _MAX_LINE).tolist():
        reasons[index] = reasons[index] or PROSE


def _form(kind: str, tune: str, lines: int, length: int) -> str:
    """Return the form of a poem.

    Args:
        kind: 诗, 词 or 曲.
        tune: Tune of a ci; empty for quatrains in collections of ci, such as 竹枝词, which have no known tune.
        lines: Number of lines.
        length: Length of all lines in characters; 0 if they differ.
    """
    shape = REGULATED.get((lines, length), _EVEN.get(length, "杂言"))
    if kind == QU or (kind == CI and (tune or (lines, length) not in REGULATED)):
        return kind
    return shape


def _dynasty(name: str, author: str, identity: str) -> str:
    """Map an upstream period to a dynasty; 楚辞 contains poems of 先秦 and of 汉."""
    if "/楚辞/" in identity and author not in ("屈原", "宋玉"):
        return "汉"
    return _DYNASTY_NAMES.get(name, name)


_BRACKETED = re.compile(r"[(\[“‘〔【].*?[)\]”’〕】]")
_NO_TUNE = frozenset({"失调名", "无题", "阙题", ""})
_ORDINAL = re.compile(r"(?:其|之)?[一二三四五六七八九十百\d]+(?:首)?$")
_DOTS = "·・•‧"
_SPLIT = re.compile(f"[{_DOTS}]")
_MIN_HEAD = 3
"""Minimum number of titles that begin with a text and a dot for it to be a tune; a rare one may be part of a name."""
_MAX_TUNE = 7
"""Maximum length in characters of a text before a dot to be accepted as a tune (凤凰台上忆吹箫 has seven)."""
_ALIASES = {
    "金缕曲": "贺新郎", "金缕词": "贺新郎", "乳燕飞": "贺新郎", "貂裘换酒": "贺新郎", "贺新凉": "贺新郎",
    "百字令": "念奴娇", "酹江月": "念奴娇", "壶中天": "念奴娇", "大江东去": "念奴娇", "壶中天慢": "念奴娇",
    "大江西上曲": "念奴娇", "百字谣": "念奴娇", "无俗念": "念奴娇", "赤壁词": "念奴娇", "大江东": "念奴娇",
    "迈陂塘": "摸鱼儿", "买陂塘": "摸鱼儿", "摸鱼子": "摸鱼儿", "陂塘柳": "摸鱼儿",
    "台城路": "齐天乐", "减兰": "减字木兰花", "木兰花减字": "减字木兰花",
    "罗敷媚": "采桑子", "罗敷艳歌": "采桑子", "丑奴儿": "采桑子", "丑奴儿令": "采桑子",
    "江神子": "江城子", "南柯子": "南歌子", "风蝶令": "南歌子",
    "望江南": "忆江南", "梦江南": "忆江南", "谢秋娘": "忆江南",
    "鹊踏枝": "蝶恋花", "凤栖梧": "蝶恋花", "黄金缕": "蝶恋花",
    "秦楼月": "忆秦娥", "双荷叶": "忆秦娥", "碧云深": "忆秦娥",
    "宴桃源": "如梦令", "忆仙姿": "如梦令", "卖花声": "浪淘沙", "浪淘沙令": "浪淘沙",
    "浣溪纱": "浣溪沙", "浣沙溪": "浣溪沙", "一翦梅": "一剪梅", "怨王孙": "忆王孙",
    "甘州": "八声甘州", "长相思令": "长相思", "双红豆": "长相思", "喜迁莺令": "喜迁莺",
    "苍梧谣": "十六字令", "归字谣": "十六字令", "重叠金": "菩萨蛮", "思佳客": "鹧鸪天", "龙吟曲": "水龙吟",
    "庆春宫": "庆宫春", "胜胜慢": "声声慢", "绿头鸭": "多丽", "锁寒窗": "琐窗寒", "锁窗寒": "琐窗寒",
}  # fmt: skip
"""Other names of common tunes -> their most frequent name; names shared by two tunes are omitted."""


def collect_tunes(names: Iterable[str], titles: Iterable[str]) -> frozenset[str]:
    """Collect the tune names that occur in the corpora.

    Args:
        names: Normalised tune fields (`rhythmic`).
        titles: Normalised titles of ci, which are a tune, or a tune, a dot and a topic, as in 浣溪沙·春日.
    """
    known = {part for name in names for part in _SPLIT.split(_BRACKETED.sub("", name))} | set(_ALIASES)
    heads = Counter(_SPLIT.split(title)[0].strip() for title in titles)
    known.update(head for head, count in heads.items() if count >= _MIN_HEAD and 2 <= len(head) <= _MAX_TUNE)
    return frozenset(known - _NO_TUNE)


def canonical_tune(name: str) -> str:
    """Return the standard name of a normalised tune field; 秦楼月・忆秦娥 (alias, standard name) gives 忆秦娥."""
    tune = _SPLIT.split(_BRACKETED.sub("", name))[-1].strip()
    return "" if tune in _NO_TUNE else _ALIASES.get(tune, tune)


def split_title(title: str, tune: str, known: Collection[str]) -> tuple[str, str]:
    """Split the normalised title of a ci into tune and topic.

    Args:
        title: Title, with or without the tune at the beginning.
        tune: Canonical tune from a separate field, or empty.
        known: Tune names that may stand at the beginning of a title.

    Returns:
        Tune (empty if none is found) and topic (empty if the title is only a tune and a number).
    """
    head, *rest = _SPLIT.split(title, maxsplit=1)
    head = _BRACKETED.sub("", head).strip()
    if tune:
        topic = title.removeprefix(tune)
    elif rest and (head in known or 2 <= len(head) <= _MAX_TUNE):
        tune, topic = head, rest[0]
    else:
        lengths = range(min(_MAX_TUNE + 3, len(title)), 1, -1)
        tune = next((title[:length] for length in lengths if title[:length] in known), "")
        topic = title.removeprefix(tune)
    topic = topic.strip(_DOTS + " ")
    return _ALIASES.get(tune, tune), "" if _ORDINAL.match(topic) else topic
