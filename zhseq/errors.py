"""Errors and notes as data: a code, a sentence template and its values. The front door that shows one renders it."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

FULL_DISK = frozenset({errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)})
"""Values of `errno` for a full disk, a file that is too large, or an exceeded quota."""

Door = Callable[[str, str], str]
"""Function of a front door that formats an argument, given its name and its value (or an empty string)."""


def library(name: str, value: str) -> str:
    """Format an argument for Python: `form=` or `rhyme='none'`."""
    return f"{name}={value!r}" if value else f"{name}="


def command_line(name: str, value: str) -> str:
    """Format an argument for the shell: `--form` or `--rhyme none`."""
    return f"--{name.replace('_', '-')} {value}".rstrip()


def service(name: str, value: str) -> str:
    """Format an argument as a JSON field: `"form"` or `"rhyme": "none"`."""
    return f'"{name}": "{value}"' if value else f'"{name}"'


_ARGUMENT = re.compile(r"<([a-z_]+)(?:=([^<>]*))?>")


@dataclass(frozen=True)
class Message:
    """A sentence that is rendered when it is shown, in the user's language.

    `template` is English. `{name}` is replaced by a value; literal braces are doubled. `<name>`, `<name=value>` or
    `<name={value}>` is an argument of the library, which each front door formats in its own way. A value may itself be
    a message.
    """

    code: str
    """Identifier in snake_case, for programs and for the table of translations."""
    template: str
    values: Mapping[str, object] = field(default_factory=dict, hash=False)

    def render(self, door: Door = library, language: str | None = None) -> str:
        """Return the sentence as text.

        Args:
            door: Formats arguments.
            language: `en` or `zh`; by default that of the user, see `user_language`.
        """
        from zhseq.messages import CHINESE

        language = language or user_language()
        template = CHINESE.get(self.code, self.template) if language == "zh" else self.template
        shown = {
            name: value.render(door, language) if isinstance(value, Message) else value
            for name, value in self.values.items()
        }
        template = _ARGUMENT.sub(lambda match: _escape(door(match[1], (match[2] or "").format_map(shown))), template)
        return template.format_map(shown)

    def __str__(self) -> str:
        return self.render()


def _escape(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def user_language() -> str:
    """Return `zh` if ZHSEQ_LANG or else the locale in the environment is Chinese, otherwise `en`."""
    for name in ("ZHSEQ_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        if value := os.environ.get(name):
            return "zh" if value.lower().startswith("zh") else "en"
    return "en"


_Error = TypeVar("_Error", bound="ZhseqError")


class ZhseqError(Exception):
    """Base class of all deliberate errors; command lines print the message and exit with status 2."""

    def __init__(self, code: str, template: str, /, **values: object) -> None:
        """Create an error.

        Args:
            code: Identifier of the error in snake_case, for programs.
            template: One English sentence: what was expected, what was found, what to do. See `Message`.
            **values: Values of the template.
        """
        self.message = Message(code, template, values)
        super().__init__(self.message)

    @classmethod
    def of(cls: type[_Error], message: Message) -> _Error:
        """Create an error from a message, for example that of another error."""
        return cls(message.code, message.template, **message.values)

    @property
    def code(self) -> str:
        """Identifier of the error, for programs."""
        return self.message.code

    def __str__(self) -> str:
        return self.message.render()

    def __reduce__(self) -> tuple[object, ...]:
        """Support pickling, which by default does not keep keyword arguments."""
        return partial(type(self), **self.message.values), (self.message.code, self.message.template)


class InputError(ZhseqError):
    """A text, option or file given by the user cannot be used."""


class CorpusError(ZhseqError):
    """A corpus is missing, damaged or holds a record that cannot be read."""


class CheckpointError(ZhseqError):
    """A model directory is missing, damaged or of another kind."""


class ConfigError(ZhseqError):
    """A setting has an unknown name, a wrong type or an invalid value."""
