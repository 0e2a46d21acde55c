from __future__ import annotations

import json
import threading

import pytest
from starlette.testclient import TestClient

from tests.serve.conftest import Serve
from tests.serve.fakes import FakeTagger
from tests.tagging import fake_tagger
from zhseq.tagging.formats import make_writer

JSON = {"Content-Type": "application/json"}


def code_of(response: object) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "texts", [["小明在北京。"], ["一", "", "  ", "在北京 2026"], ["\x00\x7f\u2028<script>", "𠮷野家"]]
)
def test_documents_are_those_of_the_command_line(client: TestClient, texts: list[str]) -> None:
    write = make_writer("jsonl", ("pos", "ner")).write
    wanted = [json.loads(write(fake_tagger.Tagger()(text))) for text in texts]  # type: ignore[arg-type]
    response = client.post("/v1/tag", json={"texts": texts})
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {"documents": wanted}
    for text, document in zip(texts, wanted, strict=True):
        assert client.post("/v1/tag", json={"text": text}).json() == {"documents": [document]}


def test_tasks_and_scores(client: TestClient) -> None:
    (document,) = client.post("/v1/tag", json={"text": "北京", "tasks": ["ner"], "scores": True}).json()["documents"]
    assert document == {
        "text": "北京",
        "entities": [{"text": "北京", "start": 0, "end": 2, "label": "LOC", "score": 0.5}],
    }


def test_a_model_that_only_finds_words_says_so(serve: Serve, tagger: FakeTagger) -> None:
    tagger.tasks = ("pos",)  # type: ignore[misc]
    response = serve().post("/v1/tag", json={"text": "北京", "tasks": ["pos", "ner"]})
    assert code_of(response) == (422, "invalid_request")
    assert "this service does pos only" in response.json()["error"]["message"]


def test_words_of_the_request_join_those_of_the_service(client: TestClient, tagger: FakeTagger) -> None:
    tagger.dictionary.add("老词", "n")
    words = [{"word": "云栖小镇", "pos": "ns", "label": "LOC", "mode": "force"}, {"word": "<b>x y</b>"}]
    assert client.post("/v1/tag", json={"text": "在云栖小镇", "words": words}).is_success
    (used,) = tagger.used
    assert used is not None
    assert [entry.word for entry in used] == ["老词", "云栖小镇", "<b>x y</b>"]
    entry = used.get("云栖小镇")
    assert entry is not None
    assert (entry.pos, entry.label, entry.mode) == ("ns", "LOC", "force")
    assert len(tagger.dictionary) == 1
    client.post("/v1/tag", json={"text": "在云栖小镇"})
    assert tagger.used[-1] is None


@pytest.mark.parametrize("word", ["", "  ", "a\nb", "长" * 129])
def test_words_that_are_none_are_refused(client: TestClient, word: str) -> None:
    code = {"": "invalid_request", "长" * 129: "too_long"}.get(word, "invalid_word")
    assert code_of(client.post("/v1/tag", json={"text": "好", "words": [{"word": word}]})) == (422, code)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"text": None},
        {"text": "a", "texts": ["b"]},
        {"text": 5},
        {"text": ["a"]},
        {"texts": "a"},
        {"texts": []},
        {"texts": [None]},
        {"text": "a", "tasks": []},
        {"text": "a", "tasks": None},
        {"text": "a", "tasks": ["parsing"]},
        {"text": "a", "tasks": "pos"},
        {"text": "a", "scores": 1},
        {"text": "a", "scores": "yes"},
        {"text": "a", "unknown": 1},
        {"text": "a", "words": [{"pos": "n"}]},
        {"text": "a", "words": [{"word": "a", "mode": "maybe"}]},
        {"text": "a", "words": [{"word": "a"}] * 1001},
        [],
        "text",
        None,
        7,
    ],
)
def test_bodies_of_another_shape(client: TestClient, body: object) -> None:
    response = client.post("/v1/tag", content=json.dumps(body), headers=JSON)
    assert code_of(response) == (422, "invalid_request")
    assert "\n" not in response.json()["error"]["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"text": "a"',
        b'{"text": "a"} x',
        b'{"text": "\xff\xfe"}',
        b'{"text": "\\ud800"}',
        b"\x00",
        b"{'text': 1}",
        b"[" * 200_000,
        b'{"a":' * 50_000,
        '{"text": "北京"}'.encode("gb18030"),
        '{"text": "北京"}'.encode("utf-16"),
    ],
)
def test_bodies_that_are_no_json(client: TestClient, body: bytes) -> None:
    response = client.post("/v1/tag", content=body, headers=JSON)
    assert code_of(response) == (400, "invalid_json")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", "9" * 5000])
def test_numbers_that_are_none(client: TestClient, number: str) -> None:
    body = f'{{"start": "春", "temperature": {number}}}'.encode()
    assert client.post("/v1/poems", content=body, headers=JSON).status_code in (400, 422)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonx"])
def test_only_json_is_read(client: TestClient, kind: str) -> None:
    response = client.post("/v1/tag", content=b'{"text": "a"}', headers={"Content-Type": kind})
    assert code_of(response) == (415, "unsupported_media_type")
    named = {"Content-Type": "application/json; charset=utf-8"}
    assert client.post("/v1/tag", content=b'{"text": "a"}', headers=named).is_success


def test_limits_of_a_request(serve: Serve) -> None:
    client = serve(max_texts=3, max_characters=10)
    assert client.post("/v1/tag", json={"texts": ["好" * 5, "好" * 5, ""]}).is_success
    assert code_of(client.post("/v1/tag", json={"texts": [""] * 4})) == (413, "too_large")
    response = client.post("/v1/tag", json={"text": "好" * 11})
    assert code_of(response) == (413, "too_large")
    assert "10 characters at most, but this one has 11" in response.json()["error"]["message"]


def test_a_full_queue_and_a_slow_answer(serve: Serve, tagger: FakeTagger) -> None:
    client = serve(threads=1, queue_characters=4, timeout=0.5)
    tagger.go.clear()
    answers: list[tuple[int, str]] = []

    def ask(text: str) -> None:
        answers.append(code_of(client.post("/v1/tag", json={"text": text})))

    first = threading.Thread(target=ask, args=("一",))
    first.start()
    assert tagger.begun.wait(10)
    second = threading.Thread(target=ask, args=("二二",))
    second.start()
    while "zhseq_queue_requests 1.0" not in client.get("/metrics").text:
        pass
    busy = client.post("/v1/tag", json={"text": "三三"})
    assert code_of(busy) == (503, "busy")
    assert int(busy.headers["Retry-After"]) >= 1
    first.join()
    second.join()
    assert answers == [(503, "timeout")] * 2
    tagger.go.set()
    assert client.post("/v1/tag", json={"text": "四"}).is_success
    assert ["二二"] not in tagger.batches
