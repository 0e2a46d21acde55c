"""The one training loop and what belongs to it. It knows nothing of poems or tags."""

from zhseq.training.loop import Evaluation, TrainingConfig, train

__all__ = ["Evaluation", "TrainingConfig", "train"]
