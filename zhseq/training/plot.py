"""Plot training curves and confusion matrices with matplotlib (extra `plot`)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from zhseq.errors import ConfigError
from zhseq.training.state import read_log

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK = "#333333"
_COLOURS = ("#2f5d8a", "#c8963e", "#7a9e7e", "#a8473f", "#6d5a8c", "#4a9aa8")
_CHINESE_FONTS = re.compile(r"CJK|SourceHan|wqy|simhei|simsun|msyh|PingFang|Hiragino Sans GB", re.IGNORECASE)
_COUNTERS = ("step", "epoch", "seconds", "loss", "rate", "score")


def plot_run(run: Path, output: Path) -> Path:
    """Plot training loss, dev measures and learning rate over the optimizer steps of a run.

    Args:
        run: The directory of the run, which holds its log.
        output: The PNG file to write.

    Returns:
        `output`.

    Raises:
        InputError: The log is missing, empty or invalid; the message names file and line.
        ConfigError: matplotlib is not installed.
    """
    entries = read_log(run)
    steps = [entry["step"] for entry in entries]
    with _figure((9, 9)) as figure:
        loss, dev, rate = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 1.4))
        _curve(loss, steps, [entry["loss"] for entry in entries], _COLOURS[0])
        _finish(loss, "Training loss", "nats")
        _measures(dev, steps, entries)
        _curve(rate, steps, [entry["rate"] for entry in entries], _COLOURS[2])
        rate.set_ylim(bottom=0)
        rate.set_xlabel("optimizer steps")
        _finish(rate, "Learning rate", "")
        figure.suptitle(f"{steps[-1]:,} optimizer steps", fontsize=13, fontweight="bold")
        output.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(output, format="png", dpi=130)
    return output


def plot_confusions(table: Sequence[Sequence[int]], labels: Sequence[str], output: Path) -> Path:
    """Plot the confusion matrix of a classifier, with each row normalised by the number of gold texts.

    Args:
        table: Number of texts by gold and predicted label, (labels, labels).
        labels: Label names.
        output: The PNG file to write.

    Returns:
        `output`.

    Raises:
        ConfigError: matplotlib is not installed, or no font has the labels' characters.
    """
    if not "".join(labels).isascii() and len(_fonts()) == 1:
        raise ConfigError(
            "no_font_for_labels",
            "drawing the labels needs a font with Chinese characters, and there is none; install one (Noto Serif CJK)",
        )
    size = 3 + 0.45 * len(labels)
    with _figure((size, size)) as figure:
        axes = figure.subplots()
        shares = [[count / max(1, sum(row)) for count in row] for row in table]
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for row, counts in enumerate(table):
            for column, count in enumerate(counts):
                colour = "white" if shares[row][column] > 0.5 else _INK
                if count:
                    axes.text(column, row, f"{count:,}", ha="center", va="center", color=colour, fontsize=8)
        axes.set_xticks(range(len(labels)), labels, rotation=0 if max(map(len, labels)) < 4 else 60)
        axes.set_yticks(range(len(labels)), labels)
        axes.set_xlabel("found")
        axes.set_ylabel("gold")
        output.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(output, format="png", dpi=130)
    return output


@contextmanager
def _figure(size: tuple[float, float]) -> Iterator[Figure]:
    """Yield an empty figure of a size in inches, with the common style and a Chinese font if there is one."""
    matplotlib = _matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style: dict[Any, Any] = {"font.size": 10, "text.color": _INK, "axes.labelcolor": _INK, "axes.edgecolor": "#999999"}
    style["font.family"] = _fonts()
    with matplotlib.rc_context(style):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


def _matplotlib() -> ModuleType:
    try:
        import matplotlib
    except ImportError as error:
        raise ConfigError(
            "matplotlib_missing_for_curves",
            "drawing curves needs matplotlib, which is not installed; run `pip install 'zhseq[plot]'`",
        ) from error
    return matplotlib


def _fonts() -> list[str]:
    """Return the font families: the default, and one with Chinese characters if installed."""
    _matplotlib()
    from matplotlib import font_manager

    manager = font_manager.fontManager
    for path in sorted(font_manager.findSystemFonts(), key=lambda path: ("Serif" in path, "Bold" in path, path)):
        if _CHINESE_FONTS.search(Path(path).name):
            manager.addfont(path)  # matplotlib's font list may be outdated
            return ["DejaVu Sans", font_manager.get_font(path).family_name]
    return ["DejaVu Sans"]


def _measures(axes: Axes, steps: list[int], entries: list[dict[str, Any]]) -> None:
    """Plot every measure of the evaluations (the score if there is no other) and mark the best evaluation."""
    names = [name for name in entries[0] if name not in _COUNTERS] or ["score"]
    best = max(range(len(entries)), key=lambda index: float(entries[index]["score"]))
    axes.axvline(steps[best], color="#999999", linewidth=1, linestyle=":")
    for index, name in enumerate(names):
        values = [entry.get(name, float("nan")) for entry in entries]
        colour = _COLOURS[index % len(_COLOURS)]
        _curve(axes, steps, values, colour, label=name.replace("_", " "))
        axes.plot(steps[best], values[best], "o", color=colour, markersize=8, markerfacecolor="white")
        axes.annotate(
            f"{values[best]:.4g}", (steps[best], values[best]), (0, 9), textcoords="offset points", ha="right"
        )
    axes.margins(y=0.15)
    axes.legend(frameon=False)
    _finish(axes, f"Dev set (best at step {steps[best]:,})", "")


def _curve(axes: Axes, steps: list[int], values: list[float], colour: str, label: str | None = None) -> None:
    axes.plot(steps, values, color=colour, linewidth=1.8, marker=".", markersize=6, label=label)


def _finish(axes: Axes, title: str, unit: str) -> None:
    """Set title and unit, remove the top and right spines, and add a light grid."""
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
    axes.set_ylabel(unit)
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
