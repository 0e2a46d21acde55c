"""The state of a training run as one file, so that a run killed at any moment goes on to the same numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from zhseq.checkpoint import read_tensors, write_tensors
from zhseq.errors import CheckpointError, InputError

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


RESUME_FILE = "resume.safetensors"


class Average:
    """Exponential moving average of a model's weights.

    Source: Polyak and Juditsky (1992); the decay ramps up as (1 + step) / (10 + step), so that early weights fade.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.shadow = [parameter.detach().clone() for parameter in self.parameters]

    def update(self, step: int) -> None:
        """Move the average towards the weights after optimizer step `step`."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.shadow, [parameter.detach() for parameter in self.parameters], 1 - decay)

    def swap(self) -> None:
        """Exchange weights and average; a second call exchanges them back."""
        for parameter, shadow in zip(self.parameters, self.shadow, strict=True):
            kept = parameter.detach().clone()
            parameter.data.copy_(shadow)
            shadow.copy_(kept)


def save_state(directory: Path, parts: dict[str, Any], progress: dict[str, Any]) -> None:
    """Write model, optimizer, average and random state to `directory`, replacing the older file in one rename.

    Args:
        directory: The run.
        parts: `model`, `optimizer`, and `average` or None.
        progress: JSON-ready counters of the loop.
    """
    tensors: dict[str, Tensor] = {f"model.{name}": value for name, value in parts["model"].state_dict().items()}
    for index, entry in parts["optimizer"].state_dict()["state"].items():
        tensors.update({f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in entry.items()})
    if parts["average"] is not None:
        tensors.update({f"average.{index}": value for index, value in enumerate(parts["average"].shadow)})
    tensors["random.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    tensors["progress"] = torch.frombuffer(bytearray(json.dumps(progress).encode()), dtype=torch.uint8)
    target = directory / RESUME_FILE
    partial = target.with_suffix(".partial")
    try:
        write_tensors(partial, tensors)
        partial.replace(target)
    except OSError as error:
        message = f"{target} could not be saved ({error.strerror}); the previous state is intact"
        raise CheckpointError(message) from error
    finally:
        partial.unlink(missing_ok=True)


def load_state(directory: Path, parts: dict[str, Any]) -> dict[str, Any]:
    """Restore what `save_state` wrote and return the counters.

    Raises:
        CheckpointError: There is no state to resume from, or it does not fit the model.
    """
    path = directory / RESUME_FILE
    tensors = read_tensors(path)
    try:
        parts["model"].load_state_dict(_under(tensors, "model."))
        _load_optimizer(parts["optimizer"], _under(tensors, "optimizer."))
        if parts["average"] is not None:
            for index, shadow in enumerate(parts["average"].shadow):
                shadow.copy_(tensors[f"average.{index}"])
        torch.set_rng_state(tensors["random.cpu"])
        if torch.cuda.is_available() and "random.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random.cuda"])
        return dict(json.loads(bytes(tensors["progress"].tolist()).decode()))
    except (KeyError, RuntimeError, ValueError) as error:
        detail = " ".join(str(error).split())[:160]
        raise CheckpointError(f"{path} does not fit this model and its settings: {detail}") from error


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}


def _load_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
