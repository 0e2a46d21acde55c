"""zhseq: Chinese sequence models that fit on an ordinary computer.

`Poet` writes classical poems, `Tagger` finds words, parts of speech and named entities. Both are loaded when they are
first used, so that importing zhseq costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zhseq.poetry.poet import Poet
    from zhseq.tagging.tagger import Tagger

__all__ = ["Poet", "Tagger", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "Poet":
        from zhseq.poetry.poet import Poet

        return Poet
    if name == "Tagger":
        from zhseq.tagging.tagger import Tagger

        return Tagger
    raise AttributeError(f"module 'zhseq' has no attribute '{name}'")
