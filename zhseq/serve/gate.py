"""Access checks and rate limits of all requests; their metrics and log lines, which contain no text of users."""

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
"""Paths that need no key, since they compute nothing."""
_OPEN_FOLDER = "/static/"
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
}
_RAW_HEADERS = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
_MINUTE = 60.0
_FORGET_FROM = 10_000  # callers remembered before those whose allowance is full again are removed
_SITE = 64  # bits of an IPv6 address that a provider assigns to one customer, who chooses the others


class Fields(Protocol):
    """The headers of a request, by lower-case name."""

    def get(self, name: str, default: str, /) -> str:
        """Return the first header of a name, or `default`."""

    def getlist(self, name: str, /) -> list[str]:
        """Return all headers of a name."""


class Reception:
    """Access checks, metrics and log lines, shared by `Gate` and the short cut of `/v1/tag`."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        """Store the settings, and the metrics in which requests are counted."""
        self._callers = Callers(settings)
        self._settings = settings
        self._metrics = metrics
        self._hosts = frozenset((*LOCAL_HOSTS, *(host.lower() for host in settings.allowed_hosts)))
        self.headers = list(_RAW_HEADERS)
        """Headers added to every response."""
        if settings.allowed_origins:
            self.headers = [pair for pair in _RAW_HEADERS if pair[0] != b"cross-origin-resource-policy"]

    def visit(self, scope: Scope, receive: Receive, send: Send, headers: Fields) -> Visit:
        """Return the state of a new request."""
        visit = Visit(receive, send, self._settings.max_body, self.headers)
        visit.packs = _takes_gzip(headers.get("accept-encoding", ""))
        visit.client = self._callers.address(scope.get("client"), headers)
        return visit

    def admit(self, scope: Scope, headers: Fields, visit: Visit) -> None:
        """Check host, key, rate and declared size of a request.

        Raises:
            ApiError: The request is refused.
        """
        path = scope["path"]
        hosts = headers.getlist("host")
        if len(hosts) > 1:  # a proxy in front of the service may have checked another of them
            raise ApiError(
                400,
                Message(
                    "several_hosts",
                    "Expected one header 'Host', but found {count}; send only one.",
                    {"count": len(hosts)},
                ),
            )
        if not self._settings.api_keys and _host_name(headers.get("host", "")) not in self._hosts:
            # Otherwise any web page could reach this service, by a host name of its own that points to 127.0.0.1.
            raise ApiError(421, Message("wrong_host", "This host name is not allowed; allow it with --allow-host."))
        if path not in _OPEN_PATHS and not path.startswith(_OPEN_FOLDER) and scope["method"] != "OPTIONS":
            visit.key = self._callers.admit(visit.client, headers)
        length = headers.get("content-length", "")
        if length.isdigit() and int(length[:20]) > self._settings.max_body:
            raise too_large(self._settings.max_body)

    def tell(self, visit: Visit, method: str, seconds: float) -> None:
        """Count a finished request and write its log line."""
        self._metrics.count(method, visit.path, visit.status, seconds)
        milliseconds = round(1000 * seconds, 2)
        details = {"characters": visit.characters, "ms": milliseconds, "client": visit.client, "id": visit.id}
        if visit.key:
            details["key"] = visit.key
        if visit.code:
            details["code"] = visit.code
        log("request", method=method, path=visit.path, status=visit.status, **details)


class Gate:
    """Middleware that passes requests on to `app` or refuses them."""

    def __init__(self, app: ASGIApp, reception: Reception, endpoints: Mapping[tuple[str, str], ASGIApp]) -> None:
        """Wrap an application.

        Args:
            app: Application that serves all paths.
            reception: Access checks, metrics and log.
            endpoints: Method and path -> application that serves them, without a search through all routes.
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
        except asyncio.CancelledError:  # the grace period of the server is over
            broken = not await visit.refuse(stopping(), scope)
        except ClientGone:
            visit.status = CLIENT_GONE
        except Exception as error:
            broken = not await visit.refuse(visit.fault(error), scope)
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._reception.tell(visit, method, time.perf_counter() - begin)
        if broken:
            raise ClientGone  # a response has begun and cannot be replaced; the server closes the connection


@lru_cache(maxsize=256)
def _takes_gzip(accepted: str) -> bool:
    for part in accepted.lower().split(","):
        name, _, weight = part.partition(";")
        if name.strip() == "gzip":
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def _host_name(host: str) -> str:
    """Return the name in a Host header in lower case, without the port."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).lower()


class Callers:
    """Checks keys and counts the requests of each caller."""

    def __init__(self, settings: Settings) -> None:
        self._keys = [key.encode() for key in settings.api_keys]
        self._trusted = settings.trusted_networks
        self._allowance = Allowance(settings.rate_limit) if settings.rate_limit else None

    def address(self, peer: Sequence[object] | None, headers: Fields) -> str:
        """Return the address of the client: that of the connection, or the one that trusted proxies report."""
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
        """Check key and rate of a request, and return the number of its key, from 1; 0 if none is needed.

        Raises:
            ApiError: The key is missing or wrong, or this caller has sent too many requests.
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
        fitting = [hmac.compare_digest(given, wanted) for wanted in self._keys]  # all keys: time reveals nothing
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
    """Limits each caller to `a_minute` requests per minute, all at once or spread over it."""

    def __init__(self, a_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._pause = _MINUTE / a_minute
        self._clock = clock
        self._full: dict[str, float] = {}
        """Time at which the allowance of each caller is full again."""
        self._forget_from = _FORGET_FROM

    def take(self, caller: str) -> float:
        """Count a request and return 0, or return the seconds after which it would be allowed."""
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
        """Return the number of callers remembered."""
        return len(self._full)


@lru_cache(maxsize=1_024)
def read_address(text: str) -> Address | None:
    """Return the IP address in a text, with or without a port, or None if there is none."""
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
    """Return the name under which an address is counted: itself, or with IPv6 the network of one customer."""
    found = read_address(address)
    if not isinstance(found, ipaddress.IPv6Address):
        return address
    return str(ipaddress.ip_network((found, _SITE), strict=False))
