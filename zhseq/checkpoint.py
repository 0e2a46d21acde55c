"""A checkpoint is one directory that needs nothing else: settings, weights, vocabularies, model card.

Weights are read from safetensors only; no pickle is ever opened.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zhseq.errors import CheckpointError

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"


def shipped(name: str) -> Path:
    """Return the directory of a model that comes with the package, `poem` or `tagger` for example.

    Raises:
        CheckpointError: This installation does not carry it.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "checkpoints", package.parent / "checkpoints"):
        if (folder / name / CONFIG_FILE).is_file():
            return folder / name
    raise CheckpointError(f"the model '{name}' is not part of this installation; give the path of one with --model")


def resolve(model: str | os.PathLike[str]) -> Path:
    """Return the local directory of a model given by path, by the name of one that comes with the package (`tagger-ud`
    for example), or by Hugging Face repository name (downloaded once).

    Raises:
        CheckpointError: There is no such directory and no such repository can be fetched.
    """
    path = Path(model)
    if path.is_dir():
        return path
    if str(model) == path.name and not path.exists():
        with suppress(CheckpointError):
            return shipped(path.name)
    if path.exists() or str(model).count("/") != 1 or str(model).startswith((".", "/", "~")):
        raise CheckpointError(f"'{model}' is not a model directory; expected a directory that holds {CONFIG_FILE}")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(str(model), allow_patterns=["*.json", "*.safetensors", "*.txt", "*.tsv", "*.md"]))
    except Exception as error:  # the hub client raises many kinds; all mean that the model cannot be had
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"'{model}' is no local directory and could not be fetched as a repository: {reason}"
        ) from error


def read_config(directory: Path, kind: str) -> dict[str, Any]:
    """Read `config.json` and check that it describes a model of this kind.

    Raises:
        CheckpointError: It is missing, damaged, or of another kind.
    """
    path = directory / CONFIG_FILE
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{directory} holds no {CONFIG_FILE}; it is not a model directory of zhseq") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); fetch or train the model again") from error
    found = config.get("kind") if isinstance(config, dict) else None
    if found != kind:
        raise CheckpointError(f"{directory} holds a model of kind {found!r}, but a '{kind}' is needed here")
    return dict(config)


def read_weights(directory: Path, model: torch.nn.Module) -> None:
    """Load `model.safetensors` into `model`, in the model's own precision.

    Raises:
        CheckpointError: The file is missing, truncated, or does not fit the model.
    """
    tensors = read_tensors(directory / WEIGHTS_FILE)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{directory / WEIGHTS_FILE} does not fit {CONFIG_FILE} beside it: {detail}") from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        CheckpointError: It is missing, truncated or something else.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing; fetch or train the model again") from error
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} is damaged or is no safetensors file ({error}); fetch or train it again"
        ) from error


def save(
    directory: Path,
    *,
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    files: Mapping[str, str | Callable[[Path], None]],
    half: bool = True,
) -> None:
    """Write a checkpoint; nothing in `directory` changes before all of the new files are complete on disk.

    Args:
        directory: Where it goes; an older checkpoint there is replaced, other files in it are kept.
        config: JSON-ready settings, with `kind`.
        tensors: Weights by name.
        files: Further files by name: their text, or a function that writes to the path it is given.
        half: Store floating-point weights as float16, half the size on disk.
    """
    with staged(directory) as stage:
        text = json.dumps(dict(config), ensure_ascii=False, indent=1)
        (stage / CONFIG_FILE).write_text(text + "\n", encoding="utf-8")
        write_tensors(stage / WEIGHTS_FILE, tensors, half=half)
        for name, content in files.items():
            if callable(content):
                content(stage / name)
            else:
                (stage / name).write_text(content, encoding="utf-8")


def write_tensors(path: Path, tensors: Mapping[str, Tensor], *, half: bool = False) -> None:
    """Write a safetensors file, floating-point weights as float16 if `half`.

    Raises:
        CheckpointError: The disk is full or the place cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    def stored(tensor: Tensor) -> Tensor:
        lowered = half and tensor.is_floating_point()
        return tensor.detach().to("cpu", torch.float16 if lowered else tensor.dtype).contiguous().clone()

    try:
        save_file({name: stored(tensor) for name, tensor in tensors.items()}, path)
        path.chmod(0o644)  # the library makes files that only their owner can read
    except SafetensorError as error:
        raise CheckpointError(f"{path} could not be written ({error}); the previous state is intact") from error


class staged:
    """Collect files in a temporary directory beside `directory`, and move them in only when all are written."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __enter__(self) -> Path:
        """Return the temporary directory, on the same file system as the final one."""
        try:
            self.directory.parent.mkdir(parents=True, exist_ok=True)
            stage = tempfile.mkdtemp(prefix=f".{self.directory.name}.", dir=self.directory.parent)
        except OSError as error:
            raise CheckpointError(f"{self.directory} cannot be written: {error.strerror}") from error
        self.stage = Path(stage)
        return self.stage

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Swap the new directory in, or drop it if anything failed."""
        try:
            if kind is None:
                self._move_in()
            elif isinstance(error, OSError):
                message = f"{self.directory} could not be saved: {error.strerror}; the previous state is intact"
                raise CheckpointError(message) from error
        finally:
            shutil.rmtree(self.stage, ignore_errors=True)

    def _move_in(self) -> None:
        """Move the finished files in, each by an atomic rename, the weights last."""
        self.directory.mkdir(exist_ok=True)
        for item in sorted(self.stage.iterdir(), key=lambda path: path.name == WEIGHTS_FILE):
            item.replace(self.directory / item.name)
