"""Tagged texts as flat arrays: what the tagger is trained and measured on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zhseq.batching import Array, Batch, gather_ragged, length_buckets
from zhseq.tagging.features import Ints, TaggerFeatures
from zhseq.text.normalize import CodePoints, blanks, codepoints, normalize
from zhseq.text.pieces import cut_pieces
from zhseq.text.tags import Span, TagTable, ids_from_spans

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
