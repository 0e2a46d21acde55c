"""zhseq: Chinese word segmentation, part-of-speech tagging, named entity recognition and classical poetry.

`Tagger` tags text, `Poet` writes and checks poems, `Handbook` looks up verse. Each name is imported on first use, so
`import zhseq` is fast.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # without importing `typing`, which takes most of the time of `import zhseq`
if TYPE_CHECKING:
    from typing import Any

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
