"""What every request passes: who may call, and how often; a log line and a count without the user's text."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Protocol

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from zhseq.errors import Message
from zhseq.serve.http import CLIENT_GONE, CONTENT_SECURITY_POLICY, ApiError, ClientGone, Visit, stopping, too_large
from zhseq.serve.metrics import Metrics, log
from zhseq.serve.settings import LOCAL_HOSTS, Address, Settings

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"))
_OPEN_PATHS = ("/", "/health", "/ready", "/openapi.json", "/docs", "/favicon.ico")
"""What needs no key: nothing is computed there."""
_OPEN_FOLDER = "/static/"
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
}
_RAW_HEADERS = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
_MINUTE = 60.0
_FORGET_FROM = 10_000  # callers remembered, until those that may call as much as they like again are forgotten
_SITE = 64  # bits of an address of IPv6 that a provider gives to one customer, who chooses the others


class Fields(Protocol):
    """The headers of a request, by their names in small letters."""

    def get(self, name: str, default: str, /) -> str:
        """Return the first of a name."""

    def getlist(self, name: str, /) -> list[str]:
        """Return all of a name."""


class Reception:
    """Who may call, and what is written down of each request; one for all ways into a service."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        """Know limits and keys, and what requests are counted in."""
        self._callers = Callers(settings)
        self._settings = settings
        self._metrics = metrics
        self._hosts = frozenset((*LOCAL_HOSTS, *(host.lower() for host in settings.allowed_hosts)))
        self.headers = list(_RAW_HEADERS)
        """Of all answers."""
        if settings.allowed_origins:
            self.headers = [pair for pair in _RAW_HEADERS if pair[0] != b"cross-origin-resource-policy"]

    def visit(self, scope: Scope, receive: Receive, send: Send, headers: Fields) -> Visit:
        """Return a new visit."""
        visit = Visit(receive, send, self._settings.max_body, self.headers)
        visit.packs = _takes_gzip(headers.get("accept-encoding", ""))
        visit.client = self._callers.address(scope.get("client"), headers)
        return visit

    def admit(self, scope: Scope, headers: Fields, visit: Visit) -> None:
        """Turn away who may not call, and what is too large by its own word.

        Raises:
            ApiError: Then.
        """
        path = scope["path"]
        hosts = headers.getlist("host")
        if len(hosts) > 1:  # a proxy before this service may have looked at another of them
            raise ApiError(
                400,
                Message(
                    "several_hosts",
                    "Expected one header 'Host', but found {count}; send the one that is meant.",
                    {"count": len(hosts)},
                ),
            )
        if not self._settings.api_keys and _host_name(headers.get("host", "")) not in self._hosts:
            # Else any page on the web could reach this service, under a name of its own that points to 127.0.0.1.
            raise ApiError(
                421, Message("wrong_host", "The service is not known under this host name; allow it with --allow-host.")
            )
        if path not in _OPEN_PATHS and not path.startswith(_OPEN_FOLDER) and scope["method"] != "OPTIONS":
            visit.key = self._callers.admit(visit.client, headers)
        length = headers.get("content-length", "")
        if length.isdigit() and int(length[:20]) > self._settings.max_body:
            raise too_large(self._settings.max_body)

    def tell(self, visit: Visit, method: str, seconds: float) -> None:
        """Count a request that is over, and write its line into the log."""
        self._metrics.count(method, visit.path, visit.status, seconds)
        milliseconds = round(1000 * seconds, 2)
        details = {"characters": visit.characters, "ms": milliseconds, "client": visit.client, "id": visit.id}
        if visit.key:
            details["key"] = visit.key
        if visit.code:
            details["code"] = visit.code
        log("request", method=method, path=visit.path, status=visit.status, **details)


class Gate:
    """The outermost application: it lets requests through to `app` or turns them away."""

    def __init__(self, app: ASGIApp, reception: Reception, endpoints: Mapping[tuple[str, str], ASGIApp]) -> None:
        """Stand before an application.

        Args:
            app: What serves all paths.
            reception: Whom to ask.
            endpoints: Method and path -> what serves them, without a search through all routes.
        """
        self._app = app
        self._endpoints = endpoints
        self._reception = reception

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        broken = False
        headers = Headers(scope=scope)
        visit = self._reception.visit(scope, receive, send, headers)
        if scope["path"].startswith(_OPEN_FOLDER):
            visit.path = _OPEN_FOLDER
        begin = time.perf_counter()
        scope["visit"] = visit
        try:
            self._reception.admit(scope, headers, visit)
            serve = self._endpoints.get((scope["method"], scope["path"]), self._app)
            await serve(scope, visit.receive, visit.send)
        except ApiError as error:
            broken = not await visit.refuse(error, scope)
        except asyncio.CancelledError:  # the server has waited for as long as it may
            broken = not await visit.refuse(stopping(), scope)
        except ClientGone:
            visit.status = CLIENT_GONE
        except Exception as error:
            broken = not await visit.refuse(visit.fault(error), scope)
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._reception.tell(visit, method, time.perf_counter() - begin)
        if broken:
            raise ClientGone  # what was sent cannot be taken back; the server closes the connection


@lru_cache(maxsize=256)
def _takes_gzip(accepted: str) -> bool:
    for part in accepted.lower().split(","):
        name, _, weight = part.partition(";")
        if name.strip() == "gzip":
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def _host_name(host: str) -> str:
    """Return the name in a Host header, without the port."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).lower()


class Callers:
    """Knows the keys, and counts requests of each caller."""

    def __init__(self, settings: Settings) -> None:
        self._keys = [key.encode() for key in settings.api_keys]
        self._trusted = settings.trusted_networks
        self._allowance = Allowance(settings.rate_limit) if settings.rate_limit else None

    def address(self, peer: Sequence[object] | None, headers: Fields) -> str:
        """Return the address of the client: that of the connection, or what proxies that are trusted say of it."""
        found = read_address(str(peer[0])) if peer else None
        if not self._trusted:
            return _shown(found)
        told = [part for line in headers.getlist("x-forwarded-for") for part in line.split(",")]
        while found is not None and told and any(found in network for network in self._trusted):
            before = read_address(told.pop())
            if before is None:
                break
            found = before
        return _shown(found)

    def admit(self, address: str, headers: Fields) -> int:
        """Let a request in, and return the number of its key, from 1; 0 where none is needed.

        Raises:
            ApiError: The key is missing or wrong, or this caller has sent too much.
        """
        number = self._key(headers)
        self._count(f"key {number}" if number else site_of(address))
        if self._keys and not number:
            raise ApiError(
                401,
                Message("unauthorized", "Expected the key of this service in the header 'Authorization: Bearer KEY'."),
                {"WWW-Authenticate": "Bearer"},
            )
        return number

    def _key(self, headers: Fields) -> int:
        if not self._keys:
            return 0
        scheme, _, key = headers.get("authorization", "").partition(" ")
        given = key.strip().encode("utf-8", "replace") if scheme.lower() == "bearer" else b""
        fitting = [hmac.compare_digest(given, wanted) for wanted in self._keys]  # all of them: time tells nothing
        return fitting.index(True) + 1 if any(fitting) else 0

    def _count(self, caller: str) -> None:
        wait = self._allowance.take(caller) if self._allowance is not None else 0.0
        if wait:
            seconds = int(wait) + 1
            message = Message(
                "too_many_requests", "Too many requests; send the next one in {seconds} seconds.", {"seconds": seconds}
            )
            raise ApiError(429, message, {"Retry-After": str(seconds)})


class Allowance:
    """Lets each caller send so many requests a minute, all at once or spread over it."""

    def __init__(self, a_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._pause = _MINUTE / a_minute
        self._clock = clock
        self._full: dict[str, float] = {}
        """When each caller may send a whole minute's requests again."""
        self._forget_from = _FORGET_FROM

    def take(self, caller: str) -> float:
        """Count a request and return 0, or the seconds after which it may come."""
        now = self._clock()
        full = max(now, self._full.get(caller, now)) + self._pause
        if full > now + _MINUTE + 1e-6:
            return full - now - _MINUTE
        self._full[caller] = full
        if len(self._full) >= self._forget_from:
            self._full = {name: moment for name, moment in self._full.items() if moment > now}
            self._forget_from = max(_FORGET_FROM, 2 * len(self._full))
        return 0.0

    def __len__(self) -> int:
        """Return how many callers are remembered."""
        return len(self._full)


@lru_cache(maxsize=1_024)
def read_address(text: str) -> Address | None:
    """Return the address in a text, with or without a port; None if there is none."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, ipaddress.IPv6Address) else found


@lru_cache(maxsize=1_024)
def _shown(address: Address | None) -> str:
    return "" if address is None else str(address)


def site_of(address: str) -> str:
    """Return for whom requests of an address are counted: itself, or with IPv6 the network that one customer has."""
    found = read_address(address)
    if not isinstance(found, ipaddress.IPv6Address):
        return address
    return str(ipaddress.ip_network((found, _SITE), strict=False))
