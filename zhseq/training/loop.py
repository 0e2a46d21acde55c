"""The training loop, for any module with a method `loss(batch) -> scalar`."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from tqdm import tqdm

from zhseq.batching import Batch
from zhseq.device import autocast, pick_device, release_memory, tune_process
from zhseq.errors import ConfigError, Message, ZhseqError, command_line
from zhseq.training.distributed import World, world, wrap
from zhseq.training.state import (
    RESUME_FILE,
    Average,
    Progress,
    TrainingState,
    append_log,
    load_state,
    open_log,
    save_state,
)

_SECONDS_BETWEEN_SAVES = 30 * 60.0
_REMEDY = Message(
    "training_remedy",
    "the best checkpoint and the resume state from before are intact; resume, or try a lower training.learning_rate",
)


class TrainingError(ZhseqError):
    """A loss or a score is not finite."""


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of the training loop."""

    epochs: int = 1
    """Passes over the training set."""
    max_steps: int = 0
    """Number of optimizer steps, and length of the learning rate schedule; 0: those of `epochs`."""
    learning_rate: float = 2e-3
    """Peak learning rate, reached after warm-up."""
    warmup_steps: int = 300
    """Optimizer steps of linear warm-up from 0."""
    final_rate: float = 0.02
    """Final learning rate as a share of the peak, at the end of the cosine schedule."""
    weight_decay: float = 0.01
    """Decoupled weight decay, on matrices only."""
    beta2: float = 0.98
    """Decay of AdamW's second moment."""
    clip_norm: float = 1.0
    """Maximum norm of the gradient; larger gradients are scaled down."""
    ema_decay: float = 0.0
    """Decay of the exponential moving average of the weights, which is evaluated and saved; 0: no average."""
    evaluate_every: int = 0
    """Optimizer steps between evaluations; 0: at the end of each epoch."""
    patience: int = 0
    """Evaluations without improvement before early stopping; 0: no early stopping."""
    log_every: int = 50
    """Optimizer steps between checks for a finite loss and updates of the progress bar."""
    seed: int = 1
    """Random seed of initial weights, batch order and dropout."""
    precision: str = "auto"
    """`float32`, `bfloat16` (autocast), or `auto`: bfloat16 on CUDA and on CPUs with bfloat16 instructions."""
    device: str = "auto"
    """`auto`, `cuda`, `mps` or `cpu`."""
    threads: int = 0
    """CPU threads; 0: all that this process may use."""

    def __post_init__(self) -> None:
        for name in ("epochs", "log_every"):
            if getattr(self, name) < 1:
                raise ConfigError(
                    "setting_below_minimum",
                    "{name} must be at least {minimum}, but is {value}",
                    name=f"training.{name}",
                    minimum=1,
                    value=getattr(self, name),
                )
        for name in ("max_steps", "warmup_steps", "evaluate_every", "patience", "weight_decay", "seed", "threads"):
            if not getattr(self, name) >= 0:
                raise ConfigError(
                    "setting_negative",
                    "{name} must not be negative, but is {value}",
                    name=f"training.{name}",
                    value=getattr(self, name),
                )
        if self.seed >= 1 << 63:
            raise ConfigError("seed_too_large", "training.seed must be below 2 ** 63, but is {value}", value=self.seed)
        if not self.learning_rate > 0 or not self.clip_norm > 0:
            raise ConfigError(
                "rate_not_positive", "training.learning_rate and training.clip_norm must be greater than 0"
            )
        if not 0 <= self.ema_decay < 1 or not 0 <= self.beta2 < 1 or not 0 <= self.final_rate <= 1:
            raise ConfigError("decay_out_of_range", "training.ema_decay, beta2 and final_rate must lie in [0, 1)")
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise ConfigError(
                "unknown_precision",
                "training.precision must be auto, float32 or bfloat16, but is '{value}'",
                value=self.precision,
            )

    def rate(self, step: int, total: int) -> float:
        """Return the learning rate of optimizer step `step` (from 0) of `total`: linear warm-up, then a cosine."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        progress = min(1.0, (step - self.warmup_steps) / max(1, total - self.warmup_steps))
        cosine = 0.5 * (1 + math.cos(math.pi * progress))
        return self.learning_rate * (self.final_rate + (1 - self.final_rate) * cosine)


@dataclass(frozen=True)
class Evaluation:
    """Result of an evaluation on the dev set: the score, higher is better, and further measures by name."""

    score: float
    details: dict[str, float] = field(default_factory=dict)


def train(
    model: nn.Module,
    batches: Callable[[int], Sequence[Batch[Any]]],
    evaluate: Callable[[Any], Evaluation],
    save_best: Callable[[Any, Evaluation], None],
    config: TrainingConfig,
    *,
    directory: Path,
    resume: bool = False,
) -> Evaluation:
    """Train a model and return the best evaluation.

    Args:
        model: Module whose `loss(batch)` returns a scalar tensor; has its last weights afterwards.
        batches: Returns the batches of an epoch, which must depend on the epoch number only. Batches are accessed by
            index, one after the other, so they may be created on access.
        evaluate: Evaluates the model, in evaluation mode and with averaged weights if enabled, on the dev set.
        save_best: Called with the model whenever an evaluation is the best so far.
        config: Settings.
        directory: Output directory, for `log.jsonl` with one line per evaluation, and the resume state. Without
            `resume`, both are overwritten.
        resume: Continue from the state in `directory`, with the same results as an uninterrupted run. A finished run
            is left unchanged.

    Raises:
        TrainingError: A loss or a score is not finite.
        ConfigError: There are no batches, or the device is not available.
        CheckpointError: There is no state to resume from, or it cannot be saved.
    """
    device = pick_device(config.device)
    tune_process(device, config.threads)
    torch.manual_seed(config.seed)
    model.to(device).train()
    with world(device) as ranks:
        state = TrainingState(
            model, _optimizer(model, config), Average(model, config.ema_decay) if config.ema_decay else None
        )
        _open(directory, state, resume, ranks)
        progress = state.progress
        compute_loss = wrap(model, ranks, device)
        steps_per_epoch = len(batches(0))
        if steps_per_epoch == 0:
            raise ConfigError(
                "nothing_to_train_on",
                "there is nothing to train on: the first epoch has no batches; give more training texts",
            )
        total = config.max_steps or config.epochs * steps_per_epoch
        every = config.evaluate_every or steps_per_epoch
        if _finished(progress, config, total) and ranks.is_main:
            _print_finished(progress)
        # Losses that are still on the device, with epoch and batch: reading each at once would synchronise the GPU.
        pending: list[tuple[int, int, Tensor]] = []
        saved = time.monotonic()
        clock = saved - progress.seconds

        with Reporter(total, progress.step, silent=not ranks.is_main) as reporter:
            while not _finished(progress, config, total):
                epoch_batches = batches(progress.epoch)
                for index in range(progress.batch, len(epoch_batches)):
                    rate = config.rate(progress.step, total)
                    for group in state.optimizer.param_groups:
                        group["lr"] = rate
                    with autocast(device, config.precision):
                        loss = compute_loss(epoch_batches[index], device)
                    loss.backward()
                    nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
                    state.optimizer.step()
                    state.optimizer.zero_grad(set_to_none=True)
                    progress.step, progress.batch = progress.step + 1, index + 1
                    if state.average is not None:
                        state.average.update(progress.step)
                    pending.append((progress.epoch, index, loss.detach()))
                    reporter.advance()

                    due = progress.step % every == 0 or progress.step == total
                    if not due and len(pending) < config.log_every:
                        continue
                    mean = _mean_loss(pending, progress.step, ranks)
                    pending.clear()
                    release_memory()
                    progress.seconds = time.monotonic() - clock
                    if due:
                        reporter.score = _evaluate(state, evaluate, save_best, ranks)
                        if ranks.is_main:
                            _log(directory, progress, mean, rate)
                    reporter.show(mean, rate)
                    # Save only when no loss is pending, so that a resumed run logs the same mean losses.
                    if ranks.is_main and (due or time.monotonic() - saved >= _SECONDS_BETWEEN_SAVES):
                        save_state(directory, state)
                        saved = time.monotonic()
                    if _finished(progress, config, total):
                        break
                else:
                    progress.epoch, progress.batch = progress.epoch + 1, 0
    assert progress.best is not None  # the last step is always evaluated
    return Evaluation(progress.best, progress.details)


def _open(directory: Path, state: TrainingState, resume: bool, ranks: World) -> None:
    """Prepare the directory for a new run, or load the state of the run to resume."""
    directory.mkdir(parents=True, exist_ok=True)
    if resume:
        load_state(directory, state)
    if ranks.is_main:
        open_log(directory, state.progress.step)
        if not resume:
            (directory / RESUME_FILE).unlink(missing_ok=True)


def _optimizer(model: nn.Module, config: TrainingConfig) -> Optimizer:
    """Return AdamW with weight decay on matrices only, not on biases."""
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
    state: TrainingState,
    evaluate: Callable[[Any], Evaluation],
    save_best: Callable[[Any, Evaluation], None],
    ranks: World,
) -> float:
    """Evaluate with averaged weights, save the best model, and count evaluations without improvement."""
    model, average, progress = state.model, state.average, state.progress
    if average is not None:
        average.swap()
    model.eval()
    random_state = torch.get_rng_state()  # random numbers drawn by the evaluation must not change the training
    result = ranks.agree(evaluate(model) if ranks.is_main else Evaluation(0.0))
    if not math.isfinite(result.score):
        raise TrainingError(
            "score_not_finite",
            "the dev score after step {step} is {score}, not finite; {remedy}",
            step=progress.step,
            score=result.score,
            remedy=_REMEDY,
        )
    progress.last = {"score": result.score, **result.details}
    if progress.best is None or result.score > progress.best:
        progress.best, progress.details, progress.bad = result.score, result.details, 0
        if ranks.is_main:
            save_best(model, result)
    else:
        progress.bad += 1
    torch.set_rng_state(random_state)
    model.train()
    if average is not None:
        average.swap()
    return result.score


def _finished(progress: Progress, config: TrainingConfig, total: int) -> bool:
    """Return whether all steps are done or the patience is exhausted."""
    return progress.step >= total or bool(config.patience and progress.bad >= config.patience)


def _print_finished(progress: Progress) -> None:
    note = Message(
        "run_finished",
        "this run is finished: {step:,} steps are done; use <overwrite> to start a new one",
        {"step": progress.step},
    )
    print(note.render(command_line), file=sys.stderr)


def _mean_loss(losses: list[tuple[int, int, Tensor]], step: int, ranks: World) -> float:
    """Return the mean of the losses of the last steps, up to `step`, over all processes.

    Raises:
        TrainingError: A loss is not finite.
    """
    values = ranks.mean(torch.stack([loss for _, _, loss in losses]))
    finite = values.isfinite()
    if not bool(finite.all()):
        first = int((~finite).nonzero()[0])
        epoch, batch, _ = losses[first]
        raise TrainingError(
            "loss_not_finite",
            "the loss of batch {batch} in epoch {epoch} (step {step}) is not finite; {remedy}",
            batch=batch,
            epoch=epoch,
            step=step - len(losses) + first + 1,
            remedy=_REMEDY,
        )
    return float(values.mean())


def _log(directory: Path, progress: Progress, loss: float, rate: float) -> None:
    counters = {"step": progress.step, "epoch": progress.epoch, "seconds": progress.seconds}
    append_log(directory, {**counters, "loss": loss, "rate": rate, **progress.last})


_SECONDS_BETWEEN_LINES = 60.0


class Reporter:
    """Show steps, loss, dev score and remaining time on standard error."""

    def __init__(self, total: int, done: int, *, silent: bool = False) -> None:
        """Start reporting.

        Args:
            total: Optimizer steps of the run.
            done: Steps already done.
            silent: Show nothing, for all processes but the main one.
        """
        self.bar = tqdm(total=total, initial=done, unit="step", disable=True if silent else None)
        self.writes_lines = bool(self.bar.disable) and not silent
        self.total, self.first, self.done = total, done, done
        self.loss: float | None = None
        self.score: float | None = None
        self.started = self.last_line = time.monotonic()

    def __enter__(self) -> Reporter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.close()

    def advance(self) -> None:
        """Count one optimizer step."""
        self.done += 1
        self.bar.update()
        if self.writes_lines and self.loss is not None:
            now = time.monotonic()
            if now - self.last_line >= _SECONDS_BETWEEN_LINES:
                self.last_line = now
                print(self.line(now), file=sys.stderr, flush=True)

    def show(self, loss: float, rate: float) -> None:
        """Update the mean training loss of the last steps and the learning rate."""
        self.loss = loss
        shown = {"loss": f"{loss:.4f}", "rate": f"{rate:.1e}"}
        if self.score is not None:
            shown["dev"] = f"{self.score:.4f}"
        self.bar.set_postfix(shown, refresh=False)

    def line(self, now: float) -> Message:
        """Return the line that is printed instead of a progress bar without a terminal."""
        left = (now - self.started) / (self.done - self.first) * (self.total - self.done)
        score = Message("no_score_yet", "none yet") if self.score is None else f"{self.score:.4f}"
        return Message(
            "training_line",
            "step {step:,} of {total:,} ({share:.0%}): loss {loss:.4f}, dev score {score}, time left {left}",
            {
                "step": self.done,
                "total": self.total,
                "share": self.done / self.total,
                "loss": self.loss,
                "score": score,
                "left": tqdm.format_interval(left),
            },
        )
