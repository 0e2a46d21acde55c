import errno
import json
import os
import pickle
import re
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import nn

from zhseq import checkpoint
from zhseq.errors import CheckpointError

KIND = "test-model"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "model"
    write(path, 1.0)
    return path


def write(path: Path, value: float, **files: object) -> None:
    """Save a model whose weights are all `value`, in a file large enough that a small disk could not hold it."""
    tensors = {"weight": torch.full((60, 50), value), "bias": torch.full((60,), value)}
    settings = {"kind": KIND, "value": value}
    checkpoint.save(path, config=settings, tensors=tensors, files={"vocab.txt": f"词 {value}\n", **files})


def contents(directory: Path) -> dict[str, bytes]:
    """All files at and below a directory, hidden ones too."""
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """Make the operating system refuse larger files, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_saved_and_read_is_the_same_up_to_float16(directory: Path) -> None:
    assert sorted(contents(directory)) == ["config.json", "model.safetensors", "vocab.txt"]
    assert checkpoint.read_config(directory, KIND) == {"kind": KIND, "value": 1.0}
    model = nn.Linear(50, 60)
    checkpoint.read_weights(directory, model)
    assert model.weight.dtype == torch.float32
    assert bool((model.weight == 1).all())
    assert bool((model.bias == 1).all())
    assert {tensor.dtype for tensor in checkpoint.read_tensors(directory / "model.safetensors").values()} == {
        torch.float16
    }
    assert (directory / "vocab.txt").read_text(encoding="utf-8") == "词 1.0\n"
    assert (directory / "model.safetensors").stat().st_mode & 0o777 == 0o644


def test_shared_and_strided_tensors_can_be_written(tmp_path: Path) -> None:
    table = torch.arange(12.0).view(3, 4)
    tensors = {"table": table, "tied": table, "turned": table.T, "count": torch.tensor(7)}
    checkpoint.write_tensors(tmp_path / "t.safetensors", tensors)
    found = checkpoint.read_tensors(tmp_path / "t.safetensors")
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert found["count"].dtype == torch.int64


def test_a_newer_checkpoint_replaces_the_files_and_leaves_others(directory: Path) -> None:
    (directory / "notes.md").write_text("mine")
    write(directory, 2.0)
    assert checkpoint.read_config(directory, KIND)["value"] == 2.0
    assert (directory / "notes.md").read_text() == "mine"
    assert sorted(path.name for path in directory.parent.iterdir()) == ["model"]  # nothing temporary is left


def test_the_stage_is_beside_the_directory_and_not_in_it(directory: Path) -> None:
    with checkpoint.staged(directory) as stage:
        assert stage.parent == directory.parent
        (stage / "new.txt").write_text("new")
        assert not (directory / "new.txt").exists()
    assert (directory / "new.txt").read_text() == "new"


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), ValueError()])
def test_what_fails_while_saving_leaves_the_previous_files(directory: Path, error: BaseException) -> None:
    before = contents(directory.parent)

    def fail(path: Path) -> None:
        path.write_text("half")
        raise error

    expected = CheckpointError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected) as caught:
        write(directory, 2.0, table=fail)
    assert contents(directory.parent) == before
    if expected is CheckpointError:
        assert str(caught.value) == (
            f"{directory} could not be saved: No space left on device; the previous state is intact"
        )


def test_a_full_disk_leaves_the_previous_files(directory: Path) -> None:
    before = contents(directory.parent)
    with no_file_above(2048), pytest.raises(CheckpointError, match="the previous state is intact"):
        write(directory, 2.0)
    assert contents(directory.parent) == before


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="file/model cannot be written"):
        write(tmp_path / "file" / "model", 1.0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "holds no config.json; it is not a model directory"),
        (b"", "config.json cannot be read"),
        (b'{"kind": "test-mo', "config.json cannot be read"),
        (b"\xff\xfe", "config.json cannot be read"),
        (b"[1]", "holds a model of kind None, but a 'test-model' is needed"),
        (b'{"model_type": "bert"}', "holds a model of kind None, but a 'test-model' is needed"),
        (b'{"kind": "poem-language-model"}', "of kind 'poem-language-model', but a 'test-model' is needed"),
    ],
)
def test_a_config_that_is_not_ours_is_refused(directory: Path, content: bytes | None, message: str) -> None:
    path = directory / "config.json"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        checkpoint.read_config(directory, KIND)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", ["missing", "truncated", "cut header", "empty", "foreign", "directory"])
def test_damaged_weights_are_refused_by_name(directory: Path, damage: str) -> None:
    path = directory / "model.safetensors"
    whole = path.read_bytes()
    path.unlink()
    remains = {"truncated": whole[:-100], "cut header": whole[:20], "empty": b"", "foreign": b"PK\x03\x04" * 100}
    if damage in remains:
        path.write_bytes(remains[damage])
    elif damage == "directory":
        path.mkdir()
    with pytest.raises(CheckpointError, match=r"model\.safetensors is (missing|damaged)") as caught:
        checkpoint.read_weights(directory, nn.Linear(50, 60))
    assert "\n" not in str(caught.value)
    with pytest.raises(CheckpointError, match=r"model\.safetensors is (missing|damaged)") as caught:
        checkpoint.read_arrays(path)
    assert "\n" not in str(caught.value)


def test_weights_are_read_without_torch(tmp_path: Path) -> None:
    kinds = (torch.float16, torch.float32, torch.float64, torch.int64, torch.int32, torch.int8, torch.uint8, torch.bool)
    tensors = {str(kind): torch.arange(6).reshape(2, 3).to(kind) for kind in kinds} | {"none": torch.ones(0, 4)}
    path = tmp_path / "model.safetensors"
    checkpoint.write_tensors(path, tensors)
    arrays = checkpoint.read_arrays(path)
    assert arrays.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert arrays[name].dtype == tensor.numpy().dtype
        assert arrays[name].tolist() == tensor.tolist()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"data_offsets":[0,24]', b'"data_offsets":[0,99]'),  # beyond the end
        (b'"data_offsets":[0,24]', b'"data_offsets":[8,24]'),  # too few numbers
        (b'"data_offsets":[0,24]', b'"data_offsets":[9,-1]'),
        (b'"dtype":"F32"', b'"dtype":"F99"'),
        (b'"shape":[2,3]', b'"shape":[-6]'),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path: Path, old: bytes, new: bytes) -> None:
    path = tmp_path / "model.safetensors"
    checkpoint.write_tensors(path, {"weight": torch.ones(2, 3)})
    content = path.read_bytes()
    assert old in content
    assert len(old) >= len(new)
    path.write_bytes(content.replace(old, new.ljust(len(old))))
    with pytest.raises(CheckpointError, match="is damaged or not a safetensors file"):
        checkpoint.read_arrays(path)


@pytest.mark.parametrize(
    ("model", "detail"),
    [
        (nn.Linear(50, 61), "size mismatch for weight"),
        (nn.Linear(50, 60, bias=False), "Unexpected key"),
        (nn.Sequential(nn.Linear(50, 60)), "Missing key"),
    ],
)
def test_weights_of_another_shape_are_refused(directory: Path, model: nn.Module, detail: str) -> None:
    with pytest.raises(
        CheckpointError, match=f"model.safetensors does not fit config.json in the same directory: .*{detail}"
    ) as caught:
        checkpoint.read_weights(directory, model)
    assert "\n" not in str(caught.value)


def config_of(directory: Path, **values: object) -> None:
    (directory / "config.json").write_text(json.dumps({"kind": KIND, **values}), encoding="utf-8")


@pytest.mark.parametrize("version", [0, 2, 99, "1", None, True, [1]])
def test_another_version_is_refused(directory: Path, version: object) -> None:
    config_of(directory, version=1)
    assert checkpoint.read_config(directory, KIND)["version"] == 1
    config_of(directory, version=version)
    with pytest.raises(CheckpointError, match="this zhseq reads version 1; install a newer zhseq, or train the model"):
        checkpoint.read_config(directory, KIND)


def test_json_that_is_nested_without_end_is_refused(directory: Path) -> None:
    (directory / "config.json").write_text("[" * 100_000)
    with pytest.raises(CheckpointError, match=r"config\.json cannot be read"):
        checkpoint.read_config(directory, KIND)


@pytest.mark.parametrize("name", ["vocab.txt", "config.json", "model.safetensors"])
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_regular_file_is_not_opened(directory: Path, name: str, kind: str) -> None:
    (directory / name).unlink()
    os.mkfifo(directory / name) if kind == "pipe" else (directory / name).symlink_to("/dev/zero")
    with pytest.raises(CheckpointError, match=f"{name} is not a regular file"):
        checkpoint.read_config(directory, KIND)


def test_a_table_without_end_is_not_read(directory: Path) -> None:
    with (directory / "vocab.txt").open("wb") as file:
        file.truncate(65 << 20)  # a hole: it takes no room on the disk
    with pytest.raises(CheckpointError, match=r"vocab\.txt has 68,157,440 bytes, but at most 67,108,864 are read"):
        checkpoint.read_config(directory, KIND)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            {"hidden_sizes": [640] * 3},
            "specifies 3 layers, but model.safetensors in the same directory contains 2 tensors",
        ),
        ({"part": {"num_layers": 10**12}}, "specifies 1,000,000,000,000 layers, but"),
        ({"heads": {"pos": ["n"] * 2049}}, "names 2,049 tags, but a model has at most 2,048"),
        ({"heads": {"pos": ["n", "\x1b[31m"]}}, r"holds the name '\x1b[31m', which cannot be printed"),
        ({"heads": {"\x07": ["n"]}}, r"holds the name '\x07', which cannot be printed"),
        ({"a\nb": 1}, r"holds the name 'a\nb', which cannot be printed"),
    ],
)
def test_settings_that_ask_for_too_much_or_would_be_obeyed_are_refused(
    directory: Path, model: object, message: str
) -> None:
    config_of(directory, model=model)
    with pytest.raises(CheckpointError, match=re.escape(message)) as caught:
        checkpoint.read_config(directory, KIND)
    assert str(caught.value).isprintable()


def test_a_model_larger_than_its_weights_is_not_built(directory: Path) -> None:
    built = []

    def layer() -> nn.Module:
        built.append(nn.Linear(50, 60))
        return built[-1]

    assert bool((checkpoint.build(directory, layer).weight == 1).all())  # type: ignore[operator]
    built.clear()
    with pytest.raises(
        CheckpointError, match=r"describes a larger model than the 3,060 numbers in .*model\.safetensors"
    ):
        checkpoint.build(directory, lambda: nn.Sequential(*(layer() for _ in range(1000))))
    assert len(built) == 1  # the second was stopped before its first weights were drawn
    nn.Linear(500, 600)  # afterwards anything can be built again


@pytest.mark.parametrize(
    "weight",
    [
        torch.full((60, 50), float("nan")),
        torch.full((60, 50), float("-inf")),
        torch.ones((60, 50), dtype=torch.int64),
        torch.ones((60, 50), dtype=torch.bool),
    ],
)
def test_weights_that_are_none_are_refused(directory: Path, weight: torch.Tensor) -> None:
    checkpoint.write_tensors(directory / "model.safetensors", {"weight": weight, "bias": torch.ones(60)})
    with pytest.raises(CheckpointError, match="weight contains values that are not weights"):
        checkpoint.read_weights(directory, nn.Linear(50, 60))


class Trap:
    """Unpickling this makes a file, as a malicious model would do worse."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_no_pickle_is_ever_opened(directory: Path, tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    poison = pickle.dumps({"weight": Trap(sprung)})
    (directory / "model.safetensors").unlink()
    for name in ("pytorch_model.bin", "model.pt", "model.bin", "model.pth", "model.pkl"):
        (directory / name).write_bytes(poison)
    with pytest.raises(CheckpointError, match=r"model\.safetensors is missing"):
        checkpoint.read_weights(directory, nn.Linear(50, 60))
    (directory / "model.safetensors").write_bytes(poison)
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged or not a safetensors file"):
        checkpoint.read_weights(directory, nn.Linear(50, 60))
    assert not sprung.exists()
    pickle.loads(poison)
    assert sprung.exists()  # the trap works


def test_a_local_directory_is_itself(directory: Path) -> None:
    assert checkpoint.resolve(directory) == directory
    assert checkpoint.resolve(str(directory)) == directory


@pytest.mark.parametrize("model", ["/no/such", "./no", "../no/such", "nothing", "a/b/c", "~/model", "", "春\udc80"])
def test_what_is_neither_directory_nor_repository_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: pytest.fail("the hub was asked"))
    if model == "":
        assert checkpoint.resolve(model) == Path()  # the current directory: refused when its config.json is read
        return
    with pytest.raises(
        CheckpointError,
        match=r"is not a model directory; expected a directory that holds config\.json, or one of .*poem, tagger",
    ):
        checkpoint.resolve(model)


def test_a_file_is_no_model(directory: Path) -> None:
    with pytest.raises(CheckpointError, match="is not a model directory"):
        checkpoint.resolve(directory / "config.json")


def test_a_repository_is_fetched_without_pickles(
    monkeypatch: pytest.MonkeyPatch, directory: Path, tmp_path: Path
) -> None:
    asked = {}

    def fetch(name: str, *, allow_patterns: list[str]) -> str:
        asked[name] = allow_patterns
        return str(directory)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    assert checkpoint.resolve("someone/poem") == directory
    patterns = asked["someone/poem"]
    assert {"*.json", "*.safetensors", "*.txt"} <= set(patterns)
    assert not any(pattern.endswith((".bin", ".pt", ".pth", ".pkl", "*")) for pattern in patterns)


@pytest.mark.parametrize("error", [ConnectionError("no network\nat all"), ValueError("bad name"), RuntimeError()])
def test_a_repository_that_cannot_be_fetched_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception
) -> None:
    def fail(*_: object, **__: object) -> str:
        raise error

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with pytest.raises(
        CheckpointError, match="'someone/poem' is not a local directory and could not be fetched"
    ) as caught:
        checkpoint.resolve("someone/poem")
    assert "\n" not in str(caught.value)


def test_shipped_looks_in_the_package_and_beside_it(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    root = directory.parent
    monkeypatch.setattr(checkpoint, "__file__", str(root / "zhseq" / "checkpoint.py"))
    with pytest.raises(CheckpointError, match="the model 'poem' is not part of this installation"):
        checkpoint.shipped("poem")
    for place in (root / "checkpoints" / "poem", root / "zhseq" / "checkpoints" / "poem"):
        shutil.copytree(directory, place)
        assert checkpoint.shipped("poem") == place.resolve()
    assert json.loads((place / "config.json").read_text())["kind"] == KIND


def test_a_shipped_model_is_found_by_its_name_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert checkpoint.resolve("tagger-ud") == checkpoint.shipped("tagger-ud")
    (tmp_path / "tagger-ud").mkdir()
    assert checkpoint.resolve("tagger-ud") == Path("tagger-ud")
