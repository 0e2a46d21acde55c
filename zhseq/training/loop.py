"""THE training loop: it trains any module with `loss(batch) -> scalar`, and knows nothing else about it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from tqdm import tqdm

from zhseq.batching import Batch
from zhseq.errors import ZhseqError
from zhseq.training.config import Evaluation, TrainingConfig
from zhseq.training.device import autocast, pick_device, tune_process
from zhseq.training.distributed import World, world, wrap
from zhseq.training.state import Average, load_state, save_state

LOG_FILE = "log.jsonl"

__all__ = ["Evaluation", "TrainingConfig", "TrainingError", "train"]


class TrainingError(ZhseqError):
    """The training cannot go on, because a loss is not finite."""


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
        TrainingError: A loss was not finite.
        CheckpointError: There is nothing to resume from, or the state cannot be saved.
    """
    device = pick_device(config.device)
    tune_process(device)
    torch.manual_seed(config.seed)
    model.to(device)
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
        elif place.is_main:
            (directory / LOG_FILE).write_text("", encoding="utf-8")
        compute_loss = wrap(model, place, device)
        steps_per_epoch = len(batches(0))
        total = config.max_steps or config.epochs * steps_per_epoch
        every = config.evaluate_every or steps_per_epoch
        pending: list[Tensor] = []  # losses not yet looked at: looking makes a GPU wait
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
                    pending.append(loss.detach())
                    bar.update()

                    due = state["step"] % every == 0 or state["step"] == total
                    if due or len(pending) >= config.log_every:
                        mean = _check_finite(pending, state)
                        pending.clear()
                        bar.set_postfix(loss=f"{mean:.4f}", rate=f"{rate:.1e}", refresh=False)
                    if due:
                        state["seconds"] = time.monotonic() - clock
                        _evaluate(parts, evaluate, save_best, state, place, device)
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
    device: torch.device,
) -> None:
    """Score the model with its averaged weights, keep the best, count evaluations without progress."""
    model, average = parts["model"], parts["average"]
    if average is not None:
        average.swap()
    model.eval()
    random_state = torch.get_rng_state()  # an evaluation that draws numbers must not change the training
    result = evaluate(model) if place.is_main else Evaluation(0.0)
    score = place.agree(result.score, device)
    state["last"] = {"score": score, **result.details}
    if state["best"] is None or score > state["best"]:
        state.update(best=score, details=result.details, bad=0)
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


def _check_finite(losses: list[Tensor], state: dict[str, Any]) -> float:
    """Return the mean of the losses of the last steps; stop if one is not finite."""
    values = torch.stack(losses)
    finite = values.isfinite()
    if not bool(finite.all()):
        first = int((~finite).nonzero()[0])
        batch = state["batch"] - len(losses) + first
        raise TrainingError(
            f"the loss of batch {batch} in epoch {state['epoch']} (step {state['step'] - len(losses) + first}) is not "
            "finite; the best checkpoint and the resume state before it are intact; try a lower training.learning_rate"
        )
    return float(values.mean())


def _log(directory: Path, state: dict[str, Any], loss: float, rate: float) -> None:
    entry = {key: state[key] for key in ("step", "epoch", "seconds")}
    entry.update({"loss": loss, "rate": rate, **state["last"]})
    with (directory / LOG_FILE).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(entry, ensure_ascii=False) + "\n")
