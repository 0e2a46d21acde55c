from __future__ import annotations

import json
import threading

import pytest
from starlette.testclient import TestClient

from tests.serve.conftest import Serve
from tests.serve.fakes import FakeTagger
from tests.tagging import fake_tagger
from zhseq.errors import Message
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
    assert code_of(response) == (422, "task_not_served")
    assert "this service supports only pos" in response.json()["error"]["message"]


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
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b'{"text": "a"', "invalid_json"),
        (b'{"text": "a"} x', "invalid_json"),
        (b'{"text": "\xff\xfe"}', "invalid_utf8"),
        (b'{"text": "\\ud800"}', "lone_surrogate"),
        (b'{"text": "\\udc00\\ud800"}', "lone_surrogate"),
        (b'{"seed": ' + b"9" * 5000 + b"}", "extreme_json"),
        (b"\x00", "invalid_json"),
        (b"{'text': 1}", "invalid_json"),
        (b"[" * 9_000, "extreme_json"),
        (b'{"a":' * 4_500, "extreme_json"),
        ('{"text": "北京"}'.encode("gb18030"), "invalid_utf8"),
        ('{"text": "北京"}'.encode("utf-16"), "invalid_utf8"),
    ],
)
def test_bodies_that_are_no_json(client: TestClient, body: bytes, code: str) -> None:
    response = client.post("/v1/tag", content=body, headers=JSON)
    assert code_of(response) == (400, code)


@pytest.mark.parametrize(
    ("body", "message", "codes"),
    [
        ({}, 'give either "text" or "texts"', ["text_or_texts"]),
        ({"text": 5, "x": 1}, "text must be a text; there is no field x", ["wrong_type", "unknown_field"]),
        (
            {"text": "a", "tasks": ["parsing"], "words": [{}, {"word": ""}]},
            "tasks.0 must be one of 'pos', 'ner'; words.0.word is missing; words.1.word must not be empty",
            ["no_such_choice", "missing_field", "empty_field"],
        ),
        ([], "body must be an object", ["wrong_type"]),
    ],
)
def test_what_is_wrong_with_a_body_is_said_in_words_of_the_service(
    client: TestClient, body: object, message: str, codes: list[str]
) -> None:
    error = client.post("/v1/tag", json=body).json()["error"]
    assert error["message"] == f"The request is invalid: {message}."
    found, problem = [], error["values"]["problem"]
    while problem["code"] == "problems":
        found.append(problem["values"]["second"]["code"])
        problem = problem["values"]["first"]
    assert [problem["code"], *reversed(found)] == codes


def test_more_problems_are_counted(client: TestClient) -> None:
    message = client.post("/v1/tag", json={"text": "a", **dict.fromkeys("abcde", 1)}).json()["error"]["message"]
    assert message.endswith("no field c; and 2 more.")


def test_a_million_problems_are_not_described(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    described = 0

    def problem(*_: object) -> Message:
        nonlocal described
        described += 1
        return Message("a_number", "a number")

    monkeypatch.setattr("zhseq.serve.reading._problem", problem)
    fields = b",".join(b'"%d":1' % number for number in range(5_000))
    answer = client.post("/v1/tag", content=b'{"text":"",' + fields + b"}", headers=JSON)
    assert answer.status_code == 422
    assert answer.json()["error"]["values"]["problem"]["values"] == {"count": 5_000}
    assert not described


@pytest.mark.parametrize(
    ("body", "count"),
    [
        (b'{"text":"",' + b",".join(b'"%d" \t:1' % number for number in range(20_000)) + b"}", 20_002),
        (b'{"text":"","x":[' + b"[]," * 200_000 + b"[]]}", 200_005),
        (b'{"text":"","x":[' + b"{}," * 200_000 + b"{}]}", 200_005),
        (b"[" * 200_000, 200_000),
        (b'\n {"a":' * 50_000, 100_000),
        (b'{"text":"' + rb"\\\":" * 100 + b'",' + b",".join(rb'"\\":1' for _ in range(20_000)) + b"}", 20_002),
    ],
)
def test_a_body_of_many_parts_is_not_read(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, body: bytes, count: int
) -> None:
    monkeypatch.setattr("zhseq.serve.schemas.TagRequest.model_validate_json", lambda body: pytest.fail("it was read"))
    answer = client.post("/v1/tag", content=body, headers=JSON)
    assert code_of(answer) == (422, "too_many_parts")
    assert answer.json()["error"]["values"]["count"] == count


def test_marks_in_texts_are_no_parts(client: TestClient) -> None:
    text = ':[{"\\' * 10_000
    assert client.post("/v1/tag", json={"text": text}).json()["documents"][0]["text"] == text


def test_as_many_words_as_may_be_with_all_that_is_said_of_them_are_read(client: TestClient) -> None:
    words = [{"word": f"词{number}", "pos": "n", "label": "LOC", "mode": "force"} for number in range(1_000)]
    assert client.post("/v1/tag", json={"text": "词1", "tasks": ["pos"], "words": words}).is_success


@pytest.mark.parametrize("field", ["texts", "tasks"])
def test_a_list_is_read_to_its_first_fault(client: TestClient, field: str) -> None:
    body = {"text": "x", field: [1] * 100_000} if field == "tasks" else {field: [1] * 100_000}
    error = client.post("/v1/tag", json=body).json()["error"]
    assert error["values"]["problem"]["values"]["field"] == f"{field}.0"


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
    assert code_of(client.post("/v1/tag", json={"texts": [""] * 4})) == (413, "too_many_texts")
    response = client.post("/v1/tag", json={"text": "好" * 11})
    assert code_of(response) == (413, "too_many_characters")
    assert response.json()["error"]["values"] == {"limit": 10, "count": 11}
    assert "10 characters at most, but this one has 11" in response.json()["error"]["message"]


def test_a_full_queue(serve: Serve, tagger: FakeTagger) -> None:
    client = serve(threads=1, queue_characters=4)
    tagger.go.clear()
    answers: list[int] = []

    def ask(text: str) -> None:
        answers.append(client.post("/v1/tag", json={"text": text}).status_code)

    asking = [threading.Thread(target=ask, args=("一",)), threading.Thread(target=ask, args=("二二",))]
    asking[0].start()
    assert tagger.begun.wait(10)
    asking[1].start()
    while "zhseq_queue_requests 1.0" not in client.get("/metrics").text:
        assert asking[1].is_alive(), answers
    busy = client.post("/v1/tag", json={"text": "三三"})
    assert code_of(busy) == (503, "busy")
    assert int(busy.headers["Retry-After"]) >= 1
    tagger.go.set()
    for each in asking:
        each.join()
    assert answers == [200, 200]
    assert client.post("/v1/tag", json={"text": "四"}).is_success


def test_a_slow_answer(serve: Serve, tagger: FakeTagger) -> None:
    client = serve(threads=1, timeout=1.0)
    tagger.go.clear()
    assert code_of(client.post("/v1/tag", json={"text": "一"})) == (503, "timeout")
    assert code_of(client.post("/v1/tag", json={"text": "二二"})) == (503, "timeout")
    tagger.go.set()
    while "zhseq_queue_requests 0.0" not in client.get("/metrics").text:
        pass
    assert ["二二"] not in tagger.batches  # nobody waited for it any longer
