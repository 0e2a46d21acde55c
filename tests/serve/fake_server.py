"""`python -m tests.serve.fake_server OPTIONS`: the service with fake models, for tests that need a process.

A text of digits is tagged after so many milliseconds.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

import zhseq
from tests.serve.fakes import FakePoet, FakeTagger
from zhseq.cli import run_main
from zhseq.serve.__main__ import main


class SlowTagger(FakeTagger):
    """Takes its time."""

    def stream(self, lines: Iterable[str], **options: Any) -> Iterator[Any]:
        texts = list(lines)
        time.sleep(sum(int(text) for text in texts if text.isdigit()) / 1000)
        return super().stream(texts, **options)


if __name__ == "__main__":
    vars(zhseq).update(Tagger=SlowTagger, Poet=FakePoet)
    run_main(main)
