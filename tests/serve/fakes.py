"""Models without a model, for tests of the service: they are quick, they can be held up, and they can fail."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any

from tests.tagging import fake_tagger
from zhseq.tagging.dictionary import UserDictionary

POISON = "毒"
"""A text that holds this cannot be tagged."""


class FakeTagger(fake_tagger.Tagger):
    """Cuts as `tests.tagging.fake_tagger` does; remembers what it was asked, and waits while `go` is not set."""

    network = SimpleNamespace(heads={"pos": ("B-n", "E-n", "S-w"), "ner": ("O", "S-LOC")})

    def __init__(self) -> None:
        self.go = threading.Event()
        self.go.set()
        self.begun = threading.Event()
        self.batches: list[list[str]] = []
        self.dictionary = UserDictionary()
        self.used: list[UserDictionary | None] = []

    @classmethod
    def load(cls, *arguments: Any, **options: Any) -> FakeTagger:
        return cls()

    def stream(
        self, lines: Iterable[str], *, dictionary: UserDictionary | None = None, **options: Any
    ) -> Iterator[fake_tagger.Document]:
        texts = list(lines)
        self.batches.append(texts)
        self.used.append(dictionary)
        self.begun.set()
        assert self.go.wait(30)
        if any(POISON in text for text in texts):
            raise ValueError(f"cannot tag {texts}")
        return super().stream(texts, **options)


class FakePoet:
    """Knows nothing but its name."""

    prosody = None
    authors = ("李白",)
    dynasties = ("唐",)
    tunes = ()

    @classmethod
    def load(cls, *arguments: Any, **options: Any) -> FakePoet:
        return cls()

    def write(self, **wishes: Any) -> None:
        """Warm up."""
