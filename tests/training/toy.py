"""A model of a few numbers and its batches: enough to see every turn of the training loop."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zhseq.batching import Batch
from zhseq.training import Evaluation, TrainingConfig, train

SYMBOLS = 7


class Toy(nn.Module):
    """Predicts each symbol from the one before it; the dropout makes the random state matter."""

    def __init__(self, dropout: float = 0.3) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.table = nn.Parameter(torch.randn(SYMBOLS, SYMBOLS, generator=generator))
        self.bias = nn.Parameter(torch.zeros(SYMBOLS))
        self.dropout = nn.Dropout(dropout)

    def loss(self, batch: Batch) -> Tensor:
        scores = self.dropout(self.table[batch.ids] + self.bias)
        assert batch.targets is not None
        return nn.functional.cross_entropy(scores.flatten(0, 1), batch.targets.flatten())


def batches(epoch: int, count: int = 4) -> list[Batch]:
    """The batches of an epoch: in every sequence the next symbol is one more."""
    generator = torch.Generator().manual_seed(epoch)
    result = []
    for index in range(count):
        ids = torch.randint(0, SYMBOLS, (3 + index, 5), generator=generator)
        result.append(Batch(ids, torch.ones_like(ids, dtype=torch.bool), (ids + 1) % SYMBOLS))
    return result


def evaluate(model: Toy) -> Evaluation:
    """Score by the loss on a batch of its own; draws a random number, as an evaluation may."""
    torch.rand(1)
    with torch.no_grad():
        loss = float(model.loss(batches(99)[0]))
    return Evaluation(-loss, {"dev_loss": loss})


def run(model: nn.Module, directory: Path, *, resume: bool = False, **settings: Any) -> Evaluation:
    """Train with the toy's batches and evaluation; `settings` overrides those of the loop."""
    parts = {"batches": batches, "evaluate": evaluate, "save_best": lambda *_: None}
    parts.update({name: settings.pop(name) for name in list(settings) if name in parts})
    defaults = {"epochs": 3, "learning_rate": 0.05, "warmup_steps": 2, "device": "cpu", "precision": "float32"}
    return train(model, **parts, config=TrainingConfig(**{**defaults, **settings}), directory=directory, resume=resume)


def log(directory: Path) -> list[dict[str, float]]:
    """The log of a run without the seconds, which differ from run to run."""
    entries = [json.loads(line) for line in (directory / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{name: value for name, value in entry.items() if name != "seconds"} for entry in entries]


class Interrupting(Sequence[Batch]):
    """Batches of an epoch that fail when a certain one is asked for."""

    def __init__(self, epoch: int, at: tuple[int, int], error: BaseException) -> None:
        self.batches, self.epoch, self.at, self.error = batches(epoch), epoch, at, error

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Batch:  # type: ignore[override]
        if (self.epoch, index) == self.at:
            raise self.error
        return self.batches[index]
