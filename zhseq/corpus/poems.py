"""Merge the poetry corpora: read, clean, deduplicate, split, and cache the result as Arrow files.

Two poems are one when half of the lines of the shorter one agree. Lines become 64-bit hashes, poems that share a hash
become candidate pairs, and shared lines are counted by sorting the pairs: the cost grows with the number of lines, not
with the square of the number of poems.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from zhseq.corpus.cleaning import (
    DUPLICATE,
    REGULATED,
    CleanPoems,
    Ints,
    Points,
    clean,
    collect_tunes,
    concatenate,
    select,
)
from zhseq.corpus.poetry import CI, POETRY_SOURCES, read_composed, read_skip_list, read_source
from zhseq.corpus.registry import corpora_root, corpus_folder
from zhseq.errors import FULL_DISK, ConfigError, CorpusError
from zhseq.text.normalize import from_codepoints, normalize

if TYPE_CHECKING:
    import datasets
    import pyarrow

CODE_VERSION = 4
"""Version of the cache; increase it with every change of reading, cleaning or splitting."""

SPLITS = ("train", "dev", "test")
_BUCKETS = 100
_SPLIT_OF_BUCKET = {0: "test", 1: "dev"}
"""Of 100 hash buckets of clusters, one is test, one dev, and the others train."""
_QUALITY = ("poetry-source", "chinese-poetry", "werneror-poetry")
"""Sources from the cleanest edition on (0.8 % of Tang records with stray marks in the first, 9 % in the second)."""


@dataclass(frozen=True)
class DropReport:
    """Counts of records read and dropped.

    Attributes:
        read: source -> records read.
        dropped: source -> reason -> records dropped.
    """

    read: dict[str, int]
    dropped: dict[str, dict[str, int]]


def load_poems(root: Path | str | None = None, sources: Sequence[str] = POETRY_SOURCES) -> datasets.Dataset:
    """Load the merged poems of the given sources; the first call builds an Arrow cache, later calls memory-map it.

    Columns: `id`, `form`, `title`, `author`, `dynasty`, `lines` (texts of Han characters, simplified, no
    punctuation), `marks` (one character for each line: the mark that follows it), `tune` (ci, else empty), `source`,
    `split` (train, dev or test; all editions of a poem are in one split).

    Args:
        root: directory of the corpora; by default `corpora_root()`.
        sources: poetry archives to merge, some of `POETRY_SOURCES`.

    Raises:
        ConfigError: an unknown source.
        CorpusError: a source is not there, one of its records is broken, or the disk is full.
    """
    import datasets  # imported here: it takes most of a second, which a bare command line should not pay

    return datasets.load_from_disk(str(_cache(root, sources)))


def map_poems(root: Path | str | None = None, *, build: bool = True) -> pyarrow.Table:
    """Map the merged poems of all sources as an Arrow table, in the columns of `load_poems`, which takes little memory.

    Args:
        root: directory of the corpora; by default `corpora_root()`.
        build: whether to merge the poems first where that was never done, which takes minutes.

    Raises:
        CorpusError: a source is not there, or was never merged and is not to be.
    """
    import pyarrow

    folder = _cache(root, POETRY_SOURCES, build=build)
    parts = []
    for path in sorted(folder.glob("data-*.arrow")):
        with pyarrow.memory_map(str(path)) as file, pyarrow.ipc.open_stream(file) as stream:
            parts.append(stream.read_all())
    return pyarrow.concat_tables(parts)


def drop_report(root: Path | str | None = None, sources: Sequence[str] = POETRY_SOURCES) -> DropReport:
    """Return the counts of records read and dropped; arguments and errors as in `load_poems`."""
    return DropReport(**json.loads((_cache(root, sources) / "drops.json").read_text(encoding="utf-8")))


def select_split(dataset: datasets.Dataset, split: str) -> datasets.Dataset:
    """Return the poems of one split.

    Raises:
        ConfigError: `split` is not train, dev or test.
    """
    if split not in SPLITS:
        raise ConfigError(
            "unknown_split", "Expected a split, one of {known}, found {split!r}.", known=", ".join(SPLITS), split=split
        )
    return dataset.select(np.flatnonzero(np.array(_column(dataset, "split").to_pylist()) == split))


def _column(dataset: datasets.Dataset, name: str) -> Any:
    """Return a column as one Arrow array, with the selected rows only."""
    return dataset.with_format("arrow")[name].combine_chunks()


def _cache(root: Path | str | None, sources: Sequence[str], *, build: bool = True) -> Path:
    """Return the directory of the Arrow cache; build it if it does not exist."""
    unknown = [source for source in sources if source not in POETRY_SOURCES]
    if unknown or not sources:
        raise ConfigError(
            "unknown_poetry_source",
            "Expected poetry sources, some of {known}, found {found}.",
            known=", ".join(POETRY_SOURCES),
            found=unknown or "none",
        )
    base = corpora_root() if root is None else Path(root)
    sources = [source for source in POETRY_SOURCES if source in sources]
    folders = {source: corpus_folder(source, base) for source in sources}
    target = base / ".cache" / f"poems-{_fingerprint(folders)}"
    if target.exists():
        return target
    if not build:
        raise CorpusError(
            "never_merged",
            "{folder}: expected merged poems, found none; `zhseq verse --find 春风` merges them.",
            folder=target.parent,
        )
    target.parent.mkdir(exist_ok=True)
    # This process holds the lock, so an existing temporary directory was left by a killed run.
    with FileLock(target.parent / "poems.lock"):
        for stale in target.parent.glob("poems-*.part"):
            shutil.rmtree(stale)
        if not target.exists():
            part = target.with_suffix(".part")
            try:
                _build(folders, part)
                part.rename(target)
            except OSError as error:
                if error.errno not in FULL_DISK:
                    raise
                shutil.rmtree(part, ignore_errors=True)
                raise CorpusError(
                    "no_room_for_poems",
                    "{folder}: expected room for the merged poems (200 MB), found a full disk; make room.",
                    folder=target.parent,
                ) from None
    return target


def _fingerprint(folders: dict[str, Path]) -> str:
    """Hash all that the result depends on: code version, normalisation, size and time of every corpus file."""
    digest = hashlib.sha256(f"{CODE_VERSION}".encode())
    for name in ("normalize.py", "fold.tsv", "variants.tsv"):
        digest.update(resources.files("zhseq.text").joinpath(name).read_bytes())
    for source, folder in folders.items():
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            status = path.stat()
            digest.update(f"{source}/{path.relative_to(folder)} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _build(folders: dict[str, Path], target: Path) -> None:
    """Read, clean, de-duplicate and split the poems, and write them with the drop report into `target`."""
    import datasets

    records = {source: read_source(source, folder) for source, folder in folders.items()}
    every = [record for source in records.values() for record in source]
    tune_fields = normalize("\n".join(sorted({record.tune for record in every}))).split("\n")
    ci_titles = normalize("\n".join(record.title for record in every if record.kind == CI)).split("\n")
    known_tunes = collect_tunes(tune_fields, ci_titles)
    parts, dropped = [], {}
    for source, folder in folders.items():
        part, drops = clean(
            source,
            records[source],
            skip=read_skip_list(source, folder),
            composed=read_composed(source, folder),
            known_tunes=known_tunes,
        )
        parts.append(part)
        dropped[source] = drops
    poems = concatenate(parts)
    result = deduplicate(poems, [_QUALITY.index(source) for source in poems.sources])
    kept = select(poems, result.kept)
    all_counts, kept_counts = Counter(poems.sources), Counter(kept.sources)
    for source, drops in dropped.items():
        drops[DUPLICATE] = all_counts[source] - kept_counts[source]
    bars_disabled = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        datasets.Dataset(_table(kept, result)).save_to_disk(str(target))
    finally:
        if not bars_disabled:
            datasets.enable_progress_bars()
    report = DropReport(
        read={source: len(found) for source, found in records.items()},
        dropped={source: dict(drops) for source, drops in dropped.items()},
    )
    (target / "drops.json").write_text(json.dumps(vars(report), ensure_ascii=False, indent=1), encoding="utf-8")


def _table(poems: CleanPoems, result: Deduplication) -> Any:
    """Convert the poems to an Arrow table with one row each."""
    import pyarrow as pa

    line_ends = np.cumsum(poems.line_lengths)
    flat = from_codepoints(np.insert(poems.points, line_ends[:-1], ord("\n"))).split("\n") if len(line_ends) else []
    offsets = np.append(0, np.cumsum(poems.poem_lines)).astype(np.int32)
    marks = from_codepoints(poems.line_marks)
    buckets = (result.cluster_keys % np.uint64(_BUCKETS)).tolist()
    return pa.table(
        {
            "id": poems.ids,
            "form": poems.forms,
            "title": poems.titles,
            "author": poems.authors,
            "dynasty": poems.dynasties,
            "lines": pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat, pa.string())),
            "marks": [marks[start:end] for start, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)],
            "tune": poems.tunes,
            "source": poems.sources,
            "split": [_SPLIT_OF_BUCKET.get(bucket, "train") for bucket in buckets],
        },
    )


Hashes = npt.NDArray[np.uint64]

MIN_SHARED = 2
"""Lines that must agree at the least: one line in common is a quotation, a stock phrase or a poem made of old lines."""
MAX_POEMS = 64
"""A line that occurs in more poems is a refrain and is not used to find duplicates."""
RARE = 20
"""Frequency in all corpora below which a character is rare (a misprint, or a variant that is not normalised)."""

_BASE = 0x9E3779B97F4A7C15  # 2**64 / golden ratio, odd: powers of it never vanish modulo 2**64
_MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)  # multipliers of the splitmix64 finaliser
_MASK = (1 << 64) - 1


@dataclass(frozen=True)
class Deduplication:
    """Result of the deduplication.

    Attributes:
        kept: indices of the poems that stay, ascending, shape (kept,), dtype int64.
        cluster_keys: for each of them a number common to all poems that are connected through copies, kept or not;
            it depends on the texts alone, not on their order. Shape (kept,), dtype uint64.
    """

    kept: Ints
    cluster_keys: Hashes


def deduplicate(poems: CleanPoems, source_rank: npt.ArrayLike) -> Deduplication:
    """Choose one edition of every poem.

    Of two poems that are the same one stays: first one of a regulated shape (a record that joins several poems in one
    has not), then the one with more lines (an excerpt gives way to the whole), then the one with fewer rare
    characters, then the better source.

    Args:
        poems: poems of all sources.
        source_rank: for each poem, the rank of its source, lower is better, shape (poems,).
    """
    count = len(poems)
    left, right = same_poems(line_hashes(poems.points, poems.line_lengths), poems.poem_lines)
    regulated = np.array([form in REGULATED.values() for form in poems.forms], dtype=bool)
    texts = _text_hashes(poems)
    order = np.lexsort((texts, np.asarray(source_rank), _rare_characters(poems), -poems.poem_lines, ~regulated))
    rank = np.empty(count, dtype=np.int64)
    rank[order] = np.arange(count)
    dropped = _dominated(left, right, rank)
    kept = np.flatnonzero(~dropped)
    return Deduplication(kept, _cluster_keys(left, right, texts)[kept])


def line_hashes(points: Points, line_lengths: Ints) -> Hashes:
    """Hash every line, shape (lines,), dtype uint64. Equal lines get equal numbers on every machine, in every run."""
    if not len(line_lengths):
        return np.zeros(0, dtype=np.uint64)
    starts = np.cumsum(line_lengths) - line_lengths
    position = np.arange(len(points)) - np.repeat(starts, line_lengths)
    return _mix(np.add.reduceat(_mix(points.astype(np.uint64)) * _powers(int(line_lengths.max()))[position], starts))


def same_poems(hashes: Hashes, poem_lines: Ints) -> tuple[Ints, Ints]:
    """Find the pairs of poems of which at least half of the lines of the shorter one, and at least two, agree.

    Args:
        hashes: line hashes of all poems end to end, shape (lines,).
        poem_lines: lines in each poem, shape (poems,).

    Returns:
        First and second index of each pair, first < second, each of shape (pairs,).
    """
    poem_of = np.repeat(np.arange(len(poem_lines)), poem_lines)
    order = np.lexsort((poem_of, hashes))
    hashes, poem_of = hashes[order], poem_of[order]
    # Count repeated lines of a poem once.
    first = np.append(True, (hashes[1:] != hashes[:-1]) | (poem_of[1:] != poem_of[:-1]))[: len(hashes)]
    hashes, poem_of = hashes[first], poem_of[first]
    group_starts = np.flatnonzero(np.append(True, hashes[1:] != hashes[:-1])[: len(hashes)])
    sizes = np.diff(np.append(group_starts, len(hashes)))
    group_size = np.repeat(sizes, sizes)
    rest_of_group = np.repeat(group_starts + sizes, sizes) - np.arange(len(hashes)) - 1
    keys = []
    for step in range(1, MAX_POEMS):
        # The entry and the one `step` places after it in its group: every pair of the group turns up just once.
        entries = np.flatnonzero((rest_of_group >= step) & (group_size <= MAX_POEMS))
        if not len(entries):
            break
        keys.append(poem_of[entries] * len(poem_lines) + poem_of[entries + step])
    if not keys:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    pairs, shared = np.unique(np.concatenate(keys), return_counts=True)
    left, right = np.divmod(pairs, len(poem_lines))
    shorter = np.minimum(poem_lines[left], poem_lines[right])
    same = (shared >= MIN_SHARED) & (2 * shared >= shorter)
    return left[same], right[same]


def _dominated(left: Ints, right: Ints, rank: Ints) -> npt.NDArray[np.bool_]:
    """Drop, from the best poem on, every copy of a poem that stays, shape (poems,), dtype bool.

    A poem that is only a copy of a dropped copy stays: likeness is not handed on, or stock lines would chain hundreds
    of folk songs into one.
    """
    dropped = np.zeros(len(rank), dtype=bool)
    better = np.where(rank[left] < rank[right], left, right)
    worse = left + right - better
    order = np.argsort(rank[better], kind="stable")
    for keeper, copy in zip(better[order].tolist(), worse[order].tolist(), strict=True):
        if not dropped[keeper]:
            dropped[copy] = True
    return dropped


def _cluster_keys(left: Ints, right: Ints, texts: Hashes) -> Hashes:
    """Return for each poem the smallest text hash in its connected component, shape (poems,), dtype uint64."""
    keys = texts.copy()
    while True:
        smallest = np.minimum(keys[left], keys[right])
        before = keys.copy()
        np.minimum.at(keys, left, smallest)
        np.minimum.at(keys, right, smallest)
        if np.array_equal(before, keys):
            return keys


def _text_hashes(poems: CleanPoems) -> Hashes:
    """Hash the text of every poem without line breaks, shape (poems,), dtype uint64."""
    starts = np.cumsum(poems.poem_lines) - poems.poem_lines
    if not len(starts):
        return np.zeros(0, dtype=np.uint64)
    return line_hashes(poems.points, np.add.reduceat(poems.line_lengths, starts))


def _rare_characters(poems: CleanPoems) -> Ints:
    """Count the rare characters of every poem, shape (poems,), dtype int64."""
    frequency = np.bincount(poems.points, minlength=0x110000)
    rare = np.append(0, np.cumsum(frequency[poems.points] < RARE))
    characters = np.append(0, np.cumsum(poems.line_lengths))
    ends = np.cumsum(poems.poem_lines)
    return np.asarray(rare[characters[ends]] - rare[characters[ends - poems.poem_lines]], dtype=np.int64)


def _powers(count: int) -> Hashes:
    """Return the first powers of the base modulo 2**64, shape (count,), dtype uint64."""
    powers = [1]
    for _ in range(count - 1):
        powers.append(powers[-1] * _BASE & _MASK)
    return np.array(powers, dtype=np.uint64)


def _mix(values: Hashes) -> Hashes:
    """Scramble 64-bit values one to one (splitmix64 finaliser), so that sums of them collide no oftener than chance."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(_MIX[0])
    values = (values ^ (values >> np.uint64(27))) * np.uint64(_MIX[1])
    return values ^ (values >> np.uint64(31))
