"""Statistics of corpora: merged poems, dropped records, and files, as tables and a figure."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zhseq.corpus.cleaning import DYNASTIES, FORMS, REASONS
from zhseq.corpus.poems import SPLITS, DropReport, drop_report, load_poems
from zhseq.corpus.registry import tree_files
from zhseq.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ENCODINGS = {"199801.txt": "gb18030"}
"""Files that are not UTF-8."""


@dataclass(frozen=True)
class PoemStats:
    """Counts of the merged poems.

    Attributes:
        forms, dynasties, splits, sources: Name -> number of poems, in display order.
        split_forms: Split -> form -> number of poems.
        line_lengths: Han characters of a line -> number of lines.
        poem_lengths: Han characters of each poem, shape (poems,).
        report: Counts of records read and dropped.
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
    """Count the merged poems of some sources; errors as in `load_poems`."""
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
    """Format the counts as text."""
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
    """Count the bytes, lines and characters of every file of a corpus; binary files have bytes only."""
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
    """Format a table for the terminal; numbers are right-aligned, Chinese characters count as two columns."""
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
    """Return the width of a text on a terminal, in columns."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def _ordered(counts: Mapping[str, int], order: Sequence[str]) -> dict[str, int]:
    """Sort counts in a given order; other names come last, most frequent first."""
    rest = sorted(set(counts) - set(order), key=lambda name: (-counts[name], name))
    return {name: counts[name] for name in (*order, *rest) if name in counts}


# The figure of the merged poems, which needs matplotlib (extra `plot`).

_CHINESE_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "Source Han Sans CN",
    "PingFang SC",
    "Hiragino Sans GB",
    "Microsoft YaHei",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "SimHei",
    "Arial Unicode MS",
)
_LATIN = {
    "五绝": "wujue 4×5",
    "七绝": "qijue 4×7",
    "五律": "wulü 8×5",
    "七律": "qilü 8×7",
    "五言": "all 5",
    "七言": "all 7",
    "四言": "all 4",
    "杂言": "mixed",
    "词": "ci",
    "曲": "qu",
    "先秦": "pre-Qin",
    "汉": "Han",
    "魏晋": "Wei-Jin",
    "南北朝": "N-S Dyn.",
    "隋": "Sui",
    "唐": "Tang",
    "五代": "Five Dyn.",
    "宋": "Song",
    "金": "Jin",
    "元": "Yuan",
    "明": "Ming",
    "清": "Qing",
}
"""Labels for machines without a Chinese font, where Chinese characters would be shown as empty boxes."""
_COLOUR = "#2f5d8a"
_SHADES = ("#2f5d8a", "#c8963e", "#7a9e7e")
_INK = "#333333"


def plot_poems(stats: PoemStats, path: Path) -> None:
    """Plot forms, dynasties, lengths and dropped records to a PNG file.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError:
        raise ConfigError(
            "matplotlib_missing_for_poems",
            "Expected matplotlib for --plot, found none; run `pip install 'zhseq[plot]'`.",
        ) from None
    font = _chinese_font()
    names = {} if font else _LATIN
    style: dict[Any, Any] = {
        "font.family": [font, "DejaVu Sans"] if font else ["DejaVu Sans"],
        "font.size": 10,
        "text.color": _INK,
    }
    with matplotlib.rc_context(style):
        # Pads are inches around every axes.
        figure = Figure(figsize=(12, 8.5), layout=ConstrainedLayoutEngine(w_pad=0.2, h_pad=0.15))
        FigureCanvasAgg(figure)
        axes = figure.subplots(2, 2)
        _bars(axes[0, 0], "Poems by form", {names.get(k, k): v for k, v in stats.forms.items()})
        _bars(axes[0, 1], "Poems by dynasty", {names.get(k, k): v for k, v in stats.dynasties.items()})
        _lengths(axes[1, 0], stats)
        _drops(axes[1, 1], stats)
        figure.suptitle(
            f"{len(stats.poem_lengths):,} poems, {int(stats.poem_lengths.sum()):,} Han characters", fontsize=14
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="png", dpi=150)


def _chinese_font() -> str | None:
    """Return the name of an installed font with Chinese characters, if there is one."""
    from matplotlib import font_manager

    installed = {font.name for font in font_manager.fontManager.ttflist}
    return next((name for name in _CHINESE_FONTS if name in installed), None)


def _bars(axes: Axes, title: str, counts: dict[str, int]) -> None:
    """Plot a horizontal bar for each name, with its count."""
    bars = axes.barh(list(counts), list(counts.values()), color=_COLOUR, height=0.72)
    axes.bar_label(bars, labels=[f"{count:,}" for count in counts.values()], padding=4, fontsize=9)
    _finish(axes, title)
    axes.set_xlim(0, max(counts.values(), default=1) * 1.14)
    axes.get_xaxis().set_visible(False)
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()


def _lengths(axes: Axes, stats: PoemStats) -> None:
    """Plot the distribution of poem lengths; the last bar includes all longer poems."""
    longest, step = 160, 4
    clipped = np.minimum(stats.poem_lengths, longest)
    axes.hist(clipped, bins=list(range(0, longest + 2 * step, step)), color=_COLOUR, rwidth=0.85)
    axes.set_yscale("log")
    ticks = list(range(0, longest + 1, 20))
    axes.set_xticks([tick + step / 2 for tick in ticks], [*map(str, ticks[:-1]), f"{longest}+"])
    axes.set_xlabel("Han characters in a poem")
    axes.set_ylabel("poems (log scale)")
    _finish(axes, "Poems by length")


def _drops(axes: Axes, stats: PoemStats) -> None:
    """Plot the number of dropped records by reason and source."""
    reasons = [reason for reason in REASONS if any(drops.get(reason) for drops in stats.report.dropped.values())]
    left: np.ndarray[Any, np.dtype[np.float64]] = np.zeros(len(reasons))
    for colour, (source, drops) in zip(_SHADES, stats.report.dropped.items(), strict=False):
        counts = np.array([drops.get(reason, 0) for reason in reasons], dtype=np.float64)
        axes.barh(reasons, counts, left=left, color=colour, height=0.72, label=source)
        left += counts
    for position, total in enumerate(left.tolist()):
        axes.annotate(f"{int(total):,}", (total, position), (4, 0), textcoords="offset points", va="center", fontsize=9)
    _finish(axes, "Records dropped, by reason")
    axes.set_xlim(0, max(left.max(initial=1), 1) * 1.14)
    axes.get_xaxis().set_visible(False)
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.legend(loc="center right", frameon=False)


def _finish(axes: Axes, title: str) -> None:
    """Set the title and remove the frame."""
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", pad=8)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
