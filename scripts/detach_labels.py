"""Write labels of sentences of the corpus `raw` without the sentences, which are others'.

    python scripts/detach_labels.py labelled.jsonl --output modern_labels.jsonl

Reads JSON lines as `zhseq tag --format jsonl` writes them, with a `document` that names a file of `raw` without its
ending. Each text is looked up there, whole or as a part of a line, and the first line that has it gives its place.
`zhseq.corpus.tagging.read_tagged` puts both together again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zhseq.cli import run_main
from zhseq.corpus.registry import corpora_root, corpus_folder
from zhseq.corpus.tagging_json import line_key
from zhseq.errors import InputError

_KEPT = ("words", "entities")


def detach(records: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """Return records with the place of their text instead of the text, in the order given.

    Args:
        records: Objects with `document`, `text` and `words` or `entities`.
        folder: Directory of the raw files.

    Raises:
        InputError: A text is in no line of its file.
    """
    by_file: dict[str, list[int]] = defaultdict(list)
    for index, record in enumerate(records):
        by_file[f"{record['document']}.txt"].append(index)
    places: dict[int, dict[str, Any]] = {}
    for file, indices in by_file.items():
        content = (folder / file).read_text(encoding="utf-8")
        for index in indices:
            text = records[index]["text"]
            if (found := content.find(text)) < 0 or "\n" in text:
                raise InputError("text_not_in_raw", "{file} has no line with {text!r}", file=file, text=text)
            begin = content.rfind("\n", 0, found) + 1
            end = content.find("\n", found)
            line = content[begin:] if end < 0 else content[begin:end]
            start = found - begin
            places[index] = {"file": file, "line": line_key(line), "start": start, "end": start + len(text)}
    return [places[i] | {key: record[key] for key in _KEPT if key in record} for i, record in enumerate(records)]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labelled", type=Path, metavar="FILE.jsonl", help="labelled sentences")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.jsonl", help="labels without texts")
    options = parser.parse_args(argv)
    lines = options.labelled.read_text(encoding="utf-8").splitlines()
    records = detach([json.loads(line) for line in lines], corpus_folder("raw", corpora_root()))
    written = (json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n" for record in records)
    options.output.write_text("".join(written), encoding="utf-8")
    print(f"{len(records):,} labelled texts -> {options.output}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    run_main(main)
