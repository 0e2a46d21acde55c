"""What verse takes for granted and a list can hold: doublings, words of a season, a subject or an author, facing words.

All of it is counted in the training poems by `scripts/learn_sense.py`. Imports no torch.
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
"""What the first line of a table begins with: its kind and version."""


@dataclass(frozen=True)
class Manner:
    """How an author writes of whom the model has read too little to know the name."""

    near: str
    """The author known to the model, of the same time, who writes most like it; empty if there is none."""
    dynasty: str
    poems: int
    """Poems from which it was learned."""
    words: Mapping[str, float]
    """Character -> how much oftener this author writes it than others of the time, in nats."""


@dataclass(frozen=True)
class Sense:
    """What was counted."""

    doublings: str
    """Characters that poets double (悠悠), the commonest first."""
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Season, hour or weather -> words of one or two characters that stand in its poems far more than in others."""
    apart: Mapping[str, float] = field(default_factory=dict)
    """Two of these in their order, 春秋 for example -> how much rarer than chance words of the first are followed by
    words of the second in a poem, in nats."""
    manners: Mapping[str, Manner] = field(default_factory=dict)
    """Author -> manner."""
    leads: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Tune -> numbers of the lines that are cut after their first character (领字), from 0."""
    leaders: Mapping[str, float] = field(default_factory=dict)
    """Character -> how much oftener it leads a line than it stands elsewhere in ci, in nats."""
    directory: Path | None = field(default=None, compare=False)
    """Where the larger tables lie, which are read when first needed; None: there are none."""

    @classmethod
    def load(cls, directory: Path) -> Sense:
        """Read `sense.json` of a model directory.

        Raises:
            CheckpointError: The file is missing, damaged or something else.
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
        """Write `sense.json` into a directory that is there."""
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
        """Which words face each other, or None without such a table.

        Raises:
            CheckpointError: It is damaged.
        """
        there = self.directory is not None and (self.directory / FACING_FILE).exists()
        return Facing.load(self.directory) if self.directory is not None and there else None

    @cached_property
    def subjects(self) -> Subjects | None:
        """What subjects verse knows, or None without such a table.

        Raises:
            CheckpointError: It is damaged.
        """
        there = self.directory is not None and (self.directory / SUBJECTS_FILE).exists()
        return Subjects.load(self.directory) if self.directory is not None and there else None

    @cached_property
    def owners(self) -> dict[str, tuple[str, ...]]:
        """Word -> the season, hour and weather to which it belongs, in this order."""
        result: dict[str, tuple[str, ...]] = {}
        for name, words in self.words.items():
            for word in words:
                result[word] = (*result.get(word, ()), name)
        return result

    def times(self, lines: Sequence[str]) -> dict[str, list[str]]:
        """Return the seasons, hours and weathers that lines speak of, each with its words in them.

        Args:
            lines: In any script, without punctuation.
        """
        found: dict[str, list[str]] = {}
        for line in lines:
            for word in _words(normalize(line)):
                for name in self.owners.get(word, ()):
                    found.setdefault(name, []).append(word)
        return found

    def mixed(self, lines: Sequence[str]) -> list[str]:
        """Return the pairs of `apart` whose first one lines speak of, and in the same or a later line the second."""
        spoken = [set(self.times([line])) for line in lines]
        before = [set().union(*spoken[: number + 1]) for number in range(len(spoken))]
        meet = {one + other for ones, others in zip(before, spoken, strict=True) for one in ones for other in others}
        return [pair for pair in self.apart if pair in meet]


@dataclass(frozen=True)
class Subject:
    """What verse says of a subject."""

    titles: int
    """Titles that hold the word."""
    whole: int
    """Titles that are the word."""
    share: float
    """Share of the poems under such titles that hold one of the characters."""
    characters: str
    """Characters that tell of it: in many poems under such titles, in few others; those that tell most first."""


@dataclass(frozen=True)
class Subjects:
    """The words that titles speak of, and what stands in the poems under them."""

    words: Mapping[str, Subject]
    """Word of one or two characters, simplified, those of the most titles first -> what verse says of it."""

    @classmethod
    def load(cls, directory: Path) -> Subjects:
        """Read `subjects.tsv` of a model directory.

        Raises:
            CheckpointError: The file is missing, damaged or something else.
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
        """Write `subjects.tsv` into a directory that is there."""
        rows = ["\t".join(SUBJECTS_HEAD)]
        for word, each in self.words.items():
            rows.append(f"{word}\t{each.titles}\t{each.whole}\t{each.share:.2f}\t{each.characters}")
        (directory / SUBJECTS_FILE).write_text("\n".join(rows) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Facing:
    """Which words people set against each other in couplets whose lines answer each other word for word (对仗)."""

    counts: Mapping[str, Mapping[str, int]]
    """Word of one or two characters, simplified -> word that faces it -> how often; each pair stands both ways."""
    uses: Mapping[str, int]
    """Word -> how often it stands in such couplets, whatever faces it."""
    total: Mapping[int, int]
    """Characters of a word, 1 or 2 -> pairs of such words that were counted in all."""

    @classmethod
    def load(cls, directory: Path) -> Facing:
        """Read `facing.tsv` of a model directory.

        Raises:
            CheckpointError: The file is missing, damaged or something else.
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
        """Write `facing.tsv` into a directory that is there; each pair stands once, in the row of its commoner word."""
        order = {word: row for row, word in enumerate(sorted(self.uses, key=lambda word: (-self.uses[word], word)))}
        rows = ["\t".join([*FACING_HEAD, str(self.total[1]), str(self.total[2])])]
        for word, row in order.items():
            listed = [(other, count) for other, count in self.facing(word) if order[other] >= row]
            rows.append(f"{word}\t{self.uses[word]}\t" + " ".join(f"{other} {count}" for other, count in listed))
        (directory / FACING_FILE).write_text("\n".join(rows) + "\n", encoding="utf-8")

    def facing(self, word: str) -> list[tuple[str, int]]:
        """Return what people set against a word, and how often; what they do so most often first, nothing if unknown.

        Args:
            word: One or two characters in any script.
        """
        return sorted(self.counts.get(normalize(word), {}).items(), key=lambda item: (-item[1], item[0]))

    def lift(self, one: str, other: str) -> float:
        """Return how much oftener than chance two words face each other, in nats; 0 for a pair that is not listed."""
        count = self.counts.get(one, {}).get(other, 0)
        if not count:
            return 0.0
        chance = self.uses[one] * self.uses[other] / (2 * self.total[len(one)])
        return math.log((count + 1) / (chance * (0.5 if one == other else 1.0) + 1))


_WEIGHT = re.compile(r"(\D)(\d+)")


def _weights(text: str) -> dict[str, float]:
    """Return character -> nats of what `_written` wrote."""
    listed = text.split()
    found = [_WEIGHT.fullmatch(each) for each in listed]
    if not all(found):
        raise ValueError(text[:40])
    return {match[1]: int(match[2]) / 10 for match in found if match}


def _written(weights: Mapping[str, float]) -> str:
    """Write nats as tenths behind their characters: 卷12 梧9."""
    return " ".join(f"{character}{round(10 * nats)}" for character, nats in weights.items())


def _words(line: str) -> Iterator[str]:
    yield from line
    for first, second in pairwise(line):
        yield first + second
