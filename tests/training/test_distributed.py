import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.training import toy_run
from tests.training.toy import Toy, log, run
from zhseq.training.distributed import LossModule, World, world, wrap

ROOT = Path(__file__).resolve().parent.parent.parent
CPU = torch.device("cpu")
TWO = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")


def launch(directory: Path, *options: str, how: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *how, toy_run.__file__, str(directory), *options]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("index", range(6))
def test_the_mean_over_processes_is_the_global_loss_and_its_gradient(size: int, index: int) -> None:
    batch = toy_run.uneven_batches(0)[index]
    model = Toy(dropout=0.0)
    expected = model.loss(batch)
    wanted = torch.autograd.grad(expected, list(model.parameters()))
    shares = [LossModule(model, World(rank, size))(batch, CPU) for rank in range(size)]
    torch.testing.assert_close(sum(shares) / size, expected)
    gradients = [torch.autograd.grad(share, list(model.parameters())) for share in shares]  # every weight has one
    for found, gradient in zip(zip(*gradients, strict=True), wanted, strict=True):
        torch.testing.assert_close(sum(found) / size, gradient)


def test_alone_nothing_is_wrapped_or_exchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with world(CPU) as place:
        assert place == World(0, 1)
        assert place.is_main
        assert place.agree("value") == "value"
        values = torch.tensor([1.0, 2.0])
        assert place.mean(values) is values
        model = Toy(dropout=0.0)
        batch = toy_run.uneven_batches(0)[0]
        assert torch.equal(wrap(model, place, CPU)(batch, CPU), model.loss(batch))
    assert not torch.distributed.is_initialized()


def compare(two: Path, tmp_path: Path) -> None:
    """Both processes must end alike, and like one process that saw all rows."""
    alone = Toy(dropout=0.0)
    result = run(alone, tmp_path / "one", batches=toy_run.uneven_batches, **toy_run.SETTINGS)
    one, both = log(tmp_path / "one"), log(two)
    assert [entry["step"] for entry in one] == [entry["step"] for entry in both] == [4, 8, 12, 16, 18]
    for left, right in zip(one, both, strict=True):
        assert right == pytest.approx(left, abs=1e-5)
    assert one[-1]["loss"] < one[0]["loss"] - 0.1
    ends = [json.loads((two / f"end{rank}.json").read_text()) for rank in range(2)]
    assert ends[0] == ends[1]
    for name in ("table", "bias"):
        torch.testing.assert_close(torch.tensor(ends[0][name]), getattr(alone, name).detach(), rtol=0, atol=1e-5)
    assert ends[0]["details"] == pytest.approx(result.details, abs=1e-5)


def test_two_processes_train_as_one_does(tmp_path: Path) -> None:
    done = launch(tmp_path / "two", how=TWO)
    assert done.returncode == 0, done.stderr
    compare(tmp_path / "two", tmp_path)


@pytest.mark.slow
def test_two_processes_of_which_one_is_killed_go_on_to_the_same_numbers(tmp_path: Path) -> None:
    done = launch(tmp_path / "two", "--kill", "11", how=TWO)
    assert done.returncode != 0
    assert [entry["step"] for entry in log(tmp_path / "two")] == [4, 8]
    done = launch(tmp_path / "two", "--resume", how=TWO)
    assert done.returncode == 0, done.stderr
    compare(tmp_path / "two", tmp_path)


def test_a_process_that_is_killed_goes_on_to_the_same_numbers(tmp_path: Path) -> None:
    done = launch(tmp_path / "cut", "--kill", "11", "--dropout", "0.3")
    assert done.returncode == -signal.SIGKILL
    assert [entry["step"] for entry in log(tmp_path / "cut")] == [4, 8]
    whole, resumed = Toy(dropout=0.3), Toy(dropout=0.3)
    settings = {**toy_run.SETTINGS, "batches": toy_run.uneven_batches}
    expected = run(whole, tmp_path / "whole", **settings)
    assert run(resumed, tmp_path / "cut", resume=True, **settings) == expected
    assert log(tmp_path / "cut") == log(tmp_path / "whole")
    assert torch.equal(resumed.table, whole.table)
    assert torch.equal(resumed.bias, whole.bias)
