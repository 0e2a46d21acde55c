"""zhseq: Chinese sequence models that fit on an ordinary computer.

`Poet` writes classical poems, `Tagger` finds words, parts of speech and named entities. Each name is loaded when it is
first used, so that importing zhseq costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zhseq.poetry.lookup import Handbook
    from zhseq.poetry.poet import Poet
    from zhseq.poetry.request import Poem, Request
    from zhseq.tagging.dictionary import UserDictionary
    from zhseq.tagging.formats import Document, Entity, Word
    from zhseq.tagging.tagger import Tagger
    from zhseq.text.tags import explain

__all__ = [
    "Document",
    "Entity",
    "Handbook",
    "Poem",
    "Poet",
    "Request",
    "Tagger",
    "UserDictionary",
    "Word",
    "__version__",
    "explain",
]
__version__ = "0.1.0"

_HOMES = {
    "Document": "zhseq.tagging.formats",
    "Entity": "zhseq.tagging.formats",
    "Handbook": "zhseq.poetry.lookup",
    "Poem": "zhseq.poetry.request",
    "Poet": "zhseq.poetry.poet",
    "Request": "zhseq.poetry.request",
    "Tagger": "zhseq.tagging.tagger",
    "UserDictionary": "zhseq.tagging.dictionary",
    "Word": "zhseq.tagging.formats",
    "explain": "zhseq.text.tags",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'zhseq' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
