"""The training loop with its state, logging and plots, independent of poems and tags."""

from zhseq.training.loop import Evaluation, TrainingConfig, train

__all__ = ["Evaluation", "TrainingConfig", "train"]
