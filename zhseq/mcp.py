"""Command line `zhseq mcp`: a server of the Model Context Protocol (MCP) on standard input and output.

Its tools are functions of the library: write, check, suggest, look up, tag. Needs the MCP SDK (extra `mcp`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import zhseq
from zhseq.cli import Parser, open_input, program, run_main
from zhseq.errors import ConfigError, ZhseqError, service

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

    from zhseq.poetry.lookup import Handbook
    from zhseq.poetry.poet import Poem, Poet
    from zhseq.tagging.tagger import Tagger

F = TypeVar("F", bound=Callable[..., Any])

_MOST_POEMS = 8
_INSTRUCTIONS = (
    "Classical Chinese verse and Chinese text. Tones and rhymes of verse cannot be guessed from modern pronunciation: "
    "look characters, rhymes and tunes up before writing, and check what was written."
)


class Models:
    """Models used by the tools, each loaded on first use."""

    def __init__(self, poet: str | None = None, tagger: str | None = None) -> None:
        """Set the models: directories or Hugging Face repository names; None for those shipped with zhseq."""
        self._poet, self._tagger = poet, tagger

    @cached_property
    def poet(self) -> Poet:
        """The poem model."""
        return zhseq.Poet.load(self._poet)

    @cached_property
    def handbook(self) -> Handbook:
        """The verse reference of the poem model."""
        return zhseq.Handbook.load(self._poet)

    @cached_property
    def tagger(self) -> Tagger:
        """The tagger."""
        return zhseq.Tagger.load(self._tagger)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and serve until the client disconnects.

    Raises:
        InputError: Standard input is closed.
        OSError: A response cannot be written.
    """
    parser = Parser(
        prog=program("mcp"),
        description="MCP server: tools for poems, verse look-up and tagging, on standard input and output.",
    )
    parser.add_argument("--poet", metavar="PATH_OR_HUB_NAME", help="poem model (default: the shipped one)")
    parser.add_argument("--tagger", metavar="PATH_OR_HUB_NAME", help="tagger (default: the shipped one)")
    options = parser.parse_args(arguments)
    server = create_server(Models(options.poet, options.tagger))
    with open_input("-"):
        try:
            server.run()
        except Exception as error:
            raise _of_the_system(error) or error from None
    return 0


def _of_the_system(error: BaseException) -> OSError | None:
    """Return the first `OSError` in a nested group of errors, as raised by concurrent tasks, or None."""
    if isinstance(error, OSError):
        return error
    return next(filter(None, map(_of_the_system, getattr(error, "exceptions", ()))), None)


def create_server(models: Models) -> MCPServer:
    """Create the server with its tools.

    Raises:
        ConfigError: The MCP SDK is not installed.
    """
    try:
        from mcp.server.mcpserver import MCPServer
    except ImportError as error:
        raise ConfigError(
            "no_mcp", "this needs version 2 of the MCP SDK, which is not installed; run `pip install 'zhseq[mcp]'`"
        ) from error
    server = MCPServer("zhseq", version=zhseq.__version__, instructions=_INSTRUCTIONS, log_level="WARNING")
    _add_poems(server, models)
    _add_handbook(server, models)

    @server.tool()
    @_spoken
    def tag_text(text: str) -> dict[str, Any]:
        """Segment Chinese text into words with parts of speech (Peking University tags); find names (PER, LOC, ORG)."""
        found = models.tagger(text)
        words = [{"text": word.text, "start": word.start, "end": word.end, "pos": word.pos} for word in found.words]
        names = [
            {"text": name.text, "start": name.start, "end": name.end, "label": name.label} for name in found.entities
        ]
        return {"tagged": str(found), "words": words, "entities": names}

    return server


def _add_poems(server: MCPServer, models: Models) -> None:
    """Add the tools that write and check poems, suggest characters, and write lower lines of couplets."""

    @server.tool()
    @_spoken
    def write_poem(
        start: str = "",
        form: str = "auto",
        tune: str = "",
        about: str = "",
        author: str = "",
        acrostic: str = "",
        rhyme_with: str = "",
        num: int = 1,
        seed: int = 0,
    ) -> dict[str, Any]:
        """Write classical Chinese poems that keep form, tones and rhyme.

        form: auto, 五绝, 七绝, 五律, 七律, 五言排律, 七言排律. tune: a ci to this tune (浣溪沙). about: topic.
        author: style of this author (李白). acrostic: first characters of the lines. rhyme_with: rhyme with this
        character. num: number of poems, at most 8; a single one is the best of four drafts. The same seed and num give
        the same poems.
        """
        poems = models.poet.write_many(
            min(num, _MOST_POEMS),
            start=start,
            form=form,
            tune=tune,
            about=about,
            author=author,
            acrostic=acrostic,
            rhyme_with=rhyme_with,
            seed=seed,
        )
        return {"poems": [_poem(poem) for poem in poems]}

    @server.tool()
    @_spoken
    def check_poem(text: str, tune: str = "", form: str = "") -> dict[str, Any]:
        """Check a classical Chinese poem: each fault of form, tone, rhyme and repetition with its position and reason.

        text: the poem, in any script; a title may precede it. tune: the tune of a ci, if the title does not name it.
        form: 五绝, 七绝, 五律 or 七律 to check old-style verse by the rules of regulated verse.
        """
        found = models.poet.check(text, tune=tune, form=form)
        prosody = models.poet.reviewing()
        names = [found.rhyme_name(line, prosody) for line in range(len(found.lines))]
        return {**found.fields(service, "en"), "rhyme_names": names}

    @server.tool()
    @_spoken
    def suggest_characters(text: str, tune: str = "", num: int = 8) -> dict[str, Any]:
        """Suggest characters that keep tone and rhyme for the places marked ？ in a poem, or else for its faults."""
        marks = models.poet.suggest(text, tune=tune, num=min(num, 64))
        return {"places": [mark.fields() for mark in marks]}

    @server.tool()
    @_spoken
    def answer_couplet(upper: str, num: int = 3, seed: int = 0) -> dict[str, Any]:
        """Write lower lines with opposed tones for an upper line of a couplet (上联)."""
        return {"lower": models.poet.couplet(upper, min(num, _MOST_POEMS), seed=seed)}


def _add_handbook(server: MCPServer, models: Models) -> None:
    """Add the tools of the verse reference."""
    from zhseq.poetry.lookup import fields_of, find_verse

    @server.tool()
    @_spoken
    def look_up_character(character: str) -> dict[str, Any]:
        """Look up how verse uses a character: tones (平, 上, 去, 入; 仄 if not known which), rhyme groups, words."""
        return fields_of(models.handbook.character(character))

    @server.tool()
    @_spoken
    def look_up_rhyme(word: str, book: str = "classical", num: int = 30) -> dict[str, Any]:
        """List words that rhyme with a character, the most frequent in verse first. book: classical, ci or modern."""
        return fields_of(models.handbook.group(word, book, num))

    @server.tool()
    @_spoken
    def look_up_tune(name: str) -> dict[str, Any]:
        """Draw the pattern of a ci tune: ○ level, ● oblique, ◎ either, △ ▲ after lines that rhyme."""
        return fields_of(models.handbook.tune(name))

    @server.tool()
    @_spoken
    def facing_words(word: str, num: int = 20) -> dict[str, Any]:
        """List words that are parallel to a word of one or two characters in couplets (对仗), with counts."""
        found = models.handbook.facing(word, num)
        return {"word": word, "facing": [{"word": other, "count": count} for other, count in found]}

    @server.tool()
    @_spoken
    def find_line(text: str, num: int = 5) -> dict[str, Any]:
        """Find classical poems that contain a line or phrase: author, title, context. Needs the corpora."""
        count, places = find_verse(text, num)
        return {"poems": count, "places": [fields_of(place) for place in places]}


def _poem(poem: Poem) -> dict[str, Any]:
    note = {} if poem.note is None else {"note": poem.note.render(service, "en")}
    return {"text": poem.text, "form": poem.form, "tune": poem.tune, "lines": list(poem.lines), **note}


def _spoken(tool: F) -> F:
    """Convert a `ZhseqError` of a tool to a `ToolError` with its message, which the client shows."""

    @functools.wraps(tool)
    def spoken(*arguments: Any, **options: Any) -> Any:
        from mcp.server.mcpserver.exceptions import ToolError

        try:
            return tool(*arguments, **options)
        except ZhseqError as error:
            raise ToolError(error.message.render(service, "en")) from None

    return spoken  # type: ignore[return-value]


if __name__ == "__main__":
    run_main(main)
