"""The log of a run: `log.jsonl`, one line of JSON for each evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from zhseq.errors import InputError

LOG_FILE = "log.jsonl"


def open_log(directory: Path, step: int) -> None:
    """Make the log end with optimizer step `step`: empty for a new run, cut for one that is resumed.

    The log is written before the state. A run killed between the two has logged an evaluation that it will repeat, and
    one killed while logging has left half a line; neither may stay.
    """
    path = directory / LOG_FILE
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n") if path.exists() else []:
        try:
            logged = json.loads(line)["step"]
        except (ValueError, KeyError, TypeError):
            break
        if logged > step:
            break
        kept.append(line + "\n")
    partial = path.with_suffix(".partial")
    partial.write_text("".join(kept), encoding="utf-8")
    partial.replace(path)


def append_log(directory: Path, entry: dict[str, Any]) -> None:
    """Add one evaluation: `step`, `epoch`, `seconds`, `loss`, `rate`, `score` and what else the recipe measured."""
    with (directory / LOG_FILE).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(entry, ensure_ascii=False) + "\n")


def read_log(directory: Path) -> list[dict[str, Any]]:
    """Return all entries of a run's log, at least one.

    Raises:
        InputError: There is no log, it is empty, or a line of it is no entry.
    """
    path = directory / LOG_FILE
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise InputError(f"{directory} is not a run: it holds no {LOG_FILE}; give the --out of a training") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as text ({error}); give the --out of a training") from error
    if not lines:
        raise InputError(f"{path} is empty: the run has not been evaluated yet; wait for its first evaluation")
    return [_entry(line, f"{path}, line {number}") for number, line in enumerate(lines, 1)]


def _entry(line: str, place: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError as error:
        raise InputError(f"{place}: expected an evaluation as JSON, but it is not valid ({error})") from error
    numbers = isinstance(entry, dict) and all(type(value) in (int, float) for value in entry.values())
    missing = [name for name in ("step", "loss", "rate", "score") if not numbers or name not in entry]
    if missing:
        raise InputError(f"{place}: expected an evaluation, numbers by name, but '{missing[0]}' is not among them")
    return dict(entry)
