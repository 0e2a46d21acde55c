"""Which device and precision to train with, and what the processor needs to be fast."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext

import torch

from zhseq.errors import ConfigError
from zhseq.memory import keep_freed


def pick_device(name: str) -> torch.device:
    """Return the device named, or the best one there is for `auto`.

    Raises:
        ConfigError: The device is unknown or this machine does not have it.
    """
    counts = {
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
        "cpu": 1,
    }
    if name == "auto":
        name = next(kind for kind, count in counts.items() if count)
    if name == "cuda" and "LOCAL_RANK" in os.environ:
        name = f"cuda:{os.environ['LOCAL_RANK']}"  # torchrun: each process has a GPU of its own
    there = [kind for kind, count in counts.items() if count]
    if name not in there and name not in [f"{kind}:{index}" for kind in there for index in range(counts[kind])]:
        raise ConfigError(f"device '{name}' is not available; on this machine there is: {', '.join(there)}")
    return torch.device(name)


def cpu_has_bfloat16() -> bool:
    """Tell whether this CPU multiplies bfloat16 matrices in hardware; without that, bfloat16 only costs time."""
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, probe, bool)()) for probe in probes)


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Return the context in which the forward pass runs."""
    if precision == "auto":
        pays = device.type == "cuda" or (device.type == "cpu" and cpu_has_bfloat16())
        precision = "bfloat16" if pays else "float32"
    return torch.autocast(device.type, dtype=torch.bfloat16) if precision == "bfloat16" else nullcontext()


def tune_process(device: torch.device) -> None:
    """Set what makes training fast on this device and changes nothing else.

    On a GPU, float32 matrix products use TF32. On a CPU under Linux, the allocator keeps the large buffers of each step
    for the next.
    """
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True
    else:
        keep_freed()
