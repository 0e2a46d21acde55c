"""Poems as text and as symbols: forms, punctuation, and the control prefix of the language model. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zhseq.errors import InputError, Message
from zhseq.poetry.prosody.patterns import FORM_SHAPES
from zhseq.text.normalize import codepoints, is_han, normalize
from zhseq.text.vocab import LINE, Vocab

MARKS = "，。、；：？！,.;:?!"
"""Punctuation of verse, full width and half width."""
QUOTES = frozenset('“”‘’"「」『』《》〈〉')
"""Quotation and title marks, which are ignored in verse."""
_WIDE = dict(zip(",.;:?!", "，。；：？！", strict=True))
UNKNOWN_BITS = 16.5
"""Bits of a character outside the vocabulary in addition to those of `<unk>`: one of about 92,000 others."""
MAX_TITLE = 12
"""Characters of a title that the model reads; longer titles are truncated."""

LINE_MARK = "\n"
"""Represents `<line>` in text to encode."""
_END_MARK = "\r"  # represents `<eos>` in text to encode


@dataclass(frozen=True)
class Form:
    """The shape of a poem: number and lengths of its lines and their punctuation."""

    name: str
    line_lengths: tuple[int, ...]
    """Characters in each line."""
    marks: str
    """Punctuation mark after each line; empty for couplets."""

    def layout(self, lines: Sequence[str]) -> list[str]:
        """Return rows of text: lines with their punctuation, one sentence per row; `lines` may be incomplete."""
        rows, row = [], ""
        for line, mark in zip(lines, self.marks[: len(lines)], strict=True):
            row += line + mark
            if mark in "。？！":
                rows.append(row)
                row = ""
        return [*rows, row] if row else rows


def regular_form(name: str, lines: int, length: int) -> Form:
    """Return a form with lines of equal length, ending in a comma and a full stop in turn."""
    return Form(name, (length,) * lines, "，。" * (lines // 2) + "。" * (lines % 2))


FORMS = {name: regular_form(name, lines, length) for name, (lines, length) in FORM_SHAPES.items()}
"""The four regulated shapes (绝句 quatrain, 律诗 eight lines; of five or seven characters), by name."""


LONG_FORMS = {"七言排律": 7, "五言排律": 5}
"""Forms of regulated verse with more than eight lines: name -> characters in a line."""
SHORTEST_LONG, LONGEST = 10, 40
"""Fewest and most lines of these forms; the number is even."""


def long_form(name: str, lines: int) -> Form:
    """Return the shape of one of `LONG_FORMS` with `lines` lines, rounded up to an even number within the limits."""
    count = min(max(lines + lines % 2, SHORTEST_LONG), LONGEST)
    return regular_form(name, count, LONG_FORMS[name])


def form_of(lines: Sequence[str]) -> str | None:
    """Return the name of the regulated shape of these lines, or None."""
    lengths = tuple(len(line) for line in lines)
    return next((form.name for form in FORMS.values() if form.line_lengths == lengths), None)


def form_of_shape(lines: int, length: int) -> str:
    """Return the name of the regulated form with this number and length of lines."""
    return next(name for name, shape in FORM_SHAPES.items() if shape == (lines, length))


def place_start(start: str, form: Form) -> str:
    """Fit the beginning of a poem into a form.

    Args:
        start: Chinese characters; punctuation of either width is accepted exactly where the form has it, followed by
            optional white space, and quotation marks anywhere.
        form: The form.

    Returns:
        The characters of `start` without punctuation, otherwise unchanged.

    Raises:
        InputError: `start` does not fit the form; the message says why.
    """
    marks = {sum(form.line_lengths[: index + 1]): mark for index, mark in enumerate(form.marks)}
    placed, expects_mark, after_mark = "", False, False
    for character in start:
        if expects_mark and _WIDE.get(character, character) == marks[len(placed)]:
            expects_mark, after_mark = False, True
            continue
        if character in QUOTES or (after_mark and character.isspace()):
            continue
        after_mark = False
        if not bool(is_han(codepoints(character))[0]):
            raise _misplaced(character, len(placed), marks, form)
        placed += character
        expects_mark = len(placed) in marks
    room = sum(form.line_lengths)
    if len(placed) > room:
        raise InputError(
            "start_too_long",
            "the start has {count} characters, but a {form} has {room}; give fewer",
            count=len(placed),
            form=form.name,
            room=room,
        )
    whole = [
        placed[end - length : end] for end, length in zip(marks, form.line_lengths, strict=True) if end <= len(placed)
    ]
    if len(set(whole)) < len(whole):
        raise InputError(
            "line_twice", "the start contains the same line twice, which a poem must not; change one of the two"
        )
    return placed


def fits(start: str, form: Form) -> bool:
    """Return whether a poem of this form can begin with `start`."""
    try:
        place_start(start, form)
    except InputError:
        return False
    return True


def _misplaced(character: str, count: int, marks: dict[int, str], form: Form) -> InputError:
    """Return the error that a character is not allowed in the start of a form after `count` others."""
    if character not in MARKS:
        return not_chinese(Message("the_start", "the start"), character)
    expected = (
        Message("this_mark", "a '{mark}'", {"mark": marks[count]})
        if count in marks
        else Message("no_mark", "no punctuation")
    )
    return InputError(
        "misplaced_mark",
        "the start has {character} after {count} characters, where a {form} has {expected}",
        character=shown(character),
        count=count,
        form=form.name,
        expected=expected,
    )


def not_chinese(part: Message, character: str) -> InputError:
    """Return the error that a part of a poem (for example `the start`) contains a character that is not Chinese."""
    return InputError(
        "not_chinese",
        "a poem consists of Chinese characters, but {part} contains {character}; remove it",
        part=part,
        character=shown(character),
    )


def form_and_tune(form: str, tune: str) -> InputError:
    """Return the error that a form and a tune exclude each other."""
    return InputError(
        "form_and_tune",
        "a tune has a form of its own, so <form={form}> and <tune={tune}> exclude each other; leave one out",
        form=form,
        tune=tune,
    )


def unknown_form(form: str, known: Iterable[str]) -> InputError:
    """Return the error that there is no form of this name."""
    return InputError(
        "unknown_form", "there is no form '{form}'; choose one of {forms}", form=form, forms=", ".join(known)
    )


def unknown_shape(lines: Sequence[str]) -> InputError:
    """Return the error that no known form has lines of these lengths."""
    return InputError(
        "unknown_shape",
        "expected a regulated poem (4 or 8 lines of 5 or 7 characters) or a ci to a known tune, but found {lines} of "
        "{lengths} characters; name the tune with <tune>",
        lines=Message("one_line", "1 line")
        if len(lines) == 1
        else Message("line_count", "{count} lines", {"count": len(lines)}),
        lengths="、".join(str(len(line)) for line in lines[:12]),
    )


def shown(character: str) -> str:
    """Return a character for a message with its code point: 'H' (U+0048)."""
    code = f"U+{ord(character):04X}"
    return f"'{character}' ({code})" if character.isprintable() else code


@dataclass(frozen=True)
class Controls:
    """Conditions of the language model; an empty string means no condition."""

    form: str = ""
    dynasty: str = ""
    author: str = ""
    title: str = ""

    @property
    def symbols(self) -> list[str]:
        """Control symbols for form, dynasty and author, in the order in which the model reads them."""
        named = (("form", self.form), ("dynasty", self.dynasty), ("author", self.author))
        return [control_symbol(kind, value) for kind, value in named if value]


WRITTEN_DYNASTY = "今"
"""Dynasty of the poems of the corpus `verse_written`; poems of the four regular forms are written in their style."""


def control_symbol(kind: str, value: str) -> str:
    """Return the vocabulary symbol of a control, for example `<form:七绝>`."""
    return f"<{kind}:{value}>"


def encode_prefix(vocab: Vocab, controls: Controls) -> list[int]:
    """Return the ids that the model reads before the first character: controls it knows, title, `<bos>`."""
    ids = [vocab.id(symbol) for symbol in controls.symbols if symbol in vocab]
    title: list[int] = vocab.encode(normalize(controls.title)[:MAX_TITLE]).tolist() if controls.title else []
    return [*ids, *title, vocab.bos_id]


def encode_poems(
    vocab: Vocab, poems: Sequence[Sequence[str]], max_symbols: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Encode many poems given as lists of lines; see `encode_texts`."""
    return encode_texts(vocab, [LINE_MARK.join(lines) for lines in poems], max_symbols)


def encode_texts(
    vocab: Vocab, poems: Sequence[str], max_symbols: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Encode many poems at once.

    Args:
        vocab: A vocabulary with the symbol `<line>`.
        poems: Text of each poem, normalised and without punctuation, its lines separated by `LINE_MARK`.
        max_symbols: A longer poem is cut after the last line that fits, and then has no `<eos>`.

    Returns:
        Concatenated symbols of all poems (`a b c <line> d e f <eos>`), and the offset of each poem, (poems + 1,).
    """
    texts = [text + _END_MARK if len(text) < max_symbols else _cut(text, max_symbols) for text in poems]
    joined = "".join(texts)
    points = codepoints(joined)
    ids = vocab.encode(joined)
    ids[points == ord(LINE_MARK)] = vocab.id(LINE)
    ids[points == ord(_END_MARK)] = vocab.eos_id
    offsets = np.concatenate([[0], np.cumsum([len(text) for text in texts])]).astype(np.int64)
    return ids, offsets


def _cut(text: str, max_symbols: int) -> str:
    return text[: max(text.rfind(LINE_MARK, 0, max_symbols), 0)] or text[:max_symbols]
