"""How the page is served; what it does is tested in a browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.serve.conftest import Serve
from zhseq.poetry.request import RHYMES
from zhseq.serve.app import PAGE


@pytest.fixture
def served(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    page = tmp_path / "page"
    page.mkdir()
    (page / "index.html").write_text("<!doctype html><title>诗</title>", encoding="utf-8")
    (page / "docs.html").write_text("<!doctype html><title>API</title>", encoding="utf-8")
    (page / "app.js").write_text("export {};", encoding="utf-8")
    (tmp_path / "secret.txt").write_text("secret", encoding="utf-8")
    monkeypatch.setattr("zhseq.serve.app.PAGE", page)
    return serve(host="0.0.0.0", api_keys=("k",))


def test_the_page_needs_no_key_and_runs_nothing_foreign(served: TestClient) -> None:
    page, docs, script = served.get("/"), served.get("/docs"), served.get("/static/app.js")
    assert "API" in docs.text
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert script.headers["content-type"].startswith("text/javascript")
    for response in (page, docs, script):
        assert response.status_code == 200
        assert response.headers["x-content-type-options"] == "nosniff"
        policy = response.headers["content-security-policy"]
        assert "script-src 'self';" in policy
        assert "http:" not in policy
        assert response.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "path", ["../secret.txt", "%2e%2e/secret.txt", "..%2fsecret.txt", "no.js", "", "%00", "a" * 5000]
)
def test_nothing_beside_the_page_is_served(served: TestClient, path: str) -> None:
    response = served.get(f"/static/{path}")
    assert response.status_code in (401, 404)
    assert set(response.json()) == {"error"}
    assert "secret" not in response.text


def test_the_page_has_a_name_for_every_rhyme_that_the_service_offers() -> None:
    strings = (PAGE / "strings.js").read_text(encoding="utf-8")
    assert [rhyme for rhyme in RHYMES if f"  rhyme_{rhyme}: [" not in strings] == []
