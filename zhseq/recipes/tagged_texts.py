"""Tagged texts: the sources that a tagger's heads learn from, read and encoded as flat arrays, and their batches."""

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
    """Pieces of texts without blanks, one after the other, with their spans and (for training) tags."""

    points: CodePoints
    """Normalised code points, (characters,)."""
    offsets: Ints
    """Where each piece begins, and the end of the last, (pieces + 1,)."""
    spans: tuple[tuple[Span, ...], ...]
    """Gold spans of each piece, in characters of the piece."""
    tags: npt.NDArray[np.int64]
    """Tag ids, (characters,); empty where there is no table of tags yet."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Ints:
        """Characters of each piece, (pieces,)."""
        return np.diff(self.offsets)

    def with_tags(self, table: TagTable) -> EncodedTexts:
        """Return the texts with the ids of their tags."""
        pairs = zip(self.spans, self.lengths.tolist(), strict=True)
        tags = [ids_from_spans(spans, length, table) for spans, length in pairs]
        return EncodedTexts(self.points, self.offsets, self.spans, np.concatenate(tags))


def encode_pieces(texts: Iterable[tuple[str, Sequence[Span]]], limit: int, *, covered: bool) -> EncodedTexts:
    """Normalise texts, leave out blanks and cut them into pieces.

    Args:
        texts: Texts and their spans.
        limit: Most characters of a piece. A cut through a span drops that piece of text from both sides of it.
        covered: Every character must belong to a span, as in word segmentation; pieces where one does not are left out.
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
    """Return the pieces of several texts, one after the other, without tags."""
    offsets = [np.zeros(1, dtype=np.int64)]
    for part in parts:
        offsets.append(part.offsets[1:] + offsets[-1][-1])
    points = np.concatenate([part.points for part in parts])
    spans = tuple(span for part in parts for span in part.spans)
    return EncodedTexts(points, np.concatenate(offsets), spans, np.zeros(0, dtype=np.int64))


def _end_alone(texts: EncodedTexts) -> npt.NDArray[np.bool_]:
    """Tell of each piece whether its last character can go without cutting through a span, (pieces,)."""
    pairs = zip(texts.spans, texts.lengths.tolist(), strict=True)
    return np.array([not spans or spans[-1].end < size or spans[-1].start == size - 1 for spans, size in pairs])


class TaggerBatches(Sequence[Batch[Array]]):
    """The batches of one epoch: each piece as often as its weight says, heads mixed, some without their final mark.

    A head that learned from whole sentences alone would expect a full stop at the end of every text.
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
            texts: By head, with tags.
            features: What turns them into batches.
            tokens_per_batch: Most padded characters in a batch.
            drop_mark: Share of the pieces whose final mark is dropped.
            seed: Seed of the run, and epoch.
            weights: By head how often each piece is to be read, (pieces,); the fraction is drawn. None: once.
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
    """What the model reads in training."""

    tokens_per_batch: int = 3072
    """Padded characters in a batch."""
    max_characters: int = 120
    """Longer texts are cut at punctuation."""
    max_vocab: int = 7000
    """Characters in the vocabulary."""
    max_bigrams: int = 30000
    """Bigrams with an embedding."""
    max_words: int = 40000
    """Words of the dictionary with an embedding."""
    drop_mark: float = 0.2
    """Share of the texts whose final punctuation mark is dropped in training."""
    dev_share: float = 0.03
    """Share of the training texts that becomes the dev set where none is given."""

    def __post_init__(self) -> None:
        for name in ("tokens_per_batch", "max_characters", "max_vocab"):
            if getattr(self, name) < 8:
                raise ConfigError(
                    "small_setting", "{name} must be at least 8, but is {value}", name=name, value=getattr(self, name)
                )
        if min(self.max_bigrams, self.max_words) < 0 or not 0 <= self.drop_mark <= 1 or not 0 < self.dev_share < 1:
            raise ConfigError(
                "impossible_texts",
                "the sizes of vocabularies must not be negative, drop_mark must lie in 0 to 1, dev_share between them",
            )


@dataclass(frozen=True)
class Source:
    """Texts that a head learns from.

    Attributes:
        train: Corpus or file to train on.
        dev: What to evaluate on; empty: a share is cut off from `train`; None: nothing is evaluated.
        weight: How often it is read in a pass; of 0.5 half of its texts are, drawn anew for each pass.
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
        """How its scores are called."""
        return Path(self.train).stem


Sources = dict[str, tuple[Source, ...]]
"""What each head learns from. Heads are called `pos` and `ner`, or `pos-NAME` and `ner-NAME`: the latter only teach the
encoder, in another standard of words or names, and are left out of the checkpoint."""


@dataclass(frozen=True)
class Part:
    """The texts of one source: to train on, how often a pass holds them, and to evaluate on (None: nothing)."""

    name: str
    train: EncodedTexts
    weight: float
    dev: EncodedTexts | None


def read_sources(sources: Sources, config: TaggerDataConfig, format: str = "auto") -> dict[str, list[Part]]:
    """Read the texts of all heads; no text that one of them is evaluated on is trained on by any.

    Raises:
        CorpusError: A corpus is missing, broken, or has nothing for its head.
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
                    f"{source.train}: {len(train) - len(kept):,} texts left out that are evaluated on", file=sys.stderr
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
    """Read the training and dev texts of a source; nothing in dev occurs in training."""
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
    """Turn texts into pieces with the spans that a head learns."""
    words = task_of(head) == "pos"
    pairs = [(text.text, (text.words if words else text.entities) or ()) for text in texts]
    return encode_pieces(pairs, limit, covered=words)


def task_of(head: str) -> str:
    """Return what a head finds: `pos` for words, `ner` for names."""
    return head.partition("-")[0]


def to_json(sources: Sources) -> dict[str, list[dict[str, object]]]:
    """Return sources as they are kept in a checkpoint."""
    return {head: [dataclasses.asdict(source) for source in own] for head, own in sources.items()}


def describe(sources: Sources) -> list[str]:
    """Return a line for each source of each head, for the model card."""
    return [
        f"`{head}`: {source.train}" + (f", {source.weight:g} times a pass" if source.weight != 1 else "")
        for head, own in sources.items()
        for source in own
    ]
