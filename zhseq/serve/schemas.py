"""Pydantic models of requests and responses, for checks and for the OpenAPI document.

Requests are checked strictly: no number in quotes, no unknown field. Responses are serialised by hand, for speed; their
models are documentation only, which the tests compare with actual responses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel, model_validator

from zhseq.errors import Message
from zhseq.poetry.faults import LICENCES, REASONS
from zhseq.poetry.forms import FORMS
from zhseq.poetry.lookup import PatternEntry, Place
from zhseq.poetry.prosody.books import BOOK_NAMES
from zhseq.poetry.request import DRAFTS, DRAFTS_OF_SEVERAL, MOST_DRAFTS, Ranking, Request, Rhyme, Sampling
from zhseq.serve.settings import (
    MAX_POEMS,
    MAX_SUGGESTIONS,
    MAX_VERSES,
    MAX_WORDS,
    MAX_WORDS_OF_GROUP,
    POEM_CHARACTERS,
)
from zhseq.tagging.dictionary_file import MAX_LABEL, MAX_WORD
from zhseq.tagging.formats import UPOS

REFERENCE = "#/components/schemas/{model}"
"""Reference to a model in the OpenAPI document."""
SEED_LIMIT = 2**63 - 1
_REQUEST, _SAMPLING = Request(), Sampling()
"""Their defaults are those of the service."""

Line = Annotated[str, Field(max_length=POEM_CHARACTERS)]


class Contradiction(ValueError):
    """Fields of a request contradict each other."""

    def __init__(self, message: Message) -> None:
        super().__init__(message.code)
        self.message = message


class Body(BaseModel):
    """Base class of request bodies."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class DictionaryWord(Body):
    """A word of the user dictionary."""

    word: Annotated[str, Field(min_length=1, max_length=MAX_WORD, description="the word; may contain blanks")]
    pos: Annotated[str, Field(max_length=MAX_LABEL, description="part-of-speech tag; empty: chosen by the model")] = ""
    label: Annotated[str, Field(max_length=MAX_LABEL, description="entity label; empty: none")] = ""
    mode: Annotated[
        Literal["prefer", "force"],
        Field(description="prefer: strong context can override the entry; force: always a word"),
    ] = "prefer"


class TagWishes(Body):
    """Options of requests to tag texts."""

    tasks: Annotated[
        list[Literal["pos", "ner"]],
        Field(description="tasks; default: all", min_length=1, fail_fast=True, default_factory=list),
    ]
    scores: Annotated[bool, Field(description="add the probability of each word and entity")] = False
    words: Annotated[
        list[DictionaryWord], Field(description="user dictionary for this request", max_length=MAX_WORDS)
    ] = []


class TagText(TagWishes):
    """One text to tag."""

    text: Annotated[str, Field(description="one text")]


class TagTexts(TagWishes):
    """Several texts to tag."""

    texts: Annotated[list[str], Field(description="several texts", min_length=1, fail_fast=True)]


def _as_variants(schema: dict[str, Any]) -> None:
    """Describe a request as one of two variants, each with a name that a generated client can use."""
    for key in ("additionalProperties", "properties", "required", "type"):
        schema.pop(key, None)
    schema["oneOf"] = [{"$ref": REFERENCE.format(model=model.__name__)} for model in (TagText, TagTexts)]
    schema["examples"] = [
        {"text": "江泽民主席访问北京"},
        {"texts": ["小明在北京大学学习。", "今天天气很好。"], "tasks": ["pos"], "scores": True},
        {"text": "他在云栖小镇上班", "words": [{"word": "云栖小镇", "pos": "ns", "label": "LOC"}]},
    ]


class TagRequest(TagWishes):
    """Texts to tag: one (`TagText`) or several (`TagTexts`)."""

    model_config = ConfigDict(json_schema_extra=_as_variants)

    text: Annotated[str, Field(default_factory=str)]
    texts: Annotated[list[str], Field(min_length=1, fail_fast=True, default_factory=list)]

    @model_validator(mode="after")
    def _one_of_two(self) -> TagRequest:
        if len(self.model_fields_set & {"text", "texts"}) != 1:
            raise Contradiction(Message("text_or_texts", "give either <text> or <texts>"))
        return self


class Wishes(Body):
    """Options of poems; the model chooses what is not given."""

    start: Annotated[Line, Field(description="first characters of the poem")] = ""
    form: Annotated[str, Field(max_length=20, description=f"auto, {', '.join(FORMS)}")] = _REQUEST.form
    title: Line = ""
    about: Annotated[Line, Field(description="topic; stronger effect than a title")] = ""
    author: Annotated[str, Field(max_length=50, description="style of an author; see /v1/options")] = ""
    dynasty: Annotated[str, Field(max_length=50, description="style of a period")] = ""
    traditional: Annotated[bool, Field(description="write in traditional characters")] = False
    rhyme: Annotated[Rhyme, Field(description="tones and rhymes to keep", default=_REQUEST.rhyme)]
    tune: Annotated[str, Field(max_length=50, description="write ci to this tune; see /v1/options")] = ""
    acrostic: Annotated[Line, Field(description="one character per line")] = ""
    acrostic_at: Annotated[Literal["start", "end"], Field(description="position of these characters in the lines")] = (
        "start"
    )
    rhyme_group: Annotated[str, Field(max_length=20, description="rhyme group, given by one of its characters")] = ""
    rhyme_with: Annotated[str, Field(max_length=20, description="a character to rhyme with")] = ""
    seed: Annotated[int, Field(ge=0, le=SEED_LIMIT, description="the same seed gives the same lines")] = 0
    temperature: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False, description="lower is safer")] = (
        _SAMPLING.temperature
    )


class PoemRequest(Wishes):
    """A request for poems."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"start": "春", "form": "七绝", "seed": 1},
                {"tune": "浣溪沙", "about": "秋夜", "stream": True},
                {"acrostic": "一生平安", "form": "五绝", "num": 2},
            ]
        }
    )

    lines: Annotated[list[Line], Field(description="first lines, to be continued", max_length=100)] = []
    num: Annotated[int, Field(ge=1, le=MAX_POEMS, description="number of poems")] = 1
    best_of: Annotated[int, Field(ge=1, le=64, description="candidates per line")] = Ranking().best_of
    drafts: Annotated[
        int | None,
        Field(
            ge=1,
            le=MOST_DRAFTS,
            description="drafts of each poem, of which the best is kept; only in regulated verse; "
            f"by default {DRAFTS} for one poem and {DRAFTS_OF_SEVERAL} for several",
        ),
    ] = None
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False, description="probability mass to sample from")] = (
        _SAMPLING.top_p
    )
    top_k: Annotated[int, Field(ge=0, le=100_000, description="sample from this many characters; 0: from all")] = (
        _SAMPLING.top_k
    )
    stream: Annotated[bool, Field(description="send each line as soon as it is written, as NDJSON")] = False


class RewriteRequest(Wishes):
    """A poem of which one line is to be rewritten, and the options with which the poem was requested."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"lines": ["白日依山尽", "黄河入海流", "欲穷千里目", "更上一层楼"], "index": 2, "num": 3}]
        }
    )

    lines: Annotated[list[Line], Field(description="the whole poem, without punctuation", min_length=1, max_length=100)]
    index: Annotated[int, Field(ge=0, le=99, description="index of the line, from 0")]
    num: Annotated[int, Field(ge=1, le=MAX_SUGGESTIONS, description="number of alternatives")] = 5


class CoupletRequest(Body):
    """An upper line for which lower lines are to be written."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"upper": "明月松间照", "num": 3}]})

    upper: Annotated[Line, Field(description="the upper line, with or without punctuation")]
    num: Annotated[int, Field(ge=1, le=MAX_POEMS, description="number of lower lines")] = 1
    rhyme: Annotated[Literal["classical", "modern"], Field(description="tones that the lower line opposes")] = (
        "classical"
    )
    seed: Annotated[int, Field(ge=0, le=SEED_LIMIT, description="the same seed gives the same answers")] = 0
    temperature: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False, description="lower is safer")] = (
        _SAMPLING.temperature
    )


class ReviewRequest(Body):
    """A poem to review."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"text": "白日依山尽，黄河入海流。欲穷千里目，更上一层楼。"},
                {"text": "床前明月光，疑是地上霜。举头望明月，低头思故乡。", "form": "五绝"},
            ]
        }
    )

    text: Annotated[Line, Field(description="the poem, with or without punctuation")]
    tune: Annotated[str, Field(max_length=50, description="tune; default: determined from the lines")] = ""
    form: Annotated[
        str, Field(max_length=20, description="form whose rules are applied; auto: determined from lines and tones")
    ] = "auto"
    rhyme: Annotated[Literal["classical", "ci", "modern"], Field(description="tones and rhymes used for checking")] = (
        "classical"
    )
    surprise: Annotated[bool, Field(description="add the bits of each character under the model")] = False
    pinyin: Annotated[bool, Field(description="add pinyin; needs pypinyin")] = False


class SuggestRequest(ReviewRequest):
    """A poem with marked places (`？` or `□`), or else with faults, for which characters are suggested."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"text": "白日依山尽，黄河入海流。欲穷千？目，更上一层楼。"}]}
    )

    num: Annotated[int, Field(ge=1, le=MAX_SUGGESTIONS, description="characters per place")] = 8


class CharacterRequest(Body):
    """A character to look up."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"character": "看"}]})

    character: Annotated[str, Field(max_length=20, description="one character, in any script")]
    num: Annotated[int, Field(ge=1, le=MAX_SUGGESTIONS, description="words of each kind")] = 8


class RhymesRequest(Body):
    """A word whose rhymes to look up."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"word": "秋", "num": 10}, {"word": "秋", "rhyme": "ci"}]}
    )

    word: Annotated[str, Field(max_length=20, description="a rhyme word, or the name of a group (秋)")]
    rhyme: Annotated[Literal["classical", "ci", "modern"], Field(description="rhyme book")] = "classical"
    num: Annotated[int, Field(ge=1, le=MAX_WORDS_OF_GROUP, description="number of words")] = 30


class TuneRequest(Body):
    """A tune to look up."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"tune": "如梦令"}, {"tune": "百字令", "example": True}]})

    tune: Annotated[str, Field(max_length=50, description="any of its names")]
    example: Annotated[bool, Field(description="also write a poem to the tune")] = False
    seed: Annotated[int, Field(ge=0, le=SEED_LIMIT, description="the same seed gives the same example")] = 0


class FacingRequest(Body):
    """A word whose opposite words in couplets to look up."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"word": "明月"}]})

    word: Annotated[str, Field(max_length=20, description="one or two characters")]
    num: Annotated[int, Field(ge=1, le=MAX_WORDS_OF_GROUP, description="number of words")] = 20


class FindRequest(Body):
    """A line or phrase to find."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "春风得意"}]})

    text: Annotated[str, Field(max_length=200, description="adjacent lines, or part of one")]
    num: Annotated[int, Field(ge=1, le=MAX_VERSES, description="number of poems")] = 10


ERROR_CODES = (
    # of any request
    *("http_error", "internal", "not_found", "several_hosts", "unauthorized", "wrong_host", "wrong_method"),
    *("busy", "process_silent", "queue_still", "stopping", "thread_ended", "timeout"),
    *("too_many_connections", "too_many_requests"),
    *("body_timeout", "head_timeout", "head_too_large", "invalid_http", "packed_body", "too_large"),
    *("too_many_parts", "unsupported_media_type"),
    *("extreme_json", "invalid_json", "invalid_utf8", "lone_surrogate", "invalid_request", "too_long"),
    # of texts to tag
    *("invalid_word", "too_many_characters", "too_many_texts", "task_not_served"),
    # of requests for poems
    *("acrostic_clash", "acrostic_too_long", "against_the_pattern", "ambiguous_rhyme_group", "form_and_tune"),
    *("form_without_pattern", "judged_by_no_rhyme", "line_twice", "lines_and_start", "lines_of_other_form"),
    *("broken_record", "misplaced_mark", "no_large_rhyme_group", "no_line", "no_modern_rhymes", "no_rules"),
    *("no_such_line", "no_tunes", "no_verse", "not_chinese", "number_of_versions", "oblique_rhyme_group"),
    *("open_places", "other_form", "small_rhyme_group", "start_too_long", "too_many_lines", "too_many_places"),
    *("unknown_acrostic_place", "unknown_author", "unknown_dynasty", "unknown_form", "unknown_rhyme"),
    *("two_rhyme_groups", "unknown_rhyme_group", "unknown_shape", "unknown_tune", "tune_of_songs"),
    *("unused_rhyme_group", "upper_line_length", "wrong_line_length"),
    # of look-ups
    *("facing_word", "no_corpora", "no_handbook", "no_pinyin", "one_character", "short_phrase", "unknown_character"),
)


NOTE_CODES = (
    # of poems that were written
    *("author_by_words", "kept_as_given", "two_notes", "words_unknown_to_verse"),
    # of poems that were reviewed
    *("even_prose", "forms_run_together", "mixed_lengths", "odd_lines", "old_or_regulated", "old_style"),
    *("poems_run_together", "prose", "song", "uneven_prose"),
    "taken_for_tune",
    "unknown_tones",
)


def _one_of(values: Sequence[str]) -> Any:
    """Describe a field as one of the given strings."""
    return Field(json_schema_extra={"enum": list(values)})


class Example(BaseModel):
    """Base class of response models, which serve the OpenAPI document only."""

    model_config = ConfigDict(extra="allow")


class WordFound(Example):
    """A word; `text` is the part of the text from `start` to `end`, in code points."""

    text: str
    start: int
    end: int
    pos: str
    score: Annotated[float, Field(default_factory=float)]


class EntityFound(Example):
    """A named entity; `text` is the part of the text from `start` to `end`, in code points."""

    text: str
    start: int
    end: int
    label: str
    score: Annotated[float, Field(default_factory=float)]


class DocumentFound(Example):
    """A text with its words and entities."""

    text: str
    words: list[WordFound] = []
    entities: list[EntityFound] = []


class TagResponse(Example):
    """The documents, in the order of the texts."""

    documents: list[DocumentFound]


class Templates(Example):
    """A sentence with placeholders for values, `{name}`, and for names of fields, `<name>` or `<name=value>`."""

    en: str
    zh: str


class Said(Example):
    """A message: its code, its English text, and its data for programs that render it themselves."""

    code: str
    message: str
    values: dict[str, Value]
    templates: Templates


class Value(RootModel[int | str | Said]):
    """The value of a placeholder: a number, a text, or another message."""


class NoteSaid(Said):
    """A note on a poem; `two_notes` contains other notes among its values."""

    code: Annotated[str, _one_of(NOTE_CODES)]


class Repetition(Example):
    """Characters that repeat earlier ones (叠句, 叠字); places are counted from 0 through all lines."""

    place: int
    source: int
    length: int


class PatternFollowed(Example):
    """Tones (平, 仄, 中) and rhymes that a poem follows; lines of one rhyme class, from 1, rhyme with each other.

    `breaks`: lines after which a stanza ends, from 1; `loose`: places, from 0 through all lines, whose tone some poets
    do not keep; `count`: poems of the training corpus that follow it.
    """

    line_lengths: list[int]
    tones: list[str]
    rhymes: list[int]
    marks: str
    breaks: list[int]
    count: int
    loose: list[int]
    echoes: list[Repetition]


class PoemWritten(Example):
    """A poem; `note`: which rules were relaxed to keep what was given, null if none were."""

    lines: list[str]
    text: str
    form: str
    tune: str
    title: str
    author: str
    seed: int
    pattern: PatternFollowed | None
    note: NoteSaid | None


class PoemsResponse(Example):
    """The poems that were written."""

    poems: list[PoemWritten]


class LineEvent(Example):
    """A finished line, in a stream, and the punctuation mark that follows; `poem` and `line` are counted from 0."""

    poem: int
    line: int
    text: str
    mark: str


class PoemEvent(Example):
    """A finished poem, in a stream."""

    poem: int
    done: PoemWritten


class Found(Example):
    """A finding: its place (from 1; place 0: the line as a whole) and its details."""

    line: int
    place: int
    character: str
    tone: str
    expected: str
    other_line: int
    group: str
    count: int
    expected_count: int
    text: str
    tune: str
    reason: Said


class FaultFound(Found):
    """A violation of a rule."""

    code: Annotated[str, _one_of(tuple(REASONS))]
    kind: Annotated[str, _one_of(("form", "tone", "rhyme", "repetition"))]


class RemarkFound(Found):
    """A deviation that is not a fault, for example a tone out of place that is rescued."""

    code: Annotated[str, _one_of(tuple(LICENCES))]
    kind: Annotated[str, _one_of(("rescue", "licence"))]


class SuggestionMade(Example):
    """Suggested characters for a place, best first."""

    line: int
    place: int
    character: str
    characters: list[str]


class ReviewResponse(Example):
    """The review of a poem.

    `note`: a note on the whole poem, for example that it reads as old-style verse; `otherwise`: the faults that it
    would then have as regulated verse; `book`: the rhyme book that was used.
    """

    lines: list[str]
    form: str
    tune: str
    pattern: str
    tones: list[str]
    expected: list[str]
    rhymes: list[int]
    rhyming: list[int]
    rhyme_names: list[str]
    faults: list[FaultFound]
    remarks: list[RemarkFound]
    otherwise: list[FaultFound]
    book: Annotated[str, _one_of(tuple(BOOK_NAMES))]
    note: NoteSaid | None
    surprise: Annotated[list[list[float]], Field(default_factory=list)]
    pinyin: Annotated[list[list[str]], Field(default_factory=list)]


class SuggestResponse(ReviewResponse):
    """The review of a poem, with suggestions; `left_out`: places that were not examined."""

    suggestions: list[SuggestionMade]
    left_out: int


class RewriteResponse(Example):
    """Alternatives for the line, best first."""

    lines: list[str]


class CoupletResponse(Example):
    """The lower lines."""

    lower: list[str]


class TuneResponse(Example):
    """A tune: its usual name and its other names, and its patterns, most common first.

    `poems`: number of poems to it in the training corpus; `example`: a poem to it, empty if none was requested.
    """

    name: str
    names: list[str]
    poems: int
    patterns: list[PatternEntry]
    example: str


class FacingWord(Example):
    """A word, and how often it was put opposite the other."""

    word: str
    count: int


class FacingResponse(Example):
    """Words that poets put opposite a word in couplets."""

    word: str
    facing: list[FacingWord]


class FindResponse(Example):
    """The number of poems that contain a text, and its places in the first of them."""

    text: str
    poems: int
    places: list[Place]


class FormOption(Example):
    """A form of regulated verse; `lines`: characters in each line."""

    name: str
    english: str
    lines: list[int]


class TuneOption(Example):
    """A tune; `poems`: number of poems to it in the training corpus; `other_names`: names that are accepted as well."""

    name: str
    poems: int
    lines: int
    characters: int
    other_names: list[str]


class AuthorNames(Example):
    """An author, and other names that are accepted as well."""

    name: str
    other_names: list[str]


class EntityTag(Example):
    """A type of named entity."""

    tag: str
    chinese: str
    english: str


class WordTag(EntityTag):
    """A part of speech; `upos`: its tag in Universal Dependencies."""

    upos: Annotated[str, _one_of(sorted(UPOS | {"X"}))]


class TagOptions(Example):
    """The tags of the tagger; empty for a task that it does not have."""

    pos: list[WordTag]
    ner: list[EntityTag]


class OptionsResponse(Example):
    """Options that requests can use; `author_names`: authors that have other names."""

    forms: list[FormOption]
    tunes: list[TuneOption]
    authors: list[str]
    author_names: list[AuthorNames]
    dynasties: list[str]
    rhymes: list[Rhyme]
    tags: TagOptions


class HealthResponse(Example):
    """The state of the service, and its number of processes."""

    status: Literal["ok", "ready"]
    version: str
    processes: int


class ErrorSaid(Said):
    """The message of an error."""

    code: Annotated[str, _one_of(ERROR_CODES)]


class ErrorResponse(Example):
    """The body of all error responses."""

    error: ErrorSaid


class StreamEvent(RootModel[LineEvent | PoemEvent | ErrorResponse]):
    """A line of a response in NDJSON: a line of a poem, a whole poem, or an error, which ends the response."""
