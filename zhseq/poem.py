"""Command line of the poet: `python -m zhseq.poem --start 春`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zhseq.cli import Parser, add_backend, add_device, add_threads, note, open_input, program, run_main
from zhseq.errors import InputError, Message, command_line
from zhseq.poetry.faults import explain
from zhseq.poetry.picture import check_picture, marks_of, numbered
from zhseq.poetry.pinyin import spaced
from zhseq.poetry.prosody.books import BOOK_NAMES, CLASSICAL
from zhseq.poetry.reading import WrittenPoem, named_tune, read_poem, read_poems, read_records, split_lines
from zhseq.poetry.regulated import PROSE
from zhseq.poetry.request import DRAFTS, DRAFTS_OF_SEVERAL, RHYMES, Poem, Ranking, Request, Sampling
from zhseq.poetry.wishes import other_names
from zhseq.text.encoding import decode_lines, decode_text

if TYPE_CHECKING:
    from zhseq.poetry.faults import Review
    from zhseq.poetry.poet import Poet
    from zhseq.poetry.scoring import Suggestion

_EXIT_FAULTS, _EXIT_NO_POEM = 1, 2
_ONLY_ONE = ("score", "check", "couplet", "list_tunes", "list_authors")
"""Options that exclude each other, each being a separate task."""
_BLOCK = 256  # poems scored at once


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = Parser(
        prog=program("poem"),
        usage="%(prog)s [options]",
        description="Write classical Chinese poems by form, tones and rhyme; check and correct your own.",
    )
    _add_wishes(parser.add_argument_group("what to write"))
    _add_sampling(parser.add_argument_group("sampling"))
    _add_own_lines(parser.add_argument_group("your own lines"))
    output = parser.add_argument_group("model and output")
    output.add_argument(
        "--model",
        metavar="PATH_OR_HUB_NAME",
        help="checkpoint directory or Hugging Face name (default: the shipped model)",
    )
    add_backend(output)
    add_device(output)
    add_threads(output)
    output.add_argument("--traditional", action="store_true", help="write in traditional characters")
    output.add_argument("--pinyin", action="store_true", help="print pinyin above each character")
    output.add_argument("--picture", type=Path, metavar="FILE", help="also draw the poem into FILE, .png or .svg")
    output.add_argument(
        "--layout",
        default="down",
        metavar="down|across",
        help="layout of the picture: vertical columns or horizontal rows (default: down)",
    )
    output.add_argument("--json", action="store_true", help="print one JSON object per poem")
    output.add_argument("--explain", action="store_true", help="show tones, pattern, rhyme and bits of each character")
    return parser


def _add_wishes(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--start", default="", metavar="TEXT", help="first characters of the poem")
    add(
        "--form",
        default="auto",
        help="auto (the first that the start fits), 五绝, 七绝, 五律, 七律, 五言排律 or 七言排律",
    )
    add("--tune", default="", help="write ci to this tune, for example 浣溪沙")
    add("--list-tunes", action="store_true", help="list the tunes with their numbers of poems, lines and characters")
    add("--title", default="", help="title of the poem")
    add("--about", default="", metavar="TOPIC", help="topic, as words or a sentence; stronger effect than a title")
    add("--author", default="", help="style of an author, for example 李白 or 苏东坡")
    add("--list-authors", action="store_true", help="list the authors with their other names")
    add("--dynasty", default="", help="style of a period, for example 唐")
    add("--acrostic", default="", metavar="TEXT", help="one character per line (藏头)")
    add(
        "--acrostic-at", default="start", metavar="start|end", help="position of these characters: start, or end (藏尾)"
    )
    add("--rhyme", default="auto", help=f"{', '.join(RHYMES[1:])} (default: classical, where the model has it)")
    add("--rhyme-group", default="", metavar="CHARACTER", help="rhyme group, given by one of its characters")
    add("--rhyme-with", default="", metavar="CHARACTER", help="rhyme with this character")
    add("--couplet", metavar="TEXT", help="write a lower line for this upper line instead of a poem")
    add("--num", type=int, default=1, metavar="N", help="number of poems (default: 1)")


def _add_sampling(group: argparse._ArgumentGroup) -> None:
    def add(option: str, default: float, help: str, shown: str = "%(default)s", metavar: str = "N") -> None:
        help = f"{help} (default: {shown})"
        group.add_argument(option, type=type(default), default=default, metavar=metavar, help=help)

    add("--seed", Sampling.seed, "the same seed gives the same poems")
    add("--temperature", Sampling.temperature, "sampling temperature; lower is more conservative", metavar="X")
    add("--top-p", Sampling.top_p, "sample from this probability mass", metavar="X")
    add("--top-k", Sampling.top_k, "sample from this many characters", "no limit")
    add("--best-of", Ranking.best_of, "candidates per line")
    group.add_argument(
        "--drafts",
        type=int,
        metavar="N",
        help=f"drafts of each poem, of which the best is kept; only in regulated verse (default: {DRAFTS} for one "
        f"poem, {DRAFTS_OF_SEVERAL} for several)",
    )


def _add_own_lines(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--check",
        type=Path,
        metavar="FILE",
        help="check the poems in FILE; exit status 1 if one has a fault. Old-style verse (古体) is reported and "
        "checked by its rhymes only; --form applies the rules of a form",
    )
    group.add_argument(
        "--suggest",
        type=Path,
        nargs="?",
        const=Path(),
        metavar="FILE",
        help="propose characters for places marked ？ in FILE, or else for its faults; also with --check FILE",
    )
    group.add_argument(
        "--continue",
        type=Path,
        dest="continue_",
        metavar="FILE",
        help="continue the poem that begins with the lines in FILE",
    )
    group.add_argument(
        "--score", type=Path, metavar="FILE", help="print the bits per Han character of the poems in FILE, one per line"
    )


def validate(options: argparse.Namespace) -> None:
    """Check options for contradictions before a model is loaded; also set `suggest` to the file of `check`.

    Raises:
        InputError: Options contradict each other; the message says which ones.
    """
    if options.num < 1:
        raise InputError("bad_num", "<num> must be at least 1, but is {num}", num=options.num)
    if options.suggest == Path():
        if options.check is None:
            raise InputError(
                "suggest_what", "<suggest> needs a FILE with a poem, in which ？ may mark missing characters"
            )
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
    if options.picture is not None:
        check_picture(options.picture, options.layout)
    if options.title and options.about:
        raise InputError("title_and_about", "<title> and <about> both give the subject; give one of them")
    for name in ("acrostic", "start", "pinyin", "picture"):
        if chosen and chosen != ["--continue"] and getattr(options, name):
            raise InputError(
                "only_for_writing",
                "{option} is for writing poems and cannot be combined with {task}; leave one out",
                option=f"--{name}",
                task=chosen[0],
            )


def request_of(options: argparse.Namespace) -> Request:
    """Return the request for the options.

    Raises:
        InputError: A value is out of range, or the file to continue cannot be read or has no line.
    """
    lines: tuple[str, ...] = ()
    if options.continue_ is not None:
        begun = read_poem(read_text(options.continue_))
        lines = tuple(split_lines(begun.verse))
        options.title = options.title or ("" if options.about else begun.title)
        if not lines:
            raise InputError(
                "no_line_in_file", "{path} contains no line to continue; give at least one", path=options.continue_
            )
    names = ["start", "form", "tune", "title", "about", "author", "dynasty", "acrostic", "acrostic_at"]
    names += ["rhyme", "rhyme_group", "rhyme_with", "traditional", "drafts"]
    return Request(
        **{name: getattr(options, name) for name in names},
        lines=lines,
        sampling=Sampling(options.temperature, options.top_p, options.top_k, options.seed),
        ranking=Ranking(options.best_of),
    )


def read_text(path: Path) -> str:
    """Read a file or standard input in any encoding that `zhseq.text.encoding` detects.

    Raises:
        InputError: The file cannot be read or decoded.
    """
    with open_input(path) as stream:
        return decode_text(stream.read(), str(path), note)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    options = build_parser().parse_args(arguments)
    validate(options)
    from zhseq.poetry.poet import Poet

    poet = Poet.load(options.model, backend=options.backend, device=options.device, threads=options.threads)
    if options.score is not None:
        _score(poet, options.score)
    elif options.list_tunes:
        _list_tunes(poet, options)
    elif options.list_authors:
        _list_authors(poet, options)
    elif options.couplet is not None:
        _couplet(poet, options)
    elif options.check is not None or options.suggest is not None:
        return _review(poet, options)
    else:
        _write(poet, options)
    return 0


def _say(*parts: str | Message) -> str:
    """Render and join messages and strings for the command line."""
    return "".join(part if isinstance(part, str) else part.render(command_line) for part in parts)


def _print_json(fields: dict[str, Any]) -> None:
    print(json.dumps(fields, ensure_ascii=False))


def _write(poet: Poet, options: argparse.Namespace) -> None:
    rhyme = "modern" if options.rhyme == "modern" else "classical"
    for index, poem in enumerate(poet.stream(request_of(options), options.num)):
        if options.picture is not None:
            poem.picture(numbered(options.picture, index + 1), layout=options.layout)
        if options.json:
            _print_json({**_fields(poem, options.seed), **({"pinyin": poem.pinyin} if options.pinyin else {})})
            continue
        if poem.note and not index:
            print(_say(Message("note_on_poem", "note: {note}", {"note": poem.note})), file=sys.stderr, flush=True)
        spoken = "\n".join(spaced(poem.lines, poem.pinyin, marks_of(poem.text))) if options.pinyin else poem.text
        print(("\n" if index else "") + spoken)
        if options.explain:
            print()
            _explain(poet, poet.check(poem.text, tune=poem.tune, rhyme=rhyme), rhyme)


def _fields(poem: Poem, seed: int) -> dict[str, Any]:
    """Return a poem as JSON values."""
    return {
        "form": poem.form,
        **({"tune": poem.tune} if poem.tune else {}),
        "title": poem.title,
        "author": poem.author,
        "lines": poem.lines,
        "text": poem.text,
        "seed": seed,
        **({"note": _say(poem.note)} if poem.note else {}),
    }


def _explain(poet: Poet, found: Review, rhyme: str) -> None:
    print("\n".join(explain(found, poet.surprise(found), poet.reviewing(rhyme), colour=sys.stdout.isatty())))


def _couplet(poet: Poet, options: argparse.Namespace) -> None:
    sampling = Sampling(options.temperature, options.top_p, options.top_k, options.seed)
    for lower in poet.answers(options.couplet, options.num, options.rhyme, sampling):
        if lower is None:  # after each step
            continue
        if options.json:
            _print_json({"upper": options.couplet, "lower": lower})
        else:
            print(lower)


def _list_tunes(poet: Poet, options: argparse.Namespace) -> None:
    if not poet.tunes:
        raise InputError("no_tunes", "this model has no tunes; learn them with `zhseq train prosody`")
    prosody = poet.reviewing("classical")
    for name in poet.tunes:
        tune = prosody.tunes[name]
        fields = {"tune": name, "poems": tune.total, "lines": len(tune.line_lengths), "han": sum(tune.line_lengths)}
        if options.json:
            _print_json(fields)
        else:
            print(*fields.values(), sep="\t")


def _list_authors(poet: Poet, options: argparse.Namespace) -> None:
    """Print each author, whether the model knows the name or only words of the author, and other names."""
    others = other_names()
    for name in poet.authors:
        kind = "words" if name in poet.manners else "name"
        fields = {"author": name, "by": kind, "other_names": others.get(name, [])}
        if options.json:
            _print_json(fields)
        else:
            print(name, kind, *([" ".join(others[name])] if name in others else []), sep="\t")


def _review(poet: Poet, options: argparse.Namespace) -> int:
    """Check the poems of a file, suggest characters if requested, and return the exit status.

    With `--check` it is 2 if a text is prose or not a poem, else 1 if a poem has faults; otherwise 0.
    """
    path = options.check or options.suggest
    rules = {
        "tune": options.tune,
        "form": options.form if options.form != "auto" else "",
        "rhyme": options.rhyme if options.rhyme != "auto" else "classical",
    }
    tunes = poet.reviewing(rules["rhyme"]).tunes
    poems = read_poems(read_text(path), str(path), tunes)
    if options.tune and not any(poem.title for poem in poems):  # the parts are stanzas of one ci
        poems = [WrittenPoem("\n".join(poem.verse for poem in poems))]
    faults = prose = 0
    for number, poem in enumerate(poems, start=1):
        rules["tune"] = options.tune or ("" if rules["form"] else named_tune(poem, tunes))
        location = _place(path, poem, number) if len(poems) > 1 else str(path)
        try:
            found = poet.check(poem.verse, **rules)
        except InputError as error:
            if len(poems) == 1:
                raise
            prose += 1  # continue with the other poems
            _refuse(location, poem, error, as_json=options.json)
            continue
        faults, prose = faults + len(found.faults), prose + (found.form == PROSE)
        suggestions = poet.suggest(poem.verse, **rules) if options.suggest is not None else []
        if options.json:
            names = {"title": poem.title, "author": poem.author}
            prosody = poet.reviewing(rules["rhyme"])
            rhymes = {"rhyme_names": [found.rhyme_name(line, prosody) for line in range(len(found.lines))]}
            marks = {"suggestions": [mark.fields() for mark in suggestions]}
            _print_json({**names, **found.fields(command_line), **rhymes, **marks})
            continue
        if options.explain:
            _explain(poet, found, rules["rhyme"])
        elif options.check is not None:
            print("\n".join(_verdict(location, found)))
        for mark in suggestions:
            print(_say(_proposal(location, mark)))
        if options.suggest is not None and options.check is None and not suggestions:
            kind = {"location": location, "form": found.form, "pattern": found.pattern}
            print(_say(Message("nothing_to_mend", "{location}: no marked place and no fault ({form} {pattern})", kind)))
    if options.check is None:
        return 0
    return _EXIT_NO_POEM if prose else _EXIT_FAULTS if faults else 0


def _refuse(location: str, poem: WrittenPoem, error: InputError, *, as_json: bool) -> None:
    """Print the error of one of several poems that cannot be checked."""
    if as_json:
        said = {"code": error.message.code, "message": _say(error.message)}
        _print_json({"title": poem.title, "author": poem.author, "error": said})
    else:
        print(_say(location, ": ", error.message))


def _place(path: Path, poem: WrittenPoem, number: int) -> str:
    """Return the name of one of several poems of a file, for messages."""
    if poem.title:
        return f"{path} 《{poem.title}》"
    return _say(Message("poem_of_file", "{path}, poem {number}", {"path": path, "number": number}))


def _verdict(location: str, found: Review) -> Iterable[str]:
    """Yield one row for each note, remark and fault of a review."""
    if found.note:
        yield _say(location, " ", found.note)
    for finding in (*found.remarks, *found.faults):
        yield _say(location, ", ", finding.message)
    if not found.faults and found.form != PROSE:
        kind = {"location": location, "form": found.form, "pattern": found.pattern, "book": BOOK_NAMES[found.book]}
        if found.book == CLASSICAL:
            yield _say(Message("no_fault", "{location}: no fault ({form} {pattern})", kind))
        else:
            yield _say(Message("no_fault_by_book", "{location}: no fault ({form} {pattern}, by {book})", kind))


def _proposal(location: str, mark: Suggestion) -> Message:
    """Return the message of a suggestion."""
    values = {"location": location, "line": mark.line, "position": mark.position, "character": mark.character}
    characters = " ".join(mark.characters) or Message("nothing_fits", "no character satisfies the rules here")
    return Message(
        "suggestion",
        "{location}, line {line}, character {position} '{character}': {characters}",
        {**values, "characters": characters},
    )


def _score(poet: Poet, path: Path) -> None:
    from tqdm import tqdm

    bits, han, poems = 0.0, 0, 0
    with open_input(path) as stream, tqdm(unit="poem", disable=None) as bar:
        records = read_records((line for line, _ in decode_lines(stream, str(path), notify=note)), str(path))
        # The bar does not wrap the records, because it would close them after the first block.
        while block := list(islice(records, _BLOCK)):
            for score in poet.score([lines for lines, _ in block], [form for _, form in block]):
                _print_json({"bits": score.bits, "han": score.han, "bits_per_han": score.bits_per_han})
                bits, han, poems = bits + score.bits, han + score.han, poems + 1
            bar.update(len(block))
    if poems == 0:
        raise InputError("no_poem_in_file", "{path} contains no poem; expected one per line", path=path)
    _print_json({"total": True, "poems": poems, "bits": bits, "han": han, "bits_per_han": bits / han})


if __name__ == "__main__":
    run_main(main)
