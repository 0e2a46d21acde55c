"""Models without a model, for tests of the service: they are quick, they can be held up, and they can fail."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import uvicorn

from tests.tagging import fake_tagger
from zhseq.poetry.poet import Poet
from zhseq.serve.app import create_app
from zhseq.serve.protocol import limited
from zhseq.serve.settings import Settings
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


@contextmanager
def serving(timeout: float) -> Iterator[str]:
    """Serve with a fake tagger and the poet that ships, which has rhymes and patterns; yield the address."""
    app = create_app(Settings(timeout=timeout), tagger=FakeTagger(), poet=Poet.load())  # type: ignore[arg-type]
    config = uvicorn.Config(
        app, port=0, http=limited(2**20, app.state.short_cut), log_config=None, ws="none", server_header=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.05)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()
