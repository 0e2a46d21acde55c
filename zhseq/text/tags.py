"""Tagging schemes: convert between labelled spans and one tag per character, and describe labels.

A tag is a prefix and a label, such as `B-PER`. Prefixes are B (begin), I or M (inside), E (end), S (single character)
and O (outside). `BIO` has no E and S; `BIOES` and `BMES` differ only in the letter for inside. Joint segmentation and
part-of-speech tagging is `BMES` with the part-of-speech tag as label; plain segmentation has an empty label.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

from zhseq.errors import InputError, user_language

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
RepairCount = Counter[str]
"""Counts of repaired defects, by description."""

TASKS = ("pos", "ner")
"""Tasks: words with part-of-speech tags, and named entities. A tagger has a head for each of its tasks."""
OUTSIDE = "O"
SCHEMES = {"BIO": "BIO", "BIOES": "BIOES", "BMES": "BMEOS"}
"""Name of a scheme -> its prefixes."""

NO_BEGIN = "span without a beginning"
NO_END = "span without an end"


@dataclass(frozen=True, slots=True)
class Span:
    """A labelled span of a text: `text[start:end]`, half-open, in code points of the original text."""

    start: int
    end: int
    label: str


@dataclass(frozen=True)
class TagTable:
    """Properties of the tags of a model, to decode arrays of tag ids.

    Attributes:
        tags: All tags; the id of a tag is its position.
        labels: All labels, sorted.
        label_ids: Label of each tag, shape (tags,), dtype int64; -1 for O.
        continues: Whether the tag continues a span (I, M, E), shape (tags,), dtype bool.
        opens: Whether the span continues at the next character (B, I, M), shape (tags,), dtype bool. In BIO, where only
            the next tag shows this, whether it may continue.
        strict: Whether the scheme marks ends, so that a span without an end tag is a defect.
        outside_id: Id of O, or -1 if the tags have no O.
        tag_ids: Ids of the B, inside, E and S tag of each label, shape (labels, 4), dtype int64; -1 if missing. In BIO,
            the E column holds I, and the S column B.
    """

    tags: tuple[str, ...]
    labels: tuple[str, ...]
    label_ids: Ints
    continues: Bools
    opens: Bools
    strict: bool
    outside_id: int
    tag_ids: Ints

    @cached_property
    def begins(self) -> Bools:
        """Whether each tag begins a span, (tags,)."""
        return np.asarray((self.label_ids >= 0) & ~self.continues)

    @cached_property
    def ends(self) -> Bools:
        """Whether each tag ends a span, (tags,); all False in BIO, where the next tag determines this."""
        return np.asarray((self.label_ids >= 0) & ~self.opens)

    @cached_property
    def joins(self) -> Bools:
        """Whether a tag (column) continues the span of the previous tag (row), (tags, tags)."""
        same = self.label_ids[:, None] == self.label_ids[None, :]
        return np.asarray(self.opens[:, None] & self.continues[None, :] & same)

    @classmethod
    def build(cls, tags: Sequence[str]) -> TagTable:
        """Build the table of a tag set.

        Raises:
            ValueError: A tag is not of the form `B-LABEL`, `B` or `O`, or occurs twice.
        """
        parts = [split_tag(tag) for tag in tags]
        if len(set(tags)) != len(tags):
            raise ValueError(
                f"each tag must occur once, but {[tag for tag, n in Counter(tags).items() if n > 1]} do not"
            )
        labels = sorted({label for prefix, label in parts if prefix != OUTSIDE})
        strict = any(prefix in "MES" for prefix, _ in parts)
        tag_ids = np.full((len(labels), 4), -1, dtype=np.int64)
        for index, (prefix, label) in enumerate(parts):
            if prefix != OUTSIDE:
                tag_ids[labels.index(label), "BIES".index(prefix.replace("M", "I"))] = index
        if not strict:
            tag_ids[:, 2], tag_ids[:, 3] = tag_ids[:, 1], tag_ids[:, 0]
        return cls(
            tags=tuple(tags),
            labels=tuple(labels),
            label_ids=np.array([-1 if p == OUTSIDE else labels.index(label) for p, label in parts], dtype=np.int64),
            continues=np.array([prefix in "IME" for prefix, _ in parts], dtype=bool),
            opens=np.array([prefix in "BIM" for prefix, _ in parts], dtype=bool),
            strict=strict,
            outside_id=tags.index(OUTSIDE) if OUTSIDE in tags else -1,
            tag_ids=tag_ids,
        )


def split_tag(tag: str) -> tuple[str, str]:
    """Return prefix and label of a tag: `B-PER.NAM` -> (B, PER.NAM), `S` -> (S, empty), `O` -> (O, empty).

    Raises:
        ValueError: `tag` is not a tag.
    """
    prefix, dash, label = tag.partition("-")
    if len(prefix) != 1 or prefix not in "BIMESO" or (prefix == OUTSIDE and dash) or (dash and not label):
        raise ValueError(f"expected a tag like B-PER, I-PER, E-PER, S-PER or O, found {tag!r}")
    return prefix, label


def detect_scheme(tags: Iterable[str]) -> str:
    """Detect the scheme from the tags that occur: BMES if there is an M, BIOES if there is an E or S, else BIO.

    Raises:
        ValueError: A string is not a tag, or both I and M occur.
    """
    prefixes = {split_tag(tag)[0] for tag in set(tags)}
    if {"I", "M"} <= prefixes:
        raise ValueError("expected one tag scheme, found tags with I (BIO, BIOES) and tags with M (BMES)")
    if "I" not in prefixes and prefixes & set("MES"):
        return "BMES"
    return "BIOES" if prefixes & set("ES") else "BIO"


def scheme_tags(labels: Iterable[str], scheme: str = "BIOES", *, outside: bool = True) -> list[str]:
    """Return all tags of a scheme for a set of labels, sorted by label, O first if `outside`."""
    inside = [prefix for prefix in _prefixes(scheme) if prefix != OUTSIDE]
    return [OUTSIDE] * outside + [_tag(prefix, label) for label in sorted(set(labels)) for prefix in inside]


def spans_to_tags(spans: Iterable[Span], length: int, scheme: str = "BIOES") -> list[str]:
    """Convert spans to one tag per character; characters outside spans get O.

    Args:
        spans: Spans in any order.
        length: Characters of the text.
        scheme: BIO, BIOES or BMES.

    Raises:
        ValueError: A span is empty or outside the text, two spans overlap, or the scheme is unknown.
    """
    prefixes = _prefixes(scheme)
    middle = "M" if scheme == "BMES" else "I"
    closing, single = ("E", "S") if "E" in prefixes else (middle, "B")
    tags = [OUTSIDE] * length
    last_end = 0
    for span in sorted(spans, key=lambda span: span.start):
        if not last_end <= span.start < span.end <= length:
            raise ValueError(f"expected spans inside of {length} characters that do not overlap, found {span}")
        size = span.end - span.start
        if size == 1:
            tags[span.start] = _tag(single, span.label)
        else:
            tags[span.start] = _tag("B", span.label)
            tags[span.start + 1 : span.end - 1] = [_tag(middle, span.label)] * (size - 2)
            tags[span.end - 1] = _tag(closing, span.label)
        last_end = span.end
    return tags


def tags_to_spans(tags: Sequence[str], scheme: str = "BIOES", repairs: RepairCount | None = None) -> list[Span]:
    """Convert tags to spans, leniently.

    A continuation tag after a span of another label, or after no span, begins a new span (as in conlleval). If the
    scheme marks ends, a span may also end without an end tag. These repairs are counted in `repairs`.

    Raises:
        ValueError: A string is not a tag of the scheme.
    """
    prefixes = _prefixes(scheme)
    kinds = sorted(set(tags))
    for tag in kinds:
        if split_tag(tag)[0] not in prefixes:
            raise ValueError(f"expected a tag of the scheme {scheme}, found {tag!r}")
    ids = {tag: index for index, tag in enumerate(kinds)}
    table = TagTable.build(kinds)
    found = np.array([ids[tag] for tag in tags], dtype=np.int64)
    if repairs is not None:
        count_repairs(found, table, repairs, strict="E" in prefixes)
    starts, ends, labels = (column.tolist() for column in spans_from_ids(found, table))
    return [Span(start, end, table.labels[label]) for start, end, label in zip(starts, ends, labels, strict=True)]


def spans_from_ids(tag_ids: Ints, table: TagTable, first: Bools | None = None) -> tuple[Ints, Ints, Ints]:
    """Convert an array of tags to spans, as leniently as `tags_to_spans`.

    Args:
        tag_ids: Tag ids, shape (length,), dtype int64.
        table: Table of the tags.
        first: For concatenated texts, whether each character is the first of a text, shape (length,), dtype bool. No
            span crosses texts.

    Returns:
        Starts, ends (exclusive) and label ids, each of shape (spans,), dtype int64, in order.
    """
    apart = ~_joined(tag_ids, table, first)
    labels = table.label_ids[tag_ids]
    inside = labels >= 0
    starts, lasts = (inside & apart[:-1]).nonzero()[0], (inside & apart[1:]).nonzero()[0]
    return starts, lasts + 1, labels[starts]


def count_repairs(
    tag_ids: Ints, table: TagTable, repairs: RepairCount, *, first: Bools | None = None, strict: bool | None = None
) -> Ints:
    """Count the characters at which a tag sequence violates its scheme.

    Args:
        tag_ids: Tag ids, shape (length,), dtype int64.
        table: Table of the tags.
        repairs: Counts, which are increased.
        first: Whether each character is the first of a text, see `spans_from_ids`.
        strict: Whether the scheme marks ends; by default `table.strict`.

    Returns:
        The positions of these characters, shape (defects,), dtype int64.
    """
    joined = _joined(tag_ids, table, first)
    no_begin = np.flatnonzero(table.continues[tag_ids] & ~joined[:-1])
    no_end = no_begin[:0]
    if table.strict if strict is None else strict:
        no_end = np.flatnonzero(table.opens[tag_ids] & ~joined[1:])
    for reason, found in ((NO_BEGIN, no_begin), (NO_END, no_end)):
        if len(found):
            repairs[reason] += len(found)
    return np.unique(np.concatenate([no_begin, no_end]))


def ids_from_spans(spans: Sequence[Span], length: int, table: TagTable) -> Ints:
    """Convert spans, in order and without overlap, to an array of tag ids.

    Returns:
        Tag ids, shape (length,), dtype int64; `table.outside_id` (-1 if there is no O) outside spans.

    Raises:
        InputError: A label has no tag in the table.
    """
    ids = np.full(length, table.outside_id, dtype=np.int64)
    if not spans:
        return ids
    known = _label_index(table.labels)
    try:
        rows = np.array([(span.start, span.end, known[span.label]) for span in spans], dtype=np.int64)
    except KeyError as error:
        raise InputError(
            "unknown_label",
            "expected one of the labels {known}, found '{label}'; train with the label or leave it out.",
            known=", ".join(table.labels),
            label=error.args[0],
        ) from error
    starts, ends, labels = rows.T
    sizes = ends - starts
    before = np.cumsum(sizes) - sizes
    inside = np.arange(sizes.sum()) + np.repeat(starts - before, sizes)
    ids[inside] = np.repeat(table.tag_ids[labels, 1], sizes)
    ids[ends - 1] = table.tag_ids[labels, 2]
    ids[starts] = np.where(sizes == 1, table.tag_ids[labels, 3], table.tag_ids[labels, 0])
    return ids


def allowed_transitions(tags: Sequence[str]) -> tuple[Bools, Bools, Bools]:
    """Return the transitions that the scheme of a tag set allows. If E or S occurs, spans must have end tags.

    Returns:
        Whether each tag (column) may follow another (row), shape (tags, tags), and whether it may be the first and the
        last of a sequence, each of shape (tags,); dtype bool.
    """
    table = TagTable.build(tags)
    if table.strict:
        part = ~table.opens[:, None] & ~table.continues[None, :]
        return table.joins | part, ~table.continues, ~table.opens
    part = np.broadcast_to(~table.continues[None, :], table.joins.shape)
    return table.joins | part, ~table.continues, np.ones(len(tags), dtype=bool)


def _joined(tag_ids: Ints, table: TagTable, first: Bools | None) -> Bools:
    """Return whether each character continues the span of the previous one, (length + 1,); False at the end."""
    joined = np.zeros(len(tag_ids) + 1, dtype=np.bool_)
    joined[1:-1] = table.joins[tag_ids[:-1], tag_ids[1:]]
    if first is not None:
        joined[:-1] &= ~first
    return joined


def _prefixes(scheme: str) -> str:
    try:
        return SCHEMES[scheme]
    except KeyError:
        raise ValueError(f"expected one of the schemes {', '.join(SCHEMES)}, found {scheme!r}") from None


def _tag(prefix: str, label: str) -> str:
    return f"{prefix}-{label}" if label else prefix


@lru_cache(maxsize=64)
def _label_index(labels: tuple[str, ...]) -> dict[str, int]:
    return {label: index for index, label in enumerate(labels)}


_PKU = """
n 名词 noun
nr 人名 name of a person
ns 地名 name of a place
nt 机构名 name of an organisation
nz 其他专名 other name
nx 外文字符 foreign letters
t 时间词 word of time
s 处所词 word of place
f 方位词 word of direction
v 动词 verb
vd 副动词 verb as adverb
vn 名动词 verb as noun
a 形容词 adjective
ad 副形词 adjective as adverb
an 名形词 adjective as noun
b 区别词 distinguishing word
z 状态词 word of state
d 副词 adverb
m 数词 numeral
q 量词 classifier
r 代词 pronoun
p 介词 preposition
c 连词 conjunction
u 助词 particle
y 语气词 modal particle
e 叹词 interjection
o 拟声词 onomatopoeia
i 成语 idiom
l 习用语 set phrase
j 简称 abbreviation
h 前接成分 prefix
k 后接成分 suffix
w 标点符号 punctuation
x 非语素字 non-morpheme
Ng 名语素 noun morpheme
Tg 时语素 time morpheme
Vg 动语素 verb morpheme
Ag 形语素 adjective morpheme
Bg 区别语素 distinguishing morpheme
Dg 副语素 adverb morpheme
Mg 数语素 numeral morpheme
Rg 代语素 pronoun morpheme
Yg 语气语素 modal morpheme
"""
_UNIVERSAL = """
NOUN 名词 noun
PROPN 专有名词 proper noun
VERB 动词 verb
AUX 助动词 auxiliary
ADJ 形容词 adjective
ADV 副词 adverb
NUM 数词 numeral
PRON 代词 pronoun
DET 限定词 determiner
ADP 介词 adposition
CCONJ 并列连词 coordinating conjunction
SCONJ 从属连词 subordinating conjunction
PART 助词 particle
INTJ 叹词 interjection
PUNCT 标点符号 punctuation
SYM 符号 symbol
X 其他 other
"""
_ENTITIES = """
PER 人名 person
LOC 地名 place
ORG 机构名 organisation
GPE 行政区 country, city or region
"""


def _table(text: str) -> dict[str, tuple[str, str]]:
    rows = [line.split(" ", 2) for line in text.strip().splitlines()]
    return {tag: (chinese, english) for tag, chinese, english in rows}


POS_NAMES = {**_table(_PKU), **_table(_UNIVERSAL)}
"""Part-of-speech tag -> description in Chinese and in English, PKU standard first, then Universal Dependencies."""
ENTITY_NAMES = _table(_ENTITIES)
"""Entity label -> description in Chinese and in English."""


def explain(tag: str, language: str | None = None) -> str:
    """Return a short description of a part-of-speech tag or entity label.

    Args:
        tag: A label such as `nr`, `PROPN` or `PER`, or the tag of a character such as `B-nr`.
        language: `zh` or `en`; by default that of the user, see `zhseq.errors.user_language`.

    Raises:
        InputError: The label is not one of the models shipped with zhseq.
        TypeError: `tag` is not a `str`.
    """
    if not isinstance(tag, str):
        raise TypeError(f"expected a tag of type str, but got {type(tag).__name__}")
    names = {**ENTITY_NAMES, **POS_NAMES}
    label = tag[2:] if tag[1:2] == "-" else tag
    if label not in names:
        raise InputError(
            "no_explanation",
            "there is no explanation of '{tag}', only of {known}",
            tag=tag,
            known=", ".join(names),
        )
    chinese, english = names[label]
    return chinese if (language or user_language()) == "zh" else english
