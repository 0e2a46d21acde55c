"""Command line `zhseq export`: write a checkpoint with its network as an ONNX graph."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from zhseq import checkpoint
from zhseq.cli import Parser, add_output, note, program, run_main
from zhseq.errors import Message
from zhseq.graph import GRAPH_FILE, OPSET
from zhseq.tagging.graph import PRECISIONS, export


def main(arguments: Sequence[str] | None = None) -> int:
    """Export a model with the options of the command line, and return the exit status."""
    options = _parser().parse_args(arguments)
    export(checkpoint.resolve(options.model), options.output, options.precision)
    size = (options.output / GRAPH_FILE).stat().st_size
    note(
        Message(
            "graph_written",
            "{path}: {size:,} bytes, opset {opset}, {precision}",
            {"path": options.output / GRAPH_FILE, "size": size, "opset": OPSET, "precision": options.precision},
        )
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=program("export"),
        description="Write a tagger checkpoint with an ONNX graph, for onnxruntime in any language.",
    )
    parser.add_argument("model", metavar="PATH_OR_HUB_NAME", help="a tagger; 'tagger' is the shipped one")
    add_output(
        parser,
        metavar="DIR",
        required=True,
        help="output directory; if it is that of the model, only the graph is added",
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=PRECISIONS[0],
        help=f"int8: 8-bit LSTM weights, faster (default: {PRECISIONS[0]})",
    )
    return parser


if __name__ == "__main__":
    run_main(main)
