"""Which result goes to which file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from zhseq.bulk.outputs import part_of
from zhseq.bulk.sources import Inputs, absolute
from zhseq.errors import InputError

ENDINGS = {"text": ".tagged", "jsonl": ".jsonl", "conllu": ".conllu", "bio": ".bio", "brat": ".ann"}
"""Format -> what is added to the name of an input; added, not replaced, so that no two inputs have one output."""

_JOURNAL = ".zhseq.journal"


def is_folder(output: str, inputs: Inputs) -> bool:
    """Tell whether `--output` names a folder, with a file in it for each input.

    It does where it is one, where it ends in a slash, and where a folder is tagged and the name has no ending.
    """
    path = Path(output)
    return path.is_dir() or output.endswith(("/", os.sep)) or (bool(inputs.folders) and not path.suffix)


def mirrored(inputs: Inputs, folder: Path, format: str) -> list[Path]:
    """Return the output of each source: the names below `inputs.root`, below `folder`.

    Raises:
        InputError: Two outputs, or an output and an input, would be the same file.
    """
    folder = absolute(folder)
    paths: list[Path] = []
    owners: dict[Path, str] = {}
    for source in inputs.sources:
        if source.path is None or inputs.root is None:
            raise InputError(f"{folder}: expected --output FILE with standard input, found a folder.")
        # Both are absolute and without `..`, so that nothing can lead out of the folder.
        path = folder / source.path.relative_to(inputs.root)
        path = path.with_name(path.name + ENDINGS[format])
        if path in owners:
            raise InputError(f"{source.name}: expected each input once with a folder as --output, found it twice.")
        owners[path] = source.name
        paths.append(path)
    taken = {source.path for source in inputs.sources}
    for path in paths:
        wrong = path if path in taken else next((above for above in path.parents if above in owners), None)
        if wrong is not None:
            raise InputError(f"{owners[path]}: expected a new file as its output, found that {wrong} is another's.")
    return paths


def check_place(output: Path, folders: Sequence[Path]) -> None:
    """Check that results are not written among what is read.

    Raises:
        InputError: They would be; the next run, or this one resumed, would read them.
    """
    place = output.resolve()
    for folder in folders:
        if place.is_relative_to(folder.resolve()):
            raise InputError(f"{output}: expected an output outside of the input folder {folder}, found one inside.")


def journal_of(output: Path, *, folder: bool) -> Path:
    """Return where the journal of an output is."""
    return output / _JOURNAL if folder else part_of(output).with_suffix(".journal")
