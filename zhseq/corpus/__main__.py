"""Front door: `python -m zhseq.corpus list | get NAME... | stats NAME | select INPUT...`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from zhseq.cli import Parser, add_output, program, run_main
from zhseq.corpus.fetch import get
from zhseq.corpus.poetry import POETRY_SOURCES
from zhseq.corpus.registry import corpora_root, corpus_folder, find_corpora, manifest

_MERGED = "poems"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    options = _parser().parse_args(arguments)
    root = options.root or corpora_root()
    if options.command == "list":
        return _list(root)
    if options.command == "get":
        return _get(root, options.names, options.from_dir, options.url)
    if options.command == "select":
        return _select(options)
    return _stats(root, options.name, options.plot)


def _parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = Parser(
        prog=program("corpus"), description="List, download and describe corpora; select lines to annotate."
    )
    parser.add_argument("--root", type=Path, help="directory of the corpora (default: $ZHSEQ_CORPORA or ./corpora)")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="list all corpora, and which are present")
    getter = commands.add_parser("get", help="download, verify and unpack corpora")
    getter.add_argument(
        "names",
        nargs="+",
        metavar="NAME",
        help="names of corpora, or a kind for all of its corpora: poetry, tagging, text",
    )
    source = getter.add_mutually_exclusive_group()
    source.add_argument("--from", dest="from_dir", type=Path, metavar="DIR", help="directory that holds the archives")
    source.add_argument("--url", metavar="URL", help="mirror of the archives (default: $ZHSEQ_CORPORA_MIRROR)")
    stats = commands.add_parser("stats", help="print statistics of a corpus")
    stats.add_argument("name", metavar="NAME", help=f"a corpus, or {_MERGED} for the merged poetry")
    stats.add_argument("--plot", type=Path, metavar="FILE.png", help="also plot the counts (poetry only)")
    chooser = commands.add_parser("select", help="select the lines a tagger is least certain of, to annotate")
    chooser.add_argument("inputs", nargs="+", metavar="INPUT", help="input files, as for `zhseq tag`")
    chooser.add_argument("--model", metavar="PATH_OR_HUB_NAME", help="the tagger (default: the shipped one)")
    chooser.add_argument("--num", type=int, default=300, metavar="N", help="lines to select (default: 300)")
    chooser.add_argument("--candidates", type=int, default=20_000, metavar="N", help="lines to read (default: 20000)")
    chooser.add_argument("--column", metavar="NAME", help="field of JSON Lines or Parquet with the text")
    chooser.add_argument("--seed", type=int, default=1, metavar="N", help="random seed for the choice of lines to read")
    add_output(chooser, metavar="FILE", help="output file (default: standard output)")
    return parser


def _select(options: argparse.Namespace) -> int:
    """Print the selected lines, tagged; after correction by hand, `train tagger --train` reads them."""
    from zhseq.bulk.inputs import check_not_read, discover
    from zhseq.bulk.records import DEFAULT_COLUMN, Reading, read_units
    from zhseq.bulk.selection import SelectionConfig, select, without_scores
    from zhseq.cli import note
    from zhseq.tagging.tagger import Tagger
    from zhseq.text.encoding import ENCODINGS

    inputs = discover(options.inputs, column=options.column, notify=note)
    if options.output is not None:
        check_not_read([options.output], inputs, None)
    reading = Reading(ENCODINGS[0], "strict", options.column or DEFAULT_COLUMN)
    lines = (text for source in inputs.sources for text, _ in read_units(source, reading, note, lambda size: None))
    config = SelectionConfig(candidates=options.candidates, seed=options.seed)
    chosen = select(Tagger.load(options.model), lines, options.num, config)
    text = "".join(f"{without_scores(document)}\n" for document in chosen)
    if options.output is None:
        print(text, end="")
    else:
        options.output.write_text(text, encoding="utf-8")
    return 0


def _list(root: Path) -> int:
    """Print the manifest as a table."""
    from zhseq.corpus.stats import text_table

    rows = [
        (
            corpus.name,
            corpus.kind,
            "yes" if (root / corpus.name).is_dir() else "no",
            f"{sum(archive.size for archive in corpus.archives) / 1e6:.1f}",
            f"{corpus.size / 1e6:.1f}",
            corpus.licence,
        )
        for corpus in manifest().values()
    ]
    print(f"corpora in {root}\n")
    print(text_table(("name", "kind", "here", "packed MB", "MB", "licence"), rows))
    for corpus in manifest().values():
        print(f"\n{corpus.name}: {corpus.purpose}.")
        for origin in dict.fromkeys(f"https://github.com/{up.repository} at {up.ref}" for up in corpus.upstream):
            print(f"  {origin}")
    return 0


def _get(root: Path, names: Sequence[str], from_dir: Path | None, url: str | None) -> int:
    """Fetch corpora one after another."""
    mirror = url or os.environ.get("ZHSEQ_CORPORA_MIRROR")
    for corpus in find_corpora(names):
        fetched = get(corpus, root, from_dir=from_dir, mirror=mirror)
        state = "is now in" if fetched else "is already in"
        print(
            f"{corpus.name} {state} {root / corpus.name} ({corpus.files} files, {corpus.size / 1e6:.1f} MB, verified)"
        )
    return 0


def _stats(root: Path, name: str, plot: Path | None) -> int:
    """Print the statistics of a corpus and, for poetry, plot them."""
    from zhseq.corpus.stats import file_tables, poem_stats, poem_tables
    from zhseq.errors import ConfigError

    if name == _MERGED or name in POETRY_SOURCES:
        stats = poem_stats(root, POETRY_SOURCES if name == _MERGED else [name])
        print(poem_tables(stats))
        if plot:
            from zhseq.corpus.stats import plot_poems

            plot_poems(stats, plot)
            print(f"\nplot written to {plot}")
        return 0
    if plot:
        raise ConfigError(
            "plot_of_no_poems",
            "Expected {merged} or a poetry corpus with --plot, found {name!r}; leave --plot out.",
            merged=_MERGED,
            name=name,
        )
    for corpus in find_corpora([name]):
        folder = corpus_folder(corpus.name, root)
        print(f"{corpus.name}: {corpus.purpose}.\n")
        print(file_tables(folder))
    return 0


if __name__ == "__main__":
    run_main(main)
