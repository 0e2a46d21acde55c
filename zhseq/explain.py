"""A reviewed poem in rows: characters, tones, what the pattern asks for, rhyme, and the surprise of each character."""

from __future__ import annotations

from collections.abc import Sequence

from zhseq.prosody import FREE, Prosody
from zhseq.review import Review, rhymes_of

_RED, _GREEN, _DIM, _PLAIN = "\x1b[31m", "\x1b[32m", "\x1b[2m", "\x1b[0m"


def explain(found: Review, surprise: Sequence[Sequence[float]], prosody: Prosody, *, colour: bool) -> list[str]:
    """Return the rows to print.

    Args:
        found: The poem.
        surprise: Bits of each character, as a list for each line.
        prosody: That of the review; names the rhymes.
        colour: Use the escape sequences of terminals.
    """
    total = sum(sum(line) for line in surprise) / max(1, sum(map(len, found.lines)))
    rhymes = dict.fromkeys(_rhyme_name(found, number, prosody) for number in range(len(found.lines)))
    named = "、".join(name for name in rhymes if name)
    rows = [f"{found.form} {found.pattern}　韵: {named or '-'}　{total:.1f} bits a character"]
    rows += [found.note] if found.note else []
    for number, line in enumerate(found.lines):
        broken = {fault.place for fault in found.faults if fault.line == number + 1}
        rhyme = _rhyme_name(found, number, prosody)
        rows.append("")
        rows.append(_row("", line, broken, colour) + (_painted(f"　韵 {rhyme}", _GREEN, colour) if rhyme else ""))
        rows.append(_row("声", found.tones[number], broken, colour))
        rows.append(_painted(_row("律", found.expected[number].replace(FREE, "・"), (), False), _DIM, colour))
        costs = " ".join(f"{min(bits, 99):2.0f}" for bits in surprise[number])
        rows.append(_painted(f"惊 {costs}", _DIM, colour))
    rows += ["", *(_painted(str(fault), _RED, colour) for fault in found.faults)] if found.faults else []
    return rows


def _row(label: str, signs: str, broken: set[int] | tuple[()], colour: bool) -> str:
    """Lay signs out in columns of three; those at broken places are red, or marked where there is no colour."""
    cells = [
        _painted(sign, _RED, colour) + ("!" if not colour else " ") if place in broken else f"{sign} "
        for place, sign in enumerate(signs, start=1)
    ]
    return (f"{label} " if label else "   ") + "".join(cells).rstrip()


def _painted(text: str, style: str, colour: bool) -> str:
    return f"{style}{text}{_PLAIN}" if colour and text else text


def _rhyme_name(found: Review, number: int, prosody: Prosody) -> str:
    group = found.rhymes[number]
    return rhymes_of(found, prosody).rhyme_groups[group].name if group >= 0 else ""
