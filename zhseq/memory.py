"""What a process that runs for long does so that its memory stays flat: glibc's allocator and the caches of PyTorch."""

from __future__ import annotations

import ctypes
import os
import sys

_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD, _M_ARENA_MAX = -3, -1, -8  # names of glibc's mallopt parameters
_SHAPES_OF_THREAD = 8  # more gain nothing: the shapes of all threads are kept below them, too


def keep_freed() -> None:
    """Let the allocator keep large buffers that are freed: the kernel would clear them page by page at the next use."""
    if (libc := _glibc()) is not None:
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)


def release() -> None:
    """Give back what the allocator keeps: called now and then, memory stays flat in a long run."""
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


def share_heap() -> None:
    """Let all threads that are started from now on take memory from one place: holes stay behind in it, not in each."""
    if (libc := _glibc()) is not None:
        libc.mallopt(_M_ARENA_MAX, 1)


def limit_cached_shapes(shapes: int) -> None:
    """Let oneDNN keep what it made for so many shapes of tensors; to be called before PyTorch computes on a CPU.

    By itself it keeps that for 1,024, and PyTorch's layer above it once more in each thread: some hundred megabytes of
    batches of texts, which are hardly ever of the same shape twice. A limit that the environment sets already stays.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(shapes))
    os.environ.setdefault("LRU_CACHE_CAPACITY", str(_SHAPES_OF_THREAD))


def _glibc() -> ctypes.CDLL | None:
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    return libc if libc is not None and hasattr(libc, "mallopt") else None
