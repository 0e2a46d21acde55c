"""POST /v1/tag."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from zhseq.errors import InputError
from zhseq.serve.http import ApiError, json_response
from zhseq.serve.queues import TagOptions
from zhseq.serve.schemas import PlainRoute, TagRequest, TagResponse, body_of, finish, read
from zhseq.serve.services import Services, services
from zhseq.tagging.dictionary import Entry

router = APIRouter(tags=["tagging"], route_class=PlainRoute)


@router.post("/v1/tag", response_model=TagResponse, openapi_extra=body_of(TagRequest), summary="Find words and names")
async def tag(request: Request) -> Response:
    """Cut texts into words, with parts of speech and names. Offsets count code points."""
    here = services(request)
    wishes = await read(request, TagRequest)
    texts = wishes.texts or [wishes.text]
    request.scope["visit"].characters = sum(map(len, texts))
    _check(texts, wishes, here)
    answer = here.tags.submit(texts, _options(wishes, here))
    documents = await finish(answer, request.receive, here.settings.timeout)
    return json_response(b'{"documents":[' + b",".join(documents) + b"]}")


def _options(wishes: TagRequest, here: Services) -> TagOptions:
    tasks = tuple(dict.fromkeys(wishes.tasks)) or here.tagger.tasks
    if not wishes.words:
        return TagOptions(tasks, wishes.scores)
    words = tuple(Entry(word.word, word.pos, word.label, None, word.mode) for word in wishes.words)
    dictionary = here.tagger.dictionary.copy()
    try:
        dictionary.update(words)
    except InputError as error:
        raise ApiError(422, "invalid_word", f"words: {error}") from None
    return TagOptions(tasks, wishes.scores, words, dictionary)


def _check(texts: list[str], wishes: TagRequest, here: Services) -> None:
    settings = here.settings
    if len(texts) > settings.max_texts:
        message = f"A request may have {settings.max_texts} texts at most, but this one has {len(texts)}; split it."
        raise ApiError(413, "too_large", message)
    characters = sum(map(len, texts))
    if characters > settings.max_characters:
        limit = settings.max_characters
        message = f"A request may have {limit} characters at most, but this one has {characters}; split it."
        raise ApiError(413, "too_large", message)
    if not set(wishes.tasks) <= set(here.tagger.tasks):
        message = f"tasks: this service does {', '.join(here.tagger.tasks)} only."
        raise ApiError(422, "invalid_request", message)
