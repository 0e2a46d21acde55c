"""Command line `zhseq train`: train models, and plot training curves."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from zhseq.cli import SettingsParser, add_output, add_run_options, begin_run, program, run_main


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command given on the command line, and return the exit status."""
    # Waiting OpenMP threads sleep instead of spinning. PyTorch reads the variable when it is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    options = _parser().parse_args(arguments)
    if options.command != "plot":
        begin_run(options, sys.argv[1:] if arguments is None else arguments)
    return int(options.run(options))


def _parser() -> SettingsParser:
    from zhseq.recipes import classifier, distill, encoder, prosody, tagger, vectors

    parser = SettingsParser(prog=program("train"), description="Train a model of zhseq.")
    commands = parser.add_subparsers(dest="command", required=True)
    _add_poem(commands.add_parser("poem", help="train the poem language model"))
    for recipe in (classifier, distill, encoder, prosody, tagger, vectors):
        recipe.add_parser(commands)
    plot = commands.add_parser("plot", help="plot the curves of a run")
    plot.add_argument("run_folder", type=Path, metavar="RUN", help="directory of the run")
    add_output(plot, metavar="FILE", help="PNG file (default: RUN/curves.png)")
    plot.set_defaults(run=_plot)
    parser.recipes = {command: recipe for part in commands.choices.values() for command, recipe in part.recipes.items()}
    return parser


def _add_poem(parser: SettingsParser) -> None:
    from zhseq.recipes.poem import PoemRecipe
    from zhseq.training.state import PRODUCTS

    parser.add_argument("--init", metavar="CHECKPOINT", help="poem model to start from")
    add_run_options(parser, "poem", PoemRecipe(), products=PRODUCTS)
    parser.set_defaults(run=_train_poem)


def _train_poem(options: argparse.Namespace) -> int:
    from zhseq.config import override
    from zhseq.recipes.poem import PoemRecipe, train_poem

    recipe = override(PoemRecipe(), options.set)
    result = train_poem(recipe, options.output, init=options.init, resume=options.resume)
    bits = result.details["bits_per_han"]
    print(f"best: {bits:.4f} bits per Han character on dev; model in {options.output / 'best'}")
    print(f"curves: {program('train')} plot {options.output}", file=sys.stderr)
    return 0


def _plot(options: argparse.Namespace) -> int:
    from zhseq.training.plot import plot_run

    print(plot_run(options.run_folder, options.output or options.run_folder / "curves.png"))
    return 0


if __name__ == "__main__":
    run_main(main)
