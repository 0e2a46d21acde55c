"""Settings of the training loop and what a recipe reports back to it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from zhseq.errors import ConfigError


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
