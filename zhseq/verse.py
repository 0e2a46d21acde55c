"""Command line of the verse reference: `zhseq verse 看`. Looks up characters, rhymes, tunes, parallel words, lines."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from typing import Any

from zhseq.cli import Parser, program, run_main
from zhseq.errors import InputError, Message, command_line
from zhseq.poetry.lookup import CharacterEntry, GroupEntry, Handbook, Place, TuneEntry, fields_of, find_verse
from zhseq.poetry.prosody.books import BOOK_NAMES, names_tune
from zhseq.text.normalize import normalize

_TASKS = ("group", "tune", "facing", "find")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = Parser(
        prog=program("verse"),
        usage="%(prog)s [options] [TEXT]",
        description="Verse reference, learned from verse: tones and rhymes of a character, rhyming words, the patterns "
        "of a tune, parallel words in couplets, poems that contain a line.",
    )
    add = parser.add_argument
    add(
        "text",
        nargs="?",
        default="",
        metavar="TEXT",
        help="a character, a tune, or a line to find",
    )
    add("--group", metavar="WORD", help="words of its rhyme group, most frequent first")
    add("--tune", metavar="NAME", help="the patterns of this tune as diagrams")
    add("--example", action="store_true", help="with a tune: also write a poem to it")
    add("--facing", metavar="WORD", help="parallel words in couplets, for a word of one or two characters")
    add("--find", metavar="TEXT", help="poems of the corpora that contain this line or phrase")
    add("--rhyme", default="classical", help=f"rhymes of --group: {', '.join(BOOK_NAMES)} (default: classical)")
    add("--num", type=int, default=20, metavar="N", help="number of words or poems (default: 20)")
    add("--seed", type=int, default=0, metavar="N", help="the same seed gives the same example")
    add(
        "--model",
        metavar="PATH_OR_HUB_NAME",
        help="checkpoint directory or Hugging Face name (default: the shipped model)",
    )
    add("--json", action="store_true", help="print one JSON object")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    options = build_parser().parse_args(arguments)
    if options.num < 1:
        raise InputError("bad_num", "<num> must be at least 1, but is {num}", num=options.num)
    handbook = Handbook.load(options.model)
    task, value = _task(options, handbook)
    fields, rows = _look_up(handbook, task, value, options)
    if options.json:
        print(json.dumps(fields, ensure_ascii=False))
    else:
        for row in rows:
            print(row)
    return 0


def _task(options: argparse.Namespace, handbook: Handbook) -> tuple[str, str]:
    """Return the task and its text.

    Raises:
        InputError: No task is given, or several are.
    """
    asked = [(name, getattr(options, name)) for name in _TASKS if getattr(options, name) is not None]
    if options.text:
        name = normalize(options.text)
        named = name in handbook.prosody.tunes or names_tune(name)
        asked.append(("character" if len(options.text) == 1 else "tune" if named else "find", options.text))
    if not asked:
        raise InputError(
            "nothing_to_look_up",
            "give a character, the name of a tune or a line, or one of {options}",
            options=", ".join(f"--{name}" for name in _TASKS),
        )
    if len(asked) > 1:
        names = [("TEXT" if name == "character" or value == options.text else f"--{name}") for name, value in asked]
        raise InputError(
            "different_tasks",
            "{first} and {second} are different tasks; give one of them",
            first=names[0],
            second=names[1],
        )
    return asked[0]


def _look_up(
    handbook: Handbook, task: str, value: str, options: argparse.Namespace
) -> tuple[dict[str, Any], Iterator[str]]:
    """Return the result as JSON values and as rows of text."""
    if task == "character":
        entry = handbook.character(value)
        return fields_of(entry), _of_character(entry)
    if task == "group":
        group = handbook.group(value, options.rhyme, options.num)
        return fields_of(group), _of_group(group)
    if task == "facing":
        facing = handbook.facing(value, options.num)
        return {"word": value, "facing": [{"word": word, "count": count} for word, count in facing]}, _of_facing(
            value, facing
        )
    if task == "find":
        count, places = find_verse(value, options.num)
        return {"text": value, "poems": count, "places": [fields_of(place) for place in places]}, _of_places(
            count, places
        )
    tune = handbook.tune(value)
    example = _example(tune, options) if options.example else ""
    return {**fields_of(tune), **({"example": example} if example else {})}, _of_tune(tune, example)


def _example(tune: TuneEntry, options: argparse.Namespace) -> str:
    """Write a poem to a tune."""
    from zhseq.poetry.poet import Poet

    return Poet.load(options.model).write(tune=tune.name, seed=options.seed).text


def _of_character(entry: CharacterEntry) -> Iterator[str]:
    for reading in entry.readings:
        parts = [entry.character, *reading.pinyin, reading.tone]
        if len(entry.readings) > 1:
            parts.append(f"{reading.share:.0%}")
        if reading.groups:
            parts.append("韵 " + "、".join(reading.groups))
        if reading.ci_groups and reading.ci_groups != reading.groups:
            parts.append("词韵 " + "、".join(reading.ci_groups))
        yield "　".join(parts)
        if reading.words:
            yield "　　" + " ".join(reading.words)
    if not entry.learned:
        yield _say(Message("tone_of_today", "(too rare in verse: this is the modern tone)"))
    if entry.endings:
        yield f"韵脚 {entry.rhymes}　" + " ".join(entry.endings)
    if entry.facing:
        yield "对　" + " ".join(entry.facing)


def _of_group(group: GroupEntry) -> Iterator[str]:
    yield _say(
        Message(
            "group_head", "{name}: {tone}, {size} words", {"name": group.name, "tone": group.tone, "size": group.size}
        )
    )
    for word in group.words:
        yield "\t".join([word.character, str(word.rhymes), " ".join(word.endings)]).rstrip()


def _of_facing(word: str, facing: Sequence[tuple[str, int]]) -> Iterator[str]:
    if not facing:
        yield _say(Message("nothing_faces", "verse has too few examples of words parallel to {word}", {"word": word}))
    for other, count in facing:
        yield f"{other}\t{count}"


def _of_places(count: int, places: Sequence[Place]) -> Iterator[str]:
    yield _say(Message("poems_that_hold", "found in {count} poems", {"count": count}))
    for place in places:
        yield f"{place.dynasty}·{place.author}《{place.title}》{place.text}"


def _of_tune(tune: TuneEntry, example: str) -> Iterator[str]:
    main = tune.patterns[0]
    values = {"tune": tune.name, "poems": tune.poems, "variants": len(tune.patterns), "characters": main.characters}
    yield _say(Message("tune_head", "{tune}: {poems} poems, {variants} patterns, {characters} characters", values))
    if tune.names:
        yield _say(Message("tune_names", "also called {names}", {"names": "、".join(tune.names)}))
    for number, pattern in enumerate(tune.patterns, start=1):
        if number > 1:
            kind = {"number": number, "poems": pattern.poems, "characters": pattern.characters}
            yield _say(Message("tune_variant", "pattern {number}: {poems} poems, {characters} characters", kind))
        yield from pattern.rows
    yield _say(
        Message(
            "signs_of_tones",
            "(○ level, ● oblique, ◎ either; △ ▲ rhymes; [ ] repeats earlier characters, 、 sets off a leading one)",
        )
    )
    if example:
        yield ""
        yield example


def _say(message: Message) -> str:
    return message.render(command_line)


if __name__ == "__main__":
    run_main(main)
