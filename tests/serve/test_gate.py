"""Who may call, how often, and what is known of who does."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from starlette.datastructures import Headers

from tests.serve.conftest import Lines, Serve
from tests.serve.fakes import FakeTagger
from zhseq.errors import ConfigError
from zhseq.serve.gate import Allowance, Callers, read_address, site_of
from zhseq.serve.settings import Settings


def bearer(key: str, **more: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}", **more}


def test_each_of_several_keys_opens(serve: Serve, lines: Lines) -> None:
    client = serve(api_keys=("first", "second"))
    for key, status in (("first", 200), ("second", 200), ("third", 401), ("", 401), ("first second", 401)):
        assert client.get("/v1/options", headers=bearer(key)).status_code == status
    requests = [line for line in lines if line["event"] == "request"]
    assert [line.get("key") for line in requests] == [1, 2, None, None, None]
    assert [line.get("code") for line in requests] == [None, None, *["unauthorized"] * 3]
    assert "first" not in repr(lines)


def test_a_key_may_be_used_so_often_and_others_do_not_suffer(serve: Serve) -> None:
    client = serve(api_keys=("first", "second"), rate_limit=3)
    statuses = [client.get("/v1/options", headers=bearer("first")).status_code for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
    refused = client.get("/v1/options", headers=bearer("first"))
    assert refused.json()["error"]["code"] == "too_many_requests"
    assert 1 <= int(refused.headers["retry-after"]) <= 21
    assert client.get("/v1/options", headers=bearer("second")).status_code == 200
    assert client.get("/ready").status_code == 200  # for whoever watches the service


def test_keys_cannot_be_guessed_without_end(serve: Serve) -> None:
    client = serve(api_keys=("first",), rate_limit=3)
    statuses = [client.get("/v1/options", headers=bearer(str(number))).status_code for number in range(5)]
    assert statuses == [401, 401, 401, 429, 429]
    assert client.get("/v1/options", headers=bearer("first")).status_code == 200


def test_without_a_limit_nothing_is_counted(serve: Serve) -> None:
    client = serve()
    assert {client.get("/v1/options").status_code for _ in range(100)} == {200}


def test_an_allowance_comes_back_with_time() -> None:
    now = 0.0
    allowance = Allowance(6, clock=lambda: now)
    assert [allowance.take("a") for _ in range(6)] == [0] * 6
    assert allowance.take("a") == pytest.approx(10)
    assert allowance.take("b") == 0
    now = 10.0
    assert allowance.take("a") == 0
    assert allowance.take("a") == pytest.approx(10)
    now = 1_000.0
    assert [allowance.take("a") for _ in range(7)] == [*[0] * 6, pytest.approx(10)]


def test_callers_are_forgotten() -> None:
    now = 0.0
    allowance = Allowance(60, clock=lambda: now)
    for number in range(100_000):
        now = number / 100
        allowance.take(str(number))
    assert len(allowance) < 12_000


TRUSTED = ("10.0.0.0/8", "::1", "fd00::/8")


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("203.0.113.5", ["198.51.100.1"], "203.0.113.5"),  # no proxy: anybody can write that
        ("10.1.2.3", [], "10.1.2.3"),
        ("10.1.2.3", ["198.51.100.1"], "198.51.100.1"),
        ("10.1.2.3", ["6.6.6.6, 198.51.100.1"], "198.51.100.1"),  # the first was written by the client
        ("10.1.2.3", ["198.51.100.1, 10.9.9.9"], "198.51.100.1"),  # a proxy behind a proxy
        ("10.1.2.3", ["6.6.6.6", "198.51.100.1"], "198.51.100.1"),
        ("10.1.2.3", ["198.51.100.1:4711"], "198.51.100.1"),
        ("::1", ["[2001:db8::7]:443"], "2001:db8::7"),
        ("::ffff:10.1.2.3", ["198.51.100.1"], "198.51.100.1"),
        ("10.1.2.3", ["198.51.100.1, unknown"], "10.1.2.3"),
        ("10.1.2.3", [""], "10.1.2.3"),
        (None, ["198.51.100.1"], ""),
    ],
)
def test_the_address_of_a_client(peer: str | None, forwarded: list[str], found: str) -> None:
    callers = Callers(Settings(trusted_proxies=TRUSTED))
    headers = Headers(raw=[(b"x-forwarded-for", line.encode()) for line in forwarded])
    assert callers.address(None if peer is None else (peer, 1), headers) == found


@pytest.mark.parametrize("text", ["", "localhost", "1.2.3", "[::1", "::1::2", "١.2.3.4", "1.2.3.4:5:6", "x" * 9_999])
def test_what_is_no_address(text: str) -> None:
    assert read_address(text) in (None, read_address("::1") if text == "[::1" else None)


def test_one_customer_with_ipv6_has_many_addresses() -> None:
    assert site_of("2001:db8:0:1::1") == site_of("2001:db8:0:1:ffff::2") != site_of("2001:db8:0:2::1")
    assert site_of("192.0.2.1") != site_of("192.0.2.2")


def test_the_log_says_where_a_request_came_from(serve: Serve, lines: Lines) -> None:
    client = serve()
    client.get("/health", headers={"X-Forwarded-For": "198.51.100.1"})
    assert lines[-1]["client"] == ""  # of the test client, which has none; what it claims is not believed


@pytest.mark.parametrize(
    ("settings", "codes"),
    [
        ({}, []),
        ({"allowed_origins": ("https://page.example",), "api_keys": ("k" * 16,)}, []),
        ({"allowed_origins": ("*",)}, ["any_origin"]),
        ({"api_keys": ("x", "y" * 40)}, ["short_key"]),
        ({"trusted_proxies": ("0.0.0.0/0",)}, ["all_trusted"]),
    ],
)
def test_what_is_seldom_meant_is_told(settings: dict[str, Any], codes: list[str]) -> None:
    assert [doubt.code for doubt in Settings(**settings).doubts()] == codes


def test_a_proxy_has_an_address() -> None:
    with pytest.raises(ConfigError, match=r"proxy\.example"):
        Settings(trusted_proxies=("proxy.example",))


def test_any_origin_may_be_let_in(serve: Serve) -> None:
    client = serve(allowed_origins=("*",))
    answer = client.get("/v1/options", headers={"Origin": "https://any.example"})
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("size", [10, 5_000, 90_000])
@pytest.mark.parametrize(
    ("accepted", "packed"),
    [("gzip", True), ("br;q=1.0, gzip;q=0.5", True), ("GZIP", True), ("gzip;q=0", False), ("br", False), ("", False)],
)
def test_long_answers_are_packed_for_who_likes_it(serve: Serve, size: int, accepted: str, packed: bool) -> None:
    client = serve()
    with client.stream("POST", "/v1/tag", json={"text": "好" * size}, headers={"Accept-Encoding": accepted}) as answer:
        body = b"".join(answer.iter_raw())
    assert answer.headers["vary"] == "Accept-Encoding"
    assert answer.headers["content-length"] == str(len(body))
    is_packed = answer.headers.get("content-encoding") == "gzip"
    assert is_packed == (packed and size > 10)
    assert json.loads(gzip.decompress(body) if is_packed else body)["documents"][0]["text"] == "好" * size


def test_a_packed_body_is_told_so(serve: Serve, tagger: FakeTagger) -> None:
    body = gzip.compress(b'{"text": "x"}')
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = serve().post("/v1/tag", content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "packed_body")
    assert tagger.batches == []
