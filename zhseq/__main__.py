"""Command line `zhseq`: `zhseq poem` is the same as `python -m zhseq.poem`, and so on for all commands."""

from __future__ import annotations

import sys
from importlib import import_module

TYPE_CHECKING = False  # without importing `typing`: Ctrl-C is handled only once `main` runs
if TYPE_CHECKING:
    from typing import NoReturn

DOORS = {
    "poem": ("zhseq.poem", "write classical poems, check and correct your own"),
    "verse": ("zhseq.verse", "look up tones, rhymes, tunes, parallel words and lines of verse"),
    "tag": ("zhseq.tag", "segment text into words, with part-of-speech tags and named entities"),
    "classify": ("zhseq.classify", "classify texts: the period of a poem, or labels of your own"),
    "train": ("zhseq.train", "train the models"),
    "evaluate": ("zhseq.evaluate", "evaluate a tagger on annotated text"),
    "export": ("zhseq.export", "write a tagger with an ONNX graph"),
    "mcp": ("zhseq.mcp", "MCP server for language models: poems, verse look-up, tagging"),
    "corpus": ("zhseq.corpus.__main__", "list, download and describe corpora"),
    "serve": ("zhseq.serve.__main__", "HTTP service with a web page"),
}
"""Name of a command -> module whose `main` is called, and description."""


def main() -> NoReturn:
    """Run the command given on the command line, and exit with its status."""
    try:
        from zhseq.cli import run_main
    except KeyboardInterrupt:  # as in `run_main`
        print("zhseq: interrupted", file=sys.stderr)
        sys.exit(130)
    door = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if door in DOORS:
        sys.argv = [f"zhseq {door}", *sys.argv[2:]]  # from which `zhseq.cli.program` derives the program name
        run_main(lambda arguments: int(import_module(DOORS[door][0]).main(arguments)))
    run_main(lambda arguments: _about(door))


def _about(option: str) -> int:
    """Print the version or the list of commands; raise an error for an unknown command."""
    import difflib

    import zhseq
    from zhseq.errors import InputError

    if option in ("--version", "-V"):
        print(f"zhseq {zhseq.__version__}")
    elif option in ("--help", "-h"):
        print(f"usage: zhseq [--version] {{{','.join(DOORS)}}} ...\n")
        for name, (_, purpose) in DOORS.items():
            print(f"  {name:10}{purpose}")
        print("\nRun zhseq COMMAND --help for the options of a command.")
    else:
        near = difflib.get_close_matches(option, DOORS, n=1)
        known = near or list(DOORS)
        raise InputError(
            "unknown_command",
            "there is no command '{name}'; expected {known}",
            name=option,
            known=", ".join(known),
        )
    return 0


if __name__ == "__main__":
    main()
