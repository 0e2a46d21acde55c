"""Readers of running text cut into words: the PFR corpus, `word/tag` text, segmented text."""

from __future__ import annotations

import re
from collections.abc import Iterator

from zhseq.corpus.tagging_base import Source, TaggedText
from zhseq.errors import Message
from zhseq.text.tags import Span

PARAGRAPH_ID = re.compile(r"(\d{8}-\d+-\d+)-\d+/m$")

PKU_ENTITIES = {"nr": "PER", "ns": "LOC", "nt": "ORG"}
"""Parts of speech (and labels of compounds) of the PKU standard that are names -> label of the entity."""
_PKU_SLIPS = {"vvn": "vn", "na": "ns"}
"""Misprints in the PFR corpus -> what is meant."""
_TWO_CHARACTER_SURNAMES = frozenset(
    map(
        "".join,
        zip(
            "欧司司诸上夏皇尉公慕令宇长东端百呼南西独赫轩钟澹",
            "阳马徒葛官侯甫迟孙容狐文孙方木里延宫门孤连辕离台",
            strict=True,
        ),
    )
)
_COMPOSED = "〈（"
"""Begins a given name of one rare character, spelled by its parts: 余 （申音）."""

_SLIP = "misprinted tag"
_OPEN = "bracket without its partner"


def read_pfr(source: Source) -> Iterator[TaggedText]:
    """Read the PFR corpus: one paragraph a line, `word/tag` between blanks, `[word/tag word/tag]nt` compounds.

    Words are those inside the brackets. Entities are compounds (nt, ns) and else words tagged nr, ns, nt; a surname and
    the given name after it, two words in this corpus, are one entity. The paragraph's id names the document; a file
    without ids has a document on each line.
    """
    document = ""
    for index, line in enumerate(source.lines):
        tokens = line.split()
        if not tokens:
            continue
        if found := PARAGRAPH_ID.match(tokens[0]):
            document = found[1]
            del tokens[0]
        text, words, compounds = _read_tokens(source, index, tokens)
        if text:
            yield TaggedText(
                text, tuple(words), tuple(_pku_entities(text, words, compounds)), document or source.document(index)
            )


def read_slashed(source: Source) -> Iterator[TaggedText]:
    """Read `word/tag` between blanks, with entities as `[word/tag word/tag]PER`: what `python -m zhseq.tag` prints.

    Entities are None for all texts of a file without brackets.
    """
    rows = []
    for index, line in enumerate(source.lines):
        if tokens := line.split():
            text, words, compounds = _read_tokens(source, index, tokens)
            rows.append((text, tuple(words), tuple(compounds), source.document(index)))
    with_entities = any(row[2] for row in rows)
    for text, spans, entities, document in rows:
        yield TaggedText(text, spans, entities if with_entities else None, document)


def read_segmented(source: Source) -> Iterator[TaggedText]:
    """Read words between blanks, one text a line, as in the SIGHAN 2005 sets."""
    for index, line in enumerate(source.lines):
        words, position = [], 0
        for token in line.split():
            words.append(Span(position, position + len(token), ""))
            position += len(token)
        if words:
            yield TaggedText("".join(line.split()), tuple(words), None, source.document(index))


def _read_tokens(source: Source, index: int, tokens: list[str]) -> tuple[str, list[Span], list[Span]]:
    """Read the tokens of one line.

    Returns:
        Text, words and outermost compounds.
    """
    words: list[Span] = []
    pieces: list[str] = []
    compounds: list[Span] = []
    opened: list[int] = []  # where the brackets that are open began, as indices of words
    position = 0
    for token in tokens:
        while token[0] == "[" and token[1:2] not in ("/", ""):
            token = token[1:]
            opened.append(len(words))
        word, slash, tag = token.rpartition("/")
        tag, *closed = tag.split("]")
        if not (word and slash and tag and all(closed)):
            expected = Message(
                "words_with_tags",
                "words with their tags like 希望/n, but {token} is not; the line",
                {"token": repr(token)},
            )
            raise source.error(index, expected)
        if tag in _PKU_SLIPS:
            tag = _PKU_SLIPS[tag]
            source.repairs[_SLIP] += 1
        words.append(Span(position, position + len(word), tag))
        pieces.append(word)
        position += len(word)
        for label in closed:
            if not opened:
                source.repairs[_OPEN] += 1
                continue
            start = words[opened.pop()].start
            while compounds and compounds[-1].start >= start:
                compounds.pop()  # inside of the one that closes now
            compounds.append(Span(start, position, label))
    if opened:
        source.repairs[_OPEN] += len(opened)
    return "".join(pieces), words, compounds


def _pku_entities(text: str, words: list[Span], compounds: list[Span]) -> Iterator[Span]:
    """Join compounds and names of one word or two; in order."""
    found = [Span(span.start, span.end, PKU_ENTITIES[span.label]) for span in compounds if span.label in PKU_ENTITIES]
    taken = [(span.start, span.end) for span in found]
    names = [word for word in words if word.label in PKU_ENTITIES]
    run: list[Span] = []
    for name in names:
        if any(start <= name.start < end for start, end in taken):
            continue
        if name.label != "nr":
            found.append(Span(name.start, name.end, PKU_ENTITIES[name.label]))
            continue
        if run and run[-1].end != name.start:
            found.extend(_join_names(text, run))
            run = []
        run.append(name)
    found.extend(_join_names(text, run))
    yield from sorted(found, key=lambda span: span.start)


def _join_names(text: str, run: list[Span]) -> Iterator[Span]:
    """Join surnames and given names in a run of neighbouring nr words."""
    sizes = [word.end - word.start for word in run]
    if len(run) == 3 and sizes == [1, 1, 2]:  # a married woman's name: 陈 方 安生
        yield Span(run[0].start, run[2].end, "PER")
        return
    index = 0
    while index < len(run):
        word = run[index]
        end = word.end
        if index + 1 < len(run) and (sizes[index + 1] <= 2 or text[run[index + 1].start] in _COMPOSED):
            surname = sizes[index] == 1 or text[word.start : word.end] in _TWO_CHARACTER_SURNAMES
            if surname or (len(run) == 2 and sizes[index] == 2):
                index += 1
                end = run[index].end
        yield Span(word.start, end, "PER")
        index += 1
