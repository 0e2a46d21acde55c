"""What verse takes for granted and a list can hold: which characters are doubled, which words tell a season or hour.

All of it is counted in the training poems by `scripts/learn_sense.py`. Imports no torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from zhseq.errors import CheckpointError
from zhseq.text.normalize import normalize

SENSE_FILE = "sense.json"
KIND, VERSION = "sense", 1


@dataclass(frozen=True)
class Sense:
    """What was counted."""

    doublings: str
    """Characters that poets double (悠悠), the commonest first."""
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Season or hour -> words of one or two characters that stand in its poems far more than in those of others."""
    apart: Mapping[str, float] = field(default_factory=dict)
    """Two seasons or two hours, 春秋 for example -> how much rarer than chance their words meet in a poem, in nats."""

    @classmethod
    def load(cls, directory: Path) -> Sense:
        """Read `sense.json` of a model directory.

        Raises:
            CheckpointError: The file is missing, damaged or something else.
        """
        path = directory / SENSE_FILE
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
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
            return cls("".join(content["doublings"].split()), words, apart)
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
        }
        text = json.dumps(content, ensure_ascii=False, indent=1) + "\n"
        (directory / SENSE_FILE).write_text(text, encoding="utf-8")

    @cached_property
    def owners(self) -> dict[str, str]:
        """Word -> the season or hour to which it belongs; a word of a season and an hour counts for the hour."""
        return {word: name for name, words in self.words.items() for word in words}

    def times(self, lines: Sequence[str]) -> dict[str, list[str]]:
        """Return the seasons and hours that lines speak of, each with its words in them.

        Args:
            lines: In any script, without punctuation.
        """
        found: dict[str, list[str]] = {}
        for line in lines:
            for word in _words(normalize(line)):
                if word in self.owners:
                    found.setdefault(self.owners[word], []).append(word)
        return found

    def mixed(self, lines: Sequence[str]) -> list[str]:
        """Return the pairs of `apart` that meet in these lines."""
        found = self.times(lines)
        return [pair for pair in self.apart if pair[0] in found and pair[1] in found]


def _words(line: str) -> Iterator[str]:
    yield from line
    for first, second in pairwise(line):
        yield first + second
