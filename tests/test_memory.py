import subprocess
import sys

import pytest

from zhseq import memory

_TAG_IN_MANY_SHAPES = """
import ctypes, random
from zhseq import Tagger

class Heap(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "a b c d mapped e f used g h".split()]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Heap
tagger, draw, used = Tagger.load(threads=1), random.Random(0), []
for _ in range(2):
    for _ in range(120):
        texts = [("我们的祖国是花园" * 8)[: draw.randint(1, 60)] for _ in range(draw.randint(1, 40))]
        list(tagger.stream(texts))
    heap = libc.mallinfo2()
    used.append((heap.used + heap.mapped) / 1e6)
print(used[1] - used[0])
"""


def test_a_limit_that_the_environment_sets_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "7")
    monkeypatch.delenv("LRU_CACHE_CAPACITY", raising=False)
    memory.limit_cached_shapes(9)
    assert [memory.os.environ[f"{cache}_CAPACITY"] for cache in ("ONEDNN_PRIMITIVE_CACHE", "LRU_CACHE")] == ["7", "8"]


def test_all_does_without_glibc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())
    memory.keep_freed()
    memory.release()
    memory.share_heap()


@pytest.mark.skipif(memory._glibc() is None, reason="measures with glibc")
def test_shapes_of_texts_do_not_fill_the_memory() -> None:
    done = subprocess.run([sys.executable, "-c", _TAG_IN_MANY_SHAPES], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 10  # megabytes, and without a limit 90
