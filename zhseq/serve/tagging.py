"""POST /v1/tag."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from zhseq.errors import InputError, Message
from zhseq.serve.http import ApiError, json_response
from zhseq.serve.openapi import Endpoint
from zhseq.serve.queues import TagOptions
from zhseq.serve.reading import finish_soon, read
from zhseq.serve.schemas import TagRequest, TagResponse, TagText, TagTexts
from zhseq.serve.services import Services, services
from zhseq.tagging.dictionary import Entry


async def tag(request: Request) -> Response:
    """Cut texts into words, with parts of speech and names. Offsets count code points."""
    here = services(request)
    wishes = await read(request, TagRequest)
    texts = wishes.texts or [wishes.text]
    request.scope["visit"].characters = sum(map(len, texts))
    _check(texts, wishes, here)
    answer = here.tags.submit(texts, _options(wishes, here))
    documents = await finish_soon(answer, request, here.settings.timeout)
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
        message = Message("invalid_word", "<words>: {problem}", {"problem": error.message})
        raise ApiError(422, message) from None
    return TagOptions(tasks, wishes.scores, words, dictionary)


def _check(texts: list[str], wishes: TagRequest, here: Services) -> None:
    settings = here.settings
    if len(texts) > settings.max_texts:
        raise ApiError(
            413,
            Message(
                "too_many_texts",
                "A request may have {limit} texts at most, but this one has {count}; split it.",
                {"limit": settings.max_texts, "count": len(texts)},
            ),
        )
    characters = sum(map(len, texts))
    if characters > settings.max_characters:
        raise ApiError(
            413,
            Message(
                "too_many_characters",
                "A request may have {limit} characters at most, but this one has {count}; split it.",
                {"limit": settings.max_characters, "count": characters},
            ),
        )
    if not set(wishes.tasks) <= set(here.tagger.tasks):
        raise ApiError(
            422,
            Message(
                "task_not_served",
                "<tasks>: this service does {tasks} only.",
                {"tasks": ", ".join(here.tagger.tasks)},
            ),
        )


ENDPOINTS = (
    Endpoint(
        "POST", "/v1/tag", tag, "Find words and names", "tagging", TagResponse, TagRequest, parts=(TagText, TagTexts)
    ),
)
