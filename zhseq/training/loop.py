"""THE training loop: it trains any module with `loss(batch) -> scalar`, and knows nothing else about it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from tqdm import tqdm

from zhseq import memory
from zhseq.batching import Batch
from zhseq.device import autocast, pick_device, tune_process
from zhseq.errors import ConfigError, ZhseqError
from zhseq.training.distributed import World, world, wrap
from zhseq.training.state import Average, append_log, load_state, open_log, save_state


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained; none of it depends on what the model is."""

    epochs: int = 1
    """Passes over the training set."""
    max_steps: int = 0
    """Optimizer steps after which to stop, and over which the rate falls; 0: as many as the epochs have."""
    learning_rate: float = 2e-3
    """Highest rate, reached after warm-up."""
    warmup_steps: int = 300
    """Optimizer steps over which the rate rises from 0."""
    final_rate: float = 0.02
    """Share of the highest rate that is left at the end of the cosine."""
    weight_decay: float = 0.01
    """Decoupled weight decay, on matrices only."""
    beta2: float = 0.98
    """Decay of AdamW's second moment."""
    clip_norm: float = 1.0
    """Largest norm of the gradient; a larger one is scaled down."""
    ema_decay: float = 0.0
    """Decay of the moving average of the weights that is evaluated and saved; 0: none."""
    evaluate_every: int = 0
    """Optimizer steps between evaluations; 0: at the end of each epoch."""
    patience: int = 0
    """Evaluations without a better score before stopping; 0: never stop early."""
    log_every: int = 50
    """Optimizer steps between checks that the loss is finite, and updates of the progress bar."""
    seed: int = 1
    precision: str = "auto"
    """`float32`, `bfloat16` (autocast), or `auto`: bfloat16 on CUDA and on a CPU with bfloat16 instructions."""
    device: str = "auto"
    """`auto`, `cuda`, `mps` or `cpu`."""

    def __post_init__(self) -> None:
        for name in ("epochs", "log_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"training.{name} must be at least 1, but is {getattr(self, name)}")
        for name in ("max_steps", "warmup_steps", "evaluate_every", "patience", "weight_decay", "seed"):
            if getattr(self, name) < 0:
                raise ConfigError(f"training.{name} must not be negative, but is {getattr(self, name)}")
        if not self.learning_rate > 0 or not self.clip_norm > 0:
            raise ConfigError("training.learning_rate and training.clip_norm must be greater than 0")
        if not 0 <= self.ema_decay < 1 or not 0 <= self.beta2 < 1 or not 0 <= self.final_rate <= 1:
            raise ConfigError("training.ema_decay, beta2 and final_rate must lie in [0, 1)")
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise ConfigError(f"training.precision must be auto, float32 or bfloat16, but is '{self.precision}'")

    def rate(self, step: int, total: int) -> float:
        """Return the learning rate of optimizer step `step` (from 0) of `total`: linear warm-up, then a cosine."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        progress = min(1.0, (step - self.warmup_steps) / max(1, total - self.warmup_steps))
        cosine = 0.5 * (1 + math.cos(math.pi * progress))
        return self.learning_rate * (self.final_rate + (1 - self.final_rate) * cosine)


@dataclass(frozen=True)
class Evaluation:
    """What a recipe found on its dev set. A higher score is always better."""

    score: float
    details: dict[str, float] = field(default_factory=dict)


__all__ = ["Evaluation", "TrainingConfig", "TrainingError", "train"]


_REMEDY = (
    "the best checkpoint and the resume state from before are intact; resume, or try a lower training.learning_rate"
)


class TrainingError(ZhseqError):
    """The training cannot go on, because a loss or a score is not finite."""


def train(
    model: nn.Module,
    batches: Callable[[int], Sequence[Batch]],
    evaluate: Callable[[Any], Evaluation],
    save_best: Callable[[Any, Evaluation], None],
    config: TrainingConfig,
    *,
    directory: Path,
    resume: bool = False,
) -> Evaluation:
    """Train `model` and return the best evaluation.

    Args:
        model: Its `loss(batch)` returns a scalar tensor; trained in place, left with its last weights.
        batches: The batches of an epoch, by the epoch's number alone; made one by one as they are indexed.
        evaluate: Scores the model (in evaluation mode, averaged weights if enabled) on the dev set.
        save_best: Called with the model whenever an evaluation is the best so far.
        config: Settings.
        directory: The run: `log.jsonl` with a line for each evaluation, and the resume state.
        resume: Go on from the state in `directory`, to the numbers that an uninterrupted run gives.

    Raises:
        TrainingError: A loss or a score was not finite.
        ConfigError: There are no batches, or the device is not available.
        CheckpointError: There is nothing to resume from, or the state cannot be saved.
    """
    device = pick_device(config.device)
    tune_process(device)
    torch.manual_seed(config.seed)
    model.to(device).train()
    with world(device) as place:
        optimizer = _optimizer(model, config)
        average = Average(model, config.ema_decay) if config.ema_decay else None
        parts = {"model": model, "optimizer": optimizer, "average": average}
        state: dict[str, Any] = {
            "step": 0,
            "epoch": 0,
            "batch": 0,
            "best": None,
            "details": {},
            "bad": 0,
            "seconds": 0.0,
        }
        directory.mkdir(parents=True, exist_ok=True)
        if resume:
            state.update(load_state(directory, parts))
        if place.is_main:
            open_log(directory, state["step"])
        compute_loss = wrap(model, place, device)
        steps_per_epoch = len(batches(0))
        if steps_per_epoch == 0:
            raise ConfigError("there is nothing to train on: the first epoch has no batches; give more training texts")
        total = config.max_steps or config.epochs * steps_per_epoch
        every = config.evaluate_every or steps_per_epoch
        # Losses not yet looked at, each with its epoch and batch: looking makes a GPU wait.
        pending: list[tuple[int, int, Tensor]] = []
        clock = time.monotonic() - state["seconds"]

        with tqdm(total=total, initial=state["step"], unit="step", disable=None if place.is_main else True) as bar:
            while state["step"] < total and not _exhausted(state, config):
                epoch_batches = batches(state["epoch"])
                for index in range(state["batch"], len(epoch_batches)):
                    rate = config.rate(state["step"], total)
                    for group in optimizer.param_groups:
                        group["lr"] = rate
                    with autocast(device, config.precision):
                        loss = compute_loss(epoch_batches[index], device)
                    loss.backward()
                    nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
                    optimizer.step()
                    optimizer.zero_grad(set_to_none=True)
                    state.update(step=state["step"] + 1, batch=index + 1)
                    if average is not None:
                        average.update(state["step"])
                    pending.append((state["epoch"], index, loss.detach()))
                    bar.update()

                    due = state["step"] % every == 0 or state["step"] == total
                    if due or len(pending) >= config.log_every:
                        mean = _mean_loss(pending, state["step"], place)
                        pending.clear()
                        memory.release()
                        bar.set_postfix(loss=f"{mean:.4f}", rate=f"{rate:.1e}", refresh=False)
                    if due:
                        state["seconds"] = time.monotonic() - clock
                        _evaluate(parts, evaluate, save_best, state, place)
                        if place.is_main:
                            _log(directory, state, mean, rate)
                            save_state(directory, parts, state)
                        if state["step"] == total or _exhausted(state, config):
                            break
                else:
                    state.update(epoch=state["epoch"] + 1, batch=0)
    return Evaluation(state["best"], state["details"])


def _optimizer(model: nn.Module, config: TrainingConfig) -> Optimizer:
    """AdamW with weight decay on matrices only: biases and the like are not shrunk."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {
            "params": [parameter for parameter in parameters if parameter.dim() >= 2],
            "weight_decay": config.weight_decay,
        },
        {"params": [parameter for parameter in parameters if parameter.dim() < 2], "weight_decay": 0.0},
    ]
    return AdamW(groups, lr=config.learning_rate, betas=(0.9, config.beta2), fused=True)


def _evaluate(
    parts: dict[str, Any],
    evaluate: Callable[[Any], Evaluation],
    save_best: Callable[[Any, Evaluation], None],
    state: dict[str, Any],
    place: World,
) -> None:
    """Score the model with its averaged weights, keep the best, count evaluations without progress."""
    model, average = parts["model"], parts["average"]
    if average is not None:
        average.swap()
    model.eval()
    random_state = torch.get_rng_state()  # an evaluation that draws numbers must not change the training
    result = place.agree(evaluate(model) if place.is_main else Evaluation(0.0))
    if not math.isfinite(result.score):
        raise TrainingError(f"the dev score after step {state['step']} is {result.score}, not finite; {_REMEDY}")
    state["last"] = {"score": result.score, **result.details}
    if state["best"] is None or result.score > state["best"]:
        state.update(best=result.score, details=result.details, bad=0)
        if place.is_main:
            save_best(model, result)
    else:
        state["bad"] += 1
    torch.set_rng_state(random_state)
    model.train()
    if average is not None:
        average.swap()


def _exhausted(state: dict[str, Any], config: TrainingConfig) -> bool:
    return bool(config.patience and state["bad"] >= config.patience)


def _mean_loss(losses: list[tuple[int, int, Tensor]], step: int, place: World) -> float:
    """Return the mean of the losses of the last steps, up to `step`, over all processes; stop if one is not finite."""
    values = place.mean(torch.stack([loss for _, _, loss in losses]))
    finite = values.isfinite()
    if not bool(finite.all()):
        first = int((~finite).nonzero()[0])
        epoch, batch, _ = losses[first]
        at = f"batch {batch} in epoch {epoch} (step {step - len(losses) + first + 1})"
        raise TrainingError(f"the loss of {at} is not finite; {_REMEDY}")
    return float(values.mean())


def _log(directory: Path, state: dict[str, Any], loss: float, rate: float) -> None:
    counters = {key: state[key] for key in ("step", "epoch", "seconds")}
    append_log(directory, {**counters, "loss": loss, "rate": rate, **state["last"]})
