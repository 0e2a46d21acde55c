"""What a person who runs the service can choose, and what follows from it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from zhseq.errors import ConfigError

KEY_VARIABLE = "ZHSEQ_API_KEY"
LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")
MAX_POEMS = 16
"""Poems in one request."""
MAX_WORDS = 1_000
"""Words of a request's own dictionary."""
MAX_PLACES = 16
"""Places for which one request may ask for characters."""
MAX_SUGGESTIONS = 32
"""Characters or lines that one request may ask for at a place."""
POEM_CHARACTERS = 2_000
"""Characters of any text in a request about poems; the longest tune has 240."""


@dataclass(frozen=True)
class Settings:
    """Where the service listens, what it loads, and its limits.

    Raises:
        ConfigError: A value is impossible, or the service would be open to others without a key.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    tagger: str | None = None
    """Directory or name of the tagger; None: the one that comes with zhseq."""
    poet: str | None = None
    """Likewise of the poem model."""
    dictionary: str | None = None
    """File of words that every request is tagged with."""
    threads: int = 2
    """Threads that tag; each of them uses one processor core."""
    api_key: str = ""
    """What a request must carry as `Authorization: Bearer`; empty: nothing."""
    allowed_origins: tuple[str, ...] = ()
    """Origins of other pages whose scripts may call the service."""
    allowed_hosts: tuple[str, ...] = ()
    """Names under which the service is reached, beside those of this computer; only looked at without a key."""
    max_body: int = 1_048_576
    """Most bytes of a request."""
    max_characters: int = 100_000
    """Most characters of all texts of a request."""
    max_texts: int = 1_000
    """Most texts of a request."""
    queue_characters: int = 400_000
    """Characters that may wait to be tagged, in all requests together."""
    queue_poems: int = 16
    """Requests to write poems, and as many to judge them, that may be under way."""
    timeout: float = 30.0
    """Seconds that a request may take, waiting included."""
    grace: float = 10.0
    """Seconds in which a stopping service finishes what it has begun."""

    def __post_init__(self) -> None:
        for name in ("threads", "max_body", "max_characters", "max_texts", "queue_characters", "queue_poems"):
            if getattr(self, name) < 1:
                raise ConfigError(
                    "limit_too_small", "{name} must be at least 1, but is {value}", name=name, value=getattr(self, name)
                )
        for name in ("timeout", "grace"):
            if not 0 < getattr(self, name) <= 86_400:
                raise ConfigError(
                    "wait_out_of_range",
                    "{name} must be more than 0 and at most 86400 seconds, but is {value}",
                    name=name,
                    value=getattr(self, name),
                )
        if not 0 <= self.port <= 65_535:
            raise ConfigError("no_such_port", "the port must lie in 0 to 65535, but is {port}", port=self.port)
        if self.api_key and not (self.api_key.isascii() and self.api_key.isprintable() and " " not in self.api_key):
            raise ConfigError(
                "odd_key", "{variable} must be made of printable ASCII characters without blanks", variable=KEY_VARIABLE
            )
        if not self.is_local and not self.api_key:
            raise ConfigError(
                "open_to_others",
                "listening on {host} opens the service to others; set {variable} to a secret key first, or use "
                "<host=127.0.0.1>",
                host=self.host,
                variable=KEY_VARIABLE,
            )

    @property
    def is_local(self) -> bool:
        """Whether only programs of this computer can reach the service."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
