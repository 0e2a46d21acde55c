"""Data-parallel training with torch.distributed; without effect in a single process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from zhseq.batching import Batch

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """Rank of this process and number of processes; (0, 1) for a single process."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process evaluates, logs and saves."""
        return self.rank == 0

    def agree(self, value: T) -> T:
        """Broadcast the value of the main process to all processes."""
        if self.size == 1:
            return value
        box = [value]
        torch.distributed.broadcast_object_list(box, src=0)
        return box[0]

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean of `values` over all processes (all-reduce)."""
        if self.size == 1:
            return values
        torch.distributed.all_reduce(values)  # sums in place
        return values / self.size


@contextmanager
def world(device: torch.device) -> Iterator[World]:
    """Join the process group started by `torchrun`; without torchrun, yield a single process."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield World()
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield World(torch.distributed.get_rank(), torch.distributed.get_world_size())
    finally:
        torch.distributed.destroy_process_group()


class LossModule(nn.Module):
    """Module whose `forward` is this process's share of the loss of a global batch, for DistributedDataParallel."""

    def __init__(self, model: nn.Module, ranks: World) -> None:
        super().__init__()
        self.model = model
        self.ranks = ranks

    def forward(self, batch: Batch[Any], device: torch.device) -> Tensor:
        """Return the loss of this process's rows, weighted so that the mean over processes is the global loss."""
        if self.ranks.size == 1:
            return self.model.loss(batch.to(device))  # type: ignore[operator,no-any-return]
        shard = batch.shard(self.ranks.rank, self.ranks.size)
        if len(shard) == 0 or shard.weight == 0:
            # Fewer rows than processes: take part in the synchronisation with a weight of zero.
            return self.model.loss(batch.to(device)) * 0.0  # type: ignore[operator,no-any-return]
        share = self.ranks.size * shard.weight / batch.weight
        return self.model.loss(shard.to(device)) * share  # type: ignore[operator,no-any-return]


def wrap(model: nn.Module, ranks: World, device: torch.device) -> nn.Module:
    """Return a module that computes the loss of a batch, with gradients synchronised over all processes."""
    module = LossModule(model, ranks)
    if ranks.size == 1:
        return module
    from torch.nn.parallel import DistributedDataParallel

    return DistributedDataParallel(
        module, device_ids=[device.index or 0] if device.type == "cuda" else None, find_unused_parameters=True
    )
