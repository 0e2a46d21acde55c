"""Draw one picture of the merged poems. Needs matplotlib, the extra `plot`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zhseq.corpus.cleaning import REASONS
from zhseq.corpus.stats import PoemStats
from zhseq.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
"""Labels for machines without a Chinese font, where the characters would come out as empty boxes."""
_COLOUR = "#2f5d8a"
_SHADES = ("#2f5d8a", "#c8963e", "#7a9e7e")
_INK = "#333333"


def plot_poems(stats: PoemStats, path: Path) -> None:
    """Draw forms, dynasties, lengths and drops into a PNG file.

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
    """Draw one horizontal bar for each name, its number at the end."""
    bars = axes.barh(list(counts), list(counts.values()), color=_COLOUR, height=0.72)
    axes.bar_label(bars, labels=[f"{count:,}" for count in counts.values()], padding=4, fontsize=9)
    _finish(axes, title)
    axes.set_xlim(0, max(counts.values(), default=1) * 1.14)
    axes.get_xaxis().set_visible(False)
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()


def _lengths(axes: Axes, stats: PoemStats) -> None:
    """Draw the distribution of poem lengths; the few longest poems are gathered in the last bar."""
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
    """Draw for each reason how many records of each source were dropped."""
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
    """Set the title and take the frame away."""
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", pad=8)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
