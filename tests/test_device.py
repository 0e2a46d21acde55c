import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from zhseq import device
from zhseq.device import (
    autocast,
    cpu_has_bfloat16,
    pick_device,
    processor,
    set_blas_threads,
    set_threads,
    tune_process,
    usable_cores,
    wanted_threads,
)
from zhseq.errors import ConfigError

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


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that there are two GPUs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def test_without_a_gpu_the_cpu_is_taken() -> None:
    assert [str(pick_device(name)) for name in ("auto", "cpu", "cpu:0")] == ["cpu", "cpu", "cpu:0"]


def test_apple_comes_before_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert str(pick_device("auto")) == "mps"


def test_a_gpu_comes_first(gpus: None) -> None:
    assert [str(pick_device(name)) for name in ("auto", "cuda", "cuda:1", "cpu")] == ["cuda", "cuda", "cuda:1", "cpu"]


def test_under_torchrun_each_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch, gpus: None) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert [str(pick_device(name)) for name in ("auto", "cuda", "cuda:0", "cpu")] == [
        "cuda:1",
        "cuda:1",
        "cuda:0",
        "cpu",
    ]
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ConfigError, match="'cuda:2' is not available"):
        pick_device("auto")


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps", "tpu", "cpu:1", "cpu:x", "", "CPU", "春"])
def test_a_device_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"device '{name}' is not available; this machine has: cpu"):
        pick_device(name)


@pytest.mark.parametrize(("precision", "lowers"), [("bfloat16", True), ("float32", False)])
def test_precision_decides_how_products_are_computed(
    monkeypatch: pytest.MonkeyPatch, precision: str, lowers: bool
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    with autocast(torch.device("cpu"), precision):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if lowers else torch.float32)


@pytest.mark.parametrize("supported", [True, False])
def test_auto_lowers_precision_only_where_it_pays(monkeypatch: pytest.MonkeyPatch, supported: bool) -> None:
    for probe in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, probe, lambda: supported, raising=False)
    assert cpu_has_bfloat16() == supported
    with autocast(torch.device("cpu"), "auto"):
        assert torch.is_autocast_enabled("cpu") == supported


def test_tuning_changes_no_number() -> None:
    before = torch.arange(12.0).view(3, 4) @ torch.arange(12.0).view(4, 3)
    tune_process(torch.device("cpu"))
    assert torch.equal(torch.arange(12.0).view(3, 4) @ torch.arange(12.0).view(4, 3), before)


def test_tuning_does_without_the_allocator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device.ctypes, "CDLL", lambda name: object())  # a C library that is not glibc
    tune_process(torch.device("cpu"))


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({}, 8),
        ({"sys/fs/cgroup/cpu.max": "max 100000\n"}, 8),
        ({"sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),
        ({"sys/fs/cgroup/cpu.max": "150000 100000\n"}, 2),
        ({"sys/fs/cgroup/cpu.max": "10000 100000\n"}, 1),
        ({"sys/fs/cgroup/cpu.max": "nonsense"}, 8),
        ({"sys/fs/cgroup/a/cpu.max": "300000 100000\n", "sys/fs/cgroup/a/b/cpu.max": "max 100000\n"}, 3),
        ({"sys/fs/cgroup/c/cpu.max": "300000 100000\n"}, 8),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "400000\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 4),
    ],
)
def test_affinity_and_container_limit_the_cores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: dict[str, str], limit: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    for name, content in {"proc/self/cgroup": "0::/a/b\n", **files}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert usable_cores(tmp_path) == limit


@pytest.mark.parametrize(
    ("threads", "variable", "expected"), [(3, None, [3]), (3, "1", [3]), (0, "2", []), (0, None, [5])]
)
def test_threads_are_those_asked_for_or_the_cores(
    monkeypatch: pytest.MonkeyPatch, threads: int, variable: str | None, expected: list[int]
) -> None:
    chosen: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    monkeypatch.setattr(device, "usable_cores", lambda: 5)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if variable is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    tune_process(torch.device("cpu"), threads)
    assert chosen == expected


REPORT = "set_threads(); import torch; print(torch.get_num_threads())"


def run(program: str, **environment: str) -> str:
    """What a new process prints in which nobody has chosen a number of threads, but for `environment`."""
    inherited = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    path = str(Path(__file__).resolve().parent.parent)
    everything = {**inherited, "PYTHONPATH": path, **environment}
    done = subprocess.run([sys.executable, "-c", program], env=everything, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_one_thread_is_the_default_of_a_process() -> None:
    assert run(f"from zhseq.device import set_threads; {REPORT}") == "1"


def test_a_number_of_threads_that_the_user_chose_stays() -> None:
    load = "from zhseq.device import set_threads"
    taken = run("import torch; print(torch.get_num_threads())", OMP_NUM_THREADS="2")  # 1 on a machine with one core
    assert run(f"{load}; {REPORT}", OMP_NUM_THREADS="2") == taken
    assert run(f"{load}; import torch; torch.set_num_threads(5); {REPORT}") == "5"
    assert run(f"import torch; torch.set_num_threads(5); {load}; {REPORT}") == "5"
    assert run(f"{load}; set_threads(4); {REPORT}") == "4"


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="tells processors from cores with Linux")
def test_processors_and_cores_are_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 3, 5})
    monkeypatch.setattr(device, "Path", lambda text: tmp_path)
    assert device._default_threads() == {5, device._threads_of_torch()}
    for number, siblings in enumerate(("0-1", "0-1", "2-3", "2-3", "4-5", "4-5")):
        folder = tmp_path / f"cpu{number}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(siblings)
    assert device._default_threads() == {5, 3}


@pytest.mark.parametrize("threads", [0, -3, 1025, 10**20])
def test_threads_that_no_machine_has_are_refused(threads: int) -> None:
    for ask in (set_threads, set_blas_threads, wanted_threads):
        with pytest.raises(ConfigError, match=f"threads must lie in 1 to 1024, but is {threads}"):
            ask(threads)


def test_a_variable_that_asks_for_more_threads_than_any_machine_has_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "9" * 5000)
    assert wanted_threads() == 1024


_FORKED = """
import multiprocessing, sys
from zhseq import Tagger

tagger = Tagger.load({arguments})
tag = lambda text: [word.text for word in tagger(text).words]
lines = ["我们在北京学习中文，还去了上海。"] * 40
expected = [tag(lines[0])] * 40
assert [[word.text for word in document.words] for document in tagger.stream(lines)] == expected


def work(line):
    return tag(line)


with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map_async(work, lines).get(60) == expected
print("done")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("arguments", ["", "threads=2"])
def test_a_process_that_is_forked_after_use_can_tag(arguments: str) -> None:
    assert run(_FORKED.format(arguments=arguments)) == "done"


@pytest.mark.parametrize(
    ("asked", "variable", "expected"),
    [(None, None, 1), (3, "2", 3), (None, "2", 2), (None, "4,2", 4), (None, "0", 1), (None, "many", 1)],
)
def test_threads_without_torch_are_those_asked_for_or_one(
    monkeypatch: pytest.MonkeyPatch, asked: int | None, variable: str | None, expected: int
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if variable is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    assert wanted_threads(asked) == expected
    with pytest.raises(ConfigError, match="threads must lie in 1 to 1024"):
        wanted_threads(0)


def test_the_processor_is_named_with_what_networks_gain_by(tmp_path: Path) -> None:
    told = tmp_path / "cpuinfo"
    told.write_text("model name\t: Some CPU @ 2 GHz\nflags\t\t: fpu avx2 avx512_vnni sse\n", encoding="utf-8")
    assert processor(told) == "Some CPU @ 2 GHz (avx2 avx512_vnni)"
    told.write_text("CPU architecture: 8\n", encoding="utf-8")
    assert processor(told).endswith(" (no AVX2)")
    assert processor(tmp_path / "nothing")


@pytest.mark.skipif(
    device._openblas_setter() is None or sys.platform != "linux", reason="told by Linux, of the OpenBLAS of NumPy"
)
@pytest.mark.parametrize(
    ("asked", "variables", "expected"),
    [(None, {}, 1), (2, {}, 2), (None, {"OMP_NUM_THREADS": "2"}, 2), (None, {"OPENBLAS_NUM_THREADS": "2"}, 2)],
)
def test_matrix_products_of_numpy_have_one_thread_or_as_many_as_asked_for(
    asked: int | None, variables: dict[str, str], expected: int
) -> None:
    program = f"""
import ctypes
from zhseq.device import _openblas_setter, set_blas_threads
set_blas_threads({asked})
name = _openblas_setter().__name__.replace("_set_", "_get_")
paths = {{line.split()[-1] for line in open("/proc/self/maps") if "openblas" in line}}
print(getattr(ctypes.CDLL(paths.pop()), name)())
"""
    others = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", program], env={**others, **variables}, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == min(expected, os.cpu_count() or 1)


def test_a_limit_that_the_environment_sets_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "7")
    monkeypatch.delenv("LRU_CACHE_CAPACITY", raising=False)
    device.limit_cached_shapes(9)
    assert [device.os.environ[f"{cache}_CAPACITY"] for cache in ("ONEDNN_PRIMITIVE_CACHE", "LRU_CACHE")] == ["7", "8"]


def test_all_does_without_glibc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device.ctypes, "CDLL", lambda name: object())
    device.keep_freed_memory()
    device.release_memory()
    device.share_heap()


@pytest.mark.skipif(device._glibc() is None, reason="measures with glibc")
def test_shapes_of_texts_do_not_fill_the_memory() -> None:
    done = subprocess.run([sys.executable, "-c", _TAG_IN_MANY_SHAPES], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 10  # megabytes, and without a limit 90


def test_bfloat16_needs_a_cpu_that_computes_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    with pytest.raises(ConfigError, match="requires AVX-512 or a GPU"):
        autocast(torch.device("cpu"), "bfloat16")
    with autocast(torch.device("cpu"), "float32"):
        assert not torch.is_autocast_enabled("cpu")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    with autocast(torch.device("cpu"), "bfloat16"):
        assert torch.is_autocast_enabled("cpu")
