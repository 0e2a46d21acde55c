"""What this machine computes with: backend, compiled loops, device, precision, threads; and how memory stays flat.

The loops are compiled when zhseq is installed and a C compiler is there (`hatch_build.py`), and loaded only if they are
of the sources that lie in `zhseq/nn`; while they compute, other threads of Python run.
"""

from __future__ import annotations

import ctypes
import hashlib
import math
import os
import platform
import sys
from array import array
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from zhseq.errors import ConfigError, Message

if TYPE_CHECKING:
    import torch

BACKENDS = ("auto", "native", "onnx", "torch")
"""What can compute a network: zhseq's own code, onnxruntime, PyTorch; `auto` takes what is quickest there."""
SLOWEST = "plain C"
"""Instructions of zhseq's own code that others are quicker than."""
SOURCES = ("portable.h", "kernel.c", "products.h", "encoder.c", "ngrams.c", "poem.c")
"""What is compiled into the library: for `zhseq.nn.viterbi`, `zhseq.tagging.native`, `zhseq.tagging.features`, and
`zhseq.poetry.network` with `zhseq.poetry.sampling`."""
LEVELS = (SLOWEST, "AVX2", "AVX-512 VNNI", "AMX")
"""Instructions that products of 8 bits can be computed with, the quickest last."""
NAMES = ("plain", "avx2", "vnni", "amx")
"""What `ZHSEQ_INSTRUCTIONS` calls them: no quicker ones are used than it names, so that others can be timed."""
_VARIABLE = "ZHSEQ_INSTRUCTIONS"
_FOLDER = Path(__file__).resolve().parent / "nn"
_OLDEST_RUNTIME = (1, 17)
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD, _M_ARENA_MAX = -3, -1, -8  # names of glibc's mallopt parameters
_SHAPES_OF_THREAD = 8  # more gain nothing: the shapes of all threads are kept below them, too


def pick_device(name: str) -> torch.device:
    """Return the device named, or the best one there is for `auto`.

    Raises:
        ConfigError: The device is unknown or this machine does not have it.
    """
    import torch

    counts = {
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
        "cpu": 1,
    }
    if name == "auto":
        name = next(kind for kind, count in counts.items() if count)
    if name == "cuda" and "LOCAL_RANK" in os.environ:
        name = f"cuda:{os.environ['LOCAL_RANK']}"  # torchrun: each process has a GPU of its own
    there = [kind for kind, count in counts.items() if count]
    if name not in there and name not in [f"{kind}:{index}" for kind in there for index in range(counts[kind])]:
        raise ConfigError(
            "device_unavailable",
            "device '{name}' is not available; on this machine there is: {there}",
            name=name,
            there=", ".join(there),
        )
    return torch.device(name)


def pick_backend(backend: str, device: str, *, native: str, carried: bool = False) -> str:
    """Return what is to compute on a device: `native`, `onnx` or `torch`.

    Args:
        backend: One of `BACKENDS`.
        device: As for `zhseq.device.pick_device`.
        native: By which instructions zhseq's own code computes, empty where there is none; `auto` does without it where
            these are no quick ones.
        carried: Whether the checkpoint carries a graph, which `auto` takes before zhseq's own code.

    Raises:
        ConfigError: There is no such backend, it does not compute there, or it is not installed.
    """
    if backend not in BACKENDS:
        raise ConfigError(
            "unknown_backend",
            "<backend> must be one of {known}, but is '{found}'",
            known=", ".join(BACKENDS),
            found=backend,
        )
    has_torch = find_spec("torch") is not None
    if backend == "torch" or (backend == "auto" and has_torch and device != "cpu"):
        if not has_torch:
            raise ConfigError(
                "no_torch", "this needs PyTorch, which is not installed; install it with: pip install torch"
            )
        return "torch"
    if device not in ("cpu", "auto"):
        raise ConfigError(
            "backend_on_device",
            "without PyTorch networks are computed on the processor, but <device={device}> was asked for; that needs "
            "PyTorch and <backend=torch>",
            device=device,
        )
    if backend == "auto":
        quick = native not in ("", SLOWEST)
        if quick and not carried:
            return "native"
        trouble = _trouble_with_runtime()
        others = {"onnx": trouble is None, "native": quick, "torch": has_torch}
        backend = next((name for name, there in others.items() if there), "native" if native else "onnx")
    elif backend == "onnx":
        trouble = _trouble_with_runtime()
    if backend == "native" and not native:
        raise ConfigError(
            "not_compiled",
            "<backend=native> needs zhseq's own loops, which were not compiled when it was installed; install a C "
            "compiler and then zhseq again, or use another backend",
        )
    if backend == "onnx" and trouble is not None:
        raise ConfigError(
            "no_onnxruntime",
            "this needs onnxruntime, {trouble}; install it with: pip install 'zhseq[onnx]'",
            trouble=trouble,
        )
    return backend


def import_runtime() -> ModuleType:
    """Import onnxruntime without its telemetry, which would write into the home directory and report to its makers."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return cast(ModuleType, onnxruntime)


def _trouble_with_runtime() -> Message | None:
    """Return why onnxruntime cannot be used, or None."""
    try:
        version = import_runtime().__version__
    except ImportError:
        return Message("runtime_missing", "which is not installed")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < _OLDEST_RUNTIME:
        oldest = ".".join(map(str, _OLDEST_RUNTIME))
        return Message(
            "runtime_too_old",
            "whose version {version} is too old ({oldest} or later is needed)",
            {"version": version, "oldest": oldest},
        )
    return None


_MOST_THREADS = 1024


def set_threads(threads: int | None = None) -> None:
    """Set how many processor threads PyTorch uses: for all of the process, not for one model.

    PyTorch by itself takes every core. Models as small as these gain little from a second one, and where other programs
    need the cores, its threads wait for each other: a call can take a hundred times as long.

    In a process that is forked from this one PyTorch has one thread, because its other threads do not survive the fork
    and would be waited for without end.

    Args:
        threads: How many; None for one, unless the user has chosen: by OMP_NUM_THREADS or MKL_NUM_THREADS, or by
            telling PyTorch another number than it takes by itself.

    Raises:
        ConfigError: There are less than 1 threads, or very many.
    """
    import torch

    wanted_threads(threads)
    _have_one_thread_after_a_fork()
    if threads is not None or not _threads_are_chosen():
        torch.set_num_threads(threads or 1)


def wanted_threads(threads: int | None = None) -> int:
    """Return how many processor threads to compute with: as many as asked for, or as OMP_NUM_THREADS says, or one.

    Raises:
        ConfigError: There are less than 1 threads, or very many.
    """
    if threads is not None and not 1 <= threads <= _MOST_THREADS:
        raise ConfigError(
            "number_of_threads",
            "the number of threads must lie in 1 to {most}, but is {threads}",
            most=_MOST_THREADS,
            threads=threads,
        )
    chosen = os.environ.get(_THREAD_VARIABLES[0], "").partition(",")[0].strip()
    asked = chosen.isascii() and chosen.isdigit() and int(chosen[:9])
    return threads or min(asked or 1, _MOST_THREADS)


def set_blas_threads(threads: int | None = None) -> None:
    """Set how many processor threads the matrix products of NumPy use, for all of the process, where that is OpenBLAS.

    Like PyTorch, it would take every core.

    Args:
        threads: How many; None for one, unless OPENBLAS_NUM_THREADS or OMP_NUM_THREADS says another number.

    Raises:
        ConfigError: There are less than 1 threads, or very many.
    """
    count = wanted_threads(threads)
    if threads is None and os.environ.get("OPENBLAS_NUM_THREADS"):
        return
    if (setter := _openblas_setter()) is not None:
        setter(count)


@lru_cache(maxsize=1)
def _openblas_setter() -> Callable[[int], object] | None:
    """Return the function of the OpenBLAS that came with NumPy, or None if there is none."""
    package = Path(np.__file__).parent
    folders = (package.parent / "numpy.libs", package / ".dylibs", package / ".libs")
    for path in (path for folder in folders for path in sorted(folder.glob("*openblas*"))):
        with suppress(OSError):
            library = ctypes.CDLL(str(path))
            for name in ("scipy_openblas_set_num_threads64_", "openblas_set_num_threads64_"):
                if hasattr(library, name):
                    setter: Callable[[int], object] = getattr(library, name)
                    return setter
    return None


def _threads_are_chosen() -> bool:
    import torch

    if any(os.environ.get(name) for name in _THREAD_VARIABLES):
        return True
    now = torch.get_num_threads()
    return now != _threads_of_torch() or now not in _default_threads()


@lru_cache(maxsize=1)
def _threads_of_torch() -> int:
    """Return how many threads PyTorch had when it was seen first."""
    import torch

    return torch.get_num_threads()


if sys.modules.get("torch") is not None:
    _threads_of_torch()


def _default_threads() -> set[int]:
    """Return the numbers of threads that PyTorch may take by itself: one for each processor, or each physical core."""
    if not hasattr(os, "sched_getaffinity"):
        return {_threads_of_torch()}
    processors = os.sched_getaffinity(0)
    folder = Path("/sys/devices/system/cpu")
    try:
        cores = {(folder / f"cpu{number}/topology/thread_siblings_list").read_text() for number in processors}
    except OSError:  # not told in every container
        return {len(processors), _threads_of_torch()}
    return {len(processors), len(cores)}


@lru_cache(maxsize=1)
def _have_one_thread_after_a_fork() -> None:
    import torch

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


def cpu_has_bfloat16() -> bool:
    """Tell whether this CPU multiplies bfloat16 matrices in hardware; without that, bfloat16 only costs time."""
    import torch

    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, probe, bool)()) for probe in probes)


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Return the context in which the forward pass runs."""
    import torch

    if precision == "auto":
        pays = device.type == "cuda" or (device.type == "cpu" and cpu_has_bfloat16())
        precision = "bfloat16" if pays else "float32"
    return torch.autocast(device.type, dtype=torch.bfloat16) if precision == "bfloat16" else nullcontext()


def tune_process(device: torch.device, threads: int = 0) -> None:
    """Set what makes training fast on this device and changes nothing else.

    On a GPU, float32 matrix products use TF32. On a CPU under Linux, the allocator keeps the large buffers of each step
    for the next.

    Args:
        device: Where the model is.
        threads: Threads of the processor; 0: what OMP_NUM_THREADS says, or else a thread for each core that this
            process may use.
    """
    import torch

    wanted_threads(threads or None)
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True
    else:
        keep_freed_memory()
    if threads or "OMP_NUM_THREADS" not in os.environ:  # PyTorch has read the variable itself
        torch.set_num_threads(threads or usable_cores())


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the name of this processor and the instructions that networks gain by, for what benchmarks print."""
    try:
        lines = [line.partition(":") for line in cpuinfo.read_text(encoding="utf-8").splitlines()]
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    told = {name.strip(): value.strip() for name, _, value in lines}
    flags = set(told.get("flags", "").split())
    gains = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile") if flag in flags]
    return f"{told.get('model name') or platform.machine()} ({' '.join(gains) or 'no AVX2'})"


def usable_cores(system: Path = Path("/")) -> int:
    """Return how many cores this process may use, at least 1: by its affinity and by the limits of its container.

    Args:
        system: Root of the file system, in which Linux tells the limits of control groups.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, _group_limit(system))))


def _group_limit(system: Path) -> float:
    """Return the processor time that control groups grant, in cores; infinity where there is no limit."""
    limits = [math.inf]
    groups = system / "sys/fs/cgroup"
    with suppress(OSError, ValueError):  # version 1, in which the processor has a tree of its own
        quota, period = (int((groups / "cpu" / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
        limits += [quota / period] if quota > 0 and period > 0 else []
    with suppress(OSError):  # version 2: a limit on any group above this process holds for it
        own = (system / "proc/self/cgroup").read_text().rpartition("0::/")[2].strip()  # from the line `0::/PATH`
        for folder in (groups / own, *(groups / own).parents):
            with suppress(OSError, ValueError):
                share, period_text = (folder / "cpu.max").read_text().split()
                limits += [int(share) / int(period_text)] if share != "max" else []
            if folder == groups:
                break
    return min(limits)


def keep_freed_memory() -> None:
    """Let the allocator keep large buffers that are freed: the kernel would clear them page by page at the next use."""
    if (libc := _glibc()) is not None:
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)


def release_memory() -> None:
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


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL | None:
    """Load the compiled loops; None if there are none, or none for this machine or source."""
    if ctypes.sizeof(ctypes.c_void_p) != 8:
        return None
    try:
        loaded = ctypes.CDLL(str(_FOLDER / "_kernel.so"))
        loaded.zhseq_source.restype = ctypes.c_char_p
        source = hashlib.sha256(b"".join((_FOLDER / name).read_bytes() for name in SOURCES)).hexdigest()
        return loaded if loaded.zhseq_source() == source.encode() else None
    except (OSError, AttributeError):
        return None


def instructions() -> str:
    """Return which of `LEVELS` are used: the best of this processor, or what the environment allows of them.

    Returns:
        Empty where nothing is compiled.

    Raises:
        ConfigError: `ZHSEQ_INSTRUCTIONS` is none of `NAMES`.
    """
    loops = library()
    if loops is None:
        return ""
    allowed = os.environ.get(_VARIABLE, "") or NAMES[-1]
    if allowed not in NAMES:
        raise ConfigError(
            "unknown_instructions",
            "expected {variable} to be one of {known}, found '{found}'",
            variable=_VARIABLE,
            known=", ".join(NAMES),
            found=allowed,
        )
    return LEVELS[min(loops.zhseq_level(), NAMES.index(allowed))]


class Packed:
    """The memory of a C structure, a 64-bit word for each pointer and number, and the arrays that it points to."""

    def __init__(self, *fields: npt.NDArray[Any] | Packed | int | None) -> None:
        self._pointed_to = fields
        self._words = array("Q", map(_word, fields))
        self.address = self._words.buffer_info()[0]

    def __reduce__(self) -> tuple[type[Packed], tuple[npt.NDArray[Any] | Packed | int | None, ...]]:
        """Let a copy or another process point to arrays of its own."""
        return Packed, self._pointed_to


def _word(field: npt.NDArray[Any] | Packed | int | None) -> int:
    if field is None or isinstance(field, int):
        return field or 0
    return field.address if isinstance(field, Packed) else address(field)


def address(values: npt.NDArray[Any]) -> int:
    """Return where an array lies, which must be in C order."""
    if not values.flags.c_contiguous:
        raise ValueError("expected an array in C order")
    found: int = values.__array_interface__["data"][0]
    return found
