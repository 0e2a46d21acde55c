"""What the tagger finds in a text, words, parts of speech and entities, and how it is shown and explained to people.

Parts of speech are explained in the order in which a legend shows them: those of the PKU standard, then of Universal
Dependencies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from zhseq.errors import InputError, user_language
from zhseq.text.tags import TASKS


class Word(NamedTuple):
    """A word: `text == document.text[start:end]`, in code points."""

    text: str
    start: int
    end: int
    pos: str
    """Part of speech; empty for a model that only finds words."""
    score: float | None = None
    """Probability of the least certain of its characters' tags; only on request."""


class Entity(NamedTuple):
    """A named entity: `text == document.text[start:end]`, in code points."""

    text: str
    start: int
    end: int
    label: str
    score: float | None = None
    """As for `Word`."""


@dataclass(frozen=True, slots=True)
class Document:
    """A text with its words and entities, each in order and without overlap. The words cover all but the blanks.

    As a string it is the tagged text: `[江/nr 泽民/nr]PER 在/p [北京/ns]LOC`.
    """

    text: str
    words: tuple[Word, ...]
    entities: tuple[Entity, ...]
    alternatives: tuple[Document, ...] = ()
    """The n best readings of words and entities together, the best first; only on request."""

    def __str__(self) -> str:
        return tagged_text(self, TASKS if self.words else ("ner",))


def tagged_text(document: Document, tasks: Sequence[str]) -> str:
    """Return `江/nr 泽民/nr`, with entities in brackets, for people; blanks of the text are not shown.

    Args:
        document: The text and what was found in it.
        tasks: What to show. Without `pos`, the text between entities is shown as it is.
    """
    if "pos" in tasks:
        return " ".join(_bracketed_words(document, "ner" in tasks))
    pieces, position = [], 0
    for entity in document.entities:
        pieces += document.text[position : entity.start].split()
        inside = " ".join(document.text[entity.start : entity.end].split())
        pieces.append(f"[{inside}]{entity.label}{_score(entity)}")
        position = entity.end
    pieces += document.text[position:].split()
    return " ".join(pieces)


def _bracketed_words(document: Document, with_entities: bool) -> list[str]:
    """Put brackets around the words that an entity touches; of two entities in one word the first is shown."""
    shown = []
    for word in document.words:
        text = " ".join(word.text.split())
        shown.append((f"{text}/{word.pos}" if word.pos else text) + _score(word))
    index = 0
    for entity in document.entities if with_entities else ():
        while index < len(shown) and document.words[index].end <= entity.start:
            index += 1
        first = index
        while index < len(shown) and document.words[index].start < entity.end:
            index += 1
        if index > first:
            shown[first] = "[" + shown[first]
            shown[index - 1] += f"]{entity.label}{_score(entity)}"
    return shown


def _score(part: Word | Entity) -> str:
    return "" if part.score is None else f":{part.score:.3f}"


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
"""Part of speech -> its name in Chinese and in English."""
ENTITY_NAMES = _table(_ENTITIES)
"""Kind of name -> likewise."""


def explain(tag: str, language: str | None = None) -> str:
    """Say what a part of speech, a kind of entity or a tag of one of its characters means.

    Args:
        tag: `nr`, `PROPN` or `PER`; as a tag of a character, `B-nr`, it is explained by its label.
        language: `zh` or `en`; by default that of the user, see `zhseq.errors.user_language`.

    Raises:
        InputError: There is no such tag among those of the models that come with zhseq.
        TypeError: The tag is no `str`.
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
