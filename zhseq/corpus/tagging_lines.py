"""Readers of line formats: segmented and tagged text, columns of tokens and tags, CoNLL-U, parallel files.

The PFR corpus, `word/tag` text and segmented text have one text per line; columns and CoNLL-U one token per line.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from zhseq.corpus.tagging_base import Source, TaggedText, join_tokens, longest_first, note_long_texts, without_bilou
from zhseq.errors import CorpusError, Message
from zhseq.text.tags import OUTSIDE, Ints, Span, TagTable, count_repairs, detect_scheme, spans_from_ids, split_tag

PARAGRAPH_ID = re.compile(r"(\d{8}-\d+-\d+)-\d+/m$")

PKU_ENTITIES = {"nr": "PER", "ns": "LOC", "nt": "ORG"}
"""Part-of-speech tag of a name (or label of a compound) in the PKU standard -> entity label."""
_PKU_SLIPS = {"vvn": "vn", "na": "ns"}
"""Misprinted tag in the PFR corpus -> correction."""
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
"""First characters of a given name of one rare character, which is written by its components: 余 （申音）."""

_SLIP = "misprinted tag"
_OPEN = "bracket without its partner"


def read_pfr(source: Source) -> Iterator[TaggedText]:
    """Read the PFR corpus: one paragraph per line, `word/tag` between blanks, compounds as `[word/tag word/tag]nt`.

    Words are those inside the brackets. Entities are compounds labelled nt or ns, and other words tagged nr, ns or nt;
    surname and given name, two words in this corpus, are one entity. The document is named by the id of the paragraph;
    in a file without ids each line is a document.
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
    """Read `word/tag` between blanks, with entities as `[word/tag word/tag]PER`, the output of `python -m zhseq.tag`.

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
    """Read words separated by blanks, one text per line, as in the SIGHAN 2005 data sets."""
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
    opened: list[int] = []  # for each open bracket, the index of the first word in it
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
                "words with tags like 希望/n instead of {token}",
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
                compounds.pop()  # nested in the compound that ends here
            compounds.append(Span(start, position, label))
    if opened:
        source.repairs[_OPEN] += len(opened)
    return "".join(pieces), words, compounds


def _pku_entities(text: str, words: list[Span], compounds: list[Span]) -> Iterator[Span]:
    """Yield the entities of a paragraph in order: compounds, and names of one or two words outside of them."""
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
    """Join surnames and given names in a sequence of adjacent nr words."""
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


_POSITION = re.compile(r".+[0-9]$")
_ENTITY = re.compile(r"(.+):(\d+)-(\d+)$")
_CONLLU_COLUMNS = 10
DOCUMENT_START = re.compile(r"-DOCSTART-(\s|,|$)")
"""Beginning of a line that is not a token but marks the start of a document, as in CoNLL 2003."""

PARTNERS = {"source.txt": "target.txt"}
"""Name of a text file -> name of its tag file; that of any other `NAME.txt` is `NAME-label.txt`."""
_LENGTHS = "text and tags of different length, left out"


def is_tag(text: str) -> bool:
    """Return whether a text is a tag like B-PER or O."""
    try:
        split_tag(text)
    except ValueError:
        return False
    return True


def are_turned(first: str, last: str) -> bool:
    """Return whether the first of two columns is a tag like B-PER or O, and the last is not."""
    return is_tag(first) and not is_tag(last)


_NAMES = (
    "char chars character characters token tokens word words text form sentence sentence_id sent_id id tag tags label "
    "labels bio pos upos xpos ner ner_tag ner_tags entity 字 字符 词 词语 文本 句子 标签 标注 词性 实体"
)
_NAMES_OF_COLUMNS = frozenset(_NAMES.split())
_HAN = "[\u3400-\u9fff]"


def header_of(lines: Sequence[str]) -> int:
    """Return 1 if the first line is a header with column names, else 0."""
    names = re.split(r"[\s,;|]+", lines[0].strip().lower()) if lines else []
    names = [name.strip("\"'#") for name in names]
    return int(len(names) > 1 and all(name in _NAMES_OF_COLUMNS for name in names if name))


def read_columns(source: Source) -> Iterator[TaggedText]:
    """Read columns: the first is a character or word, the last a tag; columns in between are ignored.

    Columns are separated by tabs, blanks, or commas if all lines have the form `character,tag`. Texts are separated by
    empty lines, documents by `-DOCSTART-` lines. Tags of a scheme (B-PER, M-PER, O ...) mark entities, or words if they
    have no label, or if they are BMES tags without O. Other tags are the parts of speech of words.
    """
    lines = [line.rstrip() for line in source.lines]
    borders = [index for index, line in enumerate(lines) if DOCUMENT_START.match(line)]
    for index in borders:
        lines[index] = ""
    filled = [index for index, line in enumerate(lines) if line]
    if filled and header_of([lines[filled[0]]]):
        _note_header(source, filled.pop(0))
    if not filled:
        return
    separator = _separator([lines[index] for index in filled])
    _check_columns(source, lines, filled, separator)
    rows = [lines[index].rpartition(separator) for index in filled]
    tokens, tags = [row[0] for row in rows], [row[2] for row in rows]
    if "" in tokens:
        raise source.error(filled[tokens.index("")], Message("a_character_and_tag", "a character and its tag"))
    tokens = [token.split(separator, 1)[0] or token[0] for token in tokens]
    if separator == " ":
        tokens = [token.strip() or token for token in tokens]
    starts = np.flatnonzero(np.diff(np.array(filled), prepend=-2) > 1)
    tags = without_bilou(tags)
    if any("-" in token for token in tokens) and all(map(are_turned, tokens, tags)):
        raise source.error(filled[0], Message("character_before_tag", "a character and its tag, in this order"))
    if sum(count for tag, count in Counter(tags).items() if is_tag(tag)) * 2 > len(tags):
        texts = list(_read_scheme(source, filled, _without_positions(tokens), tags, starts))
    else:
        edges = zip(starts.tolist(), [*starts[1:].tolist(), len(tokens)], strict=True)
        texts = [_words(tokens[begin:end], tags[begin:end], source.document(filled[begin])) for begin, end in edges]
    note_long_texts(source, texts)
    if borders:
        owners = np.searchsorted(borders, np.array(filled)[starts]).tolist()
        texts = [replace(text, document=f"{source.name}#{owner}") for text, owner in zip(texts, owners, strict=True)]
    yield from texts


def _note_header(source: Source, index: int) -> None:
    source.notes.append(
        Message(
            "names_of_columns",
            "{name}: line {line} contains column names ({found}) and is skipped",
            {"name": source.name, "line": index + 1, "found": " ".join(source.lines[index].split())},
        )
    )


def _check_columns(source: Source, lines: Sequence[str], filled: Sequence[int], separator: str) -> None:
    """Note lines whose number of columns differs from that of the first line.

    Raises:
        CorpusError: A line has several characters with their tags, or a number precedes the characters.
    """
    if {lines[index].count(separator) for index in filled} == {1}:
        return
    rows = [lines[index].split(None if separator == " " else separator) for index in filled]
    for index, row in zip(filled, rows, strict=True):
        if any("-" in tag and is_tag(tag) and re.search(_HAN, after) for tag, after in pairwise(row[1:])):
            raise source.error(index, Message("one_pair_a_line", "one character and its tag on a line"))
    if all(len(row) > 2 and row[0].isdigit() for row in rows) and any(re.search(_HAN, row[1]) for row in rows):
        raise source.error(filled[0], Message("no_number_first", "a character and its tag without a number in front"))
    widths = [len(row) for row, index in zip(rows, filled, strict=True)]
    others = [index for index, width in zip(filled, widths, strict=True) if width not in (1, widths[0])]
    if others:
        source.notes.append(
            Message(
                "other_columns",
                "{name}: {count} of {total} lines have a different number of columns than the first "
                "line, for example line {line} ({found}); the first and the last column are read",
                {
                    "name": source.name,
                    "count": len(others),
                    "total": len(rows),
                    "line": others[0] + 1,
                    "found": repr(lines[others[0]][:60]),
                },
            )
        )


def _separator(lines: Sequence[str]) -> str:
    """Return the column separator."""
    if "\t" in lines[0]:
        return "\t"
    return "," if has_commas(lines) else " "


def has_commas(lines: Sequence[str]) -> bool:
    """Return whether lines are comma-separated columns, the last of which has tags like B-PER."""
    rows = [line.rpartition(",") for line in lines]
    return all(token for token, _, _ in rows) and all(map(is_tag, set(without_bilou([tag for _, _, tag in rows]))))


def _words(tokens: Sequence[str], tags: Sequence[str], document: str) -> TaggedText:
    """Create a text from words and part-of-speech tags."""
    pieces = join_tokens(tokens)
    ends = np.cumsum([len(piece) for piece in pieces]).tolist()
    spans = tuple(Span(end - len(token), end, tag) for token, end, tag in zip(tokens, ends, tags, strict=True))
    return TaggedText("".join(pieces), spans, None, document)


def _without_positions(tokens: list[str]) -> list[str]:
    """Remove the position in the word that some corpora append to every character (`科0 技1`)."""
    if not all(map(_POSITION.match, tokens)):
        return tokens
    return [token[0] + token[1:].rstrip("0123456789") for token in tokens]


def _read_scheme(
    source: Source, filled: list[int], tokens: list[str], tags: list[str], starts: Ints
) -> Iterator[TaggedText]:
    """Convert the tags of all texts to spans at once, and yield the texts.

    Args:
        source: The file.
        filled: Line index of each token.
        tokens: Characters or words.
        tags: Tag of each token.
        starts: Index of the first token of each text.
    """
    kinds = sorted(set(tags))
    for tag in kinds:
        if not is_tag(tag):
            expected = Message("a_tag_at_the_end", "a tag like B-PER, I-PER, E-PER, S-PER or O at the end")
            raise source.error(filled[tags.index(tag)], expected)
    try:
        scheme = detect_scheme(kinds)
    except ValueError as error:
        raise CorpusError("mixed_schemes", "{name}: {error}.", name=source.name, error=error) from error
    table = TagTable.build(kinds)
    numbers = {tag: index for index, tag in enumerate(kinds)}
    ids = np.fromiter((numbers[tag] for tag in tags), dtype=np.int64, count=len(tags))
    first = np.zeros(len(ids), dtype=bool)
    first[starts] = True
    count_repairs(ids, table, source.repairs, first=first)
    # Restore blanks between Latin words, but not if the tokens are characters.
    characters = sum(len(token) == 1 for token in tokens) * 10 > 9 * len(tokens)
    pieces = tokens if characters else _joined_texts(tokens, starts)
    ends = np.cumsum([len(piece) for piece in pieces])
    begins = ends - np.array([len(token) for token in tokens])
    text_begins = (ends - np.array([len(piece) for piece in pieces]))[starts]
    span_first, span_end, label_ids = spans_from_ids(ids, table, first)
    owner = np.searchsorted(starts, span_first, side="right") - 1
    columns = (begins[span_first] - text_begins[owner], ends[span_end - 1] - text_begins[owner], label_ids)
    spans = [Span(start, end, table.labels[k]) for start, end, k in zip(*(c.tolist() for c in columns), strict=True)]
    as_words = table.labels == ("",) or (scheme == "BMES" and OUTSIDE not in kinds)
    bounds = np.searchsorted(owner, np.arange(len(starts) + 1)).tolist()
    edges = [*starts.tolist(), len(pieces)]
    for index, begin in enumerate(edges[:-1]):
        own = tuple(spans[bounds[index] : bounds[index + 1]])
        text = "".join(pieces[begin : edges[index + 1]])
        document = source.document(filled[begin])
        yield TaggedText(text, own if as_words else None, None if as_words else own, document)


def _joined_texts(tokens: list[str], starts: Ints) -> list[str]:
    edges = [*starts.tolist(), len(tokens)]
    return [piece for begin, end in pairwise(edges) for piece in join_tokens(tokens[begin:end])]


def read_conllu(source: Source, *, column: int = 3) -> Iterator[TaggedText]:
    """Read CoNLL-U (or CoNLL-X): words with UPOS, the text from `# text` or `SpaceAfter=No`, entities from MISC.

    Entities are written as `Entity=LABEL:START-END` at their first word, as by `python -m zhseq.tag`.

    Args:
        source: The file.
        column: Index of the column with the label: 3 for UPOS, 4 for XPOS.
    """
    spaced = any("SpaceAfter=No" in line for line in source.lines)
    with_entities = any("Entity=" in line for line in source.lines)
    _note_empty_column(source, column)
    rows: list[list[str]] = []
    text, document, covered, begin = None, source.document(0), 0, 0
    own_documents = not any(line.startswith("# newdoc") for line in source.lines)
    for index, line in enumerate([*source.lines, ""]):
        if line.startswith("#"):
            key, _, value = line[1:].partition(" = ")
            if key.strip() == "text":
                text = value
            elif key.strip().startswith("newdoc"):
                document = value or source.document(index)
        elif line.strip():
            fields = line.split("\t")
            if len(fields) != _CONLLU_COLUMNS or not fields[1].strip() or not re.match(r"\d+([-.]\d+)?$", fields[0]):
                raise source.error(
                    index, Message("ten_columns", "a number, a word and eight more columns separated by tabs (CoNLL-U)")
                )
            begin = begin or index + 1
            if "-" in fields[0]:
                covered = int(fields[0].split("-")[1])
                rows.append(fields)
            elif "." not in fields[0] and int(fields[0]) > covered:
                rows.append(fields)
        else:
            if rows:
                name = source.document(begin - 1) if own_documents else document
                yield _conllu_text(source, index, rows, (text, spaced, with_entities, column), name)
            rows, text, covered, begin = [], None, 0, 0


def _note_empty_column(source: Source, column: int) -> None:
    """Add a note if only the other one of the two columns for part-of-speech tags is filled."""
    other = 7 - column  # 3 and 4
    fields = [line.split("\t", 5) for line in source.lines[:1000] if line[:1].isdigit()]
    rows = [row for row in fields if len(row) == 6]
    if rows and all(row[column] == "_" for row in rows) and any(row[other] != "_" for row in rows):
        source.notes.append(
            Message(
                "empty_column",
                "{name}: column {column} contains no parts of speech, but column {other} does; use "
                "<format={format}> to read it",
                {
                    "name": source.name,
                    "column": column + 1,
                    "other": other + 1,
                    "format": "conllu" if other == 3 else "conllu-xpos",
                },
            )
        )


def _conllu_text(
    source: Source, index: int, rows: list[list[str]], how: tuple[str | None, bool, bool, int], document: str
) -> TaggedText:
    """Create a text from the rows of a sentence."""
    text, spaced, with_entities, column = how
    forms = [row[1] for row in rows]
    if text is None:
        ends = ["" if "SpaceAfter=No" in row[9] else " " for row in rows]
        pieces = [form + end for form, end in zip(forms, ends, strict=True)] if spaced else join_tokens(forms)
        text = "".join(pieces).rstrip(" ")
    words, position = [], 0
    for form, row in zip(forms, rows, strict=True):
        start = text.find(form, position)
        if start < 0 or text[position:start].strip():
            raise source.error(index - 1, _words_of_text(form))
        position = start + len(form)
        words.append(Span(start, position, row[column] if row[column] != "_" else ""))
    entities = None
    if with_entities:
        marks = [
            mark
            for row in rows
            for field in row[9].split("|")
            if field.startswith("Entity=")
            for mark in field[7:].split(",")
        ]
        found = [Span(int(m[2]), int(m[3]), m[1]) for m in map(_ENTITY.match, marks) if m]
        if any(not span.start < span.end <= len(text) for span in found):
            expected = Message("entities_inside", "entities within the text of the sentence that ends here")
            raise source.error(index - 1, expected)
        entities = longest_first(found, source.repairs)
    return TaggedText(text, tuple(words), entities, document)


_UNER_LABELS = ("PER", "LOC", "ORG")
_UNER_OTHER = "label beside PER, LOC and ORG, left out"


def read_uner(source: Source) -> Iterator[TaggedText]:
    """Read the files of Universal NER: number, word, IOB2 tag and two more columns; `# text` contains the sentence.

    Only entities are read, because the words are those of the underlying treebank.

    Source: Mayhew et al. (2024), "Universal NER".
    """
    document, text = source.document(0), ""
    words: list[str] = []
    tags: list[str] = []
    for index, line in enumerate([*source.lines, ""]):
        key, _, value = line.removeprefix("#").partition("=")
        if line.startswith("#"):
            document = value.strip() if key.strip() == "newdoc id" else document
            text = value.strip() if key.strip() == "text" else text
        elif line.strip():
            fields = line.split("\t")
            if len(fields) < 3 or not fields[0].isdigit() or not is_tag(fields[2]):
                expected = Message("three_columns", "a number, a word and a tag like B-PER separated by tabs")
                raise source.error(index, expected)
            words.append(fields[1])
            tags.append(fields[2])
        elif words:
            yield TaggedText(text, None, _uner_entities(source, index, text, words, tags), document)
            words, tags = [], []


def _uner_entities(source: Source, index: int, text: str, words: list[str], tags: list[str]) -> tuple[Span, ...]:
    """Locate the words in the text, and join the words of each entity."""
    entities: list[Span] = []
    position, inside = 0, False
    for word, tag in zip(words, tags, strict=True):
        start = text.find(word, position)
        if start < 0 or text[position:start].strip():
            raise source.error(index - 1, _words_of_text(word))
        position = start + len(word)
        prefix, label = split_tag(tag)
        kept = label in _UNER_LABELS
        source.repairs[_UNER_OTHER] += int(prefix == "B" and not kept)
        if kept and prefix == "I" and inside and entities[-1].label == label:
            entities[-1] = Span(entities[-1].start, position, label)
        elif kept:
            entities.append(Span(start, position, label))
        inside = kept
    source.repairs += Counter()  # removes zero counts
    return tuple(entities)


def _words_of_text(word: str) -> Message:
    return Message(
        "words_of_text",
        "words that make up the text of the sentence that ends here ({word} does not fit)",
        {"word": repr(word)},
    )


def partner(path: Path) -> Path:
    """Return the path of the tag file of a text file."""
    return path.with_name(PARTNERS.get(path.name, f"{path.stem}-label{path.suffix}"))


def read_parallel(source: Source, tags: Source) -> Iterator[TaggedText]:
    """Read texts as characters separated by blanks, and their tags from the same lines of a second file."""
    if len(source.lines) != len(tags.lines):
        raise CorpusError(
            "other_length",
            "{name}: expected {wanted} lines as in {text}, found {found}.",
            name=tags.name,
            wanted=len(source.lines),
            text=source.name,
            found=len(tags.lines),
        )
    tokens: list[str] = []
    labels: list[str] = []
    lines: list[int] = []
    starts: list[int] = []
    for index, (text_line, tag_line) in enumerate(zip(source.lines, tags.lines, strict=True)):
        own, own_labels = text_line.split(), tag_line.split()
        if len(own) != len(own_labels):
            source.repairs[_LENGTHS] += 1
        elif own:
            starts.append(len(tokens))
            tokens += own
            labels += own_labels
            lines += [index] * len(own)
    labels = without_bilou(labels)
    for label in sorted(set(labels)):
        if not is_tag(label):
            expected = Message(
                "tags_of_a_scheme", "tags like B-PER, I-PER or O instead of {label}", {"label": repr(label)}
            )
            raise tags.error(lines[labels.index(label)], expected)
    if tokens:
        yield from _read_scheme(source, lines, tokens, labels, np.array(starts))
