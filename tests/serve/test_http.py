from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.serve.conftest import Serve
from tests.serve.fakes import POISON, FakeTagger

SECRET = "绝不记录的文字"


def error_of(response: object) -> str:
    body = response.json()  # type: ignore[attr-defined]
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message", "values", "templates"}
    assert "\n" not in body["error"]["message"]
    return str(body["error"]["code"])


def test_a_key_opens_what_computes(serve: Serve) -> None:
    client = serve(host="0.0.0.0", api_keys=("s3cret",))
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic s3cret"},
        {"Authorization": "s3cret"},
        {"Authorization": b"Bearer \xff\xfe"},
    ):
        for path in ("/v1/options", "/metrics", "/v1/tag", "/nothing"):
            response = client.get(path, headers=headers)  # type: ignore[arg-type]
            assert response.status_code == 401
            assert error_of(response) == "unauthorized"
            assert response.headers["www-authenticate"] == "Bearer"
    assert client.get("/health").status_code == client.get("/ready").status_code == 200
    response = client.post("/v1/tag", json={"text": "北京"}, headers={"Authorization": "bearer s3cret"})
    assert response.status_code == 200
    assert client.get("/v1/options", headers={"Host": "any.example", "Authorization": "Bearer s3cret"}).is_success


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "127.0.0.1:9", "[::1]:8000", "LOCALHOST", "api.example"]
)
def test_known_hosts(serve: Serve, host: str) -> None:
    assert serve(allowed_hosts=("API.example",)).get("/health", headers={"Host": host}).is_success


@pytest.mark.parametrize("settings", [{}, {"host": "0.0.0.0", "api_keys": ("s3cret",)}])
def test_two_host_headers_are_refused(serve: Serve, settings: dict[str, str]) -> None:
    client = serve(**settings)
    hosts = [("Host", "localhost"), ("Host", "evil.example")]
    for headers in (hosts, hosts[::-1], hosts[:1] * 2):
        response = client.get("/health", headers=headers)
        assert response.status_code == 400
        assert error_of(response) == "several_hosts"
    assert client.get("/health", headers=hosts[:1]).is_success


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "[::1", "localhost:x"]
)
def test_unknown_hosts_are_turned_away(client: TestClient, host: str) -> None:
    response = client.get("/health", headers={"Host": host})
    assert response.status_code == 421
    assert error_of(response) == "wrong_host"


@pytest.mark.parametrize("in_pieces", [False, True])
def test_a_body_that_is_too_large_is_not_kept(client: TestClient, in_pieces: bool) -> None:
    body = b"[" * 5_000_000
    pieces = (body[start : start + 2**16] for start in range(0, len(body), 2**16))
    response = client.post(
        "/v1/tag", content=pieces if in_pieces else body, headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 413
    assert error_of(response) == "too_large"
    assert response.headers["connection"] == "close"


def test_unknown_paths_and_methods_have_the_shape_of_all_errors(client: TestClient) -> None:
    assert error_of(client.get("/v1/nothing")) == "not_found"
    assert error_of(client.get("/../../etc/passwd")) == "not_found"
    assert client.get("/static/%2e%2e/%2e%2e/settings.py").status_code == 404
    response = client.delete("/v1/tag")
    assert (response.status_code, error_of(response)) == (405, "wrong_method")
    assert response.headers["allow"] == "POST"
    assert client.get("/redoc").status_code == 404
    assert client.head("/health").status_code == 200
    assert client.get("/v1/tag/").status_code == 404


def test_what_fails_inside_stays_inside(client: TestClient, lines: list[dict[str, object]]) -> None:
    response = client.post("/v1/tag", json={"text": POISON + SECRET})
    assert response.status_code == 500
    assert error_of(response) == "internal"
    assert SECRET not in response.text
    (fault,) = [line for line in lines if line["event"] == "error"]
    assert fault["kind"] == "ValueError"
    assert any("fakes.py" in place for place in fault["places"])  # type: ignore[attr-defined]
    assert SECRET not in repr(lines)
    assert client.post("/v1/tag", json={"text": "好"}).is_success


def test_logs_and_metrics_hold_no_text(client: TestClient, lines: list[dict[str, object]]) -> None:
    client.post("/v1/tag", json={"text": SECRET})
    client.post("/v1/tag", json={"text": [SECRET], SECRET: 1})
    client.post("/v1/tag", content=f'{{"text": "{SECRET}'.encode(), headers={"Content-Type": "application/json"})
    client.get(f"/{SECRET}?{SECRET}={SECRET}")
    client.request("SECRET", "/v1/tag")
    client.post("/v1/poems", json={"tune": SECRET})
    assert SECRET not in repr(lines)
    assert SECRET not in client.get("/metrics").text
    requests = [line for line in lines if line["event"] == "request"]
    assert [line["path"] for line in requests[:5]] == ["/v1/tag"] * 3 + ["unknown", "/v1/tag"]
    assert [line["status"] for line in requests[:5]] == [200, 422, 400, 404, 405]
    assert requests[4]["method"] == "other"
    assert requests[0]["characters"] == len(SECRET)
    assert len({line["id"] for line in requests}) == len(requests)


def test_answers_tell_browsers_to_be_careful(client: TestClient) -> None:
    for path in ("/health", "/nothing"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-request-id"]
        assert "access-control-allow-origin" not in headers


def test_other_pages_may_call_only_if_named(serve: Serve) -> None:
    client = serve(allowed_origins=("https://page.example",), api_keys=("k",))
    ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    friend = client.options("/v1/tag", headers={"Origin": "https://page.example", **ask})
    assert friend.headers["access-control-allow-origin"] == "https://page.example"
    refused = client.get("/v1/options", headers={"Origin": "https://page.example"})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, "https://page.example")
    stranger = client.options("/v1/tag", headers={"Origin": "https://other.example", **ask})
    assert "access-control-allow-origin" not in stranger.headers


def test_metrics_count(client: TestClient, tagger: FakeTagger) -> None:
    client.post("/v1/tag", json={"texts": ["北京", "上海人"]})
    text = client.get("/metrics").text
    for line in (
        'zhseq_requests_total{method="POST",path="/v1/tag",status="200"} 1.0',
        'zhseq_request_seconds_count{method="POST",path="/v1/tag"} 1.0',
        "zhseq_characters_total 5.0",
        "zhseq_batch_texts_sum 2.0",
        "zhseq_queue_requests 0.0",
        "zhseq_queue_poems 0.0",
    ):
        assert line in text.splitlines()


def test_log_lines_are_json(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from zhseq.serve.metrics import log, start_logging

    names = ("zhseq.serve", "uvicorn", "asyncio")
    before = {name: vars(logging.getLogger(name)).copy() for name in names}
    try:
        lines = start_logging()
        log("request", status=200, path="/v1/tag")
        try:
            raise ValueError(SECRET)
        except ValueError:
            logging.getLogger("uvicorn.error").exception("Exception in ASGI application\n")
        lines.end(10)
        first, second = map(json.loads, capfd.readouterr().err.splitlines())
    finally:
        for name, state in before.items():
            vars(logging.getLogger(name)).update(state)
    assert first["event"] == "request"
    assert first["time"].endswith("Z")
    assert second["message"] == "Exception in ASGI application"
    assert SECRET not in json.dumps(second, ensure_ascii=False)
