"""Find words by regular expressions and by look-up in a user dictionary, before the model reads a text.

Built-in patterns recognise URLs, numbers, codes, emoji and symbols. Their kinds and part-of-speech tags follow a corpus
of modern text annotated by the People's Daily standard; `docs/modern.md` has a table of how often the corpus agrees. A
kind that the corpus does not segment and tag consistently is left to the model.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import regex

from zhseq.errors import InputError
from zhseq.tagging.lexicon import NgramTable, TextHashes
from zhseq.text.normalize import CodePoints, codepoints, from_codepoints, normalize

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PatternKind:
    """A kind of word that is recognised by a built-in regular expression.

    Attributes:
        name: Name of the kind; empty: the text is skipped, so that no other pattern matches it.
        expression: Regular expression for normalised text, without capturing groups.
        pos: Part-of-speech tag; empty: the model chooses.
        nameless: Whether the match cannot be part of a named entity.
    """

    name: str
    expression: str
    pos: str = ""
    nameless: bool = True


class PatternSpan(NamedTuple):
    """A match of a built-in pattern: `text[start:end]`, in code points."""

    start: int
    end: int
    kind: str
    """Name of the kind, see `KINDS`."""
    pos: str
    """Part-of-speech tag; empty: the model chooses."""
    nameless: bool
    """Whether the match cannot be part of a named entity."""


_LETTER = "A-Za-zÀ-ÖØ-öø-ɏͰ-ϿЀ-ӿ"
_WORD = f"{_LETTER}0-9"
_HAN = "\u3400-\u4dbf\u4e00-\u9fff"
_BEGIN = rf"(?<![{_WORD}])"
_END = rf"(?![{_WORD}])"
# A number is not preceded or followed by characters that may be part of it.
_FIRST = rf"(?<![{_WORD}.·∶:\-－—/~*×+])"
_LAST = rf"{_END}(?![.·∶:/*×+~\-—][0-9])"
# A run of letters is not joined to others by a symbol.
_ALONE = rf"(?<![{_WORD}_'&/+—·.\-–])(?<![{_WORD}]\()"
_DONE = rf"(?![{_WORD}_])(?!['&/+—·.\-–(][{_WORD}])"
_YEAR = r"(?:1[5-9]|20)[0-9]{2}"
_MONTH = r"(?:1[0-2]|0?[1-9])"
_DAY = r"(?:3[01]|[12][0-9]|0?[1-9])"
_CLOCK = r"(?:[01]?[0-9]|2[0-4]):[0-5][0-9]"
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_TOP_LEVEL = (
    "com|cn|net|org|edu|gov|io|ai|me|tv|cc|info|co|uk|jp|hk|tw|us|de|xyz|top|app|dev|vip|club|shop|site|online|biz|"
    "mobi|asia|wang"
)
_UNITS = (
    "mmol|mmHg|Mbps|Gbps|kbps|kcal|kWh|mAh|rpm|dpi|fps|ppm|ppi|min|kbp|mol|kPa|MPa|MHz|Mhz|GHz|kHz|KHz|Hz|kg|KG|mg|μg|"
    "ug|km²|km|cm|CM|mm|MM|nm|μm|um|m²|m³|m2|m3|ml|mL|ML|KB|MB|GB|TB|Gb|Mb|kW|KW|dB|px|bp|oz|ms|pt|g|W|V"
)
_TAIL = "/[A-Za-z0-9._~%?#@$&*+=:/-]*"
_LINK = "[A-Za-z0-9/=&_#%~-]"  # last character of a URL; punctuation at the end belongs to the sentence
_FACE = "ω▽﹏╥≧≦◕ಠ∀￣︶︿⊙´｀ˊˋ▔Ддεз‵′⌒▿◡ㄒ╯╰ツ•◉º゜ﾟ・･ᴗ﹃∇≖ㅂ"
_EYE = "><^T;=QOo0*@uUxX+-"

KINDS = (
    PatternKind("keycap", r"[0-9#*]\ufe0f?\u20e3", "w"),
    PatternKind(
        "kaomoji",
        rf"[oOmdヾヽ\\٩୧]?\((?!\s)[^()A-Za-z{_HAN}0-9\n]{{0,5}}(?:[{_FACE}][^()\n{_HAN}]{{1,8}}|[{_EYE}][_.﹏ωo口皿□ー-]+[{_EYE}])"
        rf"[^()A-Za-z{_HAN}0-9\n]{{0,5}}\)(?:[oOmdノﾉ/~☆♪۶و╯︵┻━]+)?"
        r"|→_→|←_←|\^_?\^|T_T|>_<|(?<![\w-])-_-|=_=|[:;]-[)D(P]",
        "w",
    ),
    PatternKind(
        "url",
        rf"(?:(?:https?|ftp|rtsp|wss?|git|ssh)://|https?//|(?<![A-Za-z0-9])www\.)[A-Za-z0-9._~%/?#@$&*+=:!-]*{_LINK}",
        "nx",
    ),
    PatternKind(
        "email",
        rf"{_BEGIN}[A-Za-z0-9][A-Za-z0-9._%+-]{{0,63}}@(?:[A-Za-z0-9-]{{1,63}}\.){{1,8}}[A-Za-z]{{2,}}{_END}",
        "nx",
    ),
    PatternKind(
        "domain",
        rf"{_BEGIN}(?:[A-Za-z0-9-]{{1,63}}\.){{1,8}}(?:{_TOP_LEVEL}){_END}(?::[0-9]+)?(?:{_TAIL}{_LINK})?",
        "nx",
    ),
    PatternKind("host", rf"{_BEGIN}localhost(?::[0-9]+)?{_END}", "nx"),
    PatternKind("file path", rf"(?<![{_WORD}{_HAN}])~?(?:/[A-Za-z0-9._-]+){{2,}}/?", "nx"),
    PatternKind(
        "network address",
        rf"(?<![{_WORD}.]){_OCTET}(?:\.{_OCTET}){{3}}(?::[0-9]{{1,5}})?(?:/[0-9]{{1,2}})?{_END}(?!\.[0-9])",
        "m",
    ),
    PatternKind(
        "date",
        _FIRST + "(?:" + "|".join(f"{_YEAR}{sign}{_MONTH}{sign}{_DAY}" for sign in ("-", "/", "[.]")) + ")" + _LAST,
        "m",
    ),
    PatternKind("user", rf"(?<=@)[A-Za-z0-9-]*[A-Za-z0-9](?![{_WORD}_{_HAN}-])", "nx", nameless=False),
    PatternKind("", rf"(?<=@)(?:(?!www\.|https?:)[{_WORD}_{_HAN}-])+"),  # other user names: left to the model
    PatternKind("at sign", "@", "w"),
    PatternKind("clock time", rf"{_FIRST}{_CLOCK}(?::[0-5][0-9])?(?:[-~]{_CLOCK})?{_LAST}(?!日)", "m"),
    PatternKind("year", rf"{_FIRST}{_YEAR}年(?!度)", "t", nameless=False),
    PatternKind("month", rf"(?<![第·.0-9]){_MONTH}月份?", "t", nameless=False),
    PatternKind("day", rf"(?<![第·.0-9]){_DAY}日(?![本元])", "t", nameless=False),
    PatternKind("hour", r"(?<![第·.0-9])(?:[01]?[0-9]|2[0-4])(?:时|点钟)(?![间代区期许候尚长])", "t", nameless=False),
    PatternKind("percentage", rf"{_FIRST}[0-9]+(?:,[0-9]{{3}}){{0,8}}(?:[.·][0-9]+)?[%‰](?![0-9])", "m"),
    PatternKind(
        "number with commas", rf"{_FIRST}[0-9]{{1,3}}(?:,[0-9]{{3}}){{1,8}}(?:\.[0-9]+)?[万亿]*{_END}(?!,[0-9])", "m"
    ),
    PatternKind("decimal", rf"{_FIRST}[0-9]+[.·][0-9]+(?:[千百]?[万亿]+|{_LAST}(?! ?[千百万亿%]))", "m"),
    PatternKind(
        "version",
        rf"{_BEGIN}[vV][0-9]+(?:\.[0-9]+)+(?:[-_]?(?:alpha|beta|rc|dev|pre|final|release)[.0-9]*)?{_END}",
        "nx",
    ),
    PatternKind("dotted number", rf"{_FIRST}[0-9]{{1,2}}(?:\.[0-9]{{1,3}}){{2,}}{_LAST}", "m"),
    PatternKind("ratio", rf"{_FIRST}(?:[0-9]{{1,3}}:[0-9]{{1,3}}|[0-9]+∶[0-9]+){_LAST}(?![年月日])", "m"),
    PatternKind("", rf"{_FIRST}{_YEAR}[-~]{_YEAR}{_LAST}"),  # ranges of years are not always one word
    PatternKind("range", rf"{_FIRST}[0-9]+(?:\.[0-9]+)?[-~][0-9]+(?:\.[0-9]+)?%?{_LAST}(?![年月日号])", "m"),
    PatternKind("fraction", rf"{_FIRST}[0-9]+/[0-9]+{_LAST}", "m"),
    PatternKind("sum", rf"{_FIRST}[0-9]+(?:[*+][0-9]+)+{_LAST}", "m"),
    PatternKind("quantity", rf"(?<![{_WORD}.~-])(?![2-5][gG])[0-9]+(?:\.[0-9]+)?(?=(?:{_UNITS}){_END})", "m"),
    PatternKind("unit", rf"(?<=[0-9])(?<!(?<![0-9.])[2-5](?=g))(?:{_UNITS}){_END}", "q"),
    PatternKind("generation", rf"(?<![{_WORD}.])(?:[23]D|5G|0x[0-9A-Fa-f]+){_END}", "nx"),
    PatternKind("programming language", rf"{_BEGIN}(?:[A-Za-z]\+\+|[CFJ]#)(?![+#{_WORD}])", "nx"),
    PatternKind("train", r"(?<![A-Za-z0-9])[GDCTZKSY][0-9]{1,4}(?=次)", "nx"),
    PatternKind(
        "model code",
        rf"{_ALONE}(?![a-z]{{2,3}}[0-9]{{3}})(?:[{_LETTER}]{{1,3}}[0-9]{{1,5}}(?:\.[0-9](?![0-9]))?|[{_LETTER}]{{4,}}[0-9]{{1,4}}"
        rf"|[{_LETTER}]{{2,}}-[0-9]{{1,4}})(?:[{_LETTER}]+[0-9]+)*[{_LETTER}]*(?:-[{_WORD}]+)*{_END}"
        rf"(?![./_][{_WORD}])(?!\.[^{_WORD}]|[万亿])",
        "nx",
        nameless=False,
    ),
    PatternKind(
        "joined letters", rf"{_ALONE}[{_LETTER}]+(?:[-.'&][{_LETTER}]+)+{_DONE}(?![.(]\b)", "nx", nameless=False
    ),
    PatternKind("letters", rf"{_ALONE}[{_LETTER}]{{3,}}{_DONE}", "nx", nameless=False),
    PatternKind("", rf"[{_WORD}]+(?:[_'&/+—·.–-]+[{_WORD}]+)*"),  # other letters and digits: left to the model
    PatternKind("ellipsis", r"…+|\.{3,}|·{2,}", "w"),
    PatternKind("dash", r"—{2,}|―{2,}", "w"),
    PatternKind("number sign", "#", "w"),
    PatternKind("bracket", r"[\[\]]", "w"),
    PatternKind("underscore", "_+", "w"),
)
"""Built-in patterns in order of precedence. Matches without a name are skipped, so that no later pattern matches."""

EMOJI = PatternKind("emoji", r"[\p{Emoji_Presentation}\p{Extended_Pictographic}\p{Regional_Indicator}]", "w")
"""First character of an emoji; the match is its grapheme cluster, which only the package `regex` supports."""
ALL_KINDS = (*KINDS, EMOJI)
"""All built-in patterns; the number of a kind is its index."""
PATTERN_TAGS = frozenset(kind.pos for kind in ALL_KINDS if kind.pos)
"""Part-of-speech tags of the built-in patterns; they are used only with models that have all of these tags."""

# Skip in one step all characters with which no kind begins. Group number i (from 1) is the kind with index i - 1.
_SKIPPED = rf"(?<!@)[^{_WORD}@#\[\]_~/(…·.—―→←^>=:;\-*ヾヽ\\٩୧]+"


@dataclass(frozen=True)
class PatternMatches:
    """Matches of built-in patterns in concatenated texts, in order and without overlap.

    Attributes:
        starts: Starts, (matches,) int64.
        ends: Ends, exclusive, (matches,) int64.
        kinds: Indices in `ALL_KINDS`, (matches,) int64.
    """

    starts: Ints
    ends: Ints
    kinds: Ints


def find_patterns(texts: Sequence[str]) -> list[list[PatternSpan]]:
    """Find the matches of the built-in patterns in each text, in order and without overlap.

    Args:
        texts: Texts of any length, not necessarily normalised.

    Returns:
        The matches of each text, in code points of the original text.
    """
    lines = np.concatenate([[0], np.cumsum([len(text) for text in texts], dtype=np.int64)]).astype(np.int64)
    found = match_patterns(codepoints(normalize("".join(texts))), lines)
    owners = np.searchsorted(lines, found.starts, side="right") - 1
    spans: list[list[PatternSpan]] = [[] for _ in texts]
    shifts = lines[owners]
    columns = (owners, found.starts - shifts, found.ends - shifts, found.kinds)
    for owner, start, end, number in zip(*(column.tolist() for column in columns), strict=True):
        kind = ALL_KINDS[number]
        spans[owner].append(PatternSpan(start, end, kind.name, kind.pos, kind.nameless))
    return spans


def match_patterns(points: CodePoints, lines: Ints) -> PatternMatches:
    """Find the matches of the built-in patterns in a block of lines.

    Args:
        points: Normalised code points of the concatenated lines, (characters,).
        lines: Start of each line, and the end of the last, (lines + 1,).
    """
    inner = lines[1:-1]
    text = from_codepoints(np.insert(points, inner, ord("\n")) if len(inner) else points)  # no match crosses lines
    rows = [
        (match.start(), match.end(), match.lastindex - 1)
        for match in _expression().finditer(text)
        if match.lastindex is not None and _NAMED[match.lastindex]
    ]
    rows += _emoji(text, rows)
    if not rows:
        return PatternMatches(NOTHING, NOTHING, NOTHING)
    starts, ends, kinds = np.array(sorted(rows), dtype=np.int64).T
    before = np.searchsorted(inner + np.arange(1, len(inner) + 1), starts, side="right")  # line feeds inserted before
    return PatternMatches(starts - before, ends - before, kinds)


_NAMED = (False, *(bool(kind.name) for kind in KINDS))


@lru_cache(maxsize=1)
def _expression() -> re.Pattern[str]:
    return re.compile("|".join([_SKIPPED, *(f"({kind.expression})" for kind in KINDS)]))


_POSSIBLE_EMOJI = re.compile("[\u2300-\u2bff\U0001f000-\U0001ffff]")


def _emoji(text: str, taken: Sequence[tuple[int, int, int]]) -> Iterator[tuple[int, int, int]]:
    """Find the emoji that overlap no other match."""
    candidates = [match.start() for match in _POSSIBLE_EMOJI.finditer(text)]
    if not candidates:
        return
    occupied = {position for start, end, _ in taken for position in range(start, end)}
    cluster, last = _cluster(), 0
    for start in candidates:
        if start >= last and (match := cluster.match(text, start)):
            last = match.end()
            if occupied.isdisjoint(range(start, last)):
                yield start, last, len(KINDS)


@lru_cache(maxsize=1)
def _cluster() -> regex.Pattern[str]:
    return regex.compile(rf"(?={EMOJI.expression})\X")


Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

_BEFORE_HAN = 0x2E80  # Han, kana and their punctuation begin here; scripts that separate words come before


@dataclass(frozen=True)
class Attributes:
    """Attributes of known words, one row per word.

    Row 0 is for no word. The next rows are those of `ALL_KINDS`, followed by the entries of a dictionary.

    Attributes:
        bonus: Bonus of a path that contains the word, in nats, (rows,) float32.
        force: Whether the word is forced, (rows,) bool.
        pos: Index in `names` of its part-of-speech tag, (rows,) int64.
        labels: Index in `names` of its entity label, (rows,) int64.
        names: All part-of-speech tags and labels; index 0 is the empty string, for none.
    """

    bonus: Floats
    force: Bools
    pos: Ints
    labels: Ints
    names: tuple[str, ...]


FIRST_ENTRY = 1 + len(ALL_KINDS)
"""First row of `Attributes` that is a dictionary entry."""


@lru_cache(maxsize=1)
def pattern_attributes() -> Attributes:
    """Return the attributes without a dictionary: those of the built-in patterns."""
    parts = ["", *(kind.pos for kind in ALL_KINDS)]
    names = tuple(dict.fromkeys(parts))
    force = np.array([False] + [True] * len(ALL_KINDS))
    pos = np.array([names.index(part) for part in parts], dtype=np.int64)
    return Attributes(np.zeros(FIRST_ENTRY, dtype=np.float32), force, pos, np.zeros_like(pos), names)


NOTHING = np.zeros(0, dtype=np.int64)
Found = tuple[Ints, Ints, Ints]
"""Starts, ends and rows of `Attributes` of matches, each (matches,) int64."""


class WordTables:
    """An immutable snapshot of a user dictionary, which any number of threads may read.

    There are hash tables for each word length, in layers. Later layers override earlier ones; row 0 removes a word.
    """

    def __init__(
        self,
        tables: Sequence[dict[int, NgramTable]],
        attributes: Attributes,
        patterns: Sequence[OwnPattern] = (),
        apart: Mapping[str, tuple[int, ...]] | None = None,
    ) -> None:
        """Create a snapshot.

        Args:
            tables: Layers of tables by word length, which map the hash of a word to its row of `attributes`.
            attributes: Attributes of words and patterns.
            patterns: User patterns.
            apart: Offsets that no word may cross, by normalised text.
        """
        lengths = sorted({length for layer in tables for length in layer})
        self._tables = [(n, [layer[n] for layer in tables if n in layer]) for n in lengths]
        self._patterns = tuple(patterns)
        self._apart = dict(apart or {})
        self._joined = None
        if self._apart:
            longest_first = sorted(self._apart, key=len, reverse=True)
            self._joined = re.compile("(?=(" + "|".join(map(re.escape, longest_first)) + "))")
        self.attributes = attributes

    def words(self, points: CodePoints, line_of: Ints) -> Found:
        """Find all occurrences of dictionary words in a block of lines.

        A word does not begin or end between two letters or digits of a script that separates words: `AI` does not match
        in `MAIN`.

        Args:
            points: Normalised code points of the concatenated lines, (characters,).
            line_of: Line of each character, (characters,).
        """
        hashes = TextHashes(points)
        found: list[Found] = []
        for length, (first, *others) in self._tables:
            if length > len(points):
                break
            of_length = hashes.of_length(length)
            numbers = first.find(of_length)
            for table in others:
                newer = table.find(of_length, missing=-1)
                numbers = np.where(newer >= 0, newer, numbers)
            starts = np.flatnonzero(numbers)
            found.append((starts, starts + length, numbers[starts].astype(np.int64)))
        starts, ends, rows = join(found)
        inside = _inside_latin_words(points, line_of)
        possible = (line_of[starts] == line_of[ends - 1]) & ~inside[starts] & ~inside[ends]
        return starts[possible], ends[possible], rows[possible]

    def own_patterns(self, points: CodePoints, lines: Ints) -> Found:
        """Find the matches of the user patterns, line by line.

        Raises:
            InputError: A pattern takes too long.
        """
        if not self._patterns:
            return NOTHING, NOTHING, NOTHING
        bounds = lines.tolist()
        text = from_codepoints(points)
        texts = [(start, text[start:end]) for start, end in pairwise(bounds)]
        spans = [
            (start + first, start + last, pattern.row)
            for pattern in self._patterns
            for start, first, last in pattern.find(texts)
        ]
        starts, ends, rows = np.array(spans, dtype=np.int64).reshape(-1, 3).T
        return starts, ends, rows

    def cuts(self, points: CodePoints, lines: Ints) -> tuple[Ints, Ints]:
        """Find the cuts: positions that no word may cross, sorted, and the length of the text of each cut."""
        if self._joined is None:
            return NOTHING, NOTHING
        inner = lines[1:-1]
        text = from_codepoints(np.insert(points, inner, ord("\n")))
        sizes: dict[int, int] = {}
        for match in self._joined.finditer(text):
            # The match is the longest text that begins here; shorter ones may add other cuts.
            whole = match[1]
            for size in range(2, len(whole) + 1):
                for cut in self._apart.get(whole[:size], ()):
                    position = match.start() + cut
                    sizes[position] = max(size, sizes.get(position, 0))
        positions = np.array(sorted(sizes), dtype=np.int64)
        before = np.searchsorted(inner + np.arange(1, len(inner) + 1), positions, side="right")
        return positions - before, np.array([sizes[position] for position in positions.tolist()], dtype=np.int64)


@dataclass(frozen=True)
class OwnPattern:
    """A regular expression of a user dictionary.

    Attributes:
        expression: Expression for normalised text.
        row: Its row of `Attributes`.
    """

    expression: regex.Pattern[str]
    row: int

    def find(self, texts: Sequence[tuple[int, str]]) -> Iterator[tuple[int, int, int]]:
        """Yield number of the text, start and end of each match in numbered texts.

        Raises:
            InputError: The search takes longer than `PATTERN_SECONDS`.
        """
        deadline = time.monotonic() + PATTERN_SECONDS
        try:
            for number, text in texts:
                left = max(deadline - time.monotonic(), 1e-3)
                for match in self.expression.finditer(text, timeout=left):
                    if match.end() > match.start():
                        yield number, match.start(), match.end()
        except TimeoutError:
            raise InputError(
                "slow_pattern",
                "expected a pattern that takes at most {seconds:g} s for a block of text, but this "
                "one takes longer: {pattern}; rewrite it so that it cannot match the same text in "
                "many ways",
                seconds=PATTERN_SECONDS,
                pattern=self.expression.pattern,
            ) from None


PATTERN_SECONDS = 5.0
"""Time limit in seconds of a user pattern in a block of some ten thousand characters; usual ones take milliseconds."""


def join(parts: Sequence[Found]) -> Found:
    """Concatenate matches."""
    if not parts:
        return NOTHING, NOTHING, NOTHING
    starts, ends, rows = (np.concatenate(column) for column in zip(*parts, strict=True))
    return starts, ends, rows


def _inside_latin_words(points: CodePoints, line_of: Ints) -> Bools:
    """Return which positions are between two letters or digits of a script that separates words, (characters + 1,)."""
    letters = _letters()[np.minimum(points, _BEFORE_HAN)]
    inside = np.zeros(len(points) + 1, dtype=np.bool_)
    inside[1:-1] = letters[:-1] & letters[1:] & (line_of[:-1] == line_of[1:])
    return inside


@lru_cache(maxsize=1)
def _letters() -> Bools:
    return np.array([chr(point).isalnum() for point in range(_BEFORE_HAN)] + [False])
