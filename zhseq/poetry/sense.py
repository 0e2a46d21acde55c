"""Word lists counted in verse: doublings, words of seasons, topics and authors, parallel words in couplets.

`scripts/learn_sense.py` counts them in the training poems. Imports no torch.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from zhseq.errors import CheckpointError
from zhseq.text.normalize import normalize

SENSE_FILE = "sense.json"
KIND, VERSION = "sense", 3
SUBJECTS_FILE = "subjects.tsv"
SUBJECTS_HEAD = ("subjects", "1")
FACING_FILE = "facing.tsv"
FACING_HEAD = ("facing", "1")
"""Kind and version of a table, the first fields of its first line."""


@dataclass(frozen=True)
class Manner:
    """Style of an author with too few poems for a control symbol."""

    near: str
    """Most similar author of the same period with a control symbol; empty if there is none."""
    dynasty: str
    poems: int
    """Number of poems of the author."""
    words: Mapping[str, float]
    """Character -> how much more often this author uses it than others of the period, in nats."""


@dataclass(frozen=True)
class Sense:
    """Word lists of a model."""

    doublings: str
    """Characters that poets double (悠悠), the most frequent first."""
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Season, hour or weather -> words of one or two characters that are far more frequent in its poems."""
    apart: Mapping[str, float] = field(default_factory=dict)
    """Ordered pair of these, for example 春秋 -> how much more rarely than by chance words of the first are followed by
    words of the second in a poem, in nats."""
    manners: Mapping[str, Manner] = field(default_factory=dict)
    """Author without a control symbol -> style."""
    leads: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Tune -> indices of the lines with a caesura after their first character (领字)."""
    leaders: Mapping[str, float] = field(default_factory=dict)
    """Character -> how much more often it leads a line than it occurs elsewhere in ci, in nats."""
    directory: Path | None = field(default=None, compare=False)
    """Directory of the larger tables, which are read when first needed; None: there are none."""

    @classmethod
    def load(cls, directory: Path) -> Sense:
        """Read `sense.json` of a model directory.

        Raises:
            CheckpointError: The file is missing, damaged or of another kind.
        """
        path = directory / SENSE_FILE
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise CheckpointError(
                "unreadable_sense",
                "{path} cannot be read ({reason}); fetch it or count it again with scripts/learn_sense.py",
                path=path,
                reason=error,
            ) from error
        try:
            if (content["kind"], content["version"]) != (KIND, VERSION):
                raise ValueError(content["kind"])
            words = {name: tuple(listed.split()) for name, listed in content["words"].items()}
            apart = {pair: float(nats) for pair, nats in content["apart"].items()}
            if not set("".join(apart)) <= set(words) or any(len(pair) != 2 for pair in apart):
                raise ValueError(sorted(apart))
            manners = {
                name: Manner(own["near"], own["dynasty"], int(own["poems"]), _weights(own["words"]))
                for name, own in content["manners"].items()
            }
            leads = {tune: tuple(map(int, lines.split())) for tune, lines in content["leads"].items()}
            leaders = _weights(content["leaders"])
            return cls("".join(content["doublings"].split()), words, apart, manners, leads, leaders, directory)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(
                "no_sense_file",
                "{path} is not a table of sense of version {version}; fetch it or count it again with "
                "scripts/learn_sense.py",
                path=path,
                version=VERSION,
            ) from error

    def save(self, directory: Path) -> None:
        """Write `sense.json` into an existing directory."""
        content = {
            "kind": KIND,
            "version": VERSION,
            "doublings": self.doublings,
            "words": {name: " ".join(words) for name, words in self.words.items()},
            "apart": {pair: round(nats, 2) for pair, nats in self.apart.items()},
            "manners": {
                name: {"near": own.near, "dynasty": own.dynasty, "poems": own.poems, "words": _written(own.words)}
                for name, own in self.manners.items()
            },
            "leads": {tune: " ".join(map(str, lines)) for tune, lines in self.leads.items()},
            "leaders": _written(self.leaders),
        }
        text = json.dumps(content, ensure_ascii=False, indent=1) + "\n"
        (directory / SENSE_FILE).write_text(text, encoding="utf-8")

    @cached_property
    def facing(self) -> Facing | None:
        """Parallel words in couplets, or None if the model has no such table.

        Raises:
            CheckpointError: The table is damaged.
        """
        there = self.directory is not None and (self.directory / FACING_FILE).exists()
        return Facing.load(self.directory) if self.directory is not None and there else None

    @cached_property
    def subjects(self) -> Subjects | None:
        """Topics of verse, or None if the model has no such table.

        Raises:
            CheckpointError: The table is damaged.
        """
        there = self.directory is not None and (self.directory / SUBJECTS_FILE).exists()
        return Subjects.load(self.directory) if self.directory is not None and there else None

    @cached_property
    def owners(self) -> dict[str, tuple[str, ...]]:
        """Word -> the seasons, hours and weathers to which it belongs, in the order of `words`."""
        result: dict[str, tuple[str, ...]] = {}
        for name, words in self.words.items():
            for word in words:
                result[word] = (*result.get(word, ()), name)
        return result

    def times(self, lines: Sequence[str]) -> dict[str, list[str]]:
        """Return the seasons, hours and weathers that lines mention, each with its words in them.

        Args:
            lines: Lines in any script, without punctuation.
        """
        found: dict[str, list[str]] = {}
        for line in lines:
            for word in _words(normalize(line)):
                for name in self.owners.get(word, ()):
                    found.setdefault(name, []).append(word)
        return found

    def mixed(self, lines: Sequence[str]) -> list[str]:
        """Return the pairs of `apart` of which lines mention the first and, in the same or a later line, the second."""
        spoken = [set(self.times([line])) for line in lines]
        before = [set().union(*spoken[: number + 1]) for number in range(len(spoken))]
        meet = {one + other for ones, others in zip(before, spoken, strict=True) for one in ones for other in others}
        return [pair for pair in self.apart if pair in meet]


@dataclass(frozen=True)
class Subject:
    """Statistics of a word in titles."""

    titles: int
    """Number of titles that contain the word."""
    whole: int
    """Number of titles that consist of the word."""
    share: float
    """Share of the poems with such titles that contain one of the characters."""
    characters: str
    """Characters typical of the topic: in many poems with such titles, in few others; the most typical first."""


@dataclass(frozen=True)
class Subjects:
    """Words in titles and the characters typical of the poems with these titles."""

    words: Mapping[str, Subject]
    """Simplified word of one or two characters, those in most titles first -> its statistics."""

    @classmethod
    def load(cls, directory: Path) -> Subjects:
        """Read `subjects.tsv` of a model directory.

        Raises:
            CheckpointError: The file is missing, damaged or of another kind.
        """
        path = directory / SUBJECTS_FILE
        try:
            head, *rows = path.read_text(encoding="utf-8").splitlines()
            if tuple(head.split("\t")) != SUBJECTS_HEAD:
                raise ValueError(head)
            words = {}
            for row in rows:
                word, titles, whole, share, characters = row.split("\t")
                words[word] = Subject(int(titles), int(whole), float(share), characters)
            return cls(words)
        except (OSError, ValueError) as error:
            raise CheckpointError(
                "unreadable_subjects",
                "{path} is not a table of subjects ({reason}); fetch it or count it again with scripts/learn_sense.py",
                path=path,
                reason=error,
            ) from error

    def save(self, directory: Path) -> None:
        """Write `subjects.tsv` into an existing directory."""
        rows = ["\t".join(SUBJECTS_HEAD)]
        for word, each in self.words.items():
            rows.append(f"{word}\t{each.titles}\t{each.whole}\t{each.share:.2f}\t{each.characters}")
        (directory / SUBJECTS_FILE).write_text("\n".join(rows) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Facing:
    """Counts of parallel words in couplets (对仗)."""

    counts: Mapping[str, Mapping[str, int]]
    """Simplified word of one or two characters -> parallel word -> count; each pair is included in both directions."""
    uses: Mapping[str, int]
    """Word -> its count in such couplets, with any parallel word."""
    total: Mapping[int, int]
    """Characters of a word, 1 or 2 -> total number of pairs of such words."""

    @classmethod
    def load(cls, directory: Path) -> Facing:
        """Read `facing.tsv` of a model directory.

        Raises:
            CheckpointError: The file is missing, damaged or of another kind.
        """
        path = directory / FACING_FILE
        counts: dict[str, dict[str, int]] = {}
        uses: dict[str, int] = {}
        try:
            head, *rows = path.read_text(encoding="utf-8").splitlines()
            kind, version, ones, twos = head.split("\t")
            if (kind, version) != FACING_HEAD:
                raise ValueError(head)
            for row in rows:
                word, used, listed = row.split("\t")
                uses[word] = int(used)
                own = counts.setdefault(word, {})
                items = listed.split()
                for other, count in zip(items[::2], map(int, items[1::2]), strict=True):
                    own[other] = count
                    counts.setdefault(other, {})[word] = count
            if not set(counts) <= set(uses) or {len(word) for word in uses} - {1, 2}:
                raise ValueError(set(counts) - set(uses))
            return cls(counts, uses, {1: int(ones), 2: int(twos)})
        except (OSError, ValueError) as error:
            raise CheckpointError(
                "unreadable_facing",
                "{path} is not a table of facing words ({reason}); fetch it or count it again with "
                "scripts/learn_sense.py",
                path=path,
                reason=error,
            ) from error

    def save(self, directory: Path) -> None:
        """Write `facing.tsv` into an existing directory; each pair is in the row of its more frequent word only."""
        order = {word: row for row, word in enumerate(sorted(self.uses, key=lambda word: (-self.uses[word], word)))}
        rows = ["\t".join([*FACING_HEAD, str(self.total[1]), str(self.total[2])])]
        for word, row in order.items():
            listed = [(other, count) for other, count in self.facing(word) if order[other] >= row]
            rows.append(f"{word}\t{self.uses[word]}\t" + " ".join(f"{other} {count}" for other, count in listed))
        (directory / FACING_FILE).write_text("\n".join(rows) + "\n", encoding="utf-8")

    def facing(self, word: str) -> list[tuple[str, int]]:
        """Return the words parallel to a word with their counts, most frequent first; an empty list if unknown.

        Args:
            word: One or two characters in any script.
        """
        return sorted(self.counts.get(normalize(word), {}).items(), key=lambda item: (-item[1], item[0]))

    def lift(self, one: str, other: str) -> float:
        """Return how much more often than by chance two words are parallel, in nats; 0 for an unlisted pair."""
        count = self.counts.get(one, {}).get(other, 0)
        if not count:
            return 0.0
        chance = self.uses[one] * self.uses[other] / (2 * self.total[len(one)])
        return math.log((count + 1) / (chance * (0.5 if one == other else 1.0) + 1))


_WEIGHT = re.compile(r"(\D)(\d+)")


def _weights(text: str) -> dict[str, float]:
    """Return character -> nats from the result of `_written`; raise ValueError for any other text."""
    listed = text.split()
    found = [_WEIGHT.fullmatch(each) for each in listed]
    if not all(found):
        raise ValueError(text[:40])
    return {match[1]: int(match[2]) / 10 for match in found if match}


def _written(weights: Mapping[str, float]) -> str:
    """Return nats as text: each character followed by tenths of nats, as in 卷12 梧9."""
    return " ".join(f"{character}{round(10 * nats)}" for character, nats in weights.items())


def _words(line: str) -> Iterator[str]:
    yield from line
    for first, second in pairwise(line):
        yield first + second
