"""Which characters keep the rules at a place of a poem."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from zhseq.prosody import FREE, Prosody
from zhseq.review.faults import Review, rhymes_of


@dataclass(frozen=True)
class Suggestion:
    """What could stand at a place."""

    line: int
    """Number of the line, from 1."""
    place: int
    """Place in the line, from 1."""
    character: str
    """What stands there; `?` at a marked place."""
    characters: tuple[str, ...]
    """What could stand there, the best first."""


def candidates(found: Review, line: int, place: int, alphabet: Iterable[str], prosody: Prosody) -> list[str]:
    """Return the characters that keep tone, rhyme and freedom from repetition at a place.

    Args:
        found: The poem.
        line: Number of the line, from 0.
        place: Place in the line, from 0.
        alphabet: Characters to choose from.
        prosody: Tones and rhymes.
    """
    prosody = rhymes_of(found, prosody)
    used = set("".join(found.lines))
    wanted = found.expected[line][place] if place < len(found.expected[line]) else FREE
    unused = [character for character in alphabet if character not in used]
    # Only certain tones are proposed: a character of two readings leaves the reader to guess.
    fitting = [c for c in unused if wanted in (FREE, prosody.tone_class(c).value)]
    rhyme = found.rhyming[line]
    if not rhyme or place != len(found.lines[line]) - 1:
        return fitting
    groups = [group for n, group in enumerate(found.rhymes) if found.rhyming[n] == rhyme and n != line and group >= 0]
    if not groups:
        return fitting
    group = max(set(groups), key=groups.count)
    return [character for character in fitting if group in prosody.groups(character)]
