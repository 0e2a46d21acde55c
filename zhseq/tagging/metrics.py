"""Count precision, recall and F1 of labelled spans: words, words with their part of speech, entities.

Source: SIGHAN 2005 bakeoff (words), CoNLL-2003 `conlleval` (entities): a span counts as correct when both of its ends,
    and its label where labels count, are those of the gold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from zhseq.text.tags import Ints, Span

NOTHING = "-"
"""Stands in a confusion for a span that the other side does not have."""


@dataclass(frozen=True)
class Score:
    """Numbers of spans: correct ones, predicted ones, gold ones. Scores of parts add up to that of the whole."""

    correct: int = 0
    predicted: int = 0
    gold: int = 0

    @classmethod
    def of(cls, predicted: Ints, gold: Ints) -> Score:
        """Count spans that are rows of numbers: (start, end) or (start, end, label), each (spans, columns).

        No row occurs twice on one side; starts and ends count on from text to text.
        """
        both = np.concatenate([predicted, gold])
        return cls(len(both) - len(np.unique(both, axis=0)), len(predicted), len(gold))

    def __add__(self, other: Score) -> Score:
        return Score(self.correct + other.correct, self.predicted + other.predicted, self.gold + other.gold)

    @property
    def precision(self) -> float:
        """Share of the predicted spans that are correct; 0 if there are none."""
        return self.correct / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        """Share of the gold spans that were found; 0 if there are none."""
        return self.correct / self.gold if self.gold else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 0 if nothing is correct."""
        both = self.predicted + self.gold
        return 2 * self.correct / both if both else 0.0


@dataclass
class SpanCounts:
    """Counts over any number of texts.

    Attributes:
        extents: Spans whose ends must be right and whose labels do not count (words F1).
        by_label: Spans whose label must be right too.
        labels: (gold label, predicted label) of spans with the same ends but not the same label, and of spans that only
            one side has, with `NOTHING` for the other -> how often.
        cuts: (gold words, predicted words), each joined by blanks, where both cut the same piece of text in another
            way -> how often. Only of spans that follow each other without a gap: words.
    """

    extents: Score = Score()
    by_label: dict[str, Score] = field(default_factory=dict)
    labels: Counter[tuple[str, str]] = field(default_factory=Counter)
    cuts: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def labelled(self) -> Score:
        """All labels together: joint F1 of words and parts of speech, or entity F1."""
        return sum(self.by_label.values(), Score())

    def add(self, text: str, gold: Sequence[Span], predicted: Sequence[Span]) -> None:
        """Count one text; spans in order and without overlap."""
        gold_at = {(span.start, span.end): span.label for span in gold}
        predicted_at = {(span.start, span.end): span.label for span in predicted}
        both = gold_at.keys() & predicted_at.keys()
        self.extents += Score(len(both), len(predicted_at), len(gold_at))
        correct = Counter(gold_at[extent] for extent in both if gold_at[extent] == predicted_at[extent])
        found, wanted = Counter(predicted_at.values()), Counter(gold_at.values())
        for label in found.keys() | wanted.keys():
            score = Score(correct[label], found[label], wanted[label])
            self.by_label[label] = self.by_label.get(label, Score()) + score
        for extent in gold_at.keys() | predicted_at.keys():
            pair = gold_at.get(extent, NOTHING), predicted_at.get(extent, NOTHING)
            if pair[0] != pair[1]:
                self.labels[pair] += 1
        if len(both) < max(len(gold_at), len(predicted_at)):
            self.cuts.update(_differing_cuts(text, gold, predicted))


def _differing_cuts(text: str, gold: Sequence[Span], predicted: Sequence[Span]) -> Iterator[tuple[str, str]]:
    """Yield the smallest pieces between common ends that are cut in two ways."""
    sides = [{span.start for span in spans} | {span.end for span in spans} for spans in (gold, predicted)]
    common = sorted(sides[0] & sides[1])
    index = [0, 0]
    for start, end in pairwise(common):
        pieces: list[list[str]] = [[], []]
        for side, spans in enumerate((gold, predicted)):
            while index[side] < len(spans) and spans[index[side]].end <= end:
                span = spans[index[side]]
                if span.start >= start:
                    pieces[side].append(text[span.start : span.end])
                index[side] += 1
        if pieces[0] != pieces[1] and all(pieces):
            yield " ".join(pieces[0]), " ".join(pieces[1])
