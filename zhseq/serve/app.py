"""The ASGI application: the endpoints and the web page, behind the gate."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles

import zhseq
from zhseq.errors import Message
from zhseq.poetry.forms import FORMS
from zhseq.poetry.prosody.books import other_names as tune_names
from zhseq.poetry.request import RHYMES
from zhseq.poetry.wishes import other_names as author_names
from zhseq.serve import poems, tagging
from zhseq.serve.gate import Gate, Reception
from zhseq.serve.http import ApiError, error_response, json_response, to_json
from zhseq.serve.openapi import Endpoint, NamedRoute, describe
from zhseq.serve.schemas import HealthResponse, OptionsResponse
from zhseq.serve.services import Services, services
from zhseq.serve.settings import Settings
from zhseq.tagging.formats import PKU_TO_UPOS, UPOS
from zhseq.text.tags import ENTITY_NAMES, POS_NAMES

if TYPE_CHECKING:
    from zhseq.poetry.poet import Poet
    from zhseq.tagging.tagger import Tagger

_FORM_NAMES = {
    "五绝": "quatrain, five characters a line",
    "七绝": "quatrain, seven characters a line",
    "五律": "eight lines of five characters",
    "七律": "eight lines of seven characters",
}


def options_of(tagger: Tagger, poet: Poet) -> dict[str, Any]:
    """Return the options that this tagger and this poet support, the body of `/v1/options`."""
    prosody = poet.prosody
    tunes = {} if prosody is None else prosody.tunes
    return {
        "forms": [
            {"name": form.name, "english": _FORM_NAMES[form.name], "lines": list(form.line_lengths)}
            for form in FORMS.values()
        ],
        "tunes": [
            {
                "name": name,
                "poems": tunes[name].total,
                "lines": len(tunes[name].line_lengths),
                "characters": sum(tunes[name].line_lengths),
                "other_names": [other for other in tune_names(name) if other not in tunes],
            }
            for name in poet.tunes
        ],
        "authors": list(poet.authors),
        "author_names": [
            {"name": name, "other_names": others} for name, others in author_names().items() if name in poet.authors
        ],
        "dynasties": list(poet.dynasties),
        "rhymes": list(RHYMES) if prosody is not None else ["none"],
        "tags": {
            "pos": [
                {**row, "upos": row["tag"] if row["tag"] in UPOS else PKU_TO_UPOS.get(row["tag"], "X")}
                for row in _named(tagger, "pos", POS_NAMES)
            ],
            "ner": _named(tagger, "ner", ENTITY_NAMES),
        },
    }


def _named(tagger: Tagger, task: str, names: dict[str, tuple[str, str]]) -> list[dict[str, str]]:
    """Return the labels of a task with their names, in the order of `names`, then those without names."""
    labels = {tag.partition("-")[2] for tag in tagger.network.heads.get(task, ())} - {""}
    order = [label for label in names if label in labels] + sorted(labels - set(names))
    rows = [(label, *names.get(label, (label, label))) for label in order]
    return [{"tag": label, "chinese": chinese, "english": english} for label, chinese, english in rows]


PAGE = Path(__file__).resolve().parent / "page"
_FRESH = {"Cache-Control": "no-cache"}
_DESCRIPTION = (
    "Tag words, parts of speech and named entities in Chinese text; write, check and correct classical Chinese poems; "
    "look up tones, rhymes, tunes and lines of verse."
)


def create_app(settings: Settings, *, tagger: Tagger | None = None, poet: Poet | None = None) -> Starlette:
    """Return the application.

    Args:
        settings: Limits, keys and models.
        tagger: Tagger to use instead of the one in `settings`.
        poet: Poet to use instead of the one in `settings`.

    Raises:
        CheckpointError: A model cannot be loaded.
        InputError: The dictionary cannot be read.
    """
    tagger = tagger or zhseq.Tagger.load(settings.tagger, backend=settings.backend, dictionary=settings.dictionary)
    poet = poet or zhseq.Poet.load(settings.poet, backend=settings.backend)
    prosody = poet.prosody
    handbook = None if prosody is None else zhseq.Handbook.load(settings.poet, prosody=prosody)
    here = Services(settings, tagger, poet, handbook)
    here.metrics.watch("zhseq_processes", "Processes that respond.", lambda: 1)
    here.metrics.watch("zhseq_queue_requests", "Tagging requests in the queue.", lambda: here.tags.depth)
    here.metrics.watch("zhseq_queue_characters", "Characters in the tagging queue.", lambda: here.tags.waiting)
    here.metrics.watch("zhseq_queue_poems", "Requests for poems in progress.", lambda: here.poems.depth)
    here.metrics.watch("zhseq_queue_lookups", "Review and look-up requests in progress.", lambda: here.lookups.depth)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.enter_context(here.running())
            if here.peers is not None:
                await stack.enter_async_context(here.peers.answering(here.tell))
            yield

    direct = {(endpoint.method, endpoint.path): endpoint.route().handle for endpoint in tagging.ENDPOINTS}
    reception = Reception(settings, here.metrics)
    middleware = [Middleware(Gate, reception=reception, endpoints=direct)]
    if settings.allowed_origins:
        allowed = Middleware(
            CORSMiddleware,
            allow_origins=settings.allowed_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
            expose_headers=["Retry-After", "X-Request-ID"],
        )
        middleware.insert(0, allowed)
    app = Starlette(
        routes=_routes(settings),
        middleware=middleware,
        exception_handlers={HTTPException: _answer_http_error},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.services = here
    app.state.short_cut = tagging.ShortCut(here, reception)
    app.state.options = to_json(options_of(here.tagger, here.poet))
    return app


def _routes(settings: Settings) -> list[BaseRoute]:
    endpoints = (*tagging.ENDPOINTS, *poems.ENDPOINTS, *_REPORTS)
    document = to_json(
        describe(endpoints, version=zhseq.__version__, description=_DESCRIPTION, guarded=bool(settings.api_keys))
    )

    async def openapi(request: Request) -> Response:
        return json_response(document)

    routes: list[BaseRoute] = [*(endpoint.route() for endpoint in endpoints), NamedRoute("/openapi.json", openapi)]
    if (PAGE / "index.html").is_file():
        routes += [NamedRoute("/", _page), NamedRoute("/docs", _docs), Mount("/static", _Files(directory=PAGE))]
    return routes


async def options(request: Request) -> Response:
    """Return forms, tunes, authors, dynasties and rhyme books, other names of tunes and authors, and the tags."""
    return json_response(request.app.state.options, headers={"Cache-Control": "private, no-cache"})


async def health(request: Request) -> Response:
    """Return 200 at once, whether or not requests are processed."""
    return json_response(to_json(_state(request, "ok")))


async def ready(request: Request) -> Response:
    """Return 200 if requests are processed, 503 if a thread has ended, a queue is stuck or a process is silent."""
    trouble = await services(request).trouble_of_all()
    if trouble is not None:
        raise ApiError(503, trouble)
    return json_response(to_json(_state(request, "ready")))


def _state(request: Request, status: str) -> dict[str, Any]:
    return {"status": status, "version": zhseq.__version__, "processes": services(request).settings.processes}


async def metrics(request: Request) -> Response:
    """Return counts and durations of requests, tagged characters, queue lengths and batch sizes."""
    here = services(request)
    return Response(await here.metrics_of_all(), media_type=here.metrics.content_type)


_REPORTS = (
    Endpoint("GET", "/v1/options", options, "List request options", "service", OptionsResponse),
    Endpoint("GET", "/health", health, "Check that the service runs", "service", HealthResponse),
    Endpoint("GET", "/ready", ready, "Check that requests are processed", "service", HealthResponse),
    Endpoint("GET", "/metrics", metrics, "Prometheus metrics", "service"),
)


async def _page(request: Request) -> Response:
    return FileResponse(PAGE / "index.html", headers=_FRESH)


async def _docs(request: Request) -> Response:
    return FileResponse(PAGE / "docs.html", headers=_FRESH)


class _Files(StaticFiles):
    """Static files that browsers must revalidate, so that files of two versions are never mixed."""

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        return ("", None) if "\0" in path else super().lookup_path(path)  # no such file; some versions raise an error

    def file_response(self, *arguments: Any, **options: Any) -> Response:
        response = super().file_response(*arguments, **options)
        response.headers.update(_FRESH)
        return response


async def _answer_http_error(request: Request, error: Exception) -> Response:
    """Return the response for an error of the framework, such as an unknown path or method."""
    assert isinstance(error, HTTPException)
    message = {
        404: Message("not_found", "This path does not exist."),
        405: Message("wrong_method", "This path does not support the request method."),
    }.get(error.status_code, Message("http_error", "The request cannot be served."))
    return error_response(ApiError(error.status_code, message, error.headers))
