"""Errors and remarks as data: a code, a sentence with gaps, and what fills them. Whoever shows one renders it."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

FULL_DISK = frozenset({errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)})
"""Numbers by which an operating system says that a disk is full, a file too large or a quota used up."""

Door = Callable[[str, str], str]
"""How a front door writes an argument, given its name and its value (or an empty string)."""


def library(name: str, value: str) -> str:
    """Write an argument as Python does: `form=` or `rhyme='none'`."""
    return f"{name}={value!r}" if value else f"{name}="


def command_line(name: str, value: str) -> str:
    """Write an argument as a shell does: `--form` or `--rhyme none`."""
    return f"--{name.replace('_', '-')} {value}".rstrip()


def service(name: str, value: str) -> str:
    """Write an argument as a field of JSON: `form` or `"rhyme": "none"`."""
    return f'"{name}": "{value}"' if value else f'"{name}"'


_ARGUMENT = re.compile(r"<([a-z_]+)(?:=([^<>]*))?>")


@dataclass(frozen=True)
class Message:
    """A sentence that is not yet in words.

    `template` is English. `{name}` stands for a value, and braces that stand for themselves are doubled. `<name>`,
    `<name=value>` or `<name={gap}>` stands for an argument of the library, which each door writes in its own way. A
    value may be a message itself.
    """

    code: str
    """What is said, for programs and for the table of translations."""
    template: str
    values: Mapping[str, object] = field(default_factory=dict, hash=False)

    def render(self, door: Door = library, language: str | None = None) -> str:
        """Return the sentence.

        Args:
            door: How arguments are written.
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
    """Return `zh` where ZHSEQ_LANG or else the locale of the environment is Chinese, and `en` elsewhere."""
    for name in ("ZHSEQ_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        if value := os.environ.get(name):
            return "zh" if value.lower().startswith("zh") else "en"
    return "en"


_Error = TypeVar("_Error", bound="ZhseqError")


class ZhseqError(Exception):
    """Base of every deliberate error; command lines print it and exit with status 2."""

    def __init__(self, code: str, template: str, /, **values: object) -> None:
        """Make an error.

        Args:
            code: What is wrong, for programs.
            template: One English sentence: what was expected, what came, what to do. See `Message`.
            **values: What fills its gaps.
        """
        self.message = Message(code, template, values)
        super().__init__(self.message)

    @classmethod
    def of(cls: type[_Error], message: Message) -> _Error:
        """Make an error that says what a message says, that of another error for example."""
        return cls(message.code, message.template, **message.values)

    @property
    def code(self) -> str:
        """What is wrong, for programs."""
        return self.message.code

    def __str__(self) -> str:
        return self.message.render()

    def __reduce__(self) -> tuple[object, ...]:
        """Let an error cross the border of a process whole."""
        return partial(type(self), **self.message.values), (self.message.code, self.message.template)


class InputError(ZhseqError):
    """A text, option or file given by the user cannot be used."""


class CorpusError(ZhseqError):
    """A corpus is missing, damaged or holds a record that cannot be read."""


class CheckpointError(ZhseqError):
    """A model directory is missing, damaged or made for another task."""


class ConfigError(ZhseqError):
    """A setting has an unknown name, a wrong type or an impossible value."""
