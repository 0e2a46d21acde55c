"""Train the toy in one process, or in several under torchrun: `toy_run.py DIR [--resume] [--kill STEP]`.

Each process writes what it ends with. With `--kill`, the first process kills itself, as no program can prevent, when
it is about to take that optimizer step.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import torch

from tests.training.toy import Toy, batches, run
from zhseq.batching import IGNORED, Batch

SETTINGS = {"evaluate_every": 4, "clip_norm": 0.2, "ema_decay": 0.7}


def uneven_batches(epoch: int) -> list[Batch]:
    """Besides the usual batches one of a single row, and one in which only the first row is scored."""
    usual = batches(epoch)
    targets = usual[1].targets.masked_fill(torch.arange(len(usual[1]))[:, None] > 0, IGNORED)
    return [*usual, usual[0].shard(0, 9), Batch(usual[1].ids, usual[1].mask, targets)]


class Deadly(Sequence[Batch]):
    """The batches of an epoch; who asks for the one of a certain optimizer step is killed."""

    def __init__(self, epoch: int, step: int) -> None:
        self.batches = uneven_batches(epoch)
        self.at = step - 1 - epoch * len(self.batches)

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Batch:  # type: ignore[override]
        if index == self.at and os.environ.get("RANK", "0") == "0":
            os.kill(os.getpid(), signal.SIGKILL)
        return self.batches[index]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--kill", type=int, default=0, metavar="STEP")
    parser.add_argument("--dropout", type=float, default=0.0)
    options = parser.parse_args()
    model = Toy(dropout=options.dropout)
    made = (lambda epoch: Deadly(epoch, options.kill)) if options.kill else uneven_batches
    result = run(model, options.directory, resume=options.resume, batches=made, **SETTINGS)
    end = {"score": result.score, "details": result.details, "table": model.table.tolist(), "bias": model.bias.tolist()}
    path = options.directory / f"end{os.environ.get('RANK', '0')}.json"
    path.write_text(json.dumps(end), encoding="utf-8")


if __name__ == "__main__":
    main()
