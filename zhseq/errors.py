"""Errors that a user can act on. Each message is one sentence: what was expected, what came, what to do."""

from __future__ import annotations

import errno

FULL_DISK = frozenset({errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)})
"""Numbers by which an operating system says that a disk is full, a file too large or a quota used up."""


class ZhseqError(Exception):
    """Base of every deliberate error; command lines print it and exit with status 2."""


class InputError(ZhseqError):
    """A text, option or file given by the user cannot be used."""

    def __init__(self, message: str = "", code: str = "") -> None:
        """Make an error.

        Args:
            message: One sentence.
            code: What is wrong, for programs that say it in words of their own; empty: nothing that has a name.
        """
        super().__init__(message)
        self.code = code


class CorpusError(ZhseqError):
    """A corpus is missing, damaged or holds a record that cannot be read."""


class CheckpointError(ZhseqError):
    """A model directory is missing, damaged or made for another task."""


class ConfigError(ZhseqError):
    """A setting has an unknown name, a wrong type or an impossible value."""
