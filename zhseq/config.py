"""Settings as frozen dataclasses: override them by `key=value`, convert them to plain values and back."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import sys
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from reprlib import repr as short
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from zhseq.errors import ConfigError

T = TypeVar("T")

_LARGEST_FLOAT = int(sys.float_info.max)


@dataclasses.dataclass(frozen=True)
class Setting:
    """A setting that `override` can change."""

    key: str
    """Dotted name, for example `training.epochs`."""
    default: str
    """Value in the syntax of `override`."""
    meaning: str
    """Docstring of the field."""


def check_layers(hidden_sizes: Sequence[int], **dropouts: float) -> None:
    """Validate the sizes of layers, and dropout rates, given by the names of their settings.

    Raises:
        ConfigError: There is no layer, a layer has no units, or a rate is outside [0, 1).
    """
    if not hidden_sizes or min(hidden_sizes) < 1:
        raise ConfigError(
            "bad_hidden_sizes",
            "hidden_sizes must be one or more sizes of at least 1, but is {hidden_sizes}",
            hidden_sizes=hidden_sizes,
        )
    for name, value in dropouts.items():
        if not 0 <= value < 1:
            raise ConfigError("bad_dropout", "{name} must lie in [0, 1), but is {value}", name=name, value=value)


def settings_of(config: object, prefix: str = "") -> Iterator[Setting]:
    """Yield all settings of a dataclass and its nested dataclasses, in order, with their current values."""
    meanings = _field_docstrings(type(config))
    for field in dataclasses.fields(config):  # type: ignore[arg-type]
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from settings_of(value, f"{prefix}{field.name}.")
        else:
            shown = value if isinstance(value, str) else repr(value).replace(" ", "")
            yield Setting(prefix + field.name, shown, meanings.get(field.name, ""))


def _field_docstrings(kind: type) -> dict[str, str]:
    """Return the docstrings below the fields of a class in its source code, each on one line."""
    tree = _module_tree(kind.__module__)
    body = next(node.body for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == kind.__name__)
    found: dict[str, str] = {}
    for field, below in pairwise(body):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str() as text)):
                found[name] = " ".join(text.split())
    return found


@lru_cache(maxsize=16)
def _module_tree(name: str) -> ast.Module:
    return ast.parse(inspect.getsource(sys.modules[name]))


def override(config: T, assignments: Iterable[str]) -> T:
    """Return `config` with each `key.subkey=value` applied.

    Values are Python literals or bare words: `training.learning_rate=1e-3`, `model.hidden_sizes=(640,640)`,
    `training.device=cpu`.

    Raises:
        ConfigError: A key is unknown (the message names the valid ones), or a value is of the wrong type or invalid.
    """
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        if not separator:
            raise ConfigError(
                "no_assignment",
                "{text} is not of the form key=value, for example training.learning_rate=1e-3",
                text=short(assignment),
            )
        config = _replace(config, key.strip().split("."), _literal(text.strip()), key.strip())
    return config


def to_dict(config: object) -> dict[str, Any]:
    """Convert a dataclass to plain values for JSON."""
    return dataclasses.asdict(config)  # type: ignore[call-overload,no-any-return]


def from_dict(kind: type[T], values: Mapping[str, Any], *, source: str) -> T:
    """Create a dataclass from plain values, as read from JSON.

    Raises:
        ConfigError: A key is unknown or missing, or a value has the wrong type; the message names `source`.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(
            "settings_without_names",
            "{source} must hold settings by name, but holds a {found}",
            source=source,
            found=type(values).__name__,
        )
    hints = get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise ConfigError(
            "unknown_setting_in_file",
            "{source}: unknown setting {name}; valid are {valid}",
            source=source,
            name=short(unknown[0]),
            valid=", ".join(fields),
        )
    arguments: dict[str, Any] = {}
    for name, value in values.items():
        if dataclasses.is_dataclass(hints[name]) and isinstance(value, Mapping):
            arguments[name] = from_dict(hints[name], value, source=f"{source}: {name}")
        else:
            arguments[name] = _coerce(value, hints[name], f"{source}: {name}")
    try:
        return kind(**arguments)
    except TypeError as error:
        raise ConfigError(
            "setting_missing", "{source}: a setting is missing ({reason})", source=source, reason=error
        ) from error


def _replace(config: T, path: list[str], value: object, key: str) -> T:
    hints = get_type_hints(type(config))
    if path[0] not in hints:
        raise ConfigError(
            "unknown_setting",
            "unknown setting {key}: there is no {part}; valid here are {valid}",
            key=short(key),
            part=short(path[0]),
            valid=", ".join(hints),
        )
    current = getattr(config, path[0])
    if len(path) > 1:
        if not dataclasses.is_dataclass(current):
            raise ConfigError(
                "setting_without_parts",
                "unknown setting {key}: '{part}' has no parts",
                key=short(key),
                part=path[0],
            )
        new: object = _replace(current, path[1:], value, key)
    elif dataclasses.is_dataclass(current):
        raise ConfigError(
            "group_of_settings",
            "'{key}' is a group of settings; set one of its parts: {parts}",
            key=key,
            parts=", ".join(field.name for field in dataclasses.fields(current)),
        )
    else:
        new = _coerce(value, hints[path[0]], key)
    return dataclasses.replace(config, **{path[0]: new})  # type: ignore[type-var]


def _literal(text: str) -> object:
    try:
        return ast.literal_eval({"true": "True", "false": "False", "none": "None"}.get(text.lower(), text))
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):  # as documented for ast.literal_eval
        return text


def _coerce(value: object, hint: Any, key: str) -> object:
    """Convert `value` to the type `hint`; only integers to floats and lists to tuples are converted."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _coerce(value, next(argument for argument in arguments if argument is not type(None)), key)
    if hint is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST_FLOAT:
        return float(value)
    if origin is tuple:
        items = list(value) if isinstance(value, (list, tuple)) else [value]
        return tuple(_coerce(item, arguments[0], key) for item in items)
    if origin is dict and isinstance(value, dict):
        return {_coerce(name, arguments[0], key): _coerce(item, arguments[1], key) for name, item in value.items()}
    if origin is None and isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    raise ConfigError(
        "setting_of_wrong_type",
        "{key} must be of type {expected}, but {value} is of type {found}",
        key=key,
        expected=getattr(hint, "__name__", str(hint)),
        value=short(value),
        found=type(value).__name__,
    )
