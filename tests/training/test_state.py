import errno
import json
import resource
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim import AdamW

from tests.training.toy import Toy, batches
from zhseq.checkpoint import read_tensors, write_tensors
from zhseq.errors import CheckpointError
from zhseq.training import state
from zhseq.training.state import RESUME_FILE, Average, Progress, TrainingState, load_state, save_state

COUNTERS = {"step": 7, "epoch": 1, "batch": 3, "best": -1.25, "details": {"f1": 0.5}, "bad": 0, "seconds": 1.5}
PROGRESS = Progress(**COUNTERS, last={"score": -2.0})


def new_state(*, average: bool = True, progress: Progress | None = None) -> TrainingState:
    model = Toy()
    optimizer = AdamW(model.parameters(), lr=0.1)
    return TrainingState(model, optimizer, Average(model, 0.5) if average else None, progress or Progress())


def step(some: TrainingState, index: int) -> None:
    some.model.loss(batches(index)[0]).backward()
    some.optimizer.step()
    some.optimizer.zero_grad()
    if some.average is not None:
        some.average.update(index + 1)


def numbers(some: TrainingState) -> dict[str, torch.Tensor]:
    """All numbers of a run by name: weights, moments, averages."""
    moments = some.optimizer.state_dict()["state"].items()
    found = {f"{index}.{name}": value for index, entry in moments for name, value in entry.items()}
    shadow = some.average.shadow if some.average is not None else []
    return {**some.model.state_dict(), **found, **{f"average.{index}": value for index, value in enumerate(shadow)}}


@pytest.mark.parametrize("average", [True, False])
def test_restored_state_goes_on_to_the_same_numbers(tmp_path: Path, average: bool) -> None:
    one, other = new_state(average=average, progress=PROGRESS), new_state(average=average)
    for index in range(3):
        step(one, index)
    save_state(tmp_path, one)
    assert [path.name for path in tmp_path.iterdir()] == [RESUME_FILE]
    for index in range(3, 6):
        step(one, index)
    step(other, 9)  # whatever was there before
    torch.rand(5)
    load_state(tmp_path, other)
    assert other.progress == PROGRESS
    for index in range(3, 6):
        step(other, index)
    assert len(numbers(one)) == (10 if average else 8)
    assert numbers(one).keys() == numbers(other).keys()
    assert all(torch.equal(value, numbers(other)[name]) for name, value in numbers(one).items())


def test_a_state_before_the_first_step_can_be_restored(tmp_path: Path) -> None:
    save_state(tmp_path, new_state())
    other = new_state(progress=PROGRESS)
    load_state(tmp_path, other)
    assert other.progress == Progress()


def rewrite_counters(directory: Path, content: bytes) -> None:
    """Put other counters into a state."""
    path = directory / RESUME_FILE
    tensors = read_tensors(path)
    tensors["progress"] = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    write_tensors(path, tensors)


def test_a_state_from_before_the_first_evaluation_lacks_its_scores(tmp_path: Path) -> None:
    """A format that is read as long as there are runs that wrote it: no `last`."""
    save_state(tmp_path, new_state())
    rewrite_counters(tmp_path, json.dumps(COUNTERS).encode())
    other = new_state()
    load_state(tmp_path, other)
    assert other.progress == Progress(**COUNTERS)


@pytest.mark.parametrize(
    "content", [b"{", b"\xff", b"[]", b"{}x", b'{"step": "7"}', b'{"step": 1.5}', b'{"steps": 7}', b"[" * 100_000]
)
def test_broken_counters_are_refused(tmp_path: Path, content: bytes) -> None:
    save_state(tmp_path, new_state())
    rewrite_counters(tmp_path, content)
    with pytest.raises(CheckpointError, match="does not fit this model and its settings"):
        load_state(tmp_path, new_state())


@pytest.mark.parametrize("damage", ["missing", "truncated", "empty", "foreign"])
def test_a_damaged_state_is_refused_by_name(tmp_path: Path, damage: str) -> None:
    path = tmp_path / RESUME_FILE
    save_state(tmp_path, new_state())
    whole = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes({"truncated": whole[:-9], "empty": b"", "foreign": b"PK\x03\x04" * 99}[damage])
    with pytest.raises(CheckpointError, match=r"resume\.safetensors is (missing|damaged)"):
        load_state(tmp_path, new_state())


class Wider(Toy):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(8, 8))


@pytest.mark.parametrize("difference", ["shape", "other file", "average", "no random state"])
def test_the_state_of_another_run_is_refused(tmp_path: Path, difference: str) -> None:
    into = new_state()
    if difference == "other file":
        write_tensors(tmp_path / RESUME_FILE, {"table": torch.zeros(7, 7)})
    elif difference == "no random state":
        write_tensors(tmp_path / RESUME_FILE, {f"model.{key}": value for key, value in Toy().state_dict().items()})
    else:
        save_state(tmp_path, new_state(average=difference != "average"))
    if difference == "shape":
        into.model = Wider()
    with pytest.raises(CheckpointError, match="does not fit this model and its settings") as caught:
        load_state(tmp_path, into)
    assert "\n" not in str(caught.value)


def test_a_full_disk_leaves_the_previous_state(tmp_path: Path) -> None:
    one = new_state()
    save_state(tmp_path, one)
    before = (tmp_path / RESUME_FILE).read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))  # the operating system refuses larger files
    one.progress.step = 8
    try:
        with pytest.raises(CheckpointError, match="the previous state is intact") as caught:
            save_state(tmp_path, one)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(caught.value).count("intact") == 1
    assert [path.name for path in tmp_path.iterdir()] == [RESUME_FILE]
    assert (tmp_path / RESUME_FILE).read_bytes() == before


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_what_fails_while_writing_leaves_the_previous_state(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: BaseException
) -> None:
    save_state(tmp_path, new_state(progress=PROGRESS))

    def fail(path: Path, *_: object) -> None:
        path.write_bytes(b"half")
        raise error

    monkeypatch.setattr(state, "write_tensors", fail)
    expected = CheckpointError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected) as caught:
        save_state(tmp_path, new_state())
    if expected is CheckpointError:
        assert "resume.safetensors could not be saved (No space left on device)" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == [RESUME_FILE]
    other = new_state()
    load_state(tmp_path, other)
    assert other.progress.step == 7


def test_the_average_of_a_constant_is_the_constant_and_forgets_slowly() -> None:
    model = nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(1.0)
    average = Average(model, 0.9)
    for number in range(1, 4):
        average.update(number)
    assert float(average.shadow[0]) == 1.0
    model.weight.data.fill_(3.0)
    average.update(1)
    assert float(average.shadow[0]) == pytest.approx(1 + 2 * (1 - 2 / 11))  # (1 + 1) / (10 + 1): still ramping up
    average.update(10**6)
    assert float(average.shadow[0]) == pytest.approx(3 - 0.9 * 2 * (2 / 11))
