"""Backends, devices, compiled C code, precision, threads and memory settings of this machine.

The C code is compiled during installation if there is a C compiler (`hatch_build.py`), and loaded only if the library
was built from the sources in `zhseq/nn`. It runs without the GIL.
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
"""Backends of a network: zhseq's C code, onnxruntime, PyTorch; `auto` chooses the fastest available."""
SLOWEST = "plain C"
"""Level of zhseq's C code without SIMD instructions, which is slower than the other backends."""
SOURCES = ("portable.h", "kernel.c", "products.h", "encoder.c", "ngrams.c", "poem.c")
"""C sources of the library, used by `zhseq.nn.viterbi`, `zhseq.tagging.native`, `zhseq.tagging.features`,
`zhseq.poetry.network` and `zhseq.poetry.sampling`."""
LEVELS = (SLOWEST, "AVX2", "AVX-512 VNNI", "AMX")
"""Instruction sets for 8-bit matrix products, fastest last."""
NAMES = ("plain", "avx2", "vnni", "amx")
"""Their names in the environment variable `ZHSEQ_INSTRUCTIONS`, which limits the instruction set, for benchmarks."""
_VARIABLE = "ZHSEQ_INSTRUCTIONS"
_FOLDER = Path(__file__).resolve().parent / "nn"
_OLDEST_RUNTIME = (1, 17)
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD, _M_ARENA_MAX = -3, -1, -8  # names of glibc's mallopt parameters
_BLOCK, _LANES = 64, 16  # as in products.h
_LARGEST = 127  # maximum absolute value of a quantised weight, and of the sum of two adjacent ones; see products.h
_LINE = 64  # bytes of a cache line
_SHAPES_OF_THREAD = 8  # capacity of PyTorch's cache, which is per thread; oneDNN's cache is shared by all threads


def pick_device(name: str) -> torch.device:
    """Return a device by name; for `auto` the first available of CUDA, MPS and CPU.

    Raises:
        ConfigError: The device is unknown or not available.
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
        name = f"cuda:{os.environ['LOCAL_RANK']}"  # torchrun: one GPU per process
    there = [kind for kind, count in counts.items() if count]
    if name not in there and name not in [f"{kind}:{index}" for kind in there for index in range(counts[kind])]:
        raise ConfigError(
            "device_unavailable",
            "device '{name}' is not available; this machine has: {there}",
            name=name,
            there=", ".join(there),
        )
    return torch.device(name)


def pick_backend(backend: str, device: str, *, native: str, carried: bool = False) -> str:
    """Resolve a backend name to `native`, `onnx` or `torch`.

    Args:
        backend: One of `BACKENDS`.
        device: Device name as in `pick_device`.
        native: Instruction set of zhseq's C code, empty if it is not compiled. `auto` avoids C code without SIMD
            instructions.
        carried: Whether the checkpoint contains an ONNX graph; then `auto` prefers onnxruntime to the C code.

    Raises:
        ConfigError: The backend is unknown, does not support the device, or is not installed.
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
            "<device={device}> requires PyTorch and <backend=torch>; other backends run on the CPU only",
            device=device,
        )
    if backend == "auto":
        quick = native not in ("", SLOWEST)
        if quick and not carried:
            return "native"
        trouble = _runtime_problem()
        others = {"onnx": trouble is None, "native": quick, "torch": has_torch}
        backend = next((name for name, there in others.items() if there), "native" if native else "onnx")
    elif backend == "onnx":
        trouble = _runtime_problem()
    if backend == "native" and not native:
        raise ConfigError(
            "not_compiled",
            "<backend=native> requires compiled code, which was not built during installation; install a C compiler, "
            "reinstall zhseq, or use another backend",
        )
    if backend == "onnx" and trouble is not None:
        raise ConfigError(
            "no_onnxruntime",
            "this needs onnxruntime, {trouble}; install it with: pip install 'zhseq[onnx]'",
            trouble=trouble,
        )
    return backend


def import_runtime() -> ModuleType:
    """Import onnxruntime with its telemetry disabled."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return cast(ModuleType, onnxruntime)


def _runtime_problem() -> Message | None:
    """Return the reason why onnxruntime cannot be used, or None."""
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
    """Set the number of CPU threads of PyTorch, for the whole process.

    PyTorch's default is one thread per core. These small models gain little from a second thread, and on a busy machine
    threads wait for each other, so that a call can take a hundred times as long.

    In a forked process PyTorch is limited to one thread, because its other threads do not survive the fork and it would
    wait for them forever.

    Args:
        threads: Number of threads; None for one, unless the user has set another number by OMP_NUM_THREADS,
            MKL_NUM_THREADS or `torch.set_num_threads`.

    Raises:
        ConfigError: `threads` is less than 1 or very large.
    """
    import torch

    wanted_threads(threads)
    _limit_threads_after_fork()
    if threads is not None or not _user_set_threads():
        torch.set_num_threads(threads or 1)


def wanted_threads(threads: int | None = None) -> int:
    """Return the number of CPU threads to use: `threads` if given, else that of OMP_NUM_THREADS, else one.

    Raises:
        ConfigError: `threads` is less than 1 or very large.
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
    """Set the number of CPU threads of NumPy's matrix products, for the whole process, if NumPy uses OpenBLAS.

    The default of OpenBLAS is one thread per core.

    Args:
        threads: Number of threads; None for one, unless OPENBLAS_NUM_THREADS or OMP_NUM_THREADS sets another number.

    Raises:
        ConfigError: `threads` is less than 1 or very large.
    """
    count = wanted_threads(threads)
    if threads is None and os.environ.get("OPENBLAS_NUM_THREADS"):
        return
    if (setter := _openblas_setter()) is not None:
        setter(count)


@lru_cache(maxsize=1)
def _openblas_setter() -> Callable[[int], object] | None:
    """Return the function of NumPy's OpenBLAS that sets the number of threads, or None."""
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


def _user_set_threads() -> bool:
    import torch

    if any(os.environ.get(name) for name in _THREAD_VARIABLES):
        return True
    now = torch.get_num_threads()
    return now != _threads_of_torch() or now not in _default_threads()


@lru_cache(maxsize=1)
def _threads_of_torch() -> int:
    """Return PyTorch's number of threads at the time of the first call."""
    import torch

    return torch.get_num_threads()


if sys.modules.get("torch") is not None:
    _threads_of_torch()


def _default_threads() -> set[int]:
    """Return the possible defaults of PyTorch: the number of logical processors, and of physical cores."""
    if not hasattr(os, "sched_getaffinity"):
        return {_threads_of_torch()}
    processors = os.sched_getaffinity(0)
    folder = Path("/sys/devices/system/cpu")
    try:
        cores = {(folder / f"cpu{number}/topology/thread_siblings_list").read_text() for number in processors}
    except OSError:  # not available in every container
        return {len(processors), _threads_of_torch()}
    return {len(processors), len(cores)}


@lru_cache(maxsize=1)
def _limit_threads_after_fork() -> None:
    import torch

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


def cpu_has_bfloat16() -> bool:
    """Return whether the CPU has bfloat16 matrix instructions; without them bfloat16 is slower than float32."""
    import torch

    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, probe, bool)()) for probe in probes)


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Return the autocast context of the forward pass for `float32`, `bfloat16` or `auto`.

    Raises:
        ConfigError: `bfloat16` is requested on a CPU without AVX-512, on which PyTorch cannot compute LSTMs in it.
    """
    import torch

    if precision == "bfloat16" and device.type == "cpu" and torch.backends.cpu.get_cpu_capability() == "AVX2":
        raise ConfigError(
            "no_bfloat16",
            "<training.precision=bfloat16> requires AVX-512 or a GPU; use <training.precision=auto>",
        )

    if precision == "auto":
        pays = device.type == "cuda" or (device.type == "cpu" and cpu_has_bfloat16())
        precision = "bfloat16" if pays else "float32"
    return torch.autocast(device.type, dtype=torch.bfloat16) if precision == "bfloat16" else nullcontext()


def tune_process(device: torch.device, threads: int = 0) -> None:
    """Configure the process for fast training on a device.

    On a GPU, float32 matrix products use TF32. On a CPU under Linux, the allocator keeps freed buffers for reuse.

    Args:
        device: Device of the model.
        threads: CPU threads; 0 for OMP_NUM_THREADS if set, else one thread per core available to this process.
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
    """Return the name of the CPU and its instruction sets that are relevant to networks, for benchmarks."""
    try:
        lines = [line.partition(":") for line in cpuinfo.read_text(encoding="utf-8").splitlines()]
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    told = {name.strip(): value.strip() for name, _, value in lines}
    flags = set(told.get("flags", "").split())
    gains = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile") if flag in flags]
    return f"{told.get('model name') or platform.machine()} ({' '.join(gains) or 'no AVX2'})"


def usable_cores(system: Path = Path("/")) -> int:
    """Return the number of cores available to this process, at least 1, by CPU affinity and control groups.

    Args:
        system: Root of the file system.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, _group_limit(system))))


def _group_limit(system: Path) -> float:
    """Return the CPU limit of the control groups, in cores; infinity if there is none."""
    limits = [math.inf]
    groups = system / "sys/fs/cgroup"
    with suppress(OSError, ValueError):  # cgroups version 1
        quota, period = (int((groups / "cpu" / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
        limits += [quota / period] if quota > 0 and period > 0 else []
    with suppress(OSError):  # cgroups version 2: limits of all parent groups apply
        own = (system / "proc/self/cgroup").read_text().rpartition("0::/")[2].strip()  # from the line `0::/PATH`
        for folder in (groups / own, *(groups / own).parents):
            with suppress(OSError, ValueError):
                share, period_text = (folder / "cpu.max").read_text().split()
                limits += [int(share) / int(period_text)] if share != "max" else []
            if folder == groups:
                break
    return min(limits)


def keep_freed_memory() -> None:
    """Configure glibc to keep large freed buffers, which the kernel would have to zero at the next allocation."""
    if (libc := _glibc()) is not None:
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)


def release_memory() -> None:
    """Return freed memory that glibc keeps to the system; called regularly, this bounds the memory of a long run."""
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


def share_heap() -> None:
    """Make all threads started from now on share one heap, which reduces memory lost to fragmentation."""
    if (libc := _glibc()) is not None:
        libc.mallopt(_M_ARENA_MAX, 1)


def limit_cached_shapes(shapes: int) -> None:
    """Limit the number of tensor shapes for which oneDNN caches primitives; call before PyTorch computes on a CPU.

    The default is 1,024, and PyTorch caches them again in each thread. Batches of texts rarely have the same shape
    twice, so this takes some hundred megabytes for nothing. Limits set in the environment are not changed.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(shapes))
    os.environ.setdefault("LRU_CACHE_CAPACITY", str(_SHAPES_OF_THREAD))


def _glibc() -> ctypes.CDLL | None:
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    return libc if libc is not None and hasattr(libc, "mallopt") else None


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL | None:
    """Load the library of compiled C code; None if it is missing, or was built for another machine or source."""
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
    """Return the instruction set in use: the best of `LEVELS` on this CPU, limited by `ZHSEQ_INSTRUCTIONS`.

    Returns:
        One of `LEVELS`; empty if the C code is not compiled.

    Raises:
        ConfigError: `ZHSEQ_INSTRUCTIONS` is not one of `NAMES`.
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
    """A C structure with a 64-bit word for each pointer or number; keeps the arrays that it points to alive."""

    def __init__(self, *fields: npt.NDArray[Any] | Packed | int | None) -> None:
        self._pointed_to = fields
        self._words = array("Q", map(_word, fields))
        self.address = self._words.buffer_info()[0]

    def __reduce__(self) -> tuple[type[Packed], tuple[npt.NDArray[Any] | Packed | int | None, ...]]:
        """Pickle the arrays instead of their addresses."""
        return Packed, self._pointed_to


def _word(field: npt.NDArray[Any] | Packed | int | None) -> int:
    if field is None or isinstance(field, int):
        return field or 0
    return field.address if isinstance(field, Packed) else address(field)


def address(values: npt.NDArray[Any]) -> int:
    """Return the memory address of an array in C order.

    Raises:
        ValueError: The array is not in C order.
    """
    try:
        # Four times as fast as `__array_interface__`. NumPy's stubs declare buffers for Python 3.12 and later only.
        return ctypes.addressof(ctypes.c_char.from_buffer(values))  # type: ignore[arg-type]
    except (TypeError, ValueError):  # read-only, empty, or not in C order
        if not values.flags.c_contiguous:
            raise ValueError("expected an array in C order") from None
        found: int = values.__array_interface__["data"][0]
        return found


def quantised(weights: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Round each row of weights to 8 bits.

    Args:
        weights: (outputs, inputs).

    Returns:
        The rounded weights, (padded outputs, padded inputs), and the value of a weight of 1 in each row,
        (padded outputs,). Padding is 0. The sum of two adjacent weights is at most 127, too, see `products.h`.
    """
    every = np.zeros((_padded(len(weights), _LANES), _padded(weights.shape[1], _BLOCK)), dtype=np.float32)
    every[: len(weights), : weights.shape[1]] = weights
    most = np.maximum(
        np.abs(every).max(axis=1, initial=0.0), np.abs(every[:, ::2] + every[:, 1::2]).max(axis=1, initial=0.0)
    )
    scales = np.maximum(most, np.float32(1e-12)) / np.float32(_LARGEST)
    every /= scales[:, None]
    return np.rint(every, out=every).astype(np.int8), scales


def packed_matrix(
    weights: npt.NDArray[np.float32], bias: npt.NDArray[np.float32] | None = None
) -> tuple[int | npt.NDArray[Any], ...]:
    """Quantise weights, (outputs, inputs), and return them with a bias, (outputs,), as fields of `matrix_t`."""
    whole, scales = quantised(weights)
    biases = np.zeros_like(scales)
    if bias is not None:
        biases[: len(bias)] = bias
    sums = -128 * whole.sum(axis=1, dtype=np.int32)
    outputs, inputs = whole.shape
    return inputs, outputs, _padded(weights.shape[1], 8), _in_blocks(whole), sums, scales, biases


def _padded(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


def _in_blocks(weights: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """Return weights, (outputs, inputs), in the order of `matrix_t`, aligned to cache lines."""
    whole = len(weights) // _BLOCK * _BLOCK
    parts = [
        rows.reshape(len(rows) // columns, columns, weights.shape[1] // 4, 4).swapaxes(1, 2).ravel()
        for rows, columns in ((weights[:whole], _BLOCK), (weights[whole:], _LANES))
    ]
    found = np.empty(weights.size + _LINE, dtype=np.int8)
    found = found[-address(found) % _LINE :][: weights.size]
    return np.concatenate(parts, out=found)
