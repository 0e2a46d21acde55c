"""The options of `python -m zhseq.poem`, and what they ask for. Heavy imports happen only once they are known good."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from zhseq.errors import InputError

if TYPE_CHECKING:
    from zhseq.generation.request import Request

_ONLY_ONE = ("score", "check", "couplet", "list_tunes")
"""Each of these is a task of its own."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m zhseq.poem",
        description="Write classical Chinese poems that keep form, tones and rhyme; judge and mend one's own.",
    )
    _add_wishes(parser.add_argument_group("what to write"))
    _add_sampling(parser.add_argument_group("how to draw"))
    _add_own_lines(parser.add_argument_group("for one's own lines"))
    output = parser.add_argument_group("model and output")
    output.add_argument("--model", metavar="PATH_OR_HUB_NAME", help="another model than the one that comes with zhseq")
    output.add_argument("--device", default="cpu", help="cpu, cuda, mps or auto (default: cpu)")
    output.add_argument("--traditional", action="store_true", help="write in traditional characters")
    output.add_argument("--json", action="store_true", help="print one JSON object a poem")
    output.add_argument(
        "--explain", action="store_true", help="show tones, pattern, rhyme and the surprise of each character"
    )
    return parser


def _add_wishes(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--start", default="", metavar="TEXT", help="how the poem begins, one or more characters")
    group.add_argument(
        "--form", default="auto", help="auto, 五绝, 七绝, 五律 or 七律 (default: auto, which fits the start)"
    )
    group.add_argument("--tune", default="", help="write ci to this tune, 浣溪沙 for example")
    group.add_argument("--list-tunes", action="store_true", help="list the tunes with the poems they were learned from")
    group.add_argument("--title", default="", help="title of the poem")
    group.add_argument("--about", default="", metavar="SUBJECT", help="subject; pulls the poem harder than a title")
    group.add_argument("--author", default="", help="in whose manner, 李白 for example")
    group.add_argument("--acrostic", default="", metavar="TEXT", help="one character for each line (藏头)")
    group.add_argument(
        "--acrostic-at", default="start", metavar="start|end", help="where in the lines: start, or end (藏尾)"
    )
    group.add_argument(
        "--rhyme", default="auto", help="classical, modern or none (default: classical, where the model has it)"
    )
    group.add_argument("--rhyme-group", default="", metavar="CHARACTER", help="rhyme group, called by one of its words")
    group.add_argument("--rhyme-with", default="", metavar="CHARACTER", help="rhyme with this character")
    group.add_argument("--couplet", metavar="TEXT", help="instead of a poem, answer this upper line with a lower one")
    group.add_argument("--num", type=int, default=1, metavar="N", help="how many poems (default: 1)")


def _add_sampling(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--seed", type=int, default=0, help="the same seed gives the same poems (default: 0)")
    group.add_argument("--temperature", type=float, default=0.8, help="lower is safer, higher bolder (default: 0.8)")
    group.add_argument("--top-p", type=float, default=0.95, help="draw from this share of probability (default: 0.95)")
    group.add_argument("--top-k", type=int, default=0, help="draw from this many characters (default: no limit)")
    group.add_argument("--best-of", type=int, metavar="N", help="candidates for each line (default: 4)")


def _add_own_lines(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--check",
        type=Path,
        metavar="FILE",
        help="judge the poems in FILE; exit status 1 if one has a fault. Verse in the old style (古体) is told and "
        "judged by its rhymes; --form holds it to the rules of a form",
    )
    group.add_argument(
        "--suggest",
        type=Path,
        nargs="?",
        const=Path(),
        metavar="FILE",
        help="propose characters for the places marked ？ in FILE, or else for its faults; also beside --check FILE",
    )
    group.add_argument("--continue", type=Path, dest="continue_", metavar="FILE", help="go on from the lines in FILE")
    group.add_argument(
        "--score", type=Path, metavar="FILE", help="instead of writing, score the poems in FILE, one a line"
    )


def validate(options: argparse.Namespace) -> None:
    """Refuse options that contradict each other, before anything is loaded.

    Raises:
        InputError: The message says which ones.
    """
    if options.num < 1:
        raise InputError(f"--num must be at least 1, but is {options.num}")
    if options.suggest == Path():
        if options.check is None:
            raise InputError("--suggest needs a FILE with a poem, places marked ？ if you like")
        options.suggest = options.check
    elif options.suggest is not None and options.check not in (None, options.suggest):
        raise InputError("--check and --suggest name two files; give one")
    chosen = [f"--{name.replace('_', '-')}" for name in _ONLY_ONE if getattr(options, name) not in (None, False)]
    chosen += ["--suggest"] * (options.suggest is not None and options.check is None)
    chosen += ["--continue"] * (options.continue_ is not None)
    if len(chosen) > 1:
        raise InputError(f"{' and '.join(chosen)} are different tasks; give one of them")
    if options.rhyme_group and options.rhyme_with:
        raise InputError("--rhyme-group and --rhyme-with mean the same; give one of them")
    if options.title and options.about:
        raise InputError("--title and --about both give the subject; give one of them")
    for name in ("acrostic", "start"):
        if chosen and chosen != ["--continue"] and getattr(options, name):
            raise InputError(f"--{name} is for writing poems and does not go with {chosen[0]}; leave one out")


def request_of(options: argparse.Namespace) -> Request:
    """Return what the options ask of a poem.

    Raises:
        InputError: A value is out of range, or the file to go on from cannot be read.
    """
    from zhseq.generation import Ranking, Sampling
    from zhseq.generation.drafting import split_lines
    from zhseq.generation.request import Request

    lines: tuple[str, ...] = ()
    if options.continue_ is not None:
        lines = tuple(split_lines(read_text(options.continue_)))
        if not lines:
            raise InputError(f"{options.continue_} holds no line to go on from; give at least one")
    return Request(
        start=options.start,
        lines=lines,
        form=options.form,
        title=options.title,
        about=options.about,
        author=options.author,
        traditional=options.traditional,
        rhyme=options.rhyme,
        tune=options.tune,
        acrostic=options.acrostic,
        acrostic_at=options.acrostic_at,
        rhyme_group=options.rhyme_group or options.rhyme_with,
        sampling=Sampling(options.temperature, options.top_p, options.top_k, options.seed),
        ranking=Ranking() if options.best_of is None else Ranking(options.best_of),
    )


def read_text(path: Path) -> str:
    """Read a file of the user.

    Raises:
        InputError: It is not UTF-8.
    """
    raw = path.read_bytes()
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: byte {error.start + 1} is not UTF-8; save the file as UTF-8") from error
