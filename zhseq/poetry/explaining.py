"""Lay a reviewed poem out for a terminal: tones, pattern, rhymes, surprise, faults. Imports no torch."""

from __future__ import annotations

from collections.abc import Container, Sequence

from zhseq.errors import Door, Message, command_line
from zhseq.poetry.faults import Review
from zhseq.poetry.prosody import FREE, Prosody

_RED, _GREEN, _DIM, _PLAIN = "\x1b[31m", "\x1b[32m", "\x1b[2m", "\x1b[0m"


def explain(
    found: Review,
    surprise: Sequence[Sequence[float]],
    prosody: Prosody,
    *,
    colour: bool,
    door: Door = command_line,
) -> list[str]:
    """Return the rows to print.

    Args:
        found: The poem.
        surprise: Bits of each character, as a list for each line.
        prosody: That of the review; names the rhymes.
        colour: Use the escape sequences of terminals.
        door: How arguments are written in the note.
    """
    rhymes = [found.rhyme_name(number, prosody) for number in range(len(found.lines))]
    mean = sum(map(sum, surprise)) / max(1, sum(map(len, found.lines)))
    bits = Message("mean_surprise", "{bits} bits a character", {"bits": f"{mean:.1f}"}).render(door)
    named = "、".join(filter(None, dict.fromkeys(rhymes)))
    rows = [f"{found.form} {found.pattern}　韵: {named or '-'}　{bits}"]
    rows += [found.note.render(door)] if found.note else []
    for number, line in enumerate(found.lines):
        broken = {fault.position for fault in found.faults if fault.line == number + 1}
        rhyme = _painted(f"　韵 {rhymes[number]}", _GREEN, colour) if rhymes[number] else ""
        costs = " ".join(f"{min(bits, 99):2.0f}" for bits in surprise[number])
        rows += [
            "",
            _columns("", line, broken, colour) + rhyme,
            _columns("声", found.tones[number], broken, colour),
            _painted(_columns("律", found.expected[number].replace(FREE, "・"), (), False), _DIM, colour),
            _painted(f"惊 {costs}", _DIM, colour),
        ]
    if found.faults:
        rows += ["", *(_painted(fault.message.render(door), _RED, colour) for fault in found.faults)]
    return rows


def _columns(label: str, signs: str, broken: Container[int], colour: bool) -> str:
    """Lay signs out in columns of three; those at broken positions are red, or marked where there is no colour."""
    cells = [
        _painted(sign, _RED, colour) + ("!" if not colour else " ") if position in broken else f"{sign} "
        for position, sign in enumerate(signs, start=1)
    ]
    return (f"{label} " if label else "   ") + "".join(cells).rstrip()


def _painted(text: str, style: str, colour: bool) -> str:
    return f"{style}{text}{_PLAIN}" if colour and text else text
