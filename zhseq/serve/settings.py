"""Settings of the service, their validation, and fixed limits of requests."""

from __future__ import annotations

import ipaddress
import os
import socket
from dataclasses import dataclass, field

from zhseq.errors import ConfigError, Message

_MOST_AT_ONCE = 1024  # processes, or tagging threads

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

KEY_VARIABLE = "ZHSEQ_API_KEY"
SHORT_KEY = 16
"""Keys with fewer characters can be guessed."""
LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")
MAX_POEMS = 16
"""Poems in one request."""
MAX_WORDS = 1_000
"""Words in the user dictionary of a request."""
MAX_PLACES = 16
"""Places for which one request may ask for suggestions."""
MAX_SUGGESTIONS = 32
"""Suggestions for one place or line, or words of each kind, that one request may ask for."""
MAX_WORDS_OF_GROUP = 1_000
"""Words of a rhyme group, or words opposite another in couplets, that one request may ask for."""
MAX_VERSES = 100
"""Poems that one search for a line may ask for."""
POEM_CHARACTERS = 2_000
"""Characters of each text in a request about poems; the longest tune has 240."""

LOOKUP_CHARACTERS = 400
"""Characters of a text up to which it is reviewed in the lane of look-ups, not in that of writing."""


@dataclass(frozen=True)
class Settings:
    """Where the service listens, what it loads, and its limits.

    Raises:
        ConfigError: A value is invalid, or the service would be open to other computers without a key.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    tagger: str | None = None
    """Directory or Hub name of the tagger; None: the shipped one."""
    poet: str | None = None
    """Directory or Hub name of the poem model; None: the shipped one."""
    backend: str = "auto"
    """Backend that computes the networks, see `zhseq.device.BACKENDS`."""
    dictionary: str | None = None
    """File of the user dictionary for all requests."""
    processes: int = 1
    """Number of processes on the same port."""
    threads: int = 2
    """Tagging threads of each process; each uses one processor core."""
    api_keys: tuple[str, ...] = ()
    """Keys, one of which a request must send as `Authorization: Bearer`; empty: no key is needed."""
    rate_limit: int = 0
    """Requests per minute and key, or per minute and address if there are no keys; 0: unlimited."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks of proxies whose header `X-Forwarded-For` is trusted."""
    allowed_origins: tuple[str, ...] = ()
    """Origins of other pages whose scripts may call the service; `*`: all."""
    allowed_hosts: tuple[str, ...] = ()
    """Host names of the service in addition to local ones; checked only if there are no keys."""
    max_body: int = 1_048_576
    """Maximum size of a request body in bytes."""
    max_characters: int = 100_000
    """Maximum number of characters in all texts of a request."""
    max_texts: int = 1_000
    """Maximum number of texts in a request."""
    queue_characters: int = 400_000
    """Characters of all requests together that may wait to be tagged."""
    queue_poems: int = 16
    """Requests that may be in progress in the lane of writing, and as many in the lane of look-ups."""
    timeout: float = 30.0
    """Seconds that a request may take, including waiting."""
    grace: float = 10.0
    """Seconds that a stopping service has to finish running requests."""
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
            raise ConfigError(
                "one_process", "this system does not support processes that share a port; use <processes=1>"
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
                "odd_key", "{variable} must consist of printable ASCII characters without blanks", variable=KEY_VARIABLE
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
        """Whether only programs on this computer can reach the service."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def doubts(self) -> list[Message]:
        """Return warnings about settings that are valid but rarely intended."""
        found = []
        if "*" in self.allowed_origins:
            found.append(
                Message(
                    "any_origin",
                    "with --allow-origin '*', scripts of any page that a visitor opens can call this service",
                )
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
                    "with --trusted-proxy {network}, any client can claim any address",
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
