"""zhseq: Chinese sequence models that fit on an ordinary computer.

`Poet` writes classical poems. It is loaded when it is first used, so that importing zhseq costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zhseq.poet import Poet

__all__ = ["Poet", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "Poet":
        from zhseq.poet import Poet

        return Poet
    raise AttributeError(f"module 'zhseq' has no attribute '{name}'")
