"""POST /v1/poems and what belongs to it: writing, checking, suggesting; POST /v1/verse, where verse is looked up."""

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

    With `stream` the answer is one event a line: each line of a poem as it stands, then the poem.
    """
    here = services(request)
    wishes = await read(request, PoemRequest)
    if wishes.stream:
        answer = here.poems.submit(_translated(lambda: _events(here.poet, wishes)))
        parts = aiter(answer)
        begun, seconds = anyio.current_time(), here.settings.timeout
        first = await finish(anext(parts), request.receive, seconds)
        events = _stream(first, answer, parts, begun, seconds, request.scope["visit"])
        return StreamingResponse(events, media_type=_STREAM)
    poems = await _all(request, here.poems, lambda: _poems(here.poet, wishes))
    return json_response(b'{"poems":[' + b",".join(poems) + b"]}")


async def check(request: HttpRequest) -> Response:
    """Find faults of form, tone, rhyme and repetition."""
    here = services(request)
    wishes = await read(request, ReviewRequest)

    def work() -> Iterator[bytes | None]:
        found = here.poet.check(wishes.text, **_rules(wishes))
        yield None
        yield to_json((yield from _review(here.poet, found, wishes)))

    return json_response(b"".join(await _all(request, _lane(here, wishes), work)))


async def suggest(request: HttpRequest) -> Response:
    """Propose characters that keep the rules, the best first, for marked places, or else for the faults.

    There may be 16 marked places; of the faults the first 16 places are looked at, and `left_out` counts the others.
    """
    here = services(request)
    wishes = await read(request, SuggestRequest)
    marked = sum(map(wishes.text.count, _MARKS))
    if marked > MAX_PLACES:
        message = Message(
            "too_many_places",
            "a poem may have {most} marked places at most, but this one has {count}; fill some of them first",
            {"most": MAX_PLACES, "count": marked},
        )
        raise ApiError(422, message)

    def work() -> Iterator[bytes | None]:
        found = here.poet.check(wishes.text, **_rules(wishes))
        places = len(positions_to_mend(found))
        yield None
        marks: list[dict[str, Any]] = []
        steps = here.poet.suggestions(found, rhyme=wishes.rhyme, num=wishes.num) if places else iter(())
        while len(marks) < min(places, MAX_PLACES):
            mark = next(steps)
            marks += [] if mark is None else [mark.fields()]
            yield None
        review = yield from _review(here.poet, found, wishes)
        yield to_json({**review, "suggestions": marks, "left_out": places - len(marks)})

    lane = _lane(here, wishes) if marked == 1 else here.poems
    return json_response(b"".join(await _all(request, lane, work)))


async def rewrite(request: HttpRequest) -> Response:
    """Return other versions of a line that fit into form, tones and rhyme, the best first."""
    here = services(request)
    wishes = await read(request, RewriteRequest)

    def work() -> Iterator[bytes | None]:
        for lines in here.poet.rewriting(_request(wishes), wishes.lines, wishes.index, wishes.num):
            yield None if lines is None else to_json({"lines": lines})

    return json_response(b"".join(await _all(request, here.poems, work)))


async def couplet(request: HttpRequest) -> Response:
    """Answer an upper line with lower ones: tones opposed, no character shared."""
    here = services(request)
    wishes = await read(request, CoupletRequest)

    def work() -> Iterator[bytes | None]:
        sampling = Sampling(temperature=wishes.temperature, seed=wishes.seed)
        for lower in here.poet.answers(wishes.upper, wishes.num, wishes.rhyme, sampling):
            yield None if lower is None else to_json(lower)

    lower = await _all(request, here.poems, work)
    return json_response(b'{"lower":[' + b",".join(lower) + b"]}")


async def character(request: HttpRequest) -> Response:
    """Look up how verse uses a character: its tones, rhymes and readings, and words that tell these apart."""
    wishes = await read(request, CharacterRequest)
    return await _looked_up(request, lambda book: fields_of(book.character(wishes.character, wishes.num)))


async def rhymes(request: HttpRequest) -> Response:
    """Look up words that rhyme with one, the most frequent in verse first, with words that poets make of them."""
    wishes = await read(request, RhymesRequest)
    return await _looked_up(request, lambda book: fields_of(book.group(wishes.word, wishes.rhyme, wishes.num)))


async def tune(request: HttpRequest) -> Response:
    """Look up a tune: its pattern drawn, its variants, other names; with `example` a poem is written to it."""
    here = services(request)
    wishes = await read(request, TuneRequest)
    handbook = _handbook(here)

    def work() -> Iterator[bytes | None]:
        entry = handbook.tune(wishes.tune)
        text = ""
        yield None
        wanted = Request(tune=entry.name, sampling=Sampling(seed=wishes.seed))
        for poem in here.poet.steps(wanted, 1) if wishes.example else ():
            text = "" if poem is None else poem.text
            yield None
        yield to_json({**fields_of(entry), "example": text})

    return json_response(b"".join(await _all(request, here.poems if wishes.example else here.lookups, work)))


async def facing(request: HttpRequest) -> Response:
    """Look up what people set against a word in couplets, the most frequent first."""
    wishes = await read(request, FacingRequest)

    def found(book: Handbook) -> dict[str, Any]:
        words = book.facing(wishes.word, wishes.num)
        return {"word": wishes.word, "facing": [{"word": word, "count": count} for word, count in words]}

    return await _looked_up(request, found)


async def find(request: HttpRequest) -> Response:
    """Find the poems of the corpora that hold a line or phrase, the oldest first; only where the corpora are."""
    here = services(request)
    wishes = await read(request, FindRequest)
    try:
        wanted = lines_to_find(wishes.text)
    except InputError as error:
        raise ApiError(422, error.message) from None
    poems = await finish(here.corpora(), request.receive, here.settings.timeout)

    def work() -> Iterator[bytes | None]:
        for found in finding(poems, wanted, wishes.num):
            if found is None:
                yield None
            else:
                count, places = found
                yield to_json({"text": wishes.text, "poems": count, "places": [fields_of(each) for each in places]})

    return json_response(b"".join(await _all(request, here.lookups, work)))


async def _looked_up(request: HttpRequest, found: Callable[[Handbook], dict[str, Any]]) -> Response:
    """Return what is found in the handbook, in one step."""
    here = services(request)
    handbook = _handbook(here)
    return json_response(b"".join(await _all(request, here.lookups, lambda: iter([to_json(found(handbook))]))))


def _handbook(here: Services) -> Handbook:
    if here.handbook is None:
        message = Message("no_handbook", "the model of this service has no tables in which verse could be looked up")
        raise ApiError(422, message)
    return here.handbook


def _lane(here: Services, wishes: ReviewRequest) -> Lane:
    """Return where a poem is judged: what is longer than any tune takes as long as writing, and waits with it."""
    return here.lookups if len(wishes.text) <= LOOKUP_CHARACTERS else here.poems


async def _all(request: HttpRequest, lane: Lane, work: Work) -> list[bytes]:
    """Return all parts of an answer that is made in a lane."""
    answer = lane.submit(_translated(work))

    async def gather() -> list[bytes]:
        return [part async for part in answer]

    return await finish(gather(), request.receive, services(request).settings.timeout)


def _translated(work: Work) -> Work:
    """Let a wish that cannot be fulfilled be an error of the client."""

    def translated() -> Iterator[bytes | None]:
        try:
            yield from work()
        except InputError as error:
            raise ApiError(422, error.message) from None

    return translated


async def _stream(
    first: bytes, answer: Answer, parts: AsyncIterator[bytes], begun: float, seconds: float, visit: Visit
) -> AsyncIterator[bytes]:
    """Yield the events of an answer, up to so many seconds after it was begun.

    What goes wrong in the middle is an event, too, since the status is sent already.
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


def _poems(poet: Poet, wishes: PoemRequest) -> Iterator[bytes | None]:
    for poem in poet.steps(_wanted(wishes), wishes.num):
        yield None if poem is None else to_json(_poem(poem, wishes.seed))


def _events(poet: Poet, wishes: PoemRequest) -> Iterator[bytes | None]:
    """Yield an event for each line of each poem, and one for the whole poem.

    The lines of a poem that is chosen among drafts come together, once it is chosen.
    """
    for number in range(wishes.num):
        shown = 0
        for grown in poet.growing(_wanted(wishes), number):
            if grown is None:
                yield None
                continue
            poem = grown
            for line in range(shown, len(poem.lines)):
                event = {"poem": number, "line": line, "text": poem.lines[line], "mark": poem.marks[line]}
                yield to_json(event) + b"\n"
            shown = len(poem.lines)
        yield to_json({"poem": number, "done": _poem(poem, wishes.seed)}) + b"\n"


def _wanted(wishes: PoemRequest) -> Request:
    sampling = Sampling(wishes.temperature, wishes.top_p, wishes.top_k, wishes.seed)
    wanted = replace(_request(wishes), lines=tuple(wishes.lines), sampling=sampling, ranking=Ranking(wishes.best_of))
    # Each poem of a stream is asked for by itself, and is still one of several.
    return replace(wanted, drafts=wishes.drafts or wanted.drafts_of(wishes.num))


def _request(wishes: Wishes) -> Request:
    """Return what is asked of a poem, without what is special to one endpoint."""
    fields = {name: getattr(wishes, name) for name in Wishes.model_fields if name not in _HOW_TO_DRAW}
    return Request(**fields, sampling=Sampling(wishes.temperature, seed=wishes.seed))


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


def _rules(wishes: ReviewRequest) -> dict[str, str]:
    """Return what a poem is held to, as the library is told."""
    return {"tune": wishes.tune, "form": "" if wishes.form == "auto" else wishes.form, "rhyme": wishes.rhyme}


def _review(poet: Poet, found: Review, wishes: ReviewRequest) -> Generator[None, None, dict[str, Any]]:
    """Return a judgement as values of JSON; yield None after each step."""
    prosody = poet.reviewing(wishes.rhyme)
    costs = None
    for bits in poet.surprising(found) if wishes.surprise else ():
        yield None
        costs = bits
    sounds = {"pinyin": _pinyin(poet, found)} if wishes.pinyin else {}
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
    Endpoint("POST", "/v1/poems/check", check, "Judge a poem", "poems", ReviewResponse, ReviewRequest),
    Endpoint("POST", "/v1/poems/suggest", suggest, "Propose characters", "poems", SuggestResponse, SuggestRequest),
    Endpoint("POST", "/v1/poems/rewrite", rewrite, "Write one line anew", "poems", RewriteResponse, RewriteRequest),
    Endpoint("POST", "/v1/poems/couplet", couplet, "Answer an upper line", "poems", CoupletResponse, CoupletRequest),
    Endpoint(
        "POST", "/v1/verse/character", character, "Look up a character", "verse", CharacterEntry, CharacterRequest
    ),
    Endpoint("POST", "/v1/verse/rhymes", rhymes, "Look up words that rhyme", "verse", GroupEntry, RhymesRequest),
    Endpoint("POST", "/v1/verse/tune", tune, "Look up a tune", "verse", TuneResponse, TuneRequest),
    Endpoint("POST", "/v1/verse/facing", facing, "Look up what faces a word", "verse", FacingResponse, FacingRequest),
    Endpoint("POST", "/v1/verse/find", find, "Find a line in poems", "verse", FindResponse, FindRequest),
)
