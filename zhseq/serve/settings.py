"""What a person who runs the service can choose, and what follows from it."""

from __future__ import annotations

import ipaddress
import os
import socket
from dataclasses import dataclass, field

from zhseq.errors import ConfigError, Message

_MOST_AT_ONCE = 1024  # processes, or threads that tag

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

KEY_VARIABLE = "ZHSEQ_API_KEY"
SHORT_KEY = 16
"""Characters of a key that can be guessed."""
LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")
MAX_POEMS = 16
"""Poems in one request."""
MAX_WORDS = 1_000
"""Words of a request's own dictionary."""
MAX_PLACES = 16
"""Places for which one request may ask for characters."""
MAX_SUGGESTIONS = 32
"""Characters or lines that one request may ask for at a place."""
MAX_WORDS_OF_GROUP = 1_000
"""Words of a rhyme group, or words that face another, that one request may ask for."""
MAX_VERSES = 100
"""Poems with a line that is looked for that one request may ask for."""
POEM_CHARACTERS = 2_000
"""Characters of any text in a request about poems; the longest tune has 240."""

LOOKUP_CHARACTERS = 400
"""Characters of a text that is judged beside the writing of poems, and not in turns with it."""


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
    backend: str = "auto"
    """What computes the networks, see `zhseq.device.BACKENDS`."""
    dictionary: str | None = None
    """File of words that every request is tagged with."""
    processes: int = 1
    """Processes that answer on the same port."""
    threads: int = 2
    """Threads that tag, in each process; each of them uses one processor core."""
    api_keys: tuple[str, ...] = ()
    """Of which a request must carry one as `Authorization: Bearer`; empty: nothing."""
    rate_limit: int = 0
    """Requests a minute that may come with one key, or from one address where there are no keys; 0: any number."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks of proxies whose header `X-Forwarded-For` is believed."""
    allowed_origins: tuple[str, ...] = ()
    """Origins of other pages whose scripts may call the service; `*`: all."""
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
    trusted_networks: tuple[Network, ...] = field(default=(), init=False)

    def __post_init__(self) -> None:
        for name in (
            "processes",
            "threads",
            "max_body",
            "max_characters",
            "max_texts",
            "queue_characters",
            "queue_poems",
        ):
            if getattr(self, name) < 1:
                raise ConfigError(
                    "limit_too_small", "{name} must be at least 1, but is {value}", name=name, value=getattr(self, name)
                )
        for name in ("processes", "threads"):
            if getattr(self, name) > _MOST_AT_ONCE:
                raise ConfigError(
                    "limit_too_large",
                    "{name} must be at most {most}, but is {value}",
                    name=name,
                    most=_MOST_AT_ONCE,
                    value=getattr(self, name),
                )
        if self.processes > 1 and not (hasattr(os, "fork") and hasattr(socket, "SO_REUSEPORT")):
            raise ConfigError("one_process", "this system knows no processes that share a port; use <processes=1>")
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
        if self.rate_limit < 0:
            raise ConfigError(
                "negative_limit",
                "{name} must be 0 (no limit) or more, but is {value}",
                name="rate_limit",
                value=self.rate_limit,
            )
        object.__setattr__(self, "trusted_networks", tuple(map(_network, self.trusted_proxies)))
        if not all(key.isascii() and key.isprintable() and key and " " not in key for key in self.api_keys):
            raise ConfigError(
                "odd_key", "{variable} must be made of printable ASCII characters without blanks", variable=KEY_VARIABLE
            )
        if not self.is_local and not self.api_keys:
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

    def doubts(self) -> list[Message]:
        """Return what is allowed and seldom meant."""
        found = []
        if "*" in self.allowed_origins:
            found.append(
                Message("any_origin", "with --allow-origin '*' the scripts of every page that a visitor opens may call")
            )
        short = sum(len(key) < SHORT_KEY for key in self.api_keys)
        if short:
            found.append(
                Message(
                    "short_key",
                    "{count} of the keys in {variable} can be guessed; use random ones of {least} characters or more",
                    {"count": short, "variable": KEY_VARIABLE, "least": SHORT_KEY},
                )
            )
        if any(network.prefixlen == 0 for network in self.trusted_networks):
            found.append(
                Message(
                    "all_trusted",
                    "with --trusted-proxy {network} any client says itself where it comes from",
                    {"network": "/0"},
                )
            )
        return found


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise ConfigError(
            "no_such_network",
            "expected the address of a proxy, or a network such as 10.0.0.0/8, but got '{text}' for <trusted_proxy>",
            text=text,
        ) from error
