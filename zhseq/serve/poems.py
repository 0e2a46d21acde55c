"""Endpoints under /v1/poems, which write and review poems, and under /v1/verse, which look verse up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterator
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import anyio
from starlette.requests import Request as HttpRequest
from starlette.responses import Response, StreamingResponse

from zhseq.errors import ConfigError, InputError, Message, service
from zhseq.poetry.lookup import CharacterEntry, GroupEntry, fields_of, finding, lines_to_find
from zhseq.poetry.request import Ranking, Request, Sampling
from zhseq.poetry.scoring import positions_to_mend
from zhseq.serve.http import ApiError, Visit, error_body, json_response, say, to_json, too_slow
from zhseq.serve.openapi import Endpoint
from zhseq.serve.queues import Answer, Lane, Work
from zhseq.serve.reading import finish, read
from zhseq.serve.schemas import (
    CharacterRequest,
    CoupletRequest,
    CoupletResponse,
    FacingRequest,
    FacingResponse,
    FindRequest,
    FindResponse,
    PoemRequest,
    PoemsResponse,
    ReviewRequest,
    ReviewResponse,
    RewriteRequest,
    RewriteResponse,
    RhymesRequest,
    StreamEvent,
    SuggestRequest,
    SuggestResponse,
    TuneRequest,
    TuneResponse,
    Wishes,
)
from zhseq.serve.services import Services, services
from zhseq.serve.settings import LOOKUP_CHARACTERS, MAX_PLACES

if TYPE_CHECKING:
    from zhseq.poetry.faults import Finding, Review
    from zhseq.poetry.lookup import Handbook
    from zhseq.poetry.poet import Poem, Poet

_STREAM = "application/x-ndjson"
_MARKS = "？?□"
_HOW_TO_DRAW = {"seed", "temperature"}
_STREAMED = {
    _STREAM: {
        "schema": {"type": "string", "description": "With `stream`: a `StreamEvent` in each line."},
        "example": '{"poem":0,"line":0,"text":"白日依山尽","mark":"，"}\n{"poem":0,"done":{"lines":["..."]}}\n',
    }
}


async def write(request: HttpRequest) -> Response:
    """Write poems that keep form, tones and rhyme.

    With `stream` the response has one event per line: each line of a poem once it is finished, then the poem.
    """
    here = services(request)
    payload = await read(request, PoemRequest)
    if payload.stream:
        answer = here.poems.submit(_translated(lambda: _events(here.poet, payload)))
        parts = aiter(answer)
        begun, seconds = anyio.current_time(), here.settings.timeout
        first = await finish(anext(parts), request.receive, seconds)
        events = _stream(first, answer, parts, begun, seconds, request.scope["visit"])
        return StreamingResponse(events, media_type=_STREAM)
    poems = await _all(request, here.poems, lambda: _poems(here.poet, payload))
    return json_response(b'{"poems":[' + b",".join(poems) + b"]}")


async def check(request: HttpRequest) -> Response:
    """Find faults of form, tone, rhyme and repetition."""
    here = services(request)
    payload = await read(request, ReviewRequest)

    def work() -> Iterator[bytes | None]:
        found = here.poet.check(payload.text, **_rules(payload))
        yield None
        yield to_json((yield from _review(here.poet, found, payload)))

    return json_response(b"".join(await _all(request, _lane(here, payload), work)))


async def suggest(request: HttpRequest) -> Response:
    """Suggest characters that keep the rules, best first, for marked places, or for faults if no place is marked.

    At most 16 places may be marked. Of places with faults the first 16 are examined, and `left_out` counts the others.
    """
    here = services(request)
    payload = await read(request, SuggestRequest)
    marked = sum(map(payload.text.count, _MARKS))
    if marked > MAX_PLACES:
        message = Message(
            "too_many_places",
            "a poem may have {most} marked places at most, but this one has {count}; fill some of them first",
            {"most": MAX_PLACES, "count": marked},
        )
        raise ApiError(422, message)

    def work() -> Iterator[bytes | None]:
        found = here.poet.check(payload.text, **_rules(payload))
        places = len(positions_to_mend(found))
        yield None
        marks: list[dict[str, Any]] = []
        steps = here.poet.suggestions(found, rhyme=payload.rhyme, num=payload.num) if places else iter(())
        while len(marks) < min(places, MAX_PLACES):
            mark = next(steps)
            marks += [] if mark is None else [mark.fields()]
            yield None
        review = yield from _review(here.poet, found, payload)
        yield to_json({**review, "suggestions": marks, "left_out": places - len(marks)})

    lane = _lane(here, payload) if marked == 1 else here.poems
    return json_response(b"".join(await _all(request, lane, work)))


async def rewrite(request: HttpRequest) -> Response:
    """Write alternatives for a line that fit form, tones and rhyme, best first."""
    here = services(request)
    payload = await read(request, RewriteRequest)

    def work() -> Iterator[bytes | None]:
        for lines in here.poet.rewriting(_request(payload), payload.lines, payload.index, payload.num):
            yield None if lines is None else to_json({"lines": lines})

    return json_response(b"".join(await _all(request, here.poems, work)))


async def couplet(request: HttpRequest) -> Response:
    """Write lower lines for an upper line: opposed tones, no shared character."""
    here = services(request)
    payload = await read(request, CoupletRequest)

    def work() -> Iterator[bytes | None]:
        sampling = Sampling(temperature=payload.temperature, seed=payload.seed)
        for lower in here.poet.answers(payload.upper, payload.num, payload.rhyme, sampling):
            yield None if lower is None else to_json(lower)

    lower = await _all(request, here.poems, work)
    return json_response(b'{"lower":[' + b",".join(lower) + b"]}")


async def character(request: HttpRequest) -> Response:
    """Look up how verse uses a character: its tones, rhymes and readings, and words that distinguish them."""
    payload = await read(request, CharacterRequest)
    return await _looked_up(request, lambda book: fields_of(book.character(payload.character, payload.num)))


async def rhymes(request: HttpRequest) -> Response:
    """Look up words that rhyme with a word, most frequent in verse first, with words that end in them."""
    payload = await read(request, RhymesRequest)
    return await _looked_up(request, lambda book: fields_of(book.group(payload.word, payload.rhyme, payload.num)))


async def tune(request: HttpRequest) -> Response:
    """Look up a tune: diagrams of its patterns, other names; with `example` also write a poem to it."""
    here = services(request)
    payload = await read(request, TuneRequest)
    handbook = _handbook(here)

    def work() -> Iterator[bytes | None]:
        entry = handbook.tune(payload.tune)
        text = ""
        yield None
        wanted = Request(tune=entry.name, sampling=Sampling(seed=payload.seed))
        for poem in here.poet.steps(wanted, 1) if payload.example else ():
            text = "" if poem is None else poem.text
            yield None
        yield to_json({**fields_of(entry), "example": text})

    return json_response(b"".join(await _all(request, here.poems if payload.example else here.lookups, work)))


async def facing(request: HttpRequest) -> Response:
    """Look up words that poets put opposite a word in couplets, most frequent first."""
    payload = await read(request, FacingRequest)

    def found(book: Handbook) -> dict[str, Any]:
        words = book.facing(payload.word, payload.num)
        return {"word": payload.word, "facing": [{"word": word, "count": count} for word, count in words]}

    return await _looked_up(request, found)


async def find(request: HttpRequest) -> Response:
    """Find poems of the corpora that contain a line or phrase, oldest first; needs the corpora."""
    here = services(request)
    payload = await read(request, FindRequest)
    try:
        wanted = lines_to_find(payload.text)
    except InputError as error:
        raise ApiError(422, error.message) from None
    poems = await finish(here.corpora(), request.receive, here.settings.timeout)

    def work() -> Iterator[bytes | None]:
        for found in finding(poems, wanted, payload.num):
            if found is None:
                yield None
            else:
                count, places = found
                yield to_json({"text": payload.text, "poems": count, "places": [fields_of(each) for each in places]})

    return json_response(b"".join(await _all(request, here.lookups, work)))


async def _looked_up(request: HttpRequest, found: Callable[[Handbook], dict[str, Any]]) -> Response:
    """Return the result of a look-up in the handbook, which is one step."""
    here = services(request)
    handbook = _handbook(here)
    return json_response(b"".join(await _all(request, here.lookups, lambda: iter([to_json(found(handbook))]))))


def _handbook(here: Services) -> Handbook:
    if here.handbook is None:
        message = Message("no_handbook", "the model of this service has no look-up tables of verse")
        raise ApiError(422, message)
    return here.handbook


def _lane(here: Services, payload: ReviewRequest) -> Lane:
    """Return the lane for a review: texts longer than any tune take as long as writing, and wait with it."""
    return here.lookups if len(payload.text) <= LOOKUP_CHARACTERS else here.poems


async def _all(request: HttpRequest, lane: Lane, work: Work) -> list[bytes]:
    """Do work in a lane and return all parts of its result."""
    answer = lane.submit(_translated(work))

    async def gather() -> list[bytes]:
        return [part async for part in answer]

    return await finish(gather(), request.receive, services(request).settings.timeout)


def _translated(work: Work) -> Work:
    """Return work that raises `ApiError` for a request that cannot be fulfilled."""

    def translated() -> Iterator[bytes | None]:
        try:
            yield from work()
        except InputError as error:
            raise ApiError(422, error.message) from None

    return translated


async def _stream(
    first: bytes, answer: Answer, parts: AsyncIterator[bytes], begun: float, seconds: float, visit: Visit
) -> AsyncIterator[bytes]:
    """Yield the events of a response, until `seconds` after it was begun.

    An error is an event as well, since the status has already been sent.
    """
    error: ApiError | None = None
    try:
        yield first
        with anyio.fail_after(max(0.0, begun + seconds - anyio.current_time())):
            async for part in parts:
                yield part
    except ApiError as refusal:
        error = refusal
    except TimeoutError:
        error = too_slow(seconds)
    except Exception as fault:
        error = visit.fault(fault)
    finally:
        answer.cancelled = True
    if error is not None:
        visit.code = error.code
        yield to_json(error_body(error.message)) + b"\n"


def _poems(poet: Poet, payload: PoemRequest) -> Iterator[bytes | None]:
    for poem in poet.steps(_wanted(payload), payload.num):
        yield None if poem is None else to_json(_poem(poem, payload.seed))


def _events(poet: Poet, payload: PoemRequest) -> Iterator[bytes | None]:
    """Yield an event for each line of each poem, and one for the whole poem.

    The lines of a poem that is chosen among drafts are sent together, after the choice.
    """
    for number in range(payload.num):
        shown = 0
        for grown in poet.growing(_wanted(payload), number):
            if grown is None:
                yield None
                continue
            poem = grown
            for line in range(shown, len(poem.lines)):
                event = {"poem": number, "line": line, "text": poem.lines[line], "mark": poem.marks[line]}
                yield to_json(event) + b"\n"
            shown = len(poem.lines)
        yield to_json({"poem": number, "done": _poem(poem, payload.seed)}) + b"\n"


def _wanted(payload: PoemRequest) -> Request:
    sampling = Sampling(payload.temperature, payload.top_p, payload.top_k, payload.seed)
    wanted = replace(_request(payload), lines=tuple(payload.lines), sampling=sampling, ranking=Ranking(payload.best_of))
    # A stream requests each poem by itself; the number of drafts still depends on all of them.
    return replace(wanted, drafts=payload.drafts or wanted.drafts_of(payload.num))


def _request(payload: Wishes) -> Request:
    """Return the request to the poet, without the fields that only one endpoint has."""
    fields = {name: getattr(payload, name) for name in Wishes.model_fields if name not in _HOW_TO_DRAW}
    return Request(**fields, sampling=Sampling(payload.temperature, seed=payload.seed))


def _poem(poem: Poem, seed: int) -> dict[str, Any]:
    return {
        "lines": poem.lines,
        "text": poem.text,
        "form": poem.form,
        "tune": poem.tune,
        "title": poem.title,
        "author": poem.author,
        "seed": seed,
        "pattern": None if poem.pattern is None else asdict(poem.pattern),
        "note": None if poem.note is None else say(poem.note),
    }


def _rules(payload: ReviewRequest) -> dict[str, str]:
    """Return the rules of a review as arguments of the library."""
    return {"tune": payload.tune, "form": "" if payload.form == "auto" else payload.form, "rhyme": payload.rhyme}


def _review(poet: Poet, found: Review, payload: ReviewRequest) -> Generator[None, None, dict[str, Any]]:
    """Return a review as JSON values; yield None after each step."""
    prosody = poet.reviewing(payload.rhyme)
    costs = None
    for bits in poet.surprising(found) if payload.surprise else ():
        yield None
        costs = bits
    sounds = {"pinyin": _pinyin(poet, found)} if payload.pinyin else {}
    return {
        **vars(found),
        "faults": [_found(fault) for fault in found.faults],
        "remarks": [_found(remark) for remark in found.remarks],
        "otherwise": [_found(fault) for fault in found.otherwise.faults] if found.otherwise is not None else [],
        "note": None if found.note is None else say(found.note),
        "rhyme_names": [found.rhyme_name(line, prosody) for line in range(len(found.lines))],
        **({} if costs is None else {"surprise": [[round(bits, 2) for bits in line] for line in costs]}),
        **sounds,
    }


def _pinyin(poet: Poet, found: Review) -> list[list[str]]:
    try:
        return poet.pinyin(found)
    except ConfigError as error:  # the extra is missing
        raise ApiError(422, error.message) from None


def _found(finding: Finding) -> dict[str, Any]:
    return {**finding.fields(service, "en"), "reason": say(finding.reason)}


ENDPOINTS = (
    Endpoint("POST", "/v1/poems", write, "Write poems", "poems", PoemsResponse, PoemRequest, _STREAMED, (StreamEvent,)),
    Endpoint("POST", "/v1/poems/check", check, "Check a poem", "poems", ReviewResponse, ReviewRequest),
    Endpoint("POST", "/v1/poems/suggest", suggest, "Suggest characters", "poems", SuggestResponse, SuggestRequest),
    Endpoint("POST", "/v1/poems/rewrite", rewrite, "Rewrite a line", "poems", RewriteResponse, RewriteRequest),
    Endpoint("POST", "/v1/poems/couplet", couplet, "Write lower lines", "poems", CoupletResponse, CoupletRequest),
    Endpoint(
        "POST", "/v1/verse/character", character, "Look up a character", "verse", CharacterEntry, CharacterRequest
    ),
    Endpoint("POST", "/v1/verse/rhymes", rhymes, "Look up words that rhyme", "verse", GroupEntry, RhymesRequest),
    Endpoint("POST", "/v1/verse/tune", tune, "Look up a tune", "verse", TuneResponse, TuneRequest),
    Endpoint("POST", "/v1/verse/facing", facing, "Look up parallel words", "verse", FacingResponse, FacingRequest),
    Endpoint("POST", "/v1/verse/find", find, "Find poems with a line", "verse", FindResponse, FindRequest),
)
