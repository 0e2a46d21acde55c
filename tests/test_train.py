import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from zhseq import train
from zhseq.config import override, settings_of
from zhseq.errors import InputError, command_line
from zhseq.recipes.encoder import EncoderRecipe
from zhseq.recipes.poem import PoemRecipe
from zhseq.recipes.tagger import TaggerRecipe
from zhseq.recipes.vectors import VectorsRecipe

RECIPES = {"poem": PoemRecipe, "encoder": EncoderRecipe, "tagger": TaggerRecipe, "vectors": VectorsRecipe}
COMMANDS = [*RECIPES, "prosody"]


@pytest.mark.parametrize("recipe", RECIPES.values())
def test_all_settings_are_told_as_they_can_be_given(recipe: Callable[[], object]) -> None:
    settings = list(settings_of(recipe()))
    assert len(settings) > 8
    assert override(recipe(), [f"{setting.key}={setting.default}" for setting in settings]) == recipe()
    for setting in settings:
        assert setting.meaning.endswith("."), f"{setting.key} has no meaning"


def help_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        train.main([*arguments, "--help"])
    assert ended.value.code == 0
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("command", RECIPES)
def test_help_lists_all_settings(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown, all_shown = (help_of(arguments, capsys) for arguments in ([command], []))
    for setting in settings_of(RECIPES[command]()):
        line = f" {setting.key}={setting.default} {setting.meaning} "
        assert line in shown + " "
        assert line in all_shown + " "


class Stopped(Exception):
    """The training would begin now."""


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The settings with which trainings would have begun."""
    seen: list[list[str]] = []
    checked = train.begin_run

    def begin(options: train.argparse.Namespace, arguments: list[str]) -> None:
        checked(options, arguments)
        seen.append(options.set)
        raise Stopped

    monkeypatch.setattr(train, "begin_run", begin)
    return seen


@pytest.mark.parametrize("command", ["poem", "encoder", "tagger"])
def test_options_are_short_for_settings(command: str, tmp_path: Path, begun: list[list[str]]) -> None:
    short = ["--seed", "0", "--threads", "3", "--device", "cpu"]
    with pytest.raises(Stopped):
        train.main([command, "--output", str(tmp_path / "run"), "--set", "training.epochs=2", *short])
    assert begun == [["training.epochs=2", "training.device=cpu", "training.threads=3", "training.seed=0"]]
    recipe = override(RECIPES[command](), begun[0])
    assert (recipe.training.seed, recipe.training.threads, recipe.training.device) == (0, 3, "cpu")  # type: ignore[attr-defined]


def test_vectors_have_settings_of_their_own(tmp_path: Path, begun: list[list[str]]) -> None:
    with pytest.raises(Stopped):
        train.main(["vectors", "--out", str(tmp_path), "--seed", "5", "--threads", "2"])
    assert begun == [["threads=2", "seed=5"]]


PRODUCTS = {
    **{name: ["best", "resume.safetensors"] for name in ("poem", "encoder", "tagger")},
    "vectors": ["vectors.safetensors"],
    "prosody": ["prosody.json"],
}


@pytest.mark.parametrize(("command", "product"), [(name, one) for name in COMMANDS for one in PRODUCTS[name]])
def test_no_training_is_lost_unless_asked_for(
    command: str, product: str, tmp_path: Path, begun: list[list[str]]
) -> None:
    (tmp_path / product).mkdir()
    again = [command, "--output", str(tmp_path)]
    with pytest.raises(InputError) as caught:
        train.main(again)
    message = caught.value.message.render(command_line)
    assert product in message
    assert "--overwrite" in message
    assert ("--resume" in message) == (product in PRODUCTS["poem"])
    with pytest.raises(Stopped):
        train.main([*again, "--overwrite"])
    if product in PRODUCTS["poem"]:
        with pytest.raises(Stopped):
            train.main([*again, "--resume"])


def test_a_training_keeps_its_command_lines(tmp_path: Path, begun: list[list[str]]) -> None:
    first = ["tagger", "--output", str(tmp_path / "a b"), "--seed", "2"]
    for arguments in (first, [*first, "--resume"]):
        with pytest.raises(Stopped):
            train.main(arguments)
    line = f"python -m zhseq.train tagger --output '{tmp_path}/a b' --seed 2"
    kept = tmp_path / "a b" / "commands.txt"
    assert kept.read_text(encoding="utf-8") == f"{line}\n{line} --resume\n"
    with pytest.raises(Stopped):
        train.main(first)
    assert kept.read_text(encoding="utf-8") == f"{line}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_is_no_place_for_a_training(command: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"stored in a directory, but .*file is a file"):
        train.main([command, "--output", str(tmp_path / "file" / "run")])


def test_going_on_and_beginning_anew_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        train.main(["tagger", "--output", "x", "--resume", "--overwrite"])
    assert ended.value.code == 2
    assert "--overwrite: not allowed with argument --resume" in capsys.readouterr().err


def test_waiting_threads_sleep_where_the_user_does_not_say_otherwise() -> None:
    """The variable must be set before PyTorch is loaded, which reads it once."""
    program = (
        "import os, sys\nos.environ.pop('OMP_WAIT_POLICY', None)\nfrom zhseq import train\n"
        "assert 'torch' not in sys.modules\n"
        "try: train.main(['plot', '/no/such'])\nexcept Exception: print(os.environ['OMP_WAIT_POLICY'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "PASSIVE\n"
