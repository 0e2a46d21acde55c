"""Draw what prosody is learned from: tones of characters, tones of places in a poem, meetings of rhyme groups.

python scripts/plot_prosody.py --prosody checkpoints/poem --output docs/prosody.png
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from zhseq.cli import run_main
from zhseq.corpus import load_poems, select_split
from zhseq.poetry.prosody import Prosody, Tone
from zhseq.poetry.prosody.patterns import FORM_SHAPES
from zhseq.poetry.prosody.rhymes import level_segments
from zhseq.poetry.prosody.tones import fit
from zhseq.poetry.prosody.verse_table import VerseTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = npt.NDArray[np.float64]

BLUE = "#2f5d8a"


def draw_tones(axes: Axes, prosody: Prosody, uses: dict[str, int]) -> None:
    """Draw how the tokens of regulated verse spread over the probability of a level tone."""
    table = prosody.table
    weight = np.array([uses.get(character, 0) for character in table.characters], dtype=np.float64)
    known = table.learned & ~np.isnan(table.level)
    edges = np.linspace(0, 1, 51)
    heights, _ = np.histogram(table.level[known], edges, weights=weight[known])
    axes.bar(edges[:-1], 100 * heights / weight.sum(), width=0.02, align="edge", color=BLUE)
    axes.set_yscale("log")
    axes.set_title("Tones of characters: sharp", loc="left", fontsize=10, fontweight="bold")
    axes.set_xlabel("probability of a level tone")
    axes.set_ylabel("% of tokens of regulated verse")


def draw_places(axes: Axes, levels: Floats, form: str) -> None:
    """Draw the share of level tones at each place of the commonest pattern of a form."""
    lines, length = FORM_SHAPES[form]
    grid = levels.reshape(lines, length)
    axes.imshow(grid, cmap="RdBu", vmin=0, vmax=1, aspect="auto")
    for line in range(lines):
        for place in range(length):
            share = grid[line, place]
            colour = "white" if abs(share - 0.5) > 0.3 else "#333333"
            axes.text(place, line, f"{100 * share:.0f}", ha="center", va="center", fontsize=7, color=colour)
    axes.set_xticks(range(length), [str(place + 1) for place in range(length)])
    axes.set_yticks(range(lines), [str(line + 1) for line in range(lines)])
    axes.set_title("Level tones (%) by place, 8 x 7", loc="left", fontsize=10, fontweight="bold")
    axes.set_xlabel("character")
    axes.set_ylabel("line")


def draw_rhymes(axes: Axes, meetings: Floats) -> None:
    """Draw how often words of two level groups rhyme with each other, against chance."""
    total = meetings.sum()
    chance = np.outer(meetings.sum(axis=1), meetings.sum(axis=0)) / total
    shown = np.log10(np.maximum(meetings / chance, 1e-3))
    image = axes.imshow(shown, cmap="RdBu", vmin=-2.5, vmax=2.5)
    axes.figure.colorbar(image, ax=axes, shrink=0.8, label="log10 of times chance")
    axes.set_title(f"Meetings of the {len(meetings)} level rhyme groups", loc="left", fontsize=10, fontweight="bold")
    axes.set_xlabel("group")
    axes.set_ylabel("group")


def group_meetings(table: VerseTable, prosody: Prosody, level: Floats) -> Floats:
    """Count pairs of rhyme words by their groups; words of several groups are left out. Shape (groups, groups)."""
    groups = [group.id for group in prosody.rhyme_groups if group.tone is Tone.LEVEL]
    home = np.full(len(table.characters) + 1, -1)
    for row, character in enumerate(table.characters):
        found = prosody.groups(character)
        if len(found) == 1 and found[0] in groups:
            home[row] = found[0]
    sequence = home[level_segments(table, level)]
    result = np.zeros((len(groups), len(groups)))
    for first, second in ((0, 1), (1, 2), (2, 3)):
        both = (sequence[:, first] >= 0) & (sequence[:, second] >= 0)
        np.add.at(result, (sequence[both, first], sequence[both, second]), 1)
    return result + result.T


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Draw what prosody is learned from.")
    parser.add_argument("--prosody", type=Path, default=Path("checkpoints/poem"), help="directory of prosody.json")
    parser.add_argument("--output", type=Path, default=Path("docs/prosody.png"), help="PNG file")
    options = parser.parse_args(arguments)
    prosody = Prosody.load(options.prosody)
    table = VerseTable.from_dataset(select_split(load_poems(), "train"))
    verse = table.regulated()
    uses = np.zeros(len(table.characters), dtype=np.int64)
    for poems in verse.values():
        uses += np.bincount(poems.ravel(), minlength=len(uses))
    model = fit(verse, len(table.characters))
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 1.15))
    draw_tones(left, prosody, dict(zip(table.characters, uses.tolist(), strict=True)))
    draw_places(middle, model.positions["七律"][model.weights["七律"].argmax()], "七律")
    draw_rhymes(right, group_meetings(table, prosody, model.level))
    left.spines[["top", "right"]].set_visible(False)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.output, format="png", dpi=90)
    print(options.output)
    return 0


if __name__ == "__main__":
    run_main(main)
