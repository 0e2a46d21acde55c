"""Read tagged corpora in any of the supported formats as texts with spans, and split them into train and dev."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from zhseq.corpus.registry import corpora_root, corpus_folder
from zhseq.corpus.tagging_base import Source, TaggedCorpus, TaggedText, without_bilou
from zhseq.corpus.tagging_json import read_cluener, read_dataset, read_detached, read_jsonl
from zhseq.corpus.tagging_lines import (
    DOCUMENT_START,
    PARAGRAPH_ID,
    are_turned,
    has_commas,
    header_of,
    is_tag,
    partner,
    read_columns,
    read_conllu,
    read_parallel,
    read_pfr,
    read_segmented,
    read_slashed,
    read_uner,
)
from zhseq.errors import ConfigError, CorpusError, InputError, Message
from zhseq.text.encoding import cut_lines, decode_text
from zhseq.text.normalize import normalize
from zhseq.text.tags import TASKS, RepairCount

__all__ = ["FORMATS", "TaggedCorpus", "TaggedText", "drop_repeats", "named_parts", "read_tagged", "split_dev"]

_READERS: dict[str, Callable[[Source], Iterator[TaggedText]]] = {
    "pfr": read_pfr,
    "text": read_slashed,
    "words": read_segmented,
    "columns": read_columns,
    "conllu": read_conllu,
    "conllu-xpos": partial(read_conllu, column=4),
    "uner": read_uner,
    "cluener": read_cluener,
    "jsonl": read_jsonl,
    "detached": read_detached,
}
FORMATS = ("auto", *_READERS, "parallel", "datasets")

_LONGEST_LABEL = 64
_SAMPLE = 200  # lines from which a format is detected
_SHARE = 0.9  # share of lines that must match a format; its reader reports the others
_SLASHED = re.compile(r"\S+/[A-Za-z]+(?:\][A-Za-z.]+)*$")
_COMPOUND = re.compile(r".+/[a-z]+\](?:nt|ns|nz|nr|i|l)$")
_CLUENER = re.compile(r'"label"\s*:\s*\{')  # our own format has labels, too, but as strings
_ARRAY = re.compile(r"\ufeff?\s*\[\s*\{\s*[\"}]")
_TURNED = re.compile(r"[A-Za-z]+/[^\sA-Za-z/]+$")
_SMALL_TAG = re.compile(r"[bimeslu]-\S+|o")
_PART_OF_SPEECH = re.compile("[A-Za-z]{1,8}")
_HAN = "[\u3400-\u9fff]"
_WITH_TAG = re.compile(rf"{_HAN}[\"']?[,;|_:/\\=#^]+[\"']?\w")
_BORDER = re.compile(r"[/|_\\^]+")
_MARKUP = re.compile(r"<[/!?]?[A-Za-z]|[\x00-\x08\x0e-\x1f\x7f]")
"""HTML, XML or control characters, which do not occur in segmented text."""
_UNCUT = re.compile(rf"{_HAN}{{10,}}|{_HAN}+[，。；！？].*{_HAN}")
_MUCH = 0.1  # share of such lines above which a file is not segmented text

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(?::\w+)?$")


@dataclass(frozen=True)
class _Part:
    """A part of a corpus of the registry.

    Attributes:
        path: File relative to the directory of the corpus, or a glob pattern for several files.
        format: One of `FORMATS`.
        begin: Index of the first text.
        end: Index of the end, exclusive, or None.
        block: Number of consecutive texts that are treated as one document, if upstream has no document borders.
    """

    path: str
    format: str
    begin: int = 0
    end: int | None = None
    block: int = 1


_GSD, _KYOTO = "ud_chinese_gsd", "ud_classical_chinese_kyoto"
_GSD_HALF = 3997  # sentences: the first half of the file is traditional, the second the same in simplified characters
_PARTS: dict[str, dict[str, _Part]] = {
    "pfr199801": {"train": _Part("199801.txt", "pfr")},
    _GSD: {
        "train": _Part("udpos_r2.5/train-zh.tsv", "columns", begin=_GSD_HALF),
        "dev": _Part("r2.5/zh_gsdsimp-ud-dev.conllu", "conllu"),
        "train-traditional": _Part("udpos_r2.5/train-zh.tsv", "columns", end=_GSD_HALF),
        "dev-traditional": _Part("r2.5/zh_gsd-ud-dev.conllu", "conllu"),
    },
    _KYOTO: {
        "train": _Part("lzh_kyoto-ud-train.conllu", "conllu"),
        "dev": _Part("lzh_kyoto-ud-dev.conllu", "conllu"),
    },
    "weibo_treebank": {"train": _Part("train.conll", "conllu"), "dev": _Part("dev.conll", "conllu")},
    "msra_ner": {"train": _Part("dh_msra.train.txt", "columns", block=100)},
    "weibo_ner": {
        f"{split}{suffix}": _Part(f"bmes/{split}.{kind}.bmes", "columns")
        for split in ("train", "dev")
        for suffix, kind in (("", "all"), ("-named", "ne"), ("-nominal", "nm"))
    },
    "resume_ner": {split: _Part(f"{split}.char.bmes", "columns") for split in ("train", "dev")},
    "cluener2020": {split: _Part(f"{split}.json", "cluener") for split in ("train", "dev")},
    "cclue_ner": {"train": _Part("source.txt", "parallel"), "dev": _Part("dev.txt", "parallel")},
    "modern_text": {split: _Part(f"{split}.jsonl", "jsonl") for split in ("train", "dev")},
    "modern_labels": {"train": _Part("modern_labels.jsonl", "detached")},
    "modern_written": {"train": _Part("modern_written.txt", "text")},
    "cnc_words": {"train": _Part("part_*.txt", "words")},
    "uner_gsdsimp": {split: _Part(f"{split}.iob2", "uner") for split in ("train", "dev")},
}


def named_parts() -> list[str]:
    """Return the names of all parts for `read_tagged`: `NAME` for the train part, and `NAME:PART`."""
    return [name if part == "train" else f"{name}:{part}" for name, parts in _PARTS.items() for part in parts]


def read_tagged(source: str | Path, *, format: str = "auto", task: str | None = None) -> TaggedCorpus:
    """Read tagged texts.

    Args:
        source: A file; a corpus of the registry, `msra_ner` (its train part) or `weibo_ner:dev`; or a Hugging Face
            data set, a folder or hub name, optionally with `:SPLIT`.
        format: One of `FORMATS`; `auto` detects it from the content.
        task: `pos` or `ner` if texts must have words or entities; other annotation is then dropped. By default all
            annotation is kept.

    Raises:
        ConfigError: Unknown format, task or part.
        CorpusError: The source is missing, empty, or a line is invalid (the message names file, line and what was
            expected).
    """
    if format not in FORMATS:
        raise ConfigError(
            "unknown_format",
            "Expected a format, one of {known}, found {format}.",
            known=", ".join(FORMATS),
            format=repr(format),
        )
    if task not in (None, *TASKS):
        raise ConfigError("unknown_task_of_texts", "Expected a task, pos or ner, found {task}.", task=repr(task))
    name, _, part_name = str(source).partition(":")
    if name in _PARTS and format == "auto" and not Path(source).exists():
        part = _find_part(name, part_name or "train")
        opened, texts = _read_files(corpus_folder(name, corpora_root()), part)
        texts = texts[part.begin : part.end]
        if part.block > 1:
            texts = [replace(text, document=f"{name}#{index // part.block}") for index, text in enumerate(texts)]
    else:
        opened, texts = _read(source, format)
    if not texts:
        raise CorpusError("no_tagged_texts", "{name}: expected tagged texts, found none.", name=opened.name)
    _check_labels(texts, opened.name)
    return TaggedCorpus(_for_task(texts, task, opened.name), opened.repairs, str(source), tuple(opened.notes))


def _check_labels(texts: Iterable[TaggedText], name: str) -> None:
    """Reject labels that are too long or not printable, because they are stored in checkpoints and shown."""
    labels = {span.label for text in texts for spans in (text.words, text.entities) for span in spans or ()}
    for label in sorted(labels):
        if len(label) > _LONGEST_LABEL or not label.isprintable():
            raise CorpusError(
                "strange_label",
                "{name}: expected labels of at most {most} printable characters, found {label}; is it a label?",
                name=name,
                most=_LONGEST_LABEL,
                label=repr(label[:_LONGEST_LABEL]),
            )


def split_dev(texts: Sequence[TaggedText], share: float, seed: int) -> tuple[list[TaggedText], list[TaggedText]]:
    """Split texts into train and dev set by whole documents, after removing duplicates.

    Args:
        texts: All texts.
        share: Share of the characters for the dev set, between 0 and 1.
        seed: Random seed of the split.

    Returns:
        Train and dev set, each in the order of `texts`. No text of one occurs in the other, in any script or width.
    """
    if not 0 < share < 1:
        raise ConfigError("impossible_share", "Expected a share between 0 and 1 for dev, found {share}.", share=share)
    unique = drop_repeats(texts)
    sizes: dict[str, int] = {}
    for text in unique:
        sizes[text.document] = sizes.get(text.document, 0) + len(text.text)
    documents = list(sizes)
    random.Random(seed).shuffle(documents)
    wanted, chosen = share * sum(sizes.values()), set()
    for document in documents:
        if wanted <= 0:
            break
        chosen.add(document)
        wanted -= sizes[document]
    return [t for t in unique if t.document not in chosen], [t for t in unique if t.document in chosen]


def drop_repeats(texts: Iterable[TaggedText], seen: Iterable[TaggedText] = ()) -> list[TaggedText]:
    """Remove duplicates, and texts that occur in `seen`, ignoring blanks, width and script; keep the first of each."""
    known = {_key(text) for text in seen}
    kept = []
    for text in texts:
        key = _key(text)
        if key not in known:
            known.add(key)
            kept.append(text)
    return kept


def _key(text: TaggedText) -> str:
    return "".join(normalize(text.text).split())


def _find_part(name: str, part: str) -> _Part:
    try:
        return _PARTS[name][part]
    except KeyError:
        raise ConfigError(
            "unknown_part",
            "Expected a part of {name}, one of {known}, found {part}.",
            name=name,
            known=", ".join(_PARTS[name]),
            part=repr(part),
        ) from None


def _read_files(folder: Path, part: _Part) -> tuple[Source, list[TaggedText]]:
    """Read all files of a part, sorted by name."""
    texts: list[TaggedText] = []
    repairs: RepairCount = Counter()
    notes: list[Message] = []
    for path in sorted(folder.glob(part.path)) or [folder / part.path]:
        source, found = _read(path, part.format)
        texts += found
        repairs += source.repairs
        notes += source.notes
    return replace(source, repairs=repairs, notes=notes), texts


def _read(path: str | Path, format: str) -> tuple[Source, list[TaggedText]]:
    """Read one file or data set."""
    file = Path(path)
    if format == "datasets" or (format == "auto" and _is_dataset(str(path))):
        source = Source(str(path), ())
        return source, list(read_dataset(str(path), source))
    source = _open(file)
    if format == "auto":
        format = _detect(source, file)
    if format == "parallel":
        return source, list(read_parallel(source, _open(partner(file))))
    return source, list(_READERS[format](source))


def _is_dataset(name: str) -> bool:
    """Return whether a name is a folder, or has the form of a hub name and is not a file."""
    path = Path(name)
    if path.is_file():
        return False
    if path.is_dir() or Path(name.rpartition(":")[0] or name).is_dir():
        return True
    return _HUB_NAME.match(name) is not None and path.suffix not in _FILE_SUFFIXES and not path.parent.is_dir()


_FILE_SUFFIXES = (".txt", ".tsv", ".json", ".jsonl", ".conll", ".conllu", ".bmes", ".bio", ".train", ".dev", ".test")


def _open(path: Path) -> Source:
    notes: list[Message] = []
    try:
        text = decode_text(path.read_bytes(), str(path), notes.append)
    except FileNotFoundError as error:
        raise CorpusError(
            "no_file_or_corpus",
            "{path}: expected a file, or one of the corpora {known}; found none.",
            path=path,
            known=", ".join(_PARTS),
        ) from error
    except InputError as error:
        raise CorpusError.of(error.message) from error
    except OSError as error:
        raise CorpusError(
            "unreadable_texts", "{path}: expected a file to read, but {reason}.", path=path, reason=error.strerror
        ) from error
    lines = _array(text, str(path)) or _lines(text)
    return Source(str(path), lines, notes=notes)


def _lines(text: str) -> list[str]:
    """Split a text into lines at line feeds and carriage returns, or at U+0085, U+2028 etc. if these are more."""
    lines = cut_lines(text)
    others = text.splitlines()
    return others if len(others) > 2 * len(lines) and not text.startswith("{") else lines


def _array(text: str, name: str) -> list[str]:
    """Return the objects of a JSON array, each as one line; an empty list for other texts.

    Raises:
        CorpusError: The array is invalid.
    """
    if not _ARRAY.match(text):
        return []
    try:
        records = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CorpusError(
            "broken_array",
            "{name}: expected a JSON array, but it cannot be parsed ({reason}); repair the file.",
            name=name,
            reason=str(error),
        ) from error
    return [json.dumps(record, ensure_ascii=False) for record in records]


def _detect(source: Source, path: Path) -> str:
    """Detect the format of a file from its first lines.

    Raises:
        CorpusError: The lines match no format.
    """
    lines = [line.strip("\ufeff") for line in source.lines if line.strip()][:_SAMPLE]
    lines = [line for line in lines if not DOCUMENT_START.match(line)] or lines
    if not lines:
        raise CorpusError("empty_texts", "{name}: expected tagged texts, found an empty file.", name=source.name)
    lines = lines[header_of(lines) :] or lines
    if lines[0].lstrip().startswith("{"):
        return "cluener" if _CLUENER.search(lines[0]) else "jsonl"
    fields = [line.rstrip().split("\t") for line in lines]
    rows = [row for row in fields if not row[0].startswith("# ")]
    if _most(len(row) == 10 and row[0][:1].isdigit() for row in rows):
        return "conllu"
    tokens = [line.split() for line in lines]
    last = without_bilou([row[-1] for row in tokens])
    if any(PARAGRAPH_ID.match(row[0]) for row in tokens):
        return "pfr"
    if _most(_SLASHED.match(token) for row in tokens for token in row):
        return "pfr" if any(_COMPOUND.match(token) for row in tokens for token in row) else "text"
    if path.suffix and partner(path).is_file():
        return "parallel"
    if any("\t" in line for line in lines) or _most(are_turned(*row) for row in tokens if len(row) == 2):
        return "columns"
    if _most(_TURNED.match(token) for row in tokens for token in row):
        raise source.error(0, Message("words_before_tags", "words followed by their tags, as in 北京/ns"))
    if has_commas(lines) or _most(len(row) >= 2 and is_tag(tag) for row, tag in zip(tokens, last, strict=True)):
        return "columns"
    if _most(len(row) >= 2 and _SMALL_TAG.fullmatch(row[-1]) for row in tokens):
        raise source.error(
            0, Message("tags_in_capitals", "characters followed by tags in capitals, such as B-PER and O")
        )
    pairs = [row for row in tokens if len(row) == 2 and _PART_OF_SPEECH.fullmatch(row[1])]
    if len(pairs) >= _SHARE * len(tokens) and sum(not row[0].isascii() for row in pairs) * 2 > len(pairs):
        return "columns"
    if _most(len(row) < 2 or not is_tag(tag) for row, tag in zip(tokens, last, strict=True)):
        if not _are_words(tokens):
            raise source.error(
                next(index for index, line in enumerate(source.lines) if line.strip()),
                Message(
                    "words_apart",
                    "only words separated by blanks, as in 今天 天气 很 好 (for another format use <format>)",
                ),
            )
        return "words"
    raise CorpusError(
        "no_known_format",
        "{name}: expected one of the formats {known}, found none of them; name it with <format>.",
        name=source.name,
        known=", ".join(FORMATS[1:]),
    )


def _are_words(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether lines are blank-separated words, rather than tagged, otherwise separated or unsegmented text.

    Markup and text with control characters are not accepted.
    """
    tagged = sum(any(map(_WITH_TAG.search, row)) for row in rows)
    foreign = sum(any(map(_MARKUP.search, row)) for row in rows)
    parted = sum(any(map(_BORDER.fullmatch, row[1:-1])) for row in rows)
    size = sum(len(token) for row in rows for token in row)
    uncut = sum(len(token) for row in rows for token in row if _UNCUT.search(token))
    return max(tagged, parted, foreign) <= _MUCH * len(rows) and 2 * uncut <= size


def _most(answers: Iterable[object]) -> bool:
    known = [bool(answer) for answer in answers]
    return bool(known) and sum(known) >= _SHARE * len(known)


def _for_task(texts: list[TaggedText], task: str | None, name: str) -> list[TaggedText]:
    """Keep only the annotation of one task."""
    if task is None:
        return texts
    if task == "pos":
        found = [replace(text, entities=None) for text in texts if text.words is not None]
    else:
        found = [replace(text, words=None) for text in texts if text.entities is not None]
    if not found:
        if task == "pos":
            raise CorpusError(
                "no_words", "{name}: expected texts with words, found none; is this the file for <task=pos>?", name=name
            )
        raise CorpusError(
            "no_entities",
            "{name}: expected texts with entities, found none; is this the file for <task=ner>?",
            name=name,
        )
    return found
