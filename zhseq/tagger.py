"""The library of the tagging half: `Tagger.load()("江泽民主席访问北京")`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zhseq import checkpoint
from zhseq.config import from_dict, to_dict
from zhseq.errors import CheckpointError, ConfigError
from zhseq.features import TaggerFeatures
from zhseq.models.sequence_tagger import SequenceTagger, SequenceTaggerConfig
from zhseq.nn.initialization import uninitialized

KIND = "sequence-tagger"


def load_parts(directory: Path) -> tuple[SequenceTagger, TaggerFeatures]:
    """Read model and features of a checkpoint directory.

    Raises:
        CheckpointError: It is missing, damaged, or no tagger.
    """
    config = checkpoint.read_config(directory, KIND)
    source = str(directory / checkpoint.CONFIG_FILE)
    try:
        settings = from_dict(SequenceTaggerConfig, config.get("model", {}), source=source)
    except ConfigError as error:
        raise CheckpointError(str(error)) from error
    features = TaggerFeatures.load(directory)
    found = (len(features.vocab), len(features.bigrams), len(features.lexicon))
    sizes = (settings.vocab_size, max(0, settings.bigram_vocab_size - 1), max(0, settings.word_vocab_size - 1))
    if found != sizes:
        raise CheckpointError(
            f"{directory} holds {found} characters, bigrams and words, but {source} speaks of {sizes}; "
            "they are not of the same model"
        )
    with uninitialized():
        model = SequenceTagger(settings)
    checkpoint.read_weights(directory, model)
    return model, features


def save(directory: Path, model: SequenceTagger, features: TaggerFeatures, training: dict[str, Any]) -> None:
    """Write a tagger as a checkpoint directory; `training` records how it was made."""
    config = {"kind": KIND, "version": 1, "model": to_dict(model.config), "training": training}
    checkpoint.save(directory, config=config, tensors=model.state_dict(), files=features.files())
