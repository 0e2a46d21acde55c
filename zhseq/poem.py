"""Front door: `python -m zhseq.poem --start 春`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from zhseq.cli import run_main
from zhseq.errors import InputError
from zhseq.poem_options import build_parser, read_text, request_of, validate

if TYPE_CHECKING:
    from zhseq.poet import Poem, Poet
    from zhseq.review import Review

_BLOCK = 256  # poems scored side by side
_EXIT_FAULTS = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, do what it asks for, and return the exit status."""
    options = build_parser().parse_args(arguments)
    validate(options)
    from zhseq.poet import Poet

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
            print(f"note: {poem.note}", file=sys.stderr, flush=True)
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
        **({"note": poem.note} if poem.note else {}),
    }
    return json.dumps(fields, ensure_ascii=False)


def _rhyme(options: argparse.Namespace) -> str:
    """Return the rhymes by which poems are judged."""
    return "modern" if options.rhyme == "modern" else "classical"


def _explain(poet: Poet, found: Review, options: argparse.Namespace) -> None:
    from zhseq.explain import explain

    prosody = poet.reviewing(_rhyme(options))
    print("\n".join(explain(found, poet.surprise(found), prosody, colour=sys.stdout.isatty())))


def _couplet(poet: Poet, options: argparse.Namespace) -> None:
    sampling = request_of(options).sampling
    for lower in poet.couplet(options.couplet, options.num, sampling=sampling, rhyme=options.rhyme):
        print(json.dumps({"upper": options.couplet, "lower": lower}, ensure_ascii=False) if options.json else lower)


def _list_tunes(poet: Poet, options: argparse.Namespace) -> None:
    if not poet.tunes:
        raise InputError("this model comes without tunes; learn them with `python -m zhseq.train prosody`")
    prosody = poet.reviewing("classical")
    for name in poet.tunes:
        tune = prosody.tunes[name]
        fields = {"tune": name, "poems": tune.total, "lines": len(tune.line_lengths), "han": sum(tune.line_lengths)}
        print(json.dumps(fields, ensure_ascii=False) if options.json else "\t".join(map(str, fields.values())))


def _review(poet: Poet, options: argparse.Namespace) -> int:
    """Judge the poems of a file, propose characters if asked, and return 1 if a judged poem has faults."""
    from zhseq.review import read_blocks

    path = options.check or options.suggest
    wishes = {
        "tune": options.tune,
        "form": options.form if options.form != "auto" else "",
        "rhyme": options.rhyme if options.rhyme != "auto" else "classical",
    }
    text = read_text(path)
    blocks = [text] if options.tune else read_blocks(text, str(path))
    faults = 0
    for number, block in enumerate(blocks, start=1):
        found = poet.check(block, **wishes)
        faults += len(found.faults)
        place = f"{path}, poem {number}" if len(blocks) > 1 else f"{path}"
        suggestions = poet.suggest(block, **wishes) if options.suggest is not None else []
        if options.json:
            from dataclasses import asdict

            print(json.dumps({**asdict(found), "suggestions": [asdict(s) for s in suggestions]}, ensure_ascii=False))
            continue
        if options.explain:
            _explain(poet, found, options)
        elif options.check is not None:
            notes = [f"{place} {found.note}"] if found.note else []
            faulty = [f"{place}, {fault}" for fault in found.faults]
            print("\n".join(notes + (faulty or [f"{place}: no fault ({found.form} {found.pattern})"])))
        for mark in suggestions:
            proposed = " ".join(mark.characters) or "nothing keeps the rules here"
            print(f"{place}, line {mark.line}, character {mark.place} '{mark.character}': {proposed}")
        if options.suggest is not None and options.check is None and not suggestions:
            print(f"{place}: no marked place and no fault ({found.form} {found.pattern})")
    return _EXIT_FAULTS if faults and options.check is not None else 0


def _score(poet: Poet, path: Path) -> None:
    from tqdm import tqdm

    from zhseq.scoring import read_poem

    bits, han, poems = 0.0, 0, 0
    records = tqdm(_records(path), unit="poem", disable=None)
    while block := [read_poem(text, place) for place, text in islice(records, _BLOCK)]:
        for score in poet.score([lines for lines, _ in block], [form for _, form in block]):
            print(json.dumps({"bits": score.bits, "han": score.han, "bits_per_han": score.bits_per_han}))
            bits, han, poems = bits + score.bits, han + score.han, poems + 1
    if poems == 0:
        raise InputError(f"{path} holds no poem; expected one a line")
    print(json.dumps({"total": True, "poems": poems, "bits": bits, "han": han, "bits_per_han": bits / han}))


def _records(path: Path) -> Iterator[tuple[str, str]]:
    """Yield place and text of each line that is not blank."""
    with path.open("rb") as stream:
        for number, raw in enumerate(stream, start=1):
            place = f"{path}, line {number}"
            try:
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            except UnicodeDecodeError as error:
                raise InputError(f"{place}: byte {error.start + 1} is not UTF-8; save the file as UTF-8") from error
            if text:
                yield place, text


if __name__ == "__main__":
    run_main(main)
