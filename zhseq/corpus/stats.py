"""Count what a corpus holds: the merged poems, what was dropped, and the files of any corpus."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zhseq.corpus.cleaning import DYNASTIES, FORMS, REASONS
from zhseq.corpus.poems import SPLITS, DropReport, drop_report, load_poems
from zhseq.corpus.registry import tree_files

_ENCODINGS = {"199801.txt": "gb18030"}
"""Files that are not UTF-8."""


@dataclass(frozen=True)
class PoemStats:
    """Counts of the merged poems.

    Attributes:
        forms, dynasties, splits, sources: name -> poems, in the order in which they are shown.
        split_forms: split -> form -> poems.
        line_lengths: Han characters in a line -> lines.
        poem_lengths: Han characters in each poem, shape (poems,).
        report: what was read and dropped.
    """

    forms: dict[str, int]
    dynasties: dict[str, int]
    splits: dict[str, int]
    sources: dict[str, int]
    split_forms: dict[str, dict[str, int]]
    line_lengths: dict[int, int]
    poem_lengths: np.ndarray[Any, np.dtype[np.int64]]
    report: DropReport


def poem_stats(root: Path, sources: Sequence[str]) -> PoemStats:
    """Count the merged poems of some sources; raises what `load_poems` raises."""
    table = load_poems(root, sources).with_format("arrow")
    columns = {name: table[name].to_pylist() for name in ("form", "dynasty", "split", "source")}
    lines = table["lines"].combine_chunks()
    lengths = np.array([len(line) for line in lines.flatten().to_pylist()], dtype=np.int64)
    ends = np.cumsum(lines.value_lengths().to_numpy())
    poem_lengths = np.diff(np.append(0, np.cumsum(lengths))[np.append(0, ends)])
    joint = Counter(zip(columns["split"], columns["form"], strict=True))
    return PoemStats(
        forms=_ordered(Counter(columns["form"]), FORMS),
        dynasties=_ordered(Counter(columns["dynasty"]), DYNASTIES),
        splits=_ordered(Counter(columns["split"]), SPLITS),
        sources=_ordered(Counter(columns["source"]), sources),
        split_forms={split: {form: joint[split, form] for form in FORMS} for split in SPLITS},
        line_lengths=dict(sorted(Counter(lengths.tolist()).items())),
        poem_lengths=poem_lengths,
        report=drop_report(root, sources),
    )


def poem_tables(stats: PoemStats) -> str:
    """Lay the counts out as text."""
    total = len(stats.poem_lengths)
    share = [(name, count, f"{count / max(total, 1):.1%}") for name, count in stats.dynasties.items()]
    forms = [
        (form, count, *(stats.split_forms[split][form] for split in SPLITS)) for form, count in stats.forms.items()
    ]
    forms.append(("all", total, *(stats.splits.get(split, 0) for split in SPLITS)))
    percentiles = (1, 10, 50, 90, 99, 100)
    lengths = np.percentile(stats.poem_lengths, percentiles).astype(int).tolist() if total else [0] * len(percentiles)
    reasons = [reason for reason in REASONS if any(reason in drops for drops in stats.report.dropped.values())]
    dropped = [(reason, *(drops.get(reason, 0) for drops in stats.report.dropped.values())) for reason in reasons]
    read = stats.report.read
    dropped.append(("kept", *(stats.sources.get(source, 0) for source in read)))
    dropped.append(("read", *read.values()))
    return "\n\n".join(
        (
            f"{total:,} poems, {sum(stats.line_lengths.values()):,} lines, "
            f"{int(stats.poem_lengths.sum()):,} Han characters",
            text_table(("form", "poems", *SPLITS), forms),
            text_table(("dynasty", "poems", "share"), share),
            text_table(("characters in a line", "lines"), stats.line_lengths.items()),
            text_table(("characters in a poem", *(f"{p} %" for p in percentiles)), [("percentile", *lengths)]),
            text_table(("records", *read), dropped),
        )
    )


def file_tables(folder: Path) -> str:
    """Count the bytes, lines and characters of every file of a corpus; files of no text count as bytes only."""
    rows: list[tuple[object, ...]] = []
    totals = np.zeros(3, dtype=np.int64)
    for path in tree_files(folder):
        data = path.read_bytes()
        try:
            text = data.decode(_ENCODINGS.get(path.name, "utf-8"))
            counts = [len(data), text.count("\n"), len(text)]
        except UnicodeDecodeError:
            counts = [len(data), 0, 0]
        rows.append((path.relative_to(folder).as_posix(), *counts))
        totals += counts
    rows.append(("all", *totals.tolist()))
    return text_table(("file", "bytes", "lines", "characters"), rows)


def text_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Align a table for the terminal: texts left, numbers right, Chinese characters two columns wide."""
    body = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows]
    cells = [list(header), *body]
    columns = range(len(header))
    widths = [max(_width(row[column]) for row in cells) for column in columns]
    numeric = [bool(body) and all(row[column][:1].isdigit() for row in body) for column in columns]
    lines = []
    for row in cells:
        blanks = [" " * (widths[column] - _width(row[column])) for column in columns]
        padded = [blanks[i] + row[i] if numeric[i] else row[i] + blanks[i] for i in columns]
        lines.append("  ".join(padded).rstrip())
    return "\n".join((lines[0], "-" * (sum(widths) + 2 * (len(widths) - 1)), *lines[1:]))


def _width(text: str) -> int:
    """Return the columns that a text takes on a terminal."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def _ordered(counts: Mapping[str, int], order: Sequence[str]) -> dict[str, int]:
    """Sort counts into a given order; names that are not in it come last, the most frequent first."""
    rest = sorted(set(counts) - set(order), key=lambda name: (-counts[name], name))
    return {name: counts[name] for name in (*order, *rest) if name in counts}
