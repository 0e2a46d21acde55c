"""What a tagger's checkpoint says without its weights: shape, tags, and the tables of what it reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from zhseq import checkpoint
from zhseq.batching import WORD_SETS
from zhseq.config import from_dict
from zhseq.errors import CheckpointError, ConfigError
from zhseq.tagging.features import TaggerFeatures
from zhseq.text.tags import allowed_transitions

KIND = "sequence-tagger"
MAX_UNITS = 1 << 16
"""Most units of a layer: larger ones fit no machine."""


@dataclass(frozen=True)
class TaggerModelConfig:
    """Shape of the tagger that a training may choose; vocabularies and tags come from the corpora."""

    embedding_dim: int = 64
    """Numbers in the embedding of a character."""
    bigram_dim: int = 32
    """Numbers in the embedding of a bigram."""
    word_dim: int = 32
    """Numbers in the embedding of a word of the dictionary."""
    hidden_size: int = 192
    """Units of the LSTM in each direction."""
    num_layers: int = 1
    """Layers of the LSTM."""
    channels: int = 128
    """Filters of the window CNN; 0 leaves it out."""
    width: int = 3
    """Characters that a filter sees; odd."""
    unknown_rate: float = 0.01
    """Share of the characters that are read as unknown in training."""
    input_dropout: float = 0.4
    """Dropout of what the encoder reads."""
    output_dropout: float = 0.4
    """Dropout of what the encoder gives."""

    def __post_init__(self) -> None:
        if self.hidden_size < 1 or self.num_layers < 1 or self.channels < 0 or self.width % 2 == 0:
            raise ConfigError(
                "tagger_sizes", "hidden_size and num_layers must be at least 1, channels at least 0, and width odd"
            )
        for name, value in (("hidden_size", self.hidden_size), ("channels", self.channels)):
            if value > MAX_UNITS:
                raise ConfigError(
                    "layer_too_large",
                    "{name} must be at most {most}, but is {value}",
                    name=name,
                    most=MAX_UNITS,
                    value=value,
                )
        for name in ("unknown_rate", "input_dropout", "output_dropout"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise ConfigError(
                    "impossible_rate", "{name} must lie in [0, 1), but is {value}", name=name, value=value
                )


@dataclass(frozen=True, kw_only=True)
class SequenceTaggerConfig(TaggerModelConfig):
    """Shape of a tagger, sizes of its vocabularies included, and the tags of its heads."""

    vocab_size: int
    bigram_vocab_size: int
    word_vocab_size: int
    heads: dict[str, tuple[str, ...]]
    """Tags of each head; a tag's id is its position."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "heads", {head: tuple(tags) for head, tags in self.heads.items()})
        if not self.heads or not all(self.heads.values()):
            raise ConfigError(
                "no_heads", "a tagger needs at least one head, each with tags, but has {heads}", heads=self.heads
            )


def read_settings(directory: Path) -> SequenceTaggerConfig:
    """Read the shape of a tagger and the tags of its heads.

    Raises:
        CheckpointError: They are missing, damaged, or of no tagger.
    """
    config = checkpoint.read_config(directory, KIND)
    source = str(directory / checkpoint.CONFIG_FILE)
    try:
        settings = from_dict(SequenceTaggerConfig, config.get("model", {}), source=source)
    except ConfigError as error:
        raise CheckpointError(
            "impossible_settings",
            "{path} does not describe a model: {reason}; fetch or train it again",
            path=source,
            reason=error.message,
        ) from error
    try:
        for tags in settings.heads.values():
            allowed_transitions(tags)
    except ValueError as error:  # tags that are none, or stand there twice
        raise CheckpointError(
            "no_tagger", "{source} describes no tagger: {error}; fetch the checkpoint again", source=source, error=error
        ) from error
    return settings


def read_features(directory: Path, settings: SequenceTaggerConfig) -> TaggerFeatures:
    """Read the tables of what a tagger of this shape reads.

    Raises:
        CheckpointError: They are missing, damaged, or of another model.
    """
    features = TaggerFeatures.load(directory)
    found = (len(features.vocab), len(features.bigrams), len(features.lexicon))
    sizes = (settings.vocab_size, max(0, settings.bigram_vocab_size - 1), max(0, settings.word_vocab_size - 1))
    if found != sizes:
        raise CheckpointError(
            "tables_of_another_model",
            "{directory} holds {found} characters, bigrams and words, but {source} speaks of {sizes}; "
            "they are not of the same model",
            directory=directory,
            found=found,
            source=str(directory / checkpoint.CONFIG_FILE),
            sizes=sizes,
        )
    return features


def weight_shapes(settings: SequenceTaggerConfig) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the weights of a tagger, by their names in its checkpoint."""
    sizes, units = settings, settings.hidden_size
    tables = {
        "characters": (sizes.vocab_size, sizes.embedding_dim),
        "bigrams": (sizes.bigram_vocab_size, sizes.bigram_dim),
        "words": (sizes.word_vocab_size, sizes.word_dim),
    }
    shapes: dict[str, tuple[int, ...]] = {
        f"embedding.{name}.weight": shape for name, shape in tables.items() if shape[0]
    }
    read = sum(dim * (WORD_SETS if name == "words" else 1) for name, (rows, dim) in tables.items() if rows)
    for layer in range(sizes.num_layers):
        for direction in ("forwards", "backwards"):
            prefix, width = f"lstm.{direction}.{layer}.", 2 * units if layer else read
            shapes |= {f"{prefix}weight_ih_l0": (4 * units, width), f"{prefix}weight_hh_l0": (4 * units, units)}
            shapes |= {f"{prefix}bias_ih_l0": (4 * units,), f"{prefix}bias_hh_l0": (4 * units,)}
    if sizes.channels:
        shapes |= {
            "cnn.convolution.weight": (sizes.channels, read, sizes.width),
            "cnn.convolution.bias": (sizes.channels,),
        }
    for head, tags in sizes.heads.items():
        count = len(tags)
        shapes |= {
            f"projections.{head}.weight": (count, 2 * units + sizes.channels),
            f"projections.{head}.bias": (count,),
        }
        shapes |= {f"crfs.{head}.{part}_transitions": (count,) for part in ("start", "end")}
        shapes[f"crfs.{head}.transitions"] = (count, count)
    return shapes
