"""Choose the lines that would teach a tagger most, were they labelled: those that it is unsure of, and no two alike.

Source: Settles (2010), "Active Learning Literature Survey", section 3.1, least confidence, summed over a sequence.
Differs: the sum over words and names is divided by the root of their number, so that neither very short nor very long
lines win, and lines whose doubtful words were chosen before are passed over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from tqdm import tqdm

from zhseq.errors import InputError
from zhseq.tagging.formats import Document, Entity, Word
from zhseq.tagging.tagger import Tagger
from zhseq.text.normalize import codepoints, is_han, normalize

_DOUBTFUL = 0.8  # probability of a word below which it is one of those that a line is chosen for
_TWICE = 2  # times that a doubtful word is worth labelling
_SHARED = 0.5  # share of the 4-grams of a line that chosen lines may have already
_NAME = 2.0  # weight of a name: there are fewer of them


@dataclass(frozen=True)
class SelectionConfig:
    """What lines are looked at."""

    candidates: int = 20_000
    """Lines that the tagger reads, drawn from all that are fit."""
    shortest: int = 8
    """Characters of a line."""
    longest: int = 200
    han: float = 0.5
    """Least share of Chinese characters."""
    seed: int = 1


def select(tagger: Tagger, lines: Iterable[str], number: int, config: SelectionConfig | None = None) -> list[Document]:
    """Return the lines that would teach a tagger most, tagged, the most doubtful first.

    Args:
        tagger: Its probabilities say what it is unsure of.
        lines: Raw text, in flat memory.
        number: How many lines; fewer where there are no more.
        config: What lines are looked at.

    Raises:
        InputError: `number` is less than 1, or no line is fit to be labelled.
    """
    config = config or SelectionConfig()
    if number < 1:
        raise InputError("few_lines", "the number of lines must be at least 1, but is {number}", number=number)
    candidates = draw(fit_lines(lines, config), config.candidates, config.seed)
    if not candidates:
        raise InputError(
            "nothing_to_select",
            "no line of the text is fit to be labelled: expected lines of {shortest} to {longest} characters, most of "
            "them Chinese, and none that was read before",
            shortest=config.shortest,
            longest=config.longest,
        )
    documents = tagger.stream(candidates, scores=True)
    read = list(tqdm(documents, total=len(candidates), unit="line", desc="reading", disable=None))
    return list(_varied(sorted(read, key=doubt, reverse=True), number))


def fit_lines(lines: Iterable[str], config: SelectionConfig) -> Iterator[str]:
    """Yield the lines that a person could label: Chinese, of a handy length, printable, each once in any script."""
    seen: set[int] = set()
    for line in lines:
        text = line.strip()
        if not config.shortest <= len(text) <= config.longest or not text.isprintable() or "\ufffd" in text:
            continue
        folded = normalize(text)
        key = hash("".join(folded.split()))
        most = max(Counter(folded).values())
        if key not in seen and is_han(codepoints(folded)).mean() >= config.han and most <= len(text) / 3:
            seen.add(key)
            yield text


def draw(lines: Iterable[str], size: int, seed: int) -> list[str]:
    """Return `size` lines drawn from a stream, each as likely as any other, in the order of the stream.

    Source: Vitter (1985), "Random Sampling with a Reservoir", algorithm R.
    """
    rng = np.random.default_rng(seed)
    kept: list[tuple[int, str]] = []
    for index, line in enumerate(lines):
        if index < size:
            kept.append((index, line))
        elif (slot := int(rng.integers(index + 1))) < size:
            kept[slot] = (index, line)
    return [line for _, line in sorted(kept)]


def doubt(document: Document) -> float:
    """Return how much of a document the tagger is unsure of: 1 minus the probability, summed over words and names."""
    parts = len(document.words) + len(document.entities)
    missing = sum(1 - (word.score or 0.0) for word in document.words)
    missing += _NAME * sum(1 - (entity.score or 0.0) for entity in document.entities)
    return missing / float(np.sqrt(max(1, parts)))


def without_scores(document: Document) -> Document:
    """Return a document as it is printed for people to correct."""
    words = tuple(word._replace(score=None) for word in document.words)
    return replace(document, words=words, entities=tuple(name._replace(score=None) for name in document.entities))


def _varied(documents: Iterable[Document], number: int) -> Iterator[Document]:
    """Yield the first documents that hold something that those before did not."""
    words: Counter[str] = Counter()
    grams: set[str] = set()
    chosen = 0
    for document in documents:
        parts: tuple[Word | Entity, ...] = (*document.words, *document.entities)
        doubtful = {part.text for part in parts if (part.score or 0.0) < _DOUBTFUL}
        own = {document.text[start : start + 4] for start in range(len(document.text) - 3)}
        if (doubtful and all(words[word] >= _TWICE for word in doubtful)) or len(own & grams) > _SHARED * len(own):
            continue
        words.update(doubtful)
        grams |= own
        yield document
        chosen += 1
        if chosen == number:
            return
