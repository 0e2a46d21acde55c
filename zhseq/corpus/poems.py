"""Merge the poetry corpora: read, clean, deduplicate, split, and cache the result as Arrow files.

Two records are editions of one poem if they share at least half of the lines of the shorter one, and at least two.
Lines are hashed to 64 bits, poems that share a hash form candidate pairs, and shared lines are counted by sorting the
pairs, so the cost grows with the number of lines rather than with the square of the number of poems.
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
"""Version of the cache; increment it with every change to reading, cleaning, deduplication or splitting."""

SPLITS = ("train", "dev", "test")
_BUCKETS = 100
_SPLIT_OF_BUCKET = {0: "test", 1: "dev"}
"""Bucket of a cluster, by its hash, -> split; the other 98 of 100 buckets are train."""
_QUALITY = ("poetry-source", "chinese-poetry", "werneror-poetry")
"""Sources from the cleanest on (stray marks in 0.8 % of the Tang records of the first, 9 % of the second)."""


@dataclass(frozen=True)
class DropReport:
    """Counts of records read and dropped.

    Attributes:
        read: Source -> number of records read.
        dropped: Source -> reason -> number of records dropped.
    """

    read: dict[str, int]
    dropped: dict[str, dict[str, int]]


def load_poems(root: Path | str | None = None, sources: Sequence[str] = POETRY_SOURCES) -> datasets.Dataset:
    """Load the merged poems of the given sources. The first call builds an Arrow cache, which later calls memory-map.

    Columns: `id`, `form`, `title`, `author`, `dynasty`, `lines` (Han characters, simplified, without punctuation),
    `marks` (one character per line: the punctuation mark that follows it), `tune` (of a ci, else empty), `source`,
    `split` (train, dev or test; all editions of a poem are in one split).

    Args:
        root: Directory of the corpora; by default `corpora_root()`.
        sources: Poetry archives to merge, some of `POETRY_SOURCES`.

    Raises:
        ConfigError: A source is unknown.
        CorpusError: A source is missing, one of its records is invalid, or the disk is full.
    """
    import datasets  # a slow import (most of a second), which command lines should not pay for without need

    return datasets.load_from_disk(str(_cache(root, sources)))


def map_poems(root: Path | str | None = None, *, build: bool = True) -> pyarrow.Table:
    """Memory-map the merged poems of all sources as an Arrow table with the columns of `load_poems`.

    Args:
        root: Directory of the corpora; by default `corpora_root()`.
        build: Whether to build the cache if it does not exist, which takes minutes.

    Raises:
        CorpusError: A source is missing, or the cache does not exist and `build` is false.
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
    """Return a column of the selected rows as one Arrow array."""
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
                    "{folder}: the merged poems need 200 MB, but the disk is full; free some space.",
                    folder=target.parent,
                ) from None
    return target


def _fingerprint(folders: dict[str, Path]) -> str:
    """Hash what the result depends on: code version, normalisation, and size and modification time of corpus files."""
    digest = hashlib.sha256(f"{CODE_VERSION}".encode())
    for name in ("normalize.py", "fold.tsv", "variants.tsv"):
        digest.update(resources.files("zhseq.text").joinpath(name).read_bytes())
    for source, folder in folders.items():
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            status = path.stat()
            digest.update(f"{source}/{path.relative_to(folder)} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _build(folders: dict[str, Path], target: Path) -> None:
    """Read, clean, deduplicate and split the poems, and write them with the drop report into `target`."""
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
    """Convert the poems to an Arrow table with one row per poem."""
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
"""Minimum number of shared lines; a single one is a quotation, a stock phrase, or part of a poem made of old lines."""
MAX_POEMS = 64
"""Maximum number of poems with a line; a line in more poems is a refrain, and is not used to find duplicates."""
RARE = 20
"""Frequency in all corpora below which a character is rare: a misprint, or a variant that is not normalised."""

_BASE = 0x9E3779B97F4A7C15  # 2**64 / golden ratio; odd, so that its powers are never 0 modulo 2**64
_MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)  # multipliers of the splitmix64 finaliser
_MASK = (1 << 64) - 1


@dataclass(frozen=True)
class Deduplication:
    """Result of the deduplication.

    Attributes:
        kept: Indices of the poems to keep, ascending, shape (kept,), dtype int64.
        cluster_keys: Key of the cluster of each of these poems, shape (kept,), dtype uint64. A cluster is a connected
            component of the graph of duplicates, dropped poems included. Keys depend on the texts, not on their order.
    """

    kept: Ints
    cluster_keys: Hashes


def deduplicate(poems: CleanPoems, source_rank: npt.ArrayLike) -> Deduplication:
    """Choose one edition of every poem.

    Of two editions prefer one of a regulated shape (a record that joins several poems has none), then the one with more
    lines (the complete poem rather than an excerpt), then the one with fewer rare characters, then the better source.

    Args:
        poems: Poems of all sources.
        source_rank: Rank of the source of each poem, lower is better, shape (poems,).
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
    """Hash every line, shape (lines,), dtype uint64. The hashes are the same on every machine and in every run."""
    if not len(line_lengths):
        return np.zeros(0, dtype=np.uint64)
    starts = np.cumsum(line_lengths) - line_lengths
    position = np.arange(len(points)) - np.repeat(starts, line_lengths)
    return _mix(np.add.reduceat(_mix(points.astype(np.uint64)) * _powers(int(line_lengths.max()))[position], starts))


def same_poems(hashes: Hashes, poem_lines: Ints) -> tuple[Ints, Ints]:
    """Find the pairs of poems that share at least half of the lines of the shorter poem, and at least `MIN_SHARED`.

    Args:
        hashes: Line hashes of the concatenated poems, shape (lines,).
        poem_lines: Number of lines of each poem, shape (poems,).

    Returns:
        First and second index of each pair, first < second, each of shape (pairs,).
    """
    poem_of = np.repeat(np.arange(len(poem_lines)), poem_lines)
    order = np.lexsort((poem_of, hashes))
    hashes, poem_of = hashes[order], poem_of[order]
    # Count a line once per poem.
    first = np.append(True, (hashes[1:] != hashes[:-1]) | (poem_of[1:] != poem_of[:-1]))[: len(hashes)]
    hashes, poem_of = hashes[first], poem_of[first]
    group_starts = np.flatnonzero(np.append(True, hashes[1:] != hashes[:-1])[: len(hashes)])
    sizes = np.diff(np.append(group_starts, len(hashes)))
    group_size = np.repeat(sizes, sizes)
    rest_of_group = np.repeat(group_starts + sizes, sizes) - np.arange(len(hashes)) - 1
    keys = []
    for step in range(1, MAX_POEMS):
        # Pair each entry with the one `step` places after it in its group, so that every pair is counted once.
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
    """Return which poems to drop: in order of rank, all duplicates of each kept poem, shape (poems,), dtype bool.

    A poem that is a duplicate of dropped poems only is kept: if the relation were transitive, stock lines would connect
    hundreds of folk songs.
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
    """Mix the bits of values by a bijection (splitmix64 finaliser), so that their sums collide by chance only."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(_MIX[0])
    values = (values ^ (values >> np.uint64(27))) * np.uint64(_MIX[1])
    return values ^ (values >> np.uint64(31))
