"""Files of a training run: the log of its evaluations, and the state to resume from.

A run that is killed at any moment can be resumed with the same results as an uninterrupted run.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from zhseq.checkpoint import read_tensors, write_tensors
from zhseq.config import from_dict
from zhseq.errors import CheckpointError, ConfigError, InputError

LOG_FILE = "log.jsonl"
RESUME_FILE = "resume.safetensors"
BEST_FOLDER = "best"
PRODUCTS = (BEST_FOLDER, RESUME_FILE)
"""Names in an output directory that show that it contains a training run."""


@dataclass
class Progress:
    """Counters of the training loop, and results of the evaluations."""

    step: int = 0
    """Optimizer steps done."""
    epoch: int = 0
    """Current epoch, from 0."""
    batch: int = 0
    """Batches of this epoch done."""
    best: float | None = None
    """Highest dev score so far."""
    details: dict[str, float] = field(default_factory=dict)
    """Measures of the evaluation with the highest score."""
    last: dict[str, float] = field(default_factory=dict)
    """`score` and measures of the last evaluation."""
    bad: int = 0
    """Evaluations since the highest score."""
    seconds: float = 0.0
    """Training time in seconds, over all resumptions."""


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


@dataclass
class TrainingState:
    """All mutable state of a training run, except the random state."""

    model: nn.Module
    optimizer: Optimizer
    average: Average | None = None
    """Moving average of the weights, if enabled."""
    progress: Progress = field(default_factory=Progress)


def save_state(directory: Path, state: TrainingState) -> None:
    """Write the state and PyTorch's random state to `directory`, replacing the previous file atomically.

    Raises:
        CheckpointError: The disk is full or the directory cannot be written.
    """
    tensors: dict[str, Tensor] = {f"model.{name}": value for name, value in state.model.state_dict().items()}
    for index, entry in state.optimizer.state_dict()["state"].items():
        tensors.update({f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in entry.items()})
    if state.average is not None:
        tensors.update({f"average.{index}": value for index, value in enumerate(state.average.shadow)})
    tensors["random.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    counters = json.dumps(dataclasses.asdict(state.progress)).encode()
    tensors["progress"] = torch.frombuffer(bytearray(counters), dtype=torch.uint8)
    target = directory / RESUME_FILE
    partial = target.with_suffix(".partial")
    try:
        write_tensors(partial, tensors)
        partial.replace(target)
    except OSError as error:
        raise CheckpointError(
            "state_not_saved",
            "{path} could not be saved ({reason}); the previous state is intact",
            path=target,
            reason=error.strerror,
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def load_state(directory: Path, state: TrainingState) -> None:
    """Restore a state written by `save_state`, and PyTorch's random state.

    Raises:
        CheckpointError: There is no state to resume from, or it does not match the model.
    """
    path = directory / RESUME_FILE
    tensors = read_tensors(path)
    try:
        state.model.load_state_dict(_under(tensors, "model."))
        _load_optimizer(state.optimizer, _under(tensors, "optimizer."))
        if state.average is not None:
            for index, shadow in enumerate(state.average.shadow):
                shadow.copy_(tensors[f"average.{index}"])
        torch.set_rng_state(tensors["random.cpu"])
        if torch.cuda.is_available() and "random.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random.cuda"])
        counters = json.loads(bytes(tensors["progress"].tolist()).decode())
        state.progress = from_dict(Progress, counters, source="progress")
    except (ConfigError, KeyError, RuntimeError, ValueError, RecursionError) as error:
        detail = " ".join(str(error).split())[:160]
        raise CheckpointError(
            "state_does_not_fit", "{path} does not fit this model and its settings: {detail}", path=path, detail=detail
        ) from error


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}


def _load_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def open_log(directory: Path, step: int) -> None:
    """Truncate the log after optimizer step `step`, 0 for a new run.

    The log is written before the state. A run killed between the two will repeat the last evaluation of its log, and
    one killed while logging has left an incomplete line; both are removed.
    """
    path = directory / LOG_FILE
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n") if path.exists() else []:
        try:
            logged = json.loads(line)["step"]
        except (ValueError, KeyError, TypeError, RecursionError):
            break
        if logged > step:
            break
        kept.append(line + "\n")
    partial = path.with_suffix(".partial")
    partial.write_text("".join(kept), encoding="utf-8")
    partial.replace(path)


def append_log(directory: Path, entry: dict[str, Any]) -> None:
    """Append an evaluation: `step`, `epoch`, `seconds`, `loss`, `rate`, `score` and the measures of the recipe."""
    with (directory / LOG_FILE).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(entry, ensure_ascii=False) + "\n")


def read_log(directory: Path) -> list[dict[str, Any]]:
    """Return all entries of a run's log, at least one.

    Raises:
        InputError: There is no log, it is empty, or a line is invalid.
    """
    path = directory / LOG_FILE
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise InputError(
            "not_a_run",
            "{folder} is not a run: it contains no {file}; give the <output> of a training run",
            folder=directory,
            file=LOG_FILE,
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            "log_unreadable",
            "{path} cannot be read as text ({reason}); give the <output> of a training run",
            path=path,
            reason=error,
        ) from error
    if not lines:
        raise InputError(
            "log_empty",
            "{path} is empty: the run has not been evaluated yet; wait for its first evaluation",
            path=path,
        )
    return [_entry(line, path, number) for number, line in enumerate(lines, 1)]


def _entry(line: str, path: Path, number: int) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(
            "log_line_not_json",
            "{path}, line {line}: expected an evaluation as JSON, but it is not valid ({reason})",
            path=path,
            line=number,
            reason=error,
        ) from error
    numbers = isinstance(entry, dict) and all(type(value) in (int, float) for value in entry.values())
    missing = [name for name in ("step", "loss", "rate", "score") if not numbers or name not in entry]
    if missing:
        raise InputError(
            "log_line_incomplete",
            "{path}, line {line}: expected an evaluation, numbers by name, but '{name}' is not among them",
            path=path,
            line=number,
            name=missing[0],
        )
    return dict(entry)
