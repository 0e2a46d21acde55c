import os
from pathlib import Path

import pytest
import torch

from zhseq import device, memory
from zhseq.device import autocast, cpu_has_bfloat16, pick_device, tune_process, usable_cores
from zhseq.errors import ConfigError


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
    with pytest.raises(ConfigError, match=f"device '{name}' is not available; on this machine there is: cpu"):
        pick_device(name)


@pytest.mark.parametrize(("precision", "lowers"), [("bfloat16", True), ("float32", False)])
def test_precision_decides_how_products_are_computed(precision: str, lowers: bool) -> None:
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
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())  # a C library that is not glibc
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
