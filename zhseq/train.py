"""Front door: `python -m zhseq.train poem --out DIR [--set key=value ...] [--resume]` and `plot RUN`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from zhseq.cli import run_main


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, train or plot, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m zhseq.train", description="Train a model of zhseq.")
    commands = parser.add_subparsers(dest="command", required=True)
    poem = commands.add_parser("poem", help="train the language model that writes poems")
    poem.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the run is kept")
    poem.add_argument("--init", metavar="CHECKPOINT", help="go on from this poem model")
    poem.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a setting")
    poem.add_argument("--resume", action="store_true", help="go on with the run in DIR")
    from zhseq.recipes import encoder, prosody, tagger, vectors

    for recipe in (encoder, prosody, tagger, vectors):
        recipe.add_parser(commands)
    plot = commands.add_parser("plot", help="draw the curves of a run")
    plot.add_argument("run", type=Path, metavar="RUN")
    plot.add_argument("--output", type=Path, metavar="FILE", help="PNG file (default: RUN/curves.png)")
    options = parser.parse_args(arguments)
    if options.command == "plot":
        from zhseq.training.plot import plot_run

        print(plot_run(options.run, options.output or options.run / "curves.png"))
        return 0
    if options.command == "poem":
        return _train_poem(options)
    return int(options.run(options))


def _train_poem(options: argparse.Namespace) -> int:
    from zhseq.config import override
    from zhseq.recipes.poem import PoemRecipe, train_poem

    recipe = override(PoemRecipe(), options.set)
    result = train_poem(recipe, options.out, init=options.init, resume=options.resume)
    print(f"best: {result.details['bits_per_han']:.4f} bits per Han character on dev; model in {options.out / 'best'}")
    print(f"curves: python -m zhseq.train plot {options.out}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    run_main(main)
