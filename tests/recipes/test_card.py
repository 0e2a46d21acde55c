import json
from dataclasses import replace
from pathlib import Path

from zhseq import __version__
from zhseq.recipes.card import write_card
from zhseq.recipes.poem import PoemRecipe


def card(run: Path, recipe: PoemRecipe, *commands: str) -> str:
    """The card of a model that is kept in a training."""
    best = run / "best"
    best.mkdir(exist_ok=True)
    config = {"kind": "some-kind", "training": {"evaluation": {"bits_per_han": 5.43219, "f1": 1}}}
    (best / "config.json").write_text(json.dumps(config), encoding="utf-8")
    if commands:
        (run / "commands.txt").write_text("".join(f"{command}\n" for command in commands), encoding="utf-8")
    write_card(best, recipe, ["the first corpus", "the second"])
    return (best / "README.md").read_text(encoding="utf-8")


def test_a_card_says_what_the_model_is_and_how_it_was_made(tmp_path: Path) -> None:
    recipe = PoemRecipe()
    recipe = replace(recipe, training=replace(recipe.training, max_steps=7, device="cpu"))
    told = card(tmp_path, recipe, "python -m zhseq.train poem --output run", "python -m zhseq.train poem --resume")
    assert told == (
        f"# Model card\n\nA model of kind `some-kind`, trained with zhseq {__version__}.\n\n"
        "## Training data\n\n* the first corpus\n* the second\n\n"
        "## Training\n\n```\npython -m zhseq.train poem --output run\npython -m zhseq.train poem --resume\n```\n\n"
        "Settings that differ from the defaults:\n\n| setting | value | default |\n|---|---|---|\n"
        "| `training.max_steps` | 7 | 8500 |\n| `training.device` | cpu | auto |\n\n"
        "## Scores on the dev set\n\n| measure | value |\n|---|---|\n| bits_per_han | 5.4322 |\n| f1 | 1.0000 |\n"
    )


def test_without_a_command_line_and_changes_a_card_says_less(tmp_path: Path) -> None:
    told = card(tmp_path, PoemRecipe())
    assert "## Training\n\nAll settings are the defaults.\n\n## Scores" in told
