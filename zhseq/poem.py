"""Front door: `python -m zhseq.poem --start 春`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from zhseq.cli import run_main
from zhseq.errors import InputError

if TYPE_CHECKING:
    from zhseq.poet import Poem, Poet

_BLOCK = 256  # poems written or scored side by side


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, write or score poems, and return the exit status."""
    options = _parser().parse_args(arguments)
    if options.num < 1:
        raise InputError(f"--num must be at least 1, but is {options.num}")
    from zhseq.poet import Poet

    poet = Poet.load(options.model, device=options.device)
    if options.score is not None:
        _score(poet, options.score)
    else:
        _write(poet, options)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m zhseq.poem", description="Write classical Chinese poems.")
    parser.add_argument("--start", default="", metavar="TEXT", help="how the poem begins, one or more characters")
    parser.add_argument(
        "--form", default="auto", help="auto, 五绝, 七绝, 五律 or 七律 (default: auto, which fits the start)"
    )
    parser.add_argument("--title", default="", help="what the poem is about")
    parser.add_argument("--author", default="", help="in whose manner, 李白 for example")
    parser.add_argument("--num", type=int, default=1, metavar="N", help="how many poems (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same poems (default: 0)")
    parser.add_argument("--temperature", type=float, default=0.8, help="lower is safer, higher bolder (default: 0.8)")
    parser.add_argument("--top-p", type=float, default=0.95, help="draw from this share of probability (default: 0.95)")
    parser.add_argument("--top-k", type=int, default=0, help="draw from this many characters (default: no limit)")
    parser.add_argument("--model", metavar="PATH_OR_HUB_NAME", help="another model than the one that comes with zhseq")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, mps or auto (default: cpu)")
    parser.add_argument("--traditional", action="store_true", help="write in traditional characters")
    parser.add_argument("--json", action="store_true", help="print one JSON object a poem")
    parser.add_argument(
        "--score", type=Path, metavar="FILE", help="instead of writing, score the poems in FILE, one a line"
    )
    return parser


def _write(poet: Poet, options: argparse.Namespace) -> None:
    from zhseq.generation import Sampling
    from zhseq.poet import Request

    sampling = Sampling(options.temperature, options.top_p, options.top_k, options.seed)
    request = Request(
        start=options.start,
        form=options.form,
        title=options.title,
        author=options.author,
        traditional=options.traditional,
        sampling=sampling,
    )
    for index, poem in enumerate(poet.stream(request, options.num)):
        if options.json:
            print(_as_json(poem, options.seed))
        else:
            print(("\n" if index else "") + poem.text)


def _as_json(poem: Poem, seed: int) -> str:
    fields = {
        "form": poem.form,
        "title": poem.title,
        "author": poem.author,
        "lines": poem.lines,
        "text": poem.text,
        "seed": seed,
    }
    return json.dumps(fields, ensure_ascii=False)


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
