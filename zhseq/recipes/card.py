"""Write the model card of a checkpoint: kind, training data, commands, settings and dev scores."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import zhseq
from zhseq.checkpoint import CONFIG_FILE
from zhseq.cli import COMMANDS_FILE
from zhseq.config import settings_of

CARD_FILE = "README.md"


def write_card(directory: Path, recipe: object, texts: Sequence[str]) -> None:
    """Write `README.md` into a checkpoint; the same training gives the same card.

    Args:
        directory: The checkpoint, `best` in the directory of a training.
        recipe: Settings of the training.
        texts: Descriptions of the training data, one line each.
    """
    config = json.loads((directory / CONFIG_FILE).read_text(encoding="utf-8"))
    commands = directory.parent / COMMANDS_FILE
    told = commands.read_text(encoding="utf-8") if commands.is_file() else ""
    (directory / CARD_FILE).write_text("\n".join(_lines(config, recipe, texts, told)) + "\n", encoding="utf-8")


def _lines(config: dict[str, Any], recipe: object, texts: Sequence[str], commands: str) -> Iterator[str]:
    yield from ("# Model card", "", f"A model of kind `{config['kind']}`, trained with zhseq {zhseq.__version__}.", "")
    yield from ("## Training data", "", *(f"* {text}" for text in texts), "")
    yield from ("## Training", "")
    if commands:
        yield from ("```", *commands.splitlines(), "```", "")
    usual = {setting.key: setting.default for setting in settings_of(type(recipe)())}
    changed = [setting for setting in settings_of(recipe) if usual[setting.key] != setting.default]
    if changed:
        yield from ("Settings that differ from the defaults:", "", "| setting | value | default |", "|---|---|---|")
        yield from (f"| `{one.key}` | {one.default} | {usual[one.key]} |" for one in changed)
    else:
        yield "All settings are the defaults."
    yield from ("", "## Scores on the dev set", "", "| measure | value |", "|---|---|")
    yield from (f"| {name} | {value:.4f} |" for name, value in config["training"]["evaluation"].items())
