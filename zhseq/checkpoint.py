"""A checkpoint is one directory that needs nothing else: settings, weights, vocabularies, model card.

Weights are read from safetensors only; no pickle is ever opened. A checkpoint may come from a stranger: what its
settings ask for is compared with what its files hold before anything is built.
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
"""Version of the layout of checkpoints that is written and read."""

_FETCHED = ["*.json", "*.safetensors", "*.onnx", "*.txt", "*.tsv", "*.md"]
_TABLES = (".json", ".tsv", ".txt")
_LARGEST_TABLE = 64 << 20  # bytes; the largest that ships has less than one million
_LARGEST_HEADER = 16 << 20  # bytes
_MOST_TAGS = 2048  # of a head; tables of their transitions grow with the square

_ARRAYS = {"F64": "f8", "F32": "f4", "F16": "f2", "I64": "i8", "I32": "i4", "I8": "i1", "U8": "u1", "BOOL": "?"}
M = TypeVar("M", bound="nn.Module")
T = TypeVar("T")


def _shipped_folders() -> tuple[Path, ...]:
    package = Path(__file__).resolve().parent
    return package / "checkpoints", package.parent / "checkpoints"


def shipped_names() -> list[str]:
    """Return the names of the models that this installation carries, sorted."""
    return sorted({path.parent.name for folder in _shipped_folders() for path in folder.glob(f"*/{CONFIG_FILE}")})


def shipped(name: str) -> Path:
    """Return the directory of a model that comes with the package, `poem` or `tagger` for example.

    Raises:
        CheckpointError: This installation does not carry it.
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
    """Return the local directory of a model given by path, by the name of one that comes with the package (`tagger-ud`
    for example), or by Hugging Face repository name (downloaded once).

    Raises:
        CheckpointError: There is no such directory and no such repository can be fetched.
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
    except Exception as error:  # the hub client raises many kinds; all mean that the model cannot be had
        raise CheckpointError(
            "model_not_fetched",
            "'{model}' is no local directory and could not be fetched as a repository: {reason}",
            model=model,
            reason=str(error).splitlines()[0] if str(error) else type(error).__name__,
        ) from error


def read_config(directory: Path, kind: str) -> dict[str, Any]:
    """Read `config.json` and check that it describes a model of this kind, with files that can be read.

    Raises:
        CheckpointError: It is missing, damaged, of another kind or version, or asks for more than its weights hold.
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
    """Return the kind of the model in a directory, as it calls itself; nothing for what cannot be read."""
    try:
        return str(json.loads((directory / CONFIG_FILE).read_text(encoding="utf-8"))["kind"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""


def read_settings(directory: Path, kind: str, shape: type[T]) -> T:
    """Read the settings of a model of this kind: the dataclass `shape`, out of what stands under `model`.

    Raises:
        CheckpointError: As `read_config`, and for settings that `shape` refuses.
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
    """Refuse tables that are no regular files, as a device or a pipe, or that are too large to be tables."""
    for path in directory.iterdir() if directory.is_dir() else []:
        if not path.name.endswith((*_TABLES, ".safetensors")):
            continue
        with suppress(FileNotFoundError):  # a link that leads nowhere, which is said when the file is needed
            status = path.stat()
            if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
                raise CheckpointError(
                    "not_a_regular_file", "{path} is no regular file; fetch or train the model again", path=path
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
    """Refuse more layers than there are tensors, more tags than any model has, and names that a terminal would obey."""
    for name, value in _leaves("model", settings):
        numbers = isinstance(value, (list, tuple)) and all(isinstance(item, (int, float)) for item in value)
        layers = value if name == "num_layers" else len(value) if isinstance(value, list) and numbers else 0
        if isinstance(layers, int) and layers > tensors:
            raise CheckpointError(
                "more_layers_than_tensors",
                "{path} asks for {count:,} layers, but {file} beside it holds {tensors:,} tensors; fetch or train the "
                "model again",
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
    """Yield what is no table, with the name that it has in the table that it is in."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(key, inner)
    else:
        yield name, value


def build(directory: Path, make: Callable[[], M]) -> M:
    """Build a model and load `model.safetensors` into it; a model larger than this file stops being built.

    Args:
        directory: The checkpoint.
        make: Builds the model, as its settings ask for.

    Raises:
        CheckpointError: The file is missing, truncated, or does not fit the model.
    """
    with _no_larger_than(directory / WEIGHTS_FILE):
        model = make()
    read_weights(directory, model)
    return model


@contextmanager
def _no_larger_than(path: Path) -> Iterator[None]:
    """Stop a model from being built as soon as it has more numbers than a file of weights."""
    from torch.nn.modules.module import register_module_parameter_registration_hook

    most = left = sum(math.prod(shape) for shape in _read_header(path).values())

    def count(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal left
        left -= 0 if parameter is None else parameter.numel()
        if left < 0:
            raise CheckpointError(
                "larger_than_weights",
                "{config} beside {path} asks for a larger model than the {count:,} numbers in it; fetch or train the "
                "model again",
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
    """Return the shapes of the tensors in a safetensors file without reading them.

    Raises:
        CheckpointError: It is missing, truncated or something else.
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
    """Load `model.safetensors` into `model`, in the model's own precision.

    Raises:
        CheckpointError: The file is missing, truncated, does not fit the model, or holds what is no finite number.
    """
    path = directory / WEIGHTS_FILE
    tensors = read_tensors(path)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(
            "weights_do_not_fit",
            "{path} does not fit {config} beside it: {detail}",
            path=path,
            config=CONFIG_FILE,
            detail=" ".join(str(error).split())[:200],
        ) from error
    own = model.state_dict()
    for name, tensor in tensors.items():
        if tensor.is_floating_point() != own[name].is_floating_point() or not bool(own[name].isfinite().all()):
            raise _no_weight(path, name)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file; see `read_arrays` for a way without PyTorch.

    Raises:
        CheckpointError: It is missing, truncated or something else.
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
    """Read a safetensors file as arrays of NumPy, which share one buffer and cannot be written to.

    Raises:
        CheckpointError: It is missing, truncated, something else, or holds a type that NumPy has not, as bfloat16.
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
    """Read `model.safetensors` as arrays of NumPy, and see to it that they are weights of these shapes.

    Raises:
        CheckpointError: The file is missing, truncated, does not fit, or holds what is no finite number.
    """
    path = directory / WEIGHTS_FILE
    arrays = read_arrays(path)
    odd = sorted(arrays.keys() ^ shapes.keys()) or [name for name in shapes if arrays[name].shape != shapes[name]]
    if odd:
        raise CheckpointError(
            "weights_do_not_fit",
            "{path} does not fit {config} beside it: {detail}",
            path=path,
            config=CONFIG_FILE,
            detail=", ".join(odd)[:200],
        )
    for name, values in arrays.items():
        if values.dtype.kind != "f" or not np.isfinite(values).all():
            raise _no_weight(path, name)
    return arrays


def _no_weight(path: Path, name: str) -> CheckpointError:
    return CheckpointError(
        "weights_not_finite",
        "{path}: {name} holds what is no weight: numbers that are whole, infinite or none at all; fetch or train the "
        "model again",
        path=path,
        name=name,
    )


def _missing(path: Path) -> CheckpointError:
    return CheckpointError("weights_missing", "{path} is missing; fetch or train the model again", path=path)


def _damaged(path: Path, reason: Exception) -> CheckpointError:
    return CheckpointError(
        "weights_damaged",
        "{path} is damaged or is no safetensors file ({reason}); fetch or train it again",
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
    """Write a checkpoint; nothing in `directory` changes before all of the new files are complete on disk.

    Args:
        directory: Where it goes; an older checkpoint there is replaced, other files in it are kept.
        config: JSON-ready settings, with `kind`.
        tensors: Weights by name.
        files: Further files by name: their text, or a function that writes to the path it is given.
        half: Store floating-point weights as float16, half the size on disk.
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
    """Write a safetensors file, floating-point weights as float16 if `half`.

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
        path.chmod(0o644)  # the library makes files that only their owner can read
    except SafetensorError as error:
        raise CheckpointError(
            "weights_not_written",
            "{path} could not be written ({reason}); the previous state is intact",
            path=path,
            reason=error,
        ) from error


class staged:
    """Collect files in a temporary directory beside `directory`, and move them in only when all are written."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __enter__(self) -> Path:
        """Return the temporary directory, on the same file system as the final one."""
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
        """Swap the new directory in, or drop it if anything failed."""
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
        """Move the finished files in, each by an atomic rename, the weights last."""
        self.directory.mkdir(exist_ok=True)
        for item in sorted(self.stage.iterdir(), key=lambda path: path.name == WEIGHTS_FILE):
            item.replace(self.directory / item.name)
