"""Configuration of a tagger, and its features: character, bigram and dictionary word ids of texts."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from zhseq import checkpoint
from zhseq.batching import IGNORED, WORD_SETS, Array, Batch
from zhseq.device import Packed, address, library
from zhseq.errors import CheckpointError, ConfigError
from zhseq.tagging.lexicon import SEPARATOR, Lexicon, NgramTable, rolling_hashes
from zhseq.text.normalize import CodePoints, codepoints, from_codepoints, normalize
from zhseq.text.tags import allowed_transitions
from zhseq.text.vocab import Vocab, escape, unescape

Ints = npt.NDArray[np.int64]

KIND = "sequence-tagger"
MAX_UNITS = 1 << 16
"""Maximum number of units of a layer; protects against damaged checkpoints."""

VOCAB_FILE, BIGRAMS_FILE, WORDS_FILE, LISTS_FILE = "vocab.txt", "bigrams.txt", "words.txt", "lists.txt"
MAX_WORD_LENGTH = 4
"""Maximum length in characters of lexicon words; longer ones are rare and contain shorter ones."""


@dataclass(frozen=True)
class Rows:
    """Rows of the embedding tables for the characters of concatenated texts; None if the model lacks a table.

    Attributes:
        ids: Id of each character, (characters,) int64.
        bigrams: Row of the bigram that begins at each character, 0 if unknown, (characters,) int32.
        words: Rows of the lexicon words around each character, see `Lexicon.sets`, (characters, slots) int32.
        weights: Weights of these words, (characters, slots) float32.
    """

    ids: Ints
    bigrams: npt.NDArray[np.int32] | None
    words: npt.NDArray[np.int32] | None
    weights: npt.NDArray[np.float32] | None


class TaggerFeatures:
    """Convert texts to batches, in training and in tagging alike."""

    def __init__(self, vocab: Vocab, bigrams: Sequence[str], lexicon: Lexicon) -> None:
        """Create from normalised vocabularies.

        Args:
            vocab: Characters.
            bigrams: Pairs of characters. Bigram i (from 0) has row i + 1 of its embedding table; row 0 is for unknown
                bigrams.
            lexicon: Dictionary words.
        """
        self.vocab = vocab
        self.bigrams = tuple(bigrams)
        self.lexicon = lexicon
        pairs = codepoints("".join(bigrams)).reshape(-1, 2)
        self._bigram_table = NgramTable(pairs, np.arange(1, len(bigrams) + 1)) if bigrams else None

    def batch(self, texts: Sequence[str], targets: Sequence[Ints] | None = None, head: str = "") -> Batch[Array]:
        """Make a batch of texts.

        Args:
            texts: Texts, none empty; blanks are treated like other characters.
            targets: Tag ids of each text, each (characters,) int64.
            head: Head that `targets` belong to.
        """
        lengths = np.array([len(text) for text in texts], dtype=np.int64)
        flat = None if targets is None else np.concatenate(list(targets))
        return self.assemble(codepoints(normalize("".join(texts))), lengths, flat, head)

    def assemble(self, points: CodePoints, lengths: Ints, targets: Ints | None = None, head: str = "") -> Batch[Array]:
        """Make a batch of concatenated, normalised texts.

        Args:
            points: Code points of all texts, (characters,) uint32.
            lengths: Characters of each text, (texts,) int64.
            targets: Tag ids, (characters,) int64.
            head: Head that `targets` belong to.

        Returns:
            Arrays of shape (texts, length, ...), where length is that of the longest text; padding holds `pad_id` in
            `ids`, `IGNORED` in `targets`, and 0 elsewhere.
        """
        rows, longest = len(lengths), int(lengths.max())
        text_of = np.repeat(np.arange(rows), lengths)
        positions = np.arange(len(points)) + text_of * longest - np.repeat(np.cumsum(lengths) - lengths, lengths)

        def padded(values: npt.NDArray[np.generic], fill: int, kind: type[np.generic]) -> Array:
            table = np.full((rows * longest, *values.shape[1:]), fill, dtype=kind)
            table[positions] = values
            return table.reshape(rows, longest, *values.shape[1:])

        found = self.look_up(points, lengths)
        return Batch(
            ids=padded(found.ids, self.vocab.pad_id, np.int64),
            mask=np.arange(longest) < lengths[:, None],
            targets=None if targets is None else padded(targets, IGNORED, np.int64),
            bigram_ids=padded(found.bigrams, 0, np.int64) if found.bigrams is not None else None,
            word_ids=padded(found.words, 0, np.int64) if found.words is not None else None,
            word_weights=padded(found.weights, 0, np.float32) if found.weights is not None else None,
            head=head,
        )

    def look_up(self, points: CodePoints, lengths: Ints) -> Rows:
        """Look up concatenated, normalised texts in the vocabularies; arguments as in `assemble`.

        Raises:
            ValueError: `lengths` do not add up to the number of code points.
        """
        loops = library()
        return self._look_up_numpy(points, lengths) if loops is None else self._look_up_compiled(loops, points, lengths)

    @cached_property
    def _packed(self) -> Packed:
        """The tables in the memory layout of the C code."""
        lexicon, pairs = self.lexicon, self._bigram_table
        longest = lexicon.max_length if len(lexicon) else 0
        words = Packed(*(lexicon.packed.get(length) for length in range(1, longest + 1)))
        return Packed(longest, lexicon.slots, words, lexicon.weights, None if pairs is None else pairs.packed)

    def _look_up_compiled(self, loops: ctypes.CDLL, points: CodePoints, lengths: Ints) -> Rows:
        points = np.ascontiguousarray(points, dtype=np.uint32)
        lengths = np.ascontiguousarray(lengths, dtype=np.int64)
        if len(points) != int(lengths.sum()):
            raise ValueError(f"expected {lengths.sum()} code points, got {len(points)}")
        bigrams = words = weights = None
        if self._bigram_table is not None:
            bigrams = np.empty(len(points), dtype=np.int32)
        if len(self.lexicon):
            words = np.zeros((len(points), 4 * self.lexicon.slots), dtype=np.int32)
            weights = np.empty(words.shape, dtype=np.float32)
        arrays = (lengths, points, bigrams, words, weights)
        texts = ctypes.c_int64(len(lengths))
        pointers = (ctypes.c_void_p(None if array is None else address(array)) for array in arrays)
        loops.zhseq_look_up(ctypes.c_void_p(self._packed.address), texts, *pointers)
        return Rows(self.vocab.encode_points(points), bigrams, words, weights)

    def _look_up_numpy(self, points: CodePoints, lengths: Ints) -> Rows:
        apart = np.arange(len(points)) + np.repeat(np.arange(len(lengths)), lengths)  # with a separator after each text
        separated = np.full(len(points) + len(lengths), SEPARATOR, dtype=np.uint32)
        separated[apart] = points
        longest_ngram = max(2 if self.bigrams else 1, self.lexicon.max_length if len(self.lexicon) else 1)
        hashes = list(rolling_hashes(separated, longest_ngram))
        bigrams = words = weights = None
        if len(self.lexicon):
            found, shares = self.lexicon.sets(hashes)
            words, weights = found.take(apart, axis=0), shares.take(apart, axis=0)
        if self._bigram_table is not None:
            bigrams = self._bigram_table.find(hashes[1]).take(apart)
        return Rows(self.vocab.encode_points(points), bigrams, words, weights)

    def files(self) -> dict[str, str | Callable[[Path], None]]:
        """Return the files of a checkpoint that store the vocabularies: name -> text, or function that writes it."""
        return {
            VOCAB_FILE: self.vocab.save,
            BIGRAMS_FILE: "".join(escape(bigram) + "\n" for bigram in self.bigrams),
            WORDS_FILE: self.lexicon.save,
            LISTS_FILE: self.lexicon.save_lists,  # even if empty, to replace that of an older checkpoint
        }

    @classmethod
    def load(cls, directory: Path) -> TaggerFeatures:
        """Read the vocabularies of a checkpoint, as written by `files`.

        Raises:
            CheckpointError: A file is missing or damaged.
        """
        path = directory / BIGRAMS_FILE
        try:
            bigrams = [unescape(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
            if any(len(bigram) != 2 for bigram in bigrams):
                raise ValueError("a line does not hold two characters")
            lists = directory / LISTS_FILE
            lexicon = Lexicon.load(directory / WORDS_FILE, MAX_WORD_LENGTH, lists if lists.exists() else None)
            return cls(Vocab.load(directory / VOCAB_FILE), bigrams, lexicon)
        except (OSError, ValueError) as error:
            raise CheckpointError(
                "no_bigrams",
                "{path} is not a list of bigrams ({error}); fetch the checkpoint again",
                path=path,
                error=error,
            ) from error


def most_frequent_bigrams(texts: Iterable[CodePoints], limit: int) -> list[str]:
    """Return the `limit` most frequent character bigrams of normalised texts, most frequent first."""
    counted = [text[:-1].astype(np.uint64) << np.uint64(32) | text[1:] for text in texts if len(text) > 1]
    if not counted:
        return []
    pairs, counts = np.unique(np.concatenate(counted), return_counts=True)
    chosen = pairs[np.lexsort((pairs, -counts))[:limit]]
    points = np.stack([chosen >> np.uint64(32), chosen & np.uint64(0xFFFFFFFF)], axis=1).astype(np.uint32)
    joined = from_codepoints(points.reshape(-1))
    return [joined[index : index + 2] for index in range(0, len(joined), 2)]


@dataclass(frozen=True)
class TaggerModelConfig:
    """Settings of the network; vocabularies and tags come from the corpora."""

    embedding_dim: int = 64
    """Dimensions of a character embedding."""
    bigram_dim: int = 32
    """Dimensions of a bigram embedding."""
    word_dim: int = 32
    """Dimensions of the embedding of a lexicon word."""
    hidden_size: int = 192
    """Units of the BiLSTM in each direction."""
    num_layers: int = 1
    """Layers of the BiLSTM."""
    channels: int = 128
    """Filters of the window CNN; 0 for no CNN."""
    width: int = 3
    """Window of a filter in characters; odd."""
    unknown_rate: float = 0.01
    """Share of the characters that training replaces by `<unk>`."""
    input_dropout: float = 0.4
    """Dropout rate of the inputs of the encoder."""
    output_dropout: float = 0.4
    """Dropout rate of the outputs of the encoder."""

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
    """Configuration of a trained tagger: settings, sizes of the vocabularies, and tags of the heads."""

    vocab_size: int
    bigram_vocab_size: int
    word_vocab_size: int
    heads: dict[str, tuple[str, ...]]
    """Tags of each head; the id of a tag is its position."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "heads", {head: tuple(tags) for head, tags in self.heads.items()})
        if not self.heads or not all(self.heads.values()):
            raise ConfigError(
                "no_heads", "a tagger needs at least one head, each with tags, but has {heads}", heads=self.heads
            )


def read_settings(directory: Path) -> SequenceTaggerConfig:
    """Read the configuration of a tagger from a checkpoint directory.

    Raises:
        CheckpointError: It is missing, damaged, or not that of a tagger.
    """
    settings = checkpoint.read_settings(directory, KIND, SequenceTaggerConfig)
    source = str(directory / checkpoint.CONFIG_FILE)
    try:
        for tags in settings.heads.values():
            allowed_transitions(tags)
    except ValueError as error:  # invalid or duplicate tags
        raise CheckpointError(
            "no_tagger",
            "{source} does not describe a tagger: {error}; fetch the checkpoint again",
            source=source,
            error=error,
        ) from error
    return settings


def read_features(directory: Path, settings: SequenceTaggerConfig) -> TaggerFeatures:
    """Read the vocabularies of a tagger from a checkpoint directory.

    Raises:
        CheckpointError: They are missing, damaged, or do not match `settings`.
    """
    features = TaggerFeatures.load(directory)
    found = (len(features.vocab), len(features.bigrams), len(features.lexicon))
    sizes = (settings.vocab_size, max(0, settings.bigram_vocab_size - 1), max(0, settings.word_vocab_size - 1))
    if found != sizes:
        raise CheckpointError(
            "tables_of_another_model",
            "{directory} contains {found} characters, bigrams and words, but {source} specifies "
            "{sizes}; the files belong to different models",
            directory=directory,
            found=found,
            source=str(directory / checkpoint.CONFIG_FILE),
            sizes=sizes,
        )
    return features


def weight_shapes(settings: SequenceTaggerConfig) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the weights of a tagger by their names in the checkpoint."""
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
