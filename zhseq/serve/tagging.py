"""POST /v1/tag."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from zhseq.serve.documenting import body_of
from zhseq.serve.errors import ApiError, json_response
from zhseq.serve.reading import finish, read
from zhseq.serve.schemas import TagRequest, TagResponse
from zhseq.serve.services import Services, services
from zhseq.serve.tag_queue import TagOptions

router = APIRouter(tags=["tagging"])


@router.post("/v1/tag", response_model=TagResponse, openapi_extra=body_of(TagRequest), summary="Find words and names")
async def tag(request: Request) -> Response:
    """Cut texts into words, with parts of speech and names. Offsets count code points."""
    here = services(request)
    wishes = await read(request, TagRequest)
    texts = wishes.texts if wishes.texts is not None else [wishes.text or ""]
    request.scope["visit"].characters = sum(map(len, texts))
    _check(texts, wishes, here)
    words = tuple((word.word, word.pos, word.label, word.mode) for word in wishes.words)
    tasks = here.tagger.tasks if wishes.tasks is None else tuple(dict.fromkeys(wishes.tasks))
    answer = here.tags.submit(texts, TagOptions(tasks, wishes.scores, words))
    documents = await finish(answer, request.receive, here.settings.timeout)
    return json_response(b'{"documents":[' + b",".join(documents) + b"]}")


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
    if wishes.tasks is not None and not set(wishes.tasks) <= set(here.tagger.tasks):
        message = f"tasks: this service does {', '.join(here.tagger.tasks)} only."
        raise ApiError(422, "invalid_request", message)
