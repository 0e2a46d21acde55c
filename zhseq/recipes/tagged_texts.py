"""Training data of the tagger: read the sources of its heads, encode them as flat arrays, and form batches."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from zhseq.batching import Array, Batch, gather_ragged, length_buckets
from zhseq.cli import note
from zhseq.errors import ConfigError, CorpusError
from zhseq.tagging.features import Ints, TaggerFeatures
from zhseq.text.normalize import CodePoints, blanks, codepoints, normalize
from zhseq.text.pieces import cut_pieces
from zhseq.text.tags import Span, TagTable, ids_from_spans

if TYPE_CHECKING:
    from zhseq.corpus.tagging import TaggedText

_FINAL_MARKS = codepoints("。!?;…")


@dataclass(frozen=True)
class EncodedTexts:
    """Concatenated pieces of texts without blanks, with their gold spans and, for training, tags."""

    points: CodePoints
    """Normalised code points, (characters,)."""
    offsets: Ints
    """Start of each piece, and the end of the last, (pieces + 1,)."""
    spans: tuple[tuple[Span, ...], ...]
    """Gold spans of each piece, in offsets of the piece."""
    tags: npt.NDArray[np.int64]
    """Tag ids, (characters,) int64; empty before `with_tags`."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Ints:
        """Characters of each piece, (pieces,)."""
        return np.diff(self.offsets)

    def with_tags(self, table: TagTable) -> EncodedTexts:
        """Return the texts with tag ids of a table."""
        pairs = zip(self.spans, self.lengths.tolist(), strict=True)
        tags = [ids_from_spans(spans, length, table) for spans, length in pairs]
        return EncodedTexts(self.points, self.offsets, self.spans, np.concatenate(tags))


def encode_pieces(texts: Iterable[tuple[str, Sequence[Span]]], limit: int, *, covered: bool) -> EncodedTexts:
    """Normalise texts, remove blanks and split them into pieces.

    Args:
        texts: Texts and their spans.
        limit: Maximum length of a piece in characters. If a span crosses a cut, the pieces on both sides are dropped.
        covered: Whether every character must belong to a span, as in word segmentation; other pieces are dropped.
    """
    points: list[CodePoints] = []
    kept: list[tuple[Span, ...]] = []
    for text, spans in texts:
        normal = codepoints(normalize(text))
        real = ~blanks(normal)
        position = np.concatenate([[0], np.cumsum(real)])
        for start, end in cut_pieces(text, limit):
            inside = [span for span in spans if span.start < end and span.end > start]
            first = int(position[start])
            moved = [Span(int(position[s.start]) - first, int(position[s.end]) - first, s.label) for s in inside]
            moved = [span for span in moved if span.end > span.start]
            size = int(position[end]) - first
            whole = all(span.start >= 0 and span.end <= size for span in moved)
            if size and whole and (not covered or sum(span.end - span.start for span in moved) == size):
                points.append(normal[start:end][real[start:end]])
                kept.append(tuple(moved))
    offsets = np.concatenate([[0], np.cumsum([len(piece) for piece in points])]).astype(np.int64)
    flat = np.concatenate(points) if points else np.zeros(0, dtype=np.uint32)
    return EncodedTexts(flat, offsets, tuple(kept), np.zeros(0, dtype=np.int64))


def concatenate(parts: Sequence[EncodedTexts]) -> EncodedTexts:
    """Concatenate texts, without tags."""
    offsets = [np.zeros(1, dtype=np.int64)]
    for part in parts:
        offsets.append(part.offsets[1:] + offsets[-1][-1])
    points = np.concatenate([part.points for part in parts])
    spans = tuple(span for part in parts for span in part.spans)
    return EncodedTexts(points, np.concatenate(offsets), spans, np.zeros(0, dtype=np.int64))


def _end_alone(texts: EncodedTexts) -> npt.NDArray[np.bool_]:
    """Return whether the last character of each piece can be removed without splitting a span, (pieces,)."""
    pairs = zip(texts.spans, texts.lengths.tolist(), strict=True)
    return np.array([not spans or spans[-1].end < size or spans[-1].start == size - 1 for spans, size in pairs])


class TaggerBatches(Sequence[Batch[Array]]):
    """Batches of an epoch: heads mixed, pieces repeated by their weights, final punctuation dropped at random.

    Otherwise a head trained on complete sentences would expect a full stop at the end of every text.
    """

    def __init__(
        self,
        texts: dict[str, EncodedTexts],
        features: TaggerFeatures,
        tokens_per_batch: int,
        *,
        drop_mark: float,
        seed: tuple[int, int],
        weights: Mapping[str, npt.NDArray[np.float64]] | None = None,
    ) -> None:
        """Create from the texts of each head.

        Args:
            texts: Texts with tags, by head.
            features: Converts texts to batches.
            tokens_per_batch: Maximum number of padded characters in a batch.
            drop_mark: Share of the pieces whose final punctuation mark is dropped.
            seed: Seed of the run, and epoch.
            weights: Expected number of repetitions of each piece, (pieces,), by head; None for one.
        """
        self.texts, self.features = texts, features
        rng = np.random.default_rng([*seed, 7])
        self.cut = {}
        batches: list[tuple[str, Ints]] = []
        for number, (head, part) in enumerate(texts.items()):
            ends = part.points[part.offsets[1:] - 1]
            marked = np.isin(ends, _FINAL_MARKS) & (part.lengths > 1) & _end_alone(part)
            self.cut[head] = marked & (rng.random(len(part)) < drop_mark)
            rows = np.arange(len(part))
            if weights is not None:
                rows = np.repeat(rows, np.floor(weights[head] + rng.random(len(part))).astype(np.int64))
            buckets = length_buckets(part.lengths[rows], tokens_per_batch, seed=(*seed, number))
            batches += [(head, rows[bucket]) for bucket in buckets]
        self.batches = [batches[index] for index in rng.permutation(len(batches)).tolist()]

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Batch[Array]:  # type: ignore[override]
        head, rows = self.batches[index]
        part = self.texts[head]
        points, lengths = gather_ragged(part.points, part.offsets, rows)
        tags, _ = gather_ragged(part.tags, part.offsets, rows)
        cut = self.cut[head][rows]
        kept = np.ones(len(points), dtype=np.bool_)
        kept[np.cumsum(lengths)[cut] - 1] = False
        return self.features.assemble(points[kept].astype(np.uint32), lengths - cut, tags[kept].astype(np.int64), head)


@dataclass(frozen=True)
class TaggerDataConfig:
    """Settings of the training data."""

    tokens_per_batch: int = 3072
    """Maximum number of padded characters in a batch."""
    max_characters: int = 120
    """Maximum length of a text; longer texts are split at punctuation."""
    max_vocab: int = 7000
    """Maximum number of characters in the vocabulary."""
    max_bigrams: int = 30000
    """Maximum number of bigrams with an embedding."""
    max_words: int = 40000
    """Maximum number of lexicon words with an embedding."""
    drop_mark: float = 0.2
    """Share of the texts whose final punctuation mark is dropped in training."""
    dev_share: float = 0.03
    """Share of the training texts that is held out as dev set, if none is given."""

    def __post_init__(self) -> None:
        for name in ("tokens_per_batch", "max_characters", "max_vocab"):
            if getattr(self, name) < 8:
                raise ConfigError(
                    "small_setting", "{name} must be at least 8, but is {value}", name=name, value=getattr(self, name)
                )
        if min(self.max_bigrams, self.max_words) < 0 or not 0 <= self.drop_mark <= 1 or not 0 < self.dev_share < 1:
            raise ConfigError(
                "impossible_texts",
                "vocabulary sizes must not be negative, drop_mark must lie in 0 to 1, and dev_share must be greater "
                "than 0 and less than 1",
            )


@dataclass(frozen=True)
class Source:
    """Training and dev texts of a head.

    Attributes:
        train: Corpus or file to train on.
        dev: Corpus or file to evaluate on; empty: a share of `train` is held out; None: no evaluation.
        weight: Expected number of repetitions of each text per epoch; with 0.5, a random half is used in each epoch.
    """

    train: str
    dev: str | None = ""
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not self.weight > 0:
            raise ConfigError(
                "weightless_source",
                "{name}: the weight of a source must be greater than 0, but is {weight}",
                name=self.train,
                weight=self.weight,
            )

    @property
    def name(self) -> str:
        """Name of the source in the names of measures."""
        return Path(self.train).stem


Sources = dict[str, tuple[Source, ...]]
"""Sources by head. Heads are `pos` and `ner`, and auxiliary heads `pos-NAME` and `ner-NAME`, which only train the
encoder, with other annotation standards, and are not saved in the checkpoint."""


@dataclass(frozen=True)
class Part:
    """Encoded texts of a source: training texts, their weight, and dev texts (None for no evaluation)."""

    name: str
    train: EncodedTexts
    weight: float
    dev: EncodedTexts | None


def read_sources(sources: Sources, config: TaggerDataConfig, format: str = "auto") -> dict[str, list[Part]]:
    """Read the sources of all heads; dev texts of any head are removed from the training texts of all heads.

    Raises:
        CorpusError: A corpus is missing, invalid, or has no annotation for its head.
    """
    from zhseq.corpus.tagging import drop_repeats

    read = {head: [read_split(head, source, config, format) for source in own] for head, own in sources.items()}
    held_out = [text for own in read.values() for _, dev in own for text in dev]
    parts: dict[str, list[Part]] = {}
    for head, own in read.items():
        parts[head] = []
        for source, (train, dev) in zip(sources[head], own, strict=True):
            kept = drop_repeats(train, seen=held_out)
            if len(kept) < len(train):
                print(
                    f"{source.train}: {len(train) - len(kept):,} texts left out because they are evaluated on",
                    file=sys.stderr,
                )
            encoded, encoded_dev = (encode_head(head, texts, config.max_characters) for texts in (kept, dev))
            if not len(encoded) or (source.dev is not None and not len(encoded_dev)):
                raise CorpusError(
                    "nothing_to_learn",
                    "{name}: expected texts to train and to evaluate on, found {train} training and {dev} dev texts "
                    "for '{head}'",
                    name=source.train,
                    train=len(encoded),
                    dev=len(encoded_dev),
                    head=head,
                )
            parts[head].append(Part(source.name, encoded, source.weight, None if source.dev is None else encoded_dev))
    return parts


def read_split(
    head: str, source: Source, config: TaggerDataConfig, format: str = "auto"
) -> tuple[Sequence[TaggedText], Sequence[TaggedText]]:
    """Read the training and dev texts of a source, without texts that occur in both."""
    from zhseq.corpus.tagging import drop_repeats, read_tagged, split_dev
    from zhseq.corpus.tagging_base import label_report, rare_labels

    corpus = read_tagged(source.train, format=format, task=task_of(head))
    print(corpus.report(), label_report(corpus.texts), sep="\n", file=sys.stderr)
    for warning in rare_labels(corpus.texts):
        note(warning)
    if source.dev is None:
        return drop_repeats(corpus.texts), []
    if not source.dev:
        return split_dev(corpus.texts, config.dev_share, seed=1)
    held_out = read_tagged(source.dev, format=format, task=task_of(head))
    print(held_out.report(), file=sys.stderr)
    train = drop_repeats(corpus.texts)
    return train, drop_repeats(held_out.texts, seen=train)


def encode_head(head: str, texts: Sequence[TaggedText], limit: int) -> EncodedTexts:
    """Encode texts with the spans of a head's task."""
    words = task_of(head) == "pos"
    pairs = [(text.text, (text.words if words else text.entities) or ()) for text in texts]
    return encode_pieces(pairs, limit, covered=words)


def task_of(head: str) -> str:
    """Return the task of a head, `pos` or `ner`."""
    return head.partition("-")[0]


def to_json(sources: Sources) -> dict[str, list[dict[str, object]]]:
    """Convert sources to JSON values for `config.json` of a checkpoint."""
    return {head: [dataclasses.asdict(source) for source in own] for head, own in sources.items()}


def describe(sources: Sources) -> list[str]:
    """Return a line for each source of each head, for the model card."""
    return [
        f"`{head}`: {source.train}" + (f", {source.weight:g} times a pass" if source.weight != 1 else "")
        for head, own in sources.items()
        for source in own
    ]
