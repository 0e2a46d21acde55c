"""Read and write checkpoints: self-contained directories with settings, weights, vocabularies and model card.

Weights are in safetensors files; pickle is never used. A checkpoint is treated as untrusted input: its settings are
compared with the contents of its files before a model is built.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from reprlib import repr as short
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from zhseq.config import from_dict
from zhseq.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from torch import Tensor, nn

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
VERSION = 1
"""Version of the checkpoint layout."""

_FETCHED = ["*.json", "*.safetensors", "*.onnx", "*.txt", "*.tsv", "*.md"]
_TABLES = (".json", ".tsv", ".txt")
_LARGEST_TABLE = 64 << 20  # bytes; the largest shipped table has less than one million
_LARGEST_HEADER = 16 << 20  # bytes
_MOST_TAGS = 2048  # tags of a head; their transition matrix is quadratic

_ARRAYS = {"F64": "f8", "F32": "f4", "F16": "f2", "I64": "i8", "I32": "i4", "I8": "i1", "U8": "u1", "BOOL": "?"}
M = TypeVar("M", bound="nn.Module")
T = TypeVar("T")


def _shipped_folders() -> tuple[Path, ...]:
    package = Path(__file__).resolve().parent
    return package / "checkpoints", package.parent / "checkpoints"


def shipped_names() -> list[str]:
    """Return the names of the models shipped with this installation, sorted."""
    return sorted({path.parent.name for folder in _shipped_folders() for path in folder.glob(f"*/{CONFIG_FILE}")})


def shipped(name: str) -> Path:
    """Return the directory of a model shipped with the package, for example `poem` or `tagger`.

    Raises:
        CheckpointError: The model is not part of this installation.
    """
    for folder in _shipped_folders():
        if (folder / name / CONFIG_FILE).is_file():
            return folder / name
    raise CheckpointError(
        "model_not_shipped",
        "the model '{name}' is not part of this installation; give the path of one with <model>",
        name=name,
    )


def resolve(model: str | os.PathLike[str]) -> Path:
    """Return the local directory of a model.

    Args:
        model: A path, the name of a shipped model (for example `tagger-ud`), or a Hugging Face repository name, which
            is downloaded once.

    Raises:
        CheckpointError: There is no such directory, and no such repository can be downloaded.
    """
    path = Path(model)
    if path.is_dir():
        return path
    if str(model) == path.name and not path.exists():
        with suppress(CheckpointError):
            return shipped(path.name)
    if path.exists() or str(model).count("/") != 1 or str(model).startswith((".", "/", "~")):
        raise CheckpointError(
            "not_a_model_directory",
            "'{model}' is not a model directory; expected a directory that holds {file}, or one of {known}",
            model=model,
            file=CONFIG_FILE,
            known=", ".join(shipped_names()),
        )
    try:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(str(model), allow_patterns=_FETCHED))
    except Exception as error:  # the hub client raises many types of errors
        raise CheckpointError(
            "model_not_fetched",
            "'{model}' is not a local directory and could not be fetched as a repository: {reason}",
            model=model,
            reason=str(error).splitlines()[0] if str(error) else type(error).__name__,
        ) from error


def read_config(directory: Path, kind: str) -> dict[str, Any]:
    """Read and validate `config.json` of a checkpoint.

    Args:
        directory: The checkpoint.
        kind: Expected kind of model.

    Raises:
        CheckpointError: The file is missing, damaged, of another kind or version, or inconsistent with the weights.
    """
    path = directory / CONFIG_FILE
    _check_files(directory)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(
            "no_model_config",
            "{directory} holds no {file}; it is not a model directory of zhseq",
            directory=directory,
            file=CONFIG_FILE,
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            "model_config_unreadable",
            "{path} cannot be read ({reason}); fetch or train the model again",
            path=path,
            reason=error,
        ) from error
    found = config.get("kind") if isinstance(config, dict) else None
    if found != kind:
        raise CheckpointError(
            "model_of_another_kind",
            "{directory} holds a model of kind {found}, but a '{kind}' is needed here",
            directory=directory,
            found=short(found),
            kind=kind,
        )
    version = config.get("version", VERSION)
    if version != VERSION or isinstance(version, bool):
        raise CheckpointError(
            "model_of_another_version",
            "{path} is of version {found}, but this zhseq reads version {expected}; install a newer zhseq, or train "
            "the model again",
            path=path,
            found=short(version),
            expected=VERSION,
        )
    if "model" in config:
        _check_settings(config["model"], path, len(_read_header(directory / WEIGHTS_FILE)))
    return dict(config)


def kind_of(directory: Path) -> str:
    """Return the kind of model in a directory according to its `config.json`; empty if this cannot be read."""
    try:
        return str(json.loads((directory / CONFIG_FILE).read_text(encoding="utf-8"))["kind"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""


def read_settings(directory: Path, kind: str, shape: type[T]) -> T:
    """Read the settings of a model, under the key `model` of `config.json`, as the dataclass `shape`.

    Raises:
        CheckpointError: As `read_config`; or `shape` rejects the settings.
    """
    source = str(directory / CONFIG_FILE)
    try:
        return from_dict(shape, read_config(directory, kind).get("model", {}), source=source)
    except ConfigError as error:
        raise CheckpointError(
            "impossible_settings",
            "{path} does not describe a model: {reason}; fetch or train it again",
            path=source,
            reason=error.message,
        ) from error


def _check_files(directory: Path) -> None:
    """Reject tables that are too large or not regular files, such as devices or pipes."""
    for path in directory.iterdir() if directory.is_dir() else []:
        if not path.name.endswith((*_TABLES, ".safetensors")):
            continue
        with suppress(FileNotFoundError):  # a broken link; reported when the file is read
            status = path.stat()
            if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
                raise CheckpointError(
                    "not_a_regular_file", "{path} is not a regular file; fetch or train the model again", path=path
                )
            if path.name.endswith(_TABLES) and status.st_size > _LARGEST_TABLE:
                raise CheckpointError(
                    "table_too_large",
                    "{path} has {size:,} bytes, but at most {limit:,} are read; fetch or train the model again",
                    path=path,
                    size=status.st_size,
                    limit=_LARGEST_TABLE,
                )


def _check_settings(settings: object, path: Path, tensors: int) -> None:
    """Reject more layers than tensors, too many tags, and names with control characters."""
    for name, value in _leaves("model", settings):
        numbers = isinstance(value, (list, tuple)) and all(isinstance(item, (int, float)) for item in value)
        layers = value if name == "num_layers" else len(value) if isinstance(value, list) and numbers else 0
        if isinstance(layers, int) and layers > tensors:
            raise CheckpointError(
                "more_layers_than_tensors",
                "{path} specifies {count:,} layers, but {file} in the same directory contains "
                "{tensors:,} tensors; fetch or train the model again",
                path=path,
                count=layers,
                file=WEIGHTS_FILE,
                tensors=tensors,
            )
        if isinstance(value, list) and not numbers and len(value) > _MOST_TAGS:
            raise CheckpointError(
                "too_many_tags",
                "{path} names {count:,} tags, but a model has at most {limit:,}; fetch or train the model again",
                path=path,
                count=len(value),
                limit=_MOST_TAGS,
            )
        texts = [name, *(value if isinstance(value, list) else [value])]
        bad = next((text for text in texts if isinstance(text, str) and not text.isprintable()), None)
        if bad is not None:
            raise CheckpointError(
                "name_not_printable",
                "{path} holds the name {name}, which cannot be printed; fetch or train the model again",
                path=path,
                name=short(bad),
            )


def _leaves(name: str, value: object) -> Iterator[tuple[str, object]]:
    """Yield the values of nested dictionaries that are not dictionaries, with their keys."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(key, inner)
    else:
        yield name, value


def build(directory: Path, make: Callable[[], M]) -> M:
    """Build a model and load `model.safetensors` into it; stop if the model becomes larger than this file.

    Args:
        directory: The checkpoint.
        make: Builds the model from its settings.

    Raises:
        CheckpointError: The file is missing, truncated, or does not match the model.
    """
    with _size_limit(directory / WEIGHTS_FILE):
        model = make()
    read_weights(directory, model)
    return model


@contextmanager
def _size_limit(path: Path) -> Iterator[None]:
    """Raise an error as soon as a model under construction has more parameters than a file of weights."""
    from torch.nn.modules.module import register_module_parameter_registration_hook

    most = left = sum(math.prod(shape) for shape in _read_header(path).values())

    def count(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal left
        left -= 0 if parameter is None else parameter.numel()
        if left < 0:
            raise CheckpointError(
                "larger_than_weights",
                "{config} describes a larger model than the {count:,} numbers in {path}; fetch or "
                "train the model again",
                config=CONFIG_FILE,
                path=path,
                count=most,
            )

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()


def _read_header(path: Path) -> dict[str, list[int]]:
    """Return the shapes of the tensors in a safetensors file from its header.

    Raises:
        CheckpointError: It is missing, truncated or not a safetensors file.
    """
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if not 0 < size <= _LARGEST_HEADER:
                raise ValueError("no header")
            header = json.loads(file.read(size))
        return {name: [int(size) for size in header[name]["shape"]] for name in header if name != "__metadata__"}
    except FileNotFoundError as error:
        raise _missing(path) from error
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise _damaged(path, error) from error


def read_weights(directory: Path, model: nn.Module) -> None:
    """Load `model.safetensors` into `model`, converted to the precision of the model.

    Raises:
        CheckpointError: The file is missing, truncated, does not match the model, or contains values that are not
            finite.
    """
    path = directory / WEIGHTS_FILE
    tensors = read_tensors(path)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(
            "weights_do_not_fit",
            "{path} does not fit {config} in the same directory: {detail}",
            path=path,
            config=CONFIG_FILE,
            detail=" ".join(str(error).split())[:200],
        ) from error
    own = model.state_dict()
    for name, tensor in tensors.items():
        if tensor.is_floating_point() != own[name].is_floating_point() or not bool(own[name].isfinite().all()):
            raise _not_finite(path, name)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file as tensors; see `read_arrays` for NumPy arrays.

    Raises:
        CheckpointError: It is missing, truncated or not a safetensors file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.exists() and not path.is_file():
            raise OSError("no regular file")
        return load_file(path)
    except FileNotFoundError as error:
        raise _missing(path) from error
    except (SafetensorError, OSError, ValueError) as error:
        raise _damaged(path, error) from error


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read a safetensors file as read-only NumPy arrays, which share one buffer; does not need PyTorch.

    Raises:
        CheckpointError: It is missing, truncated, not a safetensors file, or contains a type that NumPy lacks, such as
            bfloat16.
    """
    shapes = _read_header(path)
    try:
        data = memoryview(path.read_bytes())
        size = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(bytes(data[8:size]))
        arrays = {}
        for name, shape in shapes.items():
            begin, end = header[name]["data_offsets"]
            kind = np.dtype(_ARRAYS[header[name]["dtype"]]).newbyteorder("<")
            if not 0 <= begin <= end <= len(data) - size or min(shape, default=0) < 0:
                raise ValueError(f"{name} lies beyond its end")
            arrays[name] = np.frombuffer(data[size + begin : size + end], dtype=kind).reshape(shape)
        return arrays
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise _damaged(path, error) from error


def read_fitting(directory: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, npt.NDArray[Any]]:
    """Read `model.safetensors` as NumPy arrays, and check their names, shapes and values.

    Raises:
        CheckpointError: The file is missing, truncated, does not match `shapes`, or contains values that are not finite
            floating-point numbers.
    """
    path = directory / WEIGHTS_FILE
    arrays = read_arrays(path)
    odd = sorted(arrays.keys() ^ shapes.keys()) or [name for name in shapes if arrays[name].shape != shapes[name]]
    if odd:
        raise CheckpointError(
            "weights_do_not_fit",
            "{path} does not fit {config} in the same directory: {detail}",
            path=path,
            config=CONFIG_FILE,
            detail=", ".join(odd)[:200],
        )
    for name, values in arrays.items():
        if values.dtype.kind != "f" or not np.isfinite(values).all():
            raise _not_finite(path, name)
    return arrays


def _not_finite(path: Path, name: str) -> CheckpointError:
    return CheckpointError(
        "weights_not_finite",
        "{path}: {name} contains values that are not weights: integers, infinities or NaN; fetch or train the "
        "model again",
        path=path,
        name=name,
    )


def _missing(path: Path) -> CheckpointError:
    return CheckpointError("weights_missing", "{path} is missing; fetch or train the model again", path=path)


def _damaged(path: Path, reason: Exception) -> CheckpointError:
    return CheckpointError(
        "weights_damaged",
        "{path} is damaged or not a safetensors file ({reason}); fetch or train it again",
        path=path,
        reason=" ".join(str(reason).split())[:200],
    )


def save(
    directory: Path,
    *,
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    files: Mapping[str, str | Callable[[Path], None]],
    half: bool = True,
) -> None:
    """Write a checkpoint; `directory` is not changed before all new files are complete on disk.

    Args:
        directory: Output directory; an existing checkpoint is replaced, other files are kept.
        config: Contents of `config.json`, with the key `kind`.
        tensors: Weights by name.
        files: Further files by name: their text, or a function that writes to the given path.
        half: Whether to store floating-point weights as float16.

    Raises:
        CheckpointError: The disk is full or the directory cannot be written.
    """
    with staged(directory) as stage:
        text = json.dumps(dict(config), ensure_ascii=False, indent=1)
        (stage / CONFIG_FILE).write_text(text + "\n", encoding="utf-8")
        write_tensors(stage / WEIGHTS_FILE, tensors, half=half)
        for name, content in files.items():
            if callable(content):
                content(stage / name)
            else:
                (stage / name).write_text(content, encoding="utf-8")


def write_tensors(path: Path, tensors: Mapping[str, Tensor], *, half: bool = False) -> None:
    """Write a safetensors file, with floating-point tensors as float16 if `half`.

    Raises:
        CheckpointError: The disk is full or the directory cannot be written.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    def stored(tensor: Tensor) -> Tensor:
        lowered = half and tensor.is_floating_point()
        return tensor.detach().to("cpu", torch.float16 if lowered else tensor.dtype).contiguous().clone()

    try:
        save_file({name: stored(tensor) for name, tensor in tensors.items()}, path)
        path.chmod(0o644)  # safetensors creates files that only their owner can read
    except SafetensorError as error:
        raise CheckpointError(
            "weights_not_written",
            "{path} could not be written ({reason}); the previous state is intact",
            path=path,
            reason=error,
        ) from error


class staged:
    """Context manager that collects files in a temporary directory, and moves them to `directory` when all are written.

    Raises:
        CheckpointError: The directory cannot be written, or writing a file has failed.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __enter__(self) -> Path:
        """Create and return the temporary directory, on the same file system as `directory`."""
        try:
            self.directory.parent.mkdir(parents=True, exist_ok=True)
            stage = tempfile.mkdtemp(prefix=f".{self.directory.name}.", dir=self.directory.parent)
        except OSError as error:
            raise CheckpointError(
                "place_not_writable",
                "{directory} cannot be written: {reason}",
                directory=self.directory,
                reason=error.strerror,
            ) from error
        self.stage = Path(stage)
        return self.stage

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Move the files to `directory`, or discard them after an error."""
        try:
            if kind is None:
                self._move_in()
            elif isinstance(error, OSError):
                raise CheckpointError(
                    "model_not_saved",
                    "{directory} could not be saved: {reason}; the previous state is intact",
                    directory=self.directory,
                    reason=error.strerror,
                ) from error
        finally:
            shutil.rmtree(self.stage, ignore_errors=True)

    def _move_in(self) -> None:
        """Move the files, each by an atomic rename, the weights last."""
        self.directory.mkdir(exist_ok=True)
        for item in sorted(self.stage.iterdir(), key=lambda path: path.name == WEIGHTS_FILE):
            item.replace(self.directory / item.name)
