"""Front door: `python -m zhseq.poem --start 春`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from zhseq.cli import note, open_input, program, run_main
from zhseq.errors import InputError, command_line
from zhseq.poetry.prosody import FREE, Prosody
from zhseq.poetry.reading import read_records, split_lines, split_poems
from zhseq.text.encoding import decode_lines, decode_text

if TYPE_CHECKING:
    from zhseq.poetry.faults import Review
    from zhseq.poetry.poet import Poem, Poet
    from zhseq.poetry.request import Request

_ONLY_ONE = ("score", "check", "couplet", "list_tunes")
"""Each of these is a task of its own."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=program("poem"),
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
        raise InputError("bad_num", "<num> must be at least 1, but is {num}", num=options.num)
    if options.suggest == Path():
        if options.check is None:
            raise InputError("suggest_what", "<suggest> needs a FILE with a poem, places marked ？ if you like")
        options.suggest = options.check
    elif options.suggest is not None and options.check not in (None, options.suggest):
        raise InputError("two_files", "<check> and <suggest> name two files; give one")
    chosen = [f"--{name.replace('_', '-')}" for name in _ONLY_ONE if getattr(options, name) not in (None, False)]
    chosen += ["--suggest"] * (options.suggest is not None and options.check is None)
    chosen += ["--continue"] * (options.continue_ is not None)
    if len(chosen) > 1:
        raise InputError(
            "different_tasks",
            "{first} and {second} are different tasks; give one of them",
            first=chosen[0],
            second=chosen[1],
        )
    if options.rhyme_group and options.rhyme_with:
        raise InputError("two_rhyme_groups", "<rhyme_group> and <rhyme_with> mean the same; give one of them")
    if options.title and options.about:
        raise InputError("title_and_about", "<title> and <about> both give the subject; give one of them")
    for name in ("acrostic", "start"):
        if chosen and chosen != ["--continue"] and getattr(options, name):
            raise InputError(
                "only_for_writing",
                "{option} is for writing poems and does not go with {task}; leave one out",
                option=f"--{name}",
                task=chosen[0],
            )


def request_of(options: argparse.Namespace) -> Request:
    """Return what the options ask of a poem.

    Raises:
        InputError: A value is out of range, or the file to go on from cannot be read.
    """
    from zhseq.poetry.request import Ranking, Request, Sampling

    lines: tuple[str, ...] = ()
    if options.continue_ is not None:
        lines = tuple(split_lines(read_text(options.continue_)))
        if not lines:
            raise InputError(
                "no_line_in_file", "{path} holds no line to go on from; give at least one", path=options.continue_
            )
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
        rhyme_group=options.rhyme_group,
        rhyme_with=options.rhyme_with,
        sampling=Sampling(options.temperature, options.top_p, options.top_k, options.seed),
        ranking=Ranking() if options.best_of is None else Ranking(options.best_of),
    )


def read_text(path: Path) -> str:
    """Read a file of the user, or standard input, in any encoding that `zhseq.text.encoding` knows.

    Raises:
        InputError: It cannot be decoded.
    """
    with open_input(path) as stream:
        return decode_text(stream.read(), str(path), note)


_RED, _GREEN, _DIM, _PLAIN = "\x1b[31m", "\x1b[32m", "\x1b[2m", "\x1b[0m"


def explain(found: Review, surprise: Sequence[Sequence[float]], prosody: Prosody, *, colour: bool) -> list[str]:
    """Return the rows to print.

    Args:
        found: The poem.
        surprise: Bits of each character, as a list for each line.
        prosody: That of the review; names the rhymes.
        colour: Use the escape sequences of terminals.
    """
    total = sum(sum(line) for line in surprise) / max(1, sum(map(len, found.lines)))
    rhymes = dict.fromkeys(found.rhyme_name(number, prosody) for number in range(len(found.lines)))
    named = "、".join(name for name in rhymes if name)
    rows = [f"{found.form} {found.pattern}　韵: {named or '-'}　{total:.1f} bits a character"]
    rows += [found.note.render(command_line)] if found.note else []
    for number, line in enumerate(found.lines):
        broken = {fault.position for fault in found.faults if fault.line == number + 1}
        rhyme = found.rhyme_name(number, prosody)
        rows.append("")
        rows.append(_row("", line, broken, colour) + (_painted(f"　韵 {rhyme}", _GREEN, colour) if rhyme else ""))
        rows.append(_row("声", found.tones[number], broken, colour))
        rows.append(_painted(_row("律", found.expected[number].replace(FREE, "・"), (), False), _DIM, colour))
        costs = " ".join(f"{min(bits, 99):2.0f}" for bits in surprise[number])
        rows.append(_painted(f"惊 {costs}", _DIM, colour))
    rows += ["", *(_painted(str(fault), _RED, colour) for fault in found.faults)] if found.faults else []
    return rows


def _row(label: str, signs: str, broken: set[int] | tuple[()], colour: bool) -> str:
    """Lay signs out in columns of three; those at broken places are red, or marked where there is no colour."""
    cells = [
        _painted(sign, _RED, colour) + ("!" if not colour else " ") if place in broken else f"{sign} "
        for place, sign in enumerate(signs, start=1)
    ]
    return (f"{label} " if label else "   ") + "".join(cells).rstrip()


def _painted(text: str, style: str, colour: bool) -> str:
    return f"{style}{text}{_PLAIN}" if colour and text else text


_BLOCK = 256  # poems scored side by side
_EXIT_FAULTS = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, do what it asks for, and return the exit status."""
    options = build_parser().parse_args(arguments)
    validate(options)
    from zhseq.poetry.poet import Poet

    poet = Poet.load(options.model, device=options.device)
    if options.score is not None:
        _score(poet, options.score)
    elif options.list_tunes:
        _list_tunes(poet, options)
    elif options.couplet is not None:
        _couplet(poet, options)
    elif options.check is not None or options.suggest is not None:
        return _review(poet, options)
    else:
        _write(poet, options)
    return 0


def _write(poet: Poet, options: argparse.Namespace) -> None:
    for index, poem in enumerate(poet.stream(request_of(options), options.num)):
        if options.json:
            print(_as_json(poem, options.seed))
            continue
        if poem.note and not index:
            print(f"note: {poem.note.render(command_line)}", file=sys.stderr, flush=True)
        print(("\n" if index else "") + poem.text)
        if options.explain:
            print()
            _explain(poet, poet.check(poem.text, tune=poem.tune, rhyme=_rhyme(options)), options)


def _as_json(poem: Poem, seed: int) -> str:
    fields = {
        "form": poem.form,
        **({"tune": poem.tune} if poem.tune else {}),
        "title": poem.title,
        "author": poem.author,
        "lines": poem.lines,
        "text": poem.text,
        "seed": seed,
        **({"note": poem.note.render(command_line)} if poem.note else {}),
    }
    return json.dumps(fields, ensure_ascii=False)


def _rhyme(options: argparse.Namespace) -> str:
    """Return the rhymes by which poems are judged."""
    return "modern" if options.rhyme == "modern" else "classical"


def _explain(poet: Poet, found: Review, options: argparse.Namespace) -> None:

    prosody = poet.reviewing(_rhyme(options))
    print("\n".join(explain(found, poet.surprise(found), prosody, colour=sys.stdout.isatty())))


def _couplet(poet: Poet, options: argparse.Namespace) -> None:
    answers = poet.couplet(
        options.couplet,
        options.num,
        rhyme=options.rhyme,
        seed=options.seed,
        temperature=options.temperature,
        top_p=options.top_p,
        top_k=options.top_k,
    )
    for lower in answers:
        print(json.dumps({"upper": options.couplet, "lower": lower}, ensure_ascii=False) if options.json else lower)


def _list_tunes(poet: Poet, options: argparse.Namespace) -> None:
    if not poet.tunes:
        raise InputError("no_tunes", "this model comes without tunes; learn them with `python -m zhseq.train prosody`")
    prosody = poet.reviewing("classical")
    for name in poet.tunes:
        tune = prosody.tunes[name]
        fields = {"tune": name, "poems": tune.total, "lines": len(tune.line_lengths), "han": sum(tune.line_lengths)}
        print(json.dumps(fields, ensure_ascii=False) if options.json else "\t".join(map(str, fields.values())))


def _review(poet: Poet, options: argparse.Namespace) -> int:
    """Judge the poems of a file, propose characters if asked, and return 1 if a judged poem has faults."""
    path = options.check or options.suggest
    wishes = {
        "tune": options.tune,
        "form": options.form if options.form != "auto" else "",
        "rhyme": options.rhyme if options.rhyme != "auto" else "classical",
    }
    text = read_text(path)
    blocks = [text] if options.tune else split_poems(text, str(path))
    faults = 0
    for number, block in enumerate(blocks, start=1):
        found = poet.check(block, **wishes)
        faults += len(found.faults)
        place = f"{path}, poem {number}" if len(blocks) > 1 else f"{path}"
        suggestions = poet.suggest(block, **wishes) if options.suggest is not None else []
        if options.json:
            fields = {**found.fields(command_line), "suggestions": [mark.fields() for mark in suggestions]}
            print(json.dumps(fields, ensure_ascii=False))
            continue
        if options.explain:
            _explain(poet, found, options)
        elif options.check is not None:
            notes = [f"{place} {found.note.render(command_line)}"] if found.note else []
            faulty = [f"{place}, {fault.message.render(command_line)}" for fault in found.faults]
            print("\n".join(notes + (faulty or [f"{place}: no fault ({found.form} {found.pattern})"])))
        for mark in suggestions:
            proposed = " ".join(mark.characters) or "nothing keeps the rules here"
            print(f"{place}, line {mark.line}, character {mark.position} '{mark.character}': {proposed}")
        if options.suggest is not None and options.check is None and not suggestions:
            print(f"{place}: no marked place and no fault ({found.form} {found.pattern})")
    return _EXIT_FAULTS if faults and options.check is not None else 0


def _score(poet: Poet, path: Path) -> None:
    from tqdm import tqdm

    bits, han, poems = 0.0, 0, 0
    with open_input(path) as stream, tqdm(unit="poem", disable=None) as bar:
        records = read_records((line for line, _ in decode_lines(stream, str(path), notify=note)), str(path))
        # The bar stands beside the records: one around them would end them with the first block.
        while block := list(islice(records, _BLOCK)):
            for score in poet.score([lines for lines, _ in block], [form for _, form in block]):
                print(json.dumps({"bits": score.bits, "han": score.han, "bits_per_han": score.bits_per_han}))
                bits, han, poems = bits + score.bits, han + score.han, poems + 1
            bar.update(len(block))
    if poems == 0:
        raise InputError("no_poem_in_file", "{path} holds no poem; expected one a line", path=path)
    print(json.dumps({"total": True, "poems": poems, "bits": bits, "han": han, "bits_per_han": bits / han}))


if __name__ == "__main__":
    run_main(main)
