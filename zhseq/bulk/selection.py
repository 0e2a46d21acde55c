"""Active learning: select the lines about which a tagger is least certain, for annotation, without near-duplicates.

Source: Settles (2010), "Active Learning Literature Survey", section 3.1, least confidence, summed over a sequence.
Differs: the sum over words and entities is divided by the square root of their number, so that neither very short nor
very long lines are preferred; lines whose uncertain words were selected before are skipped.
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

_DOUBTFUL = 0.8  # probability below which a word is uncertain
_TWICE = 2  # maximum number of selected lines with the same uncertain words
_SHARED = 0.5  # maximum share of the 4-grams of a line that occur in selected lines
_NAME = 2.0  # weight of an entity relative to a word


@dataclass(frozen=True)
class SelectionConfig:
    """Settings of the selection."""

    candidates: int = 20_000
    """Number of lines to tag, sampled from all suitable lines."""
    shortest: int = 8
    """Minimum length of a line in characters."""
    longest: int = 200
    """Maximum length of a line in characters."""
    han: float = 0.5
    """Minimum share of Chinese characters in a line."""
    seed: int = 1


def select(tagger: Tagger, lines: Iterable[str], number: int, config: SelectionConfig | None = None) -> list[Document]:
    """Select the lines that are most useful to annotate, and return them tagged, most uncertain first.

    Args:
        tagger: Tagger to be improved.
        lines: Raw text; may be an iterator of any length.
        number: Maximum number of lines to select.
        config: Settings of the selection.

    Raises:
        InputError: `number` is less than 1, or no line is suitable.
    """
    config = config or SelectionConfig()
    if number < 1:
        raise InputError("few_lines", "the number of lines must be at least 1, but is {number}", number=number)
    candidates = draw(fit_lines(lines, config), config.candidates, config.seed)
    if not candidates:
        raise InputError(
            "nothing_to_select",
            "no line is suitable for annotation: expected lines of {shortest} to {longest} "
            "characters, most of them Chinese, that were not read before",
            shortest=config.shortest,
            longest=config.longest,
        )
    documents = tagger.stream(candidates, scores=True)
    read = list(tqdm(documents, total=len(candidates), unit="line", desc="reading", disable=None))
    return list(_drop_similar(sorted(read, key=doubt, reverse=True), number))


def fit_lines(lines: Iterable[str], config: SelectionConfig) -> Iterator[str]:
    """Yield the lines suitable for annotation: Chinese, of moderate length, printable, without duplicates."""
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
    """Return a uniform random sample of `size` lines of a stream, in the order of the stream.

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
    """Return the uncertainty of a document: the sum of 1 - probability over words and entities, normalised."""
    parts = len(document.words) + len(document.entities)
    missing = sum(1 - (word.score or 0.0) for word in document.words)
    missing += _NAME * sum(1 - (entity.score or 0.0) for entity in document.entities)
    return missing / float(np.sqrt(max(1, parts)))


def without_scores(document: Document) -> Document:
    """Return a document without scores, as it is printed for correction."""
    words = tuple(word._replace(score=None) for word in document.words)
    return replace(document, words=words, entities=tuple(name._replace(score=None) for name in document.entities))


def _drop_similar(documents: Iterable[Document], number: int) -> Iterator[Document]:
    """Yield at most `number` documents, skipping those that are too similar to previous ones."""
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
