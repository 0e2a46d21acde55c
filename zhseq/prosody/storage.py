"""The prosody file: plain JSON, one row for each group and tune, written atomically."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zhseq.errors import CheckpointError
from zhseq.prosody.patterns import Pattern, TunePattern

if TYPE_CHECKING:
    from zhseq.prosody.prosody import Prosody, RhymeGroup, ToneTable

KIND, VERSION = "prosody", 1
_SCALE = 1000  # probabilities are kept in thousandths


def save(prosody: Prosody, directory: Path) -> None:
    """Write `prosody.json`; an older one is replaced in one step.

    Raises:
        CheckpointError: The place cannot be written.
    """
    from zhseq.prosody.prosody import PROSODY_FILE

    content: dict[str, Any] = {"kind": KIND, "version": VERSION, **_tables(prosody)}
    content["tunes"] = [_tune_record(tune) for tune in prosody.tunes.values()]
    for name, view in prosody.views.items():
        content[name] = _group_records(view) if view.table is prosody.table else _tables(view)
    path = directory / PROSODY_FILE
    part = path.with_suffix(".part")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        part.write_text(_layout(content), encoding="utf-8")
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise CheckpointError(f"{path} cannot be written: {error.strerror}") from error


def load(directory: Path) -> Prosody:
    """Read `prosody.json`.

    Raises:
        CheckpointError: The file is missing, damaged or something else.
    """
    from zhseq.prosody.prosody import PROSODY_FILE, Prosody

    path = directory / PROSODY_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{directory} holds no {PROSODY_FILE}; learn one with `python -m zhseq.train prosody`"
        ) from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); fetch or learn it again") from error
    if not isinstance(content, dict) or content.get("kind") != KIND or content.get("version") != VERSION:
        raise CheckpointError(f"{path} is not a prosody file of version {VERSION}; fetch or learn it again")
    try:
        tunes = {tune.name: tune for tune in map(_tune, content["tunes"])}
        table, groups = _table(content), _groups(content["groups"])
        views = {}
        if "lyric" in content:
            views["lyric"] = Prosody(table, _groups(content["lyric"]), tunes)
        if "modern" in content:
            views["modern"] = Prosody(_table(content["modern"]), _groups(content["modern"]["groups"]), tunes)
        return Prosody(table, groups, tunes, **views)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{path} is damaged ({type(error).__name__}: {error}); fetch or learn it again"
        ) from error


def _tables(prosody: Prosody) -> dict[str, Any]:
    """Return the tone table and the rhyme groups as JSON values."""
    table = prosody.table
    level = np.where(np.isnan(table.level), -1, np.round(table.level * _SCALE)).astype(int)
    return {
        "characters": table.characters,
        "classes": table.classes,
        "level": level.tolist(),
        "fallback": "".join(c for c, learned in zip(table.characters, table.learned, strict=True) if not learned),
        "groups": _group_records(prosody),
    }


def _group_records(prosody: Prosody) -> list[dict[str, str]]:
    return [
        {"name": group.name, "tone": group.tone.value, "characters": group.characters, "certain": group.certain}
        for group in prosody.rhyme_groups
    ]


def _table(content: dict[str, Any]) -> ToneTable:
    """Return the tone table; the inverse of a part of `_tables`."""
    from zhseq.prosody.prosody import ToneTable

    level = np.array(content["level"], dtype=np.float32)
    fallback = set(content["fallback"])
    return ToneTable(
        characters=str(content["characters"]),
        level=np.where(level < 0, np.float32(np.nan), level / np.float32(_SCALE)),
        classes=str(content["classes"]),
        learned=np.array([character not in fallback for character in content["characters"]], dtype=bool),
    )


def _groups(records: list[dict[str, Any]]) -> list[RhymeGroup]:
    from zhseq.prosody.prosody import RhymeGroup, Tone

    return [
        RhymeGroup(index, str(row["name"]), Tone(row["tone"]), str(row["characters"]), str(row["certain"]))
        for index, row in enumerate(records)
    ]


def _pattern_record(pattern: Pattern) -> dict[str, Any]:
    record: dict[str, Any] = {"count": pattern.count, "tones": " ".join(pattern.tones)}
    record |= {"rhymes": list(pattern.rhymes), "marks": pattern.marks, "breaks": list(pattern.breaks)}
    return record


def _tune_record(tune: TunePattern) -> dict[str, Any]:
    variants = [_pattern_record(variant) for variant in tune.variants]
    return {"name": tune.name, "total": tune.total, **_pattern_record(tune), "variants": variants}


def _pattern_fields(row: dict[str, Any]) -> dict[str, Any]:
    tones = tuple(str(row["tones"]).split(" "))
    return {
        "line_lengths": tuple(len(line) for line in tones),
        "tones": tones,
        "rhymes": tuple(int(rhyme) for rhyme in row["rhymes"]),
        "marks": str(row["marks"]),
        "breaks": tuple(int(line) for line in row["breaks"]),
        "count": int(row["count"]),
    }


def _tune(row: dict[str, Any]) -> TunePattern:
    variants = tuple(Pattern(**_pattern_fields(variant)) for variant in row["variants"])
    return TunePattern(**_pattern_fields(row), name=str(row["name"]), total=int(row["total"]), variants=variants)


def _layout(content: dict[str, Any]) -> str:
    """Return the JSON text with one row for each field, group and tune, so that differences can be read."""
    rows = []
    for key, value in content.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            inner = ",\n  ".join(json.dumps(item, ensure_ascii=False, separators=(",", ":")) for item in value)
            text = f"[\n  {inner}\n ]"
        else:
            text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        rows.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(rows) + "\n}\n"
