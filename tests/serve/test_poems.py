"""Poems over HTTP, with the model that ships: only it has tones and rhymes."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pyarrow
import pytest
from pydantic import TypeAdapter
from starlette.testclient import TestClient

from tests.serve.conftest import Lines, Serve
from tests.serve.fakes import FakePoet, FakeTagger
from zhseq.errors import ConfigError, InputError
from zhseq.messages import CHINESE
from zhseq.poetry.lookup import CharacterEntry, GroupEntry, Handbook
from zhseq.poetry.poet import Poem, Poet, Request
from zhseq.poetry.request import DRAFTS, DRAFTS_OF_SEVERAL
from zhseq.serve import schemas
from zhseq.serve.app import create_app
from zhseq.serve.queues import Answer, Lane, Work, failure
from zhseq.serve.settings import Settings

OLD = "床前明月光，疑是地上霜。举头望明月，低头思故乡。"
WANG = "白日依山尽，黄河入海流。欲穷千里目，更上一层楼。"


@pytest.fixture(scope="module")
def poet() -> Poet:
    return Poet.load()


@pytest.fixture(scope="module")
def client(poet: Poet) -> Iterator[TestClient]:
    app = create_app(Settings(timeout=600.0), tagger=FakeTagger(), poet=poet)  # type: ignore[arg-type]
    with TestClient(app, base_url="http://localhost") as found:
        yield found


def test_poems_are_those_of_the_library(client: TestClient, poet: Poet) -> None:
    wishes = {"start": "春", "form": "五绝", "seed": 3, "best_of": 2, "temperature": 0.7, "num": 2}
    found = client.post("/v1/poems", json=wishes).json()["poems"]
    first = poet.write(start="春", form="五绝", seed=3, best_of=2, temperature=0.7, drafts=DRAFTS_OF_SEVERAL)
    assert len(found) == 2
    assert found[0]["lines"] == list(first.lines)
    assert found[0]["text"] == first.text
    assert first.pattern is not None
    assert found[0]["pattern"] == json.loads(json.dumps(asdict(first.pattern)))
    assert {key: found[0][key] for key in ("form", "tune", "seed")} == {"form": "五绝", "tune": "", "seed": 3}
    assert found[1]["lines"] != found[0]["lines"]


def test_what_gives_way_to_a_start_is_named(client: TestClient) -> None:
    wishes = {"form": "五绝", "best_of": 1}
    (poem,) = client.post("/v1/poems", json={"start": "春春春春春", **wishes}).json()["poems"]
    assert poem["note"]["code"] == "kept_as_given"
    assert poem["note"]["message"].startswith("no pattern of 五绝 allows the given characters: ")
    (poem,) = client.post("/v1/poems", json={"start": "春", **wishes}).json()["poems"]
    assert poem["note"] is None


def test_one_poem_is_chosen_among_more_drafts_than_several_are(client: TestClient, poet: Poet) -> None:
    def texts(**wishes: object) -> list[str]:
        poems = client.post("/v1/poems", json={"form": "七绝", "seed": 6, **wishes}).json()["poems"]
        return [poem["text"] for poem in poems]

    assert texts() == texts(drafts=DRAFTS) == texts(drafts=None) == [poet.write(form="七绝", seed=6).text]
    assert (
        texts(num=2)
        == texts(num=2, drafts=DRAFTS_OF_SEVERAL)
        == [poem.text for poem in poet.write_many(2, form="七绝", seed=6)]
    )
    assert texts(num=2, drafts=DRAFTS)[0] == texts()[0] != texts(num=2)[0]


@pytest.mark.parametrize(
    "wishes",
    [
        {"form": "七绝"},
        {"form": "七绝", "num": 2},
        {"form": "五绝", "num": 2, "drafts": 3},
        {"tune": "如梦令", "about": "秋夜"},
        {"lines": ["春眠不觉晓"], "rhyme": "none"},
    ],
)
def test_lines_come_one_by_one_and_make_the_same_poems(client: TestClient, wishes: dict[str, object]) -> None:
    whole = client.post("/v1/poems", json=wishes).json()["poems"]
    with client.stream("POST", "/v1/poems", json={**wishes, "stream": True}) as response:
        assert response.headers["content-type"] == "application/x-ndjson"
        events = [json.loads(line) for line in response.iter_lines()]
    assert [event["done"] for event in events if "done" in event] == whole
    for number, poem in enumerate(whole):
        mine = [event for event in events if event["poem"] == number]
        assert [event["text"] for event in mine[:-1]] == poem["lines"]
        assert "".join(event["text"] + event["mark"] for event in mine[:-1]) == poem["text"].replace("\n", "")
        assert [event["line"] for event in mine[:-1]] == list(range(len(poem["lines"])))
        assert "done" in mine[-1]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("wishes", "code", "words"),
    [
        ({"tune": "没有这个词牌"}, "unknown_tune", "known ones; similar names: "),
        ({"form": "十四行"}, "unknown_form", "十四行"),
        (
            {"form": "五绝", "tune": "浣溪沙"},
            "form_and_tune",
            '"form": "五绝" and "tune": "浣溪沙" exclude',
        ),
        ({"author": "<script>alert(1)</script>"}, "unknown_author", "<script>"),
        ({"dynasty": "美"}, "unknown_dynasty", "it knows"),
        ({"start": "abc"}, "not_chinese", "contains 'a' (U+0061)"),
        ({"acrostic": "春b"}, "not_chinese", "contains 'b' (U+0062); remove"),
        ({"start": "春，眠", "form": "五绝"}, "misplaced_mark", "after 1 characters"),
        ({"start": "春" * 500}, "start_too_long", "500 characters"),
        ({"start": "春眠不觉晓春眠不觉晓", "form": "五绝"}, "line_twice", "twice"),
        ({"form": "五绝", "acrostic": "一二三四五六"}, "acrostic_too_long", "6 characters"),
        ({"form": "五绝", "start": "春", "acrostic": "夏"}, "acrostic_clash", "line 1"),
        ({"rhyme_group": "秋", "rhyme": "none"}, "unused_rhyme_group", 'with "rhyme": "none"'),
        ({"rhyme_group": "甲乙"}, "unknown_rhyme_group", "one of "),
        ({"rhyme_group": "入", "form": "五绝"}, "oblique_rhyme_group", "oblique"),
        ({"rhyme_group": "望"}, "ambiguous_rhyme_group", "name one of them: "),
        ({"rhyme": "classical", "start": "天天天天天", "form": "五绝"}, "against_the_pattern", "no pattern"),
    ],
)
def test_wishes_that_cannot_be_fulfilled(
    client: TestClient, wishes: dict[str, object], code: str, words: str, stream: bool
) -> None:
    response = client.post("/v1/poems", json={**wishes, "stream": stream})
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/json"
    error = response.json()["error"]
    assert error["code"] == code
    assert words in error["message"]
    assert "--" not in error["message"]


@pytest.mark.parametrize(
    "wishes",
    [
        {"num": 0},
        {"num": -1},
        {"num": 17},
        {"num": 1.5},
        {"num": "1"},
        {"num": True},
        {"seed": -1},
        {"seed": 2**63},
        {"best_of": 0},
        {"best_of": 65},
        {"drafts": 0},
        {"drafts": 17},
        {"temperature": -0.1},
        {"temperature": "hot"},
        {"top_p": 0},
        {"rhyme": "all"},
        {"start": "春" * 2001},
        {"lines": "春"},
        {"lines": ["春"] * 101},
        {"stream": "yes"},
        {"sampling": {}},
        {"start": None},
    ],
)
def test_wishes_of_another_shape(client: TestClient, wishes: dict[str, object]) -> None:
    response = client.post("/v1/poems", json=wishes)
    code = "too_long" if wishes == {"start": "春" * 2001} else "invalid_request"
    assert (response.status_code, response.json()["error"]["code"]) == (422, code)


def test_a_poem_is_judged(client: TestClient, poet: Poet) -> None:
    found = client.post("/v1/poems/check", json={"text": WANG}).json()
    expected = {**poet.check(WANG).fields(), "note": None}
    assert {key: found[key] for key in expected} == json.loads(json.dumps(expected))
    assert found["faults"] == []
    assert [bool(name) for name in found["rhyme_names"]] == [False, True, False, True]
    broken = client.post("/v1/poems/check", json={"text": WANG.replace("流", "去"), "rhyme": "modern"}).json()
    assert {(fault["line"], fault["place"]) for fault in broken["faults"]} >= {(2, 5)}


def test_a_poem_can_be_held_to_a_form(client: TestClient, poet: Poet) -> None:
    found = client.post("/v1/poems/check", json={"text": OLD}).json()
    assert "old-style verse" in found["note"]["message"]
    assert 'which "form": "五绝" lists' in found["note"]["message"]
    assert found["note"]["templates"]["zh"] == CHINESE["old_style"]
    assert found["note"]["values"]["reason"]["code"] == "no_pattern"
    assert found["faults"] == []
    strict = client.post("/v1/poems/check", json={"text": OLD, "form": "五绝"}).json()
    assert strict["note"] is None
    assert [(fault["code"], fault["kind"], fault["line"], fault["place"]) for fault in strict["faults"]] == [
        (fault.code, fault.kind, fault.line, fault.position) for fault in poet.check(OLD, form="五绝").faults
    ]
    assert strict["faults"][0] == {
        **dict.fromkeys(("group", "text", "tune"), ""),
        **dict.fromkeys(("other_line", "count", "expected_count"), 0),
        **{
            "code": "wrong_tone",
            "kind": "tone",
            "line": 2,
            "place": 4,
            "character": "上",
            "tone": "仄",
            "expected": "平",
        },
        "reason": {
            "code": "wrong_tone",
            "message": "its tone is oblique, but level is required here",
            "values": {"tone": said("oblique_tone", "oblique"), "expected": said("level_tone", "level")},
            "templates": {"en": "its tone is {tone}, but {expected} is required here", "zh": CHINESE["wrong_tone"]},
        },
    }
    proposed = client.post("/v1/poems/suggest", json={"text": OLD, "form": "五绝"}).json()
    assert [mark["character"] for mark in proposed["suggestions"]]
    assert client.post("/v1/poems/check", json={"text": OLD, "form": "auto"}).json() == found


def said(code: str, english: str) -> dict[str, object]:
    """What the service says where there are no gaps."""
    return {"code": code, "message": english, "values": {}, "templates": {"en": english, "zh": CHINESE[code]}}


@pytest.mark.parametrize(
    ("wishes", "code"),
    [
        ({"text": "<b>no poem</b>"}, "not_chinese"),
        ({"text": "。，"}, "no_verse"),
        ({"text": "床前"}, "unknown_shape"),
        ({"text": OLD, "form": "五律"}, "other_form"),
        ({"text": OLD, "form": "sonnet"}, "unknown_form"),
        ({"text": OLD, "form": "五绝", "tune": "浣溪沙"}, "form_and_tune"),
        ({"text": OLD, "tune": "无此调"}, "unknown_tune"),
        ({"text": "春" * 2001}, "too_long"),
        ({"text": OLD, "rhyme": "none"}, "invalid_request"),
    ],
)
@pytest.mark.parametrize("path", ["check", "suggest"])
def test_what_cannot_be_judged(client: TestClient, path: str, wishes: dict[str, object], code: str) -> None:
    response = client.post(f"/v1/poems/{path}", json=wishes)
    assert (response.status_code, response.json()["error"]["code"]) == (422, code)
    assert "--" not in response.json()["error"]["message"]


def test_characters_are_proposed(client: TestClient, poet: Poet) -> None:
    marked = WANG.replace("里", "？")
    found = client.post("/v1/poems/suggest", json={"text": marked, "num": 4}).json()
    assert found["suggestions"] == json.loads(json.dumps([mark.fields() for mark in poet.suggest(marked, num=4)]))
    assert len(found["suggestions"][0]["characters"]) == 4
    assert found["form"] == "五绝"


def test_places_are_limited_and_none_is_forgotten(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = client.post("/v1/poems/suggest", json={"text": "？" * 17})
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "too_many_places")
    assert refused.json()["error"]["values"] == {"most": 16, "count": 17}
    monkeypatch.setattr("zhseq.serve.poems.MAX_PLACES", 2)
    spoiled = "白日依月尽，黄月入海流。欲穷千里目，更上一月楼。"
    found = client.post("/v1/poems/suggest", json={"text": spoiled, "form": "五绝", "num": 1}).json()
    places = {(fault["line"], fault["place"]) for fault in found["faults"] if fault["place"]}
    assert len(found["suggestions"]) == 2
    assert found["left_out"] == len(places) - 2


def test_judging_does_not_wait_for_writing(client: TestClient) -> None:
    """While many poems are written, a poem is judged, and one place of it mended."""
    done: list[str] = []

    def write() -> None:
        assert client.post("/v1/poems", json={"form": "七律", "num": 8, "best_of": 16}).is_success
        done.append("written")

    writing = threading.Thread(target=write)
    writing.start()
    while "zhseq_queue_poems 1.0" not in client.get("/metrics").text:
        assert writing.is_alive()
    assert client.post("/v1/poems/check", json={"text": WANG}).is_success
    assert client.post("/v1/poems/suggest", json={"text": WANG.replace("里", "？"), "num": 1}).is_success
    done.append("judged")
    writing.join()
    assert done == ["judged", "written"]


def test_a_long_text_is_judged_in_turns_with_writing(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes as long as a poem may not hold up what takes little."""
    names: list[str] = []

    def submit(lane: Lane, work: Work) -> Answer:
        names.append(lane._name)
        return original(lane, work)

    original = Lane.submit
    monkeypatch.setattr(Lane, "submit", submit)
    for text in (WANG, WANG * 17):
        assert client.post("/v1/poems/check", json={"text": text, "surprise": True}).is_success
        marked = text.replace("里", "？", 1)
        assert client.post("/v1/poems/suggest", json={"text": marked, "num": 1}).is_success
    assert names == ["lookups", "lookups", "poems", "poems"]


def test_a_line_is_written_anew(client: TestClient, poet: Poet) -> None:
    lines = list(poet.write(form="五绝", seed=5).lines)
    found = client.post("/v1/poems/rewrite", json={"lines": lines, "index": 2, "num": 3, "seed": 1}).json()
    assert found == {"lines": poet.rewrite(lines, 2, 3, seed=1)}
    assert found["lines"]
    for index, others, code in ((4, lines, "no_such_line"), (2, ["春", "夏"], "no_such_line"), (
        0, ["春", "夏"], "unknown_shape"), (0, [lines[0], "春？", *lines[2:]], "open_places")):  # fmt: skip
        response = client.post("/v1/poems/rewrite", json={"lines": others, "index": index})
        assert (response.status_code, response.json()["error"]["code"]) == (422, code)


def test_options_say_what_can_be_asked_for(client: TestClient, poet: Poet) -> None:
    response = client.get("/v1/options")
    assert response.headers["cache-control"] == "private, no-cache"
    found = response.json()
    assert [form["name"] for form in found["forms"]] == ["五绝", "七绝", "五律", "七律"]
    assert [tune["name"] for tune in found["tunes"]] == list(poet.tunes)
    assert found["authors"] == list(poet.authors)
    names = {author["name"]: author["other_names"] for author in found["author_names"]}
    assert "李太白" in names["李白"]
    assert set(names) <= set(found["authors"])
    assert found["rhymes"] == ["auto", "classical", "ci", "modern", "none"]
    assert found["tags"]["pos"][0] == {"tag": "n", "chinese": "名词", "english": "noun", "upos": "NOUN"}
    assert found["tags"]["ner"] == [{"tag": "LOC", "chinese": "地名", "english": "place"}]


def test_the_first_line_does_not_wait_for_the_last(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked for next is made only when it is time."""
    from zhseq.serve.poems import _events
    from zhseq.serve.schemas import PoemRequest

    made = []

    class Slow:
        def growing(self, request: Request, number: int) -> Iterator[object]:
            for count in (1, 2):
                made.append(count)
                yield type("Part", (), {"lines": ("一",) * count, "marks": "，" * count})

    events = _events(Slow(), PoemRequest())  # type: ignore[arg-type]
    assert json.loads(next(events)) == {"poem": 0, "line": 0, "text": "一", "mark": "，"}
    assert made == [1]


def test_couplets_are_those_of_the_library(client: TestClient, poet: Poet) -> None:
    found = client.post("/v1/poems/couplet", json={"upper": "明月松间照", "num": 2, "seed": 1}).json()
    assert found == {"lower": poet.couplet("明月松间照", 2, seed=1)}
    schemas.CoupletResponse.model_validate(found)
    refused = client.post("/v1/poems/couplet", json={"upper": "月"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "upper_line_length")


def test_the_surprise_of_each_character_is_told_when_asked_for(client: TestClient, poet: Poet) -> None:
    assert "surprise" not in client.post("/v1/poems/check", json={"text": WANG}).json()
    found = client.post("/v1/poems/check", json={"text": WANG, "surprise": True}).json()
    expected = poet.surprise(poet.check(WANG))
    assert found["surprise"] == [[round(bits, 2) for bits in line] for line in expected]


def test_pinyin_goes_by_tone_and_rhyme(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "pinyin" not in client.post("/v1/poems/check", json={"text": WANG}).json()
    text = "远上寒山石径斜，白云生处有人家。停车坐爱枫林晚，霜叶红于二月花。"
    answer = client.post("/v1/poems/check", json={"text": text, "pinyin": True})
    schemas.ReviewResponse.model_validate_json(answer.content, strict=True)
    found = answer.json()["pinyin"]
    assert [len(line) for line in found] == [7, 7, 7, 7]
    assert (found[0][-1], found[1][-1], found[3][-1]) == ("xiá", "jiā", "huā")
    open_place = client.post("/v1/poems/check", json={"text": WANG.replace("里", "？"), "pinyin": True}).json()
    assert open_place["pinyin"][2][3] == "?"
    monkeypatch.setattr("zhseq.poetry.pinyin._pypinyin", missing)
    refused = client.post("/v1/poems/check", json={"text": WANG, "pinyin": True})
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "no_pinyin")


def missing() -> None:
    raise ConfigError("no_pinyin", "pinyin needs pypinyin")


def test_a_rhyme_and_the_number_of_candidates_can_be_given(client: TestClient, poet: Poet) -> None:
    wishes = {"form": "五绝", "rhyme_with": "秋", "top_k": 3, "seed": 2, "best_of": 2}
    (found,) = client.post("/v1/poems", json=wishes).json()["poems"]
    expected = poet.write(form="五绝", rhyme_with="秋", top_k=3, seed=2, best_of=2)
    assert found["lines"] == list(expected.lines)


class FailingPoet(FakePoet):
    """Breaks off after a line, or thinks about the next one for long."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error

    def growing(self, request: Request, number: int = 0) -> Iterator[Poem]:
        yield Poem(("春眠不觉晓",), "五绝")
        if self.error is not None:
            raise self.error
        time.sleep(1.5)
        yield Poem(("春眠不觉晓", "处处闻啼鸟"), "五绝")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("春眠"), "internal"),
        (SystemExit(), "internal"),
        (InputError("no_line", "expected a line"), "no_line"),
        (None, "timeout"),
    ],
)
def test_a_stream_that_breaks_off_says_so(serve: Serve, lines: Lines, error: BaseException | None, code: str) -> None:
    client = serve(FailingPoet(error), timeout=1.0)
    answer = client.post("/v1/poems", json={"form": "五绝", "stream": True})
    first, last = map(json.loads, answer.text.splitlines())
    assert first == {"poem": 0, "line": 0, "text": "春眠不觉晓", "mark": "，"}
    assert last["error"]["code"] == code
    assert "春眠" not in json.dumps(last, ensure_ascii=False)
    (line,) = [line for line in lines if line["event"] == "request"]
    assert (line["status"], line["code"]) == (200, code)
    faults = [line["kind"] for line in lines if line["event"] == "error"]
    assert faults == ([type(failure(error)).__name__] if error is not None and code == "internal" else [])


# What is looked up.


@pytest.fixture(scope="module")
def handbook() -> Handbook:
    return Handbook.load()


def test_characters_rhymes_and_facing_words_are_those_of_the_library(client: TestClient, handbook: Handbook) -> None:
    answer = client.post("/v1/verse/character", json={"character": "勝", "num": 3})
    assert answer.json() == json.loads(json.dumps(asdict(handbook.character("胜", 3))))
    assert [reading["tone"] for reading in answer.json()["readings"]] == ["去", "平"]
    TypeAdapter(CharacterEntry).validate_json(answer.content, strict=True)
    answer = client.post("/v1/verse/rhymes", json={"word": "秋", "rhyme": "ci", "num": 5})
    assert answer.json() == json.loads(json.dumps(asdict(handbook.group("秋", "ci", 5))))
    TypeAdapter(GroupEntry).validate_json(answer.content, strict=True)
    answer = client.post("/v1/verse/facing", json={"word": "明月", "num": 2})
    expected = [{"word": word, "count": count} for word, count in handbook.facing("明月", 2)]
    assert answer.json() == {"word": "明月", "facing": expected}
    schemas.FacingResponse.model_validate_json(answer.content, strict=True)


def test_a_tune_is_drawn_and_an_example_written_where_it_is_asked_for(
    client: TestClient, handbook: Handbook, poet: Poet
) -> None:
    answer = client.post("/v1/verse/tune", json={"tune": "百字令"})
    assert answer.json() == {**json.loads(json.dumps(asdict(handbook.tune("念奴娇")))), "example": ""}
    schemas.TuneResponse.model_validate_json(answer.content, strict=True)
    written = client.post("/v1/verse/tune", json={"tune": "如梦令", "example": True, "seed": 2}).json()
    assert written["example"] == poet.write(tune="如梦令", seed=2).text


def test_lines_are_found_where_the_corpora_are(poet: Poet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ZHSEQ_CORPORA", str(tmp_path))
    app = create_app(Settings(timeout=600.0), tagger=FakeTagger(), poet=poet)  # type: ignore[arg-type]
    with TestClient(app, base_url="http://localhost") as client:
        refused = client.post("/v1/verse/find", json={"text": "黄河入海"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "no_corpora")
        assert str(tmp_path) not in refused.text
        lines = {"lines": ["白日依山尽", "黄河入海流"], "marks": "，。"}
        row = {"dynasty": "唐", "author": "甲", "tune": "", "title": "登楼", **lines}
        poems = pyarrow.Table.from_pylist([row, row])
        monkeypatch.setattr("zhseq.serve.services.map_poems", lambda build: poems)
        answer = client.post("/v1/verse/find", json={"text": "黃河入海", "num": 1})
        place = {"author": "甲", "dynasty": "唐", "title": "登楼", "line": 2, "text": WANG[:12]}
        assert answer.json() == {"text": "黃河入海", "poems": 2, "places": [place]}
        schemas.FindResponse.model_validate_json(answer.content, strict=True)
        monkeypatch.undo()
        assert client.post("/v1/verse/find", json={"text": "黄河"}).json()["poems"] == 2  # mapped once


@pytest.mark.parametrize(
    ("what", "body", "code"),
    [
        ("character", {"character": "春秋"}, "one_character"),
        ("character", {"character": "A"}, "not_chinese"),
        ("character", {"character": "𪚥"}, "unknown_character"),
        ("character", {"character": "春" * 21}, "too_long"),
        ("rhymes", {"word": "行"}, "ambiguous_rhyme_group"),
        ("rhymes", {"word": "没有"}, "unknown_rhyme_group"),
        ("tune", {"tune": "没有此调"}, "unknown_tune"),
        ("tune", {"tune": "天净沙", "example": True}, "tune_of_songs"),
        ("facing", {"word": "春天里"}, "facing_word"),
        ("facing", {"word": ""}, "facing_word"),
        ("find", {"text": "春"}, "short_phrase"),
        ("find", {"text": "spring"}, "not_chinese"),
    ],
)
def test_what_cannot_be_looked_up_is_said_in_both_languages(
    client: TestClient, what: str, body: dict[str, object], code: str
) -> None:
    answer = client.post(f"/v1/verse/{what}", json=body)
    said = schemas.ErrorResponse.model_validate_json(answer.content).error
    assert (answer.status_code, said.code) == (422, code)
    assert said.code in schemas.ERROR_CODES
    assert said.templates.zh != said.templates.en


def test_a_model_without_tables_has_nothing_to_look_up(serve: Serve) -> None:
    answer = serve().post("/v1/verse/tune", json={"tune": "如梦令"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "no_handbook")


def test_looking_up_does_not_wait_for_writing(poet: Poet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lane of writing stands still meanwhile."""
    go = threading.Event()

    def steps(self: Poet, request: Request, num: int) -> Iterator[Poem | None]:
        assert go.wait(60)
        yield Poem(("春眠不觉晓",), "五绝")

    monkeypatch.setattr(Poet, "steps", steps)
    app = create_app(Settings(timeout=600.0), tagger=FakeTagger(), poet=poet)  # type: ignore[arg-type]
    with TestClient(app, base_url="http://localhost") as client:
        writer = threading.Thread(target=client.post, args=("/v1/poems",), kwargs={"json": {"form": "五绝"}})
        writer.start()
        for what, body in (
            ("character", {"character": "春"}),
            ("rhymes", {"word": "秋"}),
            ("tune", {"tune": "如梦令"}),
            ("facing", {"word": "春"}),
        ):
            assert client.post(f"/v1/verse/{what}", json=body).status_code == 200
        assert writer.is_alive()
        go.set()
        writer.join()
