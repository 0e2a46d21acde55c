"""What requests and answers hold, as pydantic models, for checks and for the OpenAPI document.

Requests are checked strictly: no number in quotes, no unknown field. Answers are written by hand, for speed; their
models are documentation only, which the tests hold to the truth.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any, Literal, TypeVar, cast

import anyio
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive

from zhseq.serve.http import ApiError, ClientGone, too_slow
from zhseq.serve.settings import MAX_POEMS, MAX_SUGGESTIONS, MAX_WORDS, POEM_CHARACTERS
from zhseq.tagging.dictionary import MAX_LABEL, MAX_WORD

_Body = TypeVar("_Body", bound=BaseModel)
_Result = TypeVar("_Result")
_BODY_SECONDS = 10.0  # in which a body must have come
_SHOWN = 3  # faults of a body that are told at once


async def read(request: Request, model: type[_Body]) -> _Body:
    """Read and check the body of a request.

    Raises:
        ApiError: It is not JSON, not what `model` describes, or does not come.
        ClientGone: The client has closed the connection.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        message = "Expected a body in JSON, with the header 'Content-Type: application/json'."
        raise ApiError(415, "unsupported_media_type", message)
    try:
        with anyio.fail_after(_BODY_SECONDS):
            body = await _body(request.receive)
    except TimeoutError as error:
        message = f"The body did not come within {_BODY_SECONDS:g} seconds."
        raise ApiError(408, "body_timeout", message, {"Connection": "close"}) from error
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise _refusal(error) from None  # the cause holds the user's text


async def _body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _refusal(error: ValidationError) -> ApiError:
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    if faults[0]["type"] == "json_invalid":
        return ApiError(400, "invalid_json", f"Expected a body in JSON, in UTF-8, but found: {faults[0]['msg']}.")
    shown = [f"{'.'.join(map(str, fault['loc']))[:80] or 'body'}: {fault['msg']}" for fault in faults[:_SHOWN]]
    more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
    code = "too_long" if {fault["type"] for fault in faults} == {"string_too_long"} else "invalid_request"
    return ApiError(422, code, "; ".join(shown) + more + ".")


async def finish(work: Awaitable[_Result], receive: Receive, seconds: float) -> _Result:
    """Wait for work, as long as the client does; the work is cancelled when nobody waits for it any longer.

    Raises:
        ApiError: It took longer than `seconds`.
        ClientGone: The client has closed the connection.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(receive))
    try:
        done, _ = await asyncio.wait({task, gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if task in done:
            return task.result()
        if gone in done:
            raise ClientGone
        raise too_slow(seconds)
    finally:
        task.cancel()
        gone.cancel()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


SEED_LIMIT = 2**63 - 1

Line = Annotated[str, Field(max_length=POEM_CHARACTERS)]


class Body(BaseModel):
    """A body of a request."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class DictionaryWord(Body):
    """A word of the user."""

    word: Annotated[str, Field(min_length=1, max_length=MAX_WORD, description="any characters, blanks included")]
    pos: Annotated[str, Field(max_length=MAX_LABEL, description="part of speech; empty: as the model likes")] = ""
    label: Annotated[str, Field(max_length=MAX_LABEL, description="kind of name; empty: none")] = ""
    mode: Annotated[
        Literal["prefer", "force"], Field(description="yield to a strong context, or be a word wherever it stands")
    ] = "prefer"


class TagRequest(Body):
    """Texts to tag: `text` or `texts`."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": ["text"]}, {"required": ["texts"]}],
            "examples": [
                {"text": "江泽民主席访问北京"},
                {"texts": ["小明在北京大学学习。", "今天天气很好。"], "tasks": ["pos"], "scores": True},
                {"text": "他在云栖小镇上班", "words": [{"word": "云栖小镇", "pos": "ns", "label": "LOC"}]},
            ],
        }
    )

    text: Annotated[str, Field(description="one text", default_factory=str)]
    texts: Annotated[list[str], Field(description="several texts", min_length=1, default_factory=list)]
    tasks: Annotated[
        list[Literal["pos", "ner"]],
        Field(description="what to find; by default all", min_length=1, default_factory=list),
    ]
    scores: Annotated[bool, Field(description="give each word and name its probability")] = False
    words: Annotated[list[DictionaryWord], Field(description="words of your own", max_length=MAX_WORDS)] = []

    @model_validator(mode="after")
    def _one_of_two(self) -> TagRequest:
        if len(self.model_fields_set & {"text", "texts"}) != 1:
            raise ValueError("give either text or texts")
        return self


class Wishes(Body):
    """What is asked of a poem; what is left out is left to the model."""

    start: Annotated[Line, Field(description="how the poem begins")] = ""
    form: Annotated[str, Field(max_length=20, description="auto, 五绝, 七绝, 五律 or 七律")] = "auto"
    title: Line = ""
    about: Annotated[Line, Field(description="subject; pulls harder than a title")] = ""
    author: Annotated[str, Field(max_length=50, description="in whose manner; see /v1/options")] = ""
    dynasty: Annotated[str, Field(max_length=50, description="in the manner of which time")] = ""
    traditional: Annotated[bool, Field(description="write in traditional characters")] = False
    rhyme: Annotated[Literal["auto", "classical", "modern", "none"], Field(description="tones and rhymes to keep")] = (
        "auto"
    )
    tune: Annotated[str, Field(max_length=50, description="write ci to this tune; see /v1/options")] = ""
    acrostic: Annotated[Line, Field(description="characters with which the lines begin")] = ""
    acrostic_at: Annotated[Literal["start", "end"], Field(description="where in the lines they stand")] = "start"
    rhyme_group: Annotated[str, Field(max_length=20, description="rhyme group, called by one of its words")] = ""
    seed: Annotated[int, Field(ge=0, le=SEED_LIMIT, description="the same seed gives the same lines")] = 0
    temperature: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False, description="lower is safer")] = 0.8


class PoemRequest(Wishes):
    """Wishes for poems."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"start": "春", "form": "七绝", "seed": 1},
                {"tune": "浣溪沙", "about": "秋夜", "stream": True},
                {"acrostic": "一生平安", "form": "五绝", "num": 2},
            ]
        }
    )

    lines: Annotated[list[Line], Field(description="lines to go on from", max_length=100)] = []
    num: Annotated[int, Field(ge=1, le=MAX_POEMS, description="how many poems")] = 1
    best_of: Annotated[int, Field(ge=1, le=64, description="candidates for each line")] = 4
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False, description="share of probability to draw from")] = (
        0.95
    )
    stream: Annotated[bool, Field(description="send each line as soon as it stands, as NDJSON")] = False


class RewriteRequest(Wishes):
    """A poem of which one line is to be written anew, and what was asked of it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"lines": ["白日依山尽", "黄河入海流", "欲穷千里目", "更上一层楼"], "index": 2, "num": 3}]
        }
    )

    lines: Annotated[list[Line], Field(description="the whole poem, without punctuation", min_length=1, max_length=100)]
    index: Annotated[int, Field(ge=0, lt=100, description="number of the line, from 0")]
    num: Annotated[int, Field(ge=1, le=MAX_SUGGESTIONS, description="how many other versions")] = 5


class ReviewRequest(Body):
    """A poem of a person."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"text": "白日依山尽，黄河入海流。欲穷千里目，更上一层楼。"},
                {"text": "床前明月光，疑是地上霜。举头望明月，低头思故乡。", "form": "五绝"},
            ]
        }
    )

    text: Annotated[Line, Field(description="the poem, with or without punctuation")]
    tune: Annotated[str, Field(max_length=50, description="the tune it follows; by default told by its lines")] = ""
    form: Annotated[
        str, Field(max_length=20, description="the form to whose rules it is held; auto: told by its lines and tones")
    ] = "auto"
    rhyme: Annotated[Literal["classical", "modern"], Field(description="tones and rhymes to judge by")] = "classical"


class SuggestRequest(ReviewRequest):
    """A poem of a person with marked places (`？` or `□`), or else with faults to mend."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"text": "白日依山尽，黄河入海流。欲穷千？目，更上一层楼。"}]}
    )

    num: Annotated[int, Field(ge=1, le=MAX_SUGGESTIONS, description="characters for each place")] = 8


class Example(BaseModel):
    """Base of what answers look like, for the OpenAPI document only: answers are written by hand, for speed."""

    model_config = ConfigDict(extra="allow")


class WordFound(Example):
    """A word; `text` is what stands from `start` to `end`, in code points."""

    text: str
    start: int
    end: int
    pos: str
    score: float | None = None


class EntityFound(Example):
    """A name, likewise."""

    text: str
    start: int
    end: int
    label: str
    score: float | None = None


class DocumentFound(Example):
    """A text with what was found in it."""

    text: str
    words: list[WordFound] = []
    entities: list[EntityFound] = []


class TagResponse(Example):
    """The documents, in the order of the texts."""

    documents: list[DocumentFound]


class PoemWritten(Example):
    """A poem; `note`: what of the rules gave way to what was given, empty if nothing did."""

    lines: list[str]
    text: str
    form: str
    tune: str
    title: str
    author: str
    seed: int
    pattern: dict[str, Any] | None
    note: str


class PoemsResponse(Example):
    """The poems."""

    poems: list[PoemWritten]


class ReviewResponse(Example):
    """What was found in a poem; `note`: what should be known first, that it reads as old-style verse for example."""

    lines: list[str]
    form: str
    tune: str
    pattern: str
    tones: list[str]
    expected: list[str]
    rhymes: list[int]
    rhyming: list[int]
    rhyme_names: list[str]
    faults: list[dict[str, Any]]
    note: str


class SuggestResponse(ReviewResponse):
    """The same, with what could stand at the places."""

    suggestions: list[dict[str, Any]]


class RewriteResponse(Example):
    """Other versions of the line, the best first."""

    lines: list[str]


class OptionsResponse(Example):
    """What can be asked for."""

    forms: list[dict[str, Any]]
    tunes: list[dict[str, Any]]
    authors: list[str]
    dynasties: list[str]
    rhymes: list[str]
    tags: dict[str, list[dict[str, str]]]


class HealthResponse(Example):
    """That the service runs, and how much waits."""

    status: str
    version: str


class ErrorDetail(Example):
    """What went wrong: for programs, and for people."""

    code: str
    message: str


class ErrorResponse(Example):
    """The shape of all errors."""

    error: ErrorDetail


_REFERENCE = "#/components/schemas/{model}"
_ERRORS = {
    400: "The body is not JSON, or the request is not HTTP.",
    401: "The key is missing or wrong.",
    404: "There is nothing at this path.",
    405: "The path does not know this method.",
    408: "The body came too slowly.",
    413: "The body, or the texts in it, are too large.",
    415: "The body is not marked as JSON.",
    421: "The service is not known under this host name.",
    422: "The body is not as described, or asks for what cannot be had.",
    500: "The service failed.",
    503: "Too much waits already, or the request took too long; see Retry-After.",
}
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorResponse, "description": description} for status, description in _ERRORS.items()
}


class PlainRoute(APIRoute):
    """A route whose endpoint takes the request as it is; to look for parameters would cost more than to serve it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        return cast(Callable[[Request], Coroutine[Any, Any, Response]], self.endpoint)


def body_of(model: type[BaseModel]) -> dict[str, Any]:
    """Return what an endpoint says about its body."""
    schema = {"$ref": _REFERENCE.format(model=model.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def add_bodies(app: FastAPI) -> None:
    """Let the OpenAPI document of an application describe the bodies that its endpoints refer to."""

    def document() -> dict[str, Any]:
        if not app.openapi_schema:
            schema = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
                tags=app.openapi_tags,
            )
            models = [(model, "validation") for model in _concrete(Body)]
            _, bodies = models_json_schema(models, ref_template=_REFERENCE)  # type: ignore[arg-type]
            schema.setdefault("components", {}).setdefault("schemas", {}).update(bodies["$defs"])
            if app.state.services.settings.api_key:
                schema["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
                schema["security"] = [{"key": []}]
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _concrete(model: type[BaseModel]) -> list[type[BaseModel]]:
    return [found for child in model.__subclasses__() for found in (child, *_concrete(child))]
