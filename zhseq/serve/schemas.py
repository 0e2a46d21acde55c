"""What requests and answers hold, as pydantic models, for checks and for the OpenAPI document.

Requests are checked strictly: no number in quotes, no unknown field. Answers are written by hand, for speed; their
models are documentation only, which the tests hold to the truth.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from zhseq.serve.settings import MAX_POEMS, MAX_SUGGESTIONS, MAX_WORDS, POEM_CHARACTERS
from zhseq.text.dictionary_file import MAX_LABEL, MAX_WORD

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
