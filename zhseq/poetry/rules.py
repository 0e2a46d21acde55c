"""Rules of verse as masks over the next character: one automaton for the regulated forms and for every tune.

A place of a pattern allows a set of characters by tone; the end of a rhyming line allows one by rhyme group. The group
is that of the first rhyme word: only groups that hold a word for every line to come, with room to spare, are open to
it, so no line can run into a dead end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from zhseq.errors import InputError
from zhseq.poetry.prosody import FREE, LEVEL, OBLIQUE, Pattern, Prosody, RhymeGroup
from zhseq.text.vocab import Vocab

OPEN = -1
"""A rhyme whose group is not chosen yet."""

_KINDS = {FREE: 0, LEVEL: 1, OBLIQUE: 2}
_STRICT = 2  # added to a kind: only characters of one certain reading
_SPARE = 8  # rhyme words a group must have beyond those a poem needs


def slots(pattern: Pattern) -> tuple[int, ...]:
    """Return for each line the number of its rhyme, from 0, or -1 if it does not rhyme.

    Lines of one rhyme class and one tone share a rhyme: where a tune mixes both tones in a class, each has a group of
    its own.
    """
    order: dict[tuple[int, str], int] = {}
    result = []
    for tones, rhyme in zip(pattern.tones, pattern.rhymes, strict=True):
        result.append(order.setdefault((rhyme, tones[-1]), len(order)) if rhyme else OPEN)
    return tuple(result)


def roomy(group: RhymeGroup, needed: int, tone: str) -> bool:
    """Tell whether a group can carry a rhyme of so many words on this tone (平, 仄 or 中)."""
    return len(group.certain) >= needed and tone in (FREE, group.tone.value)


def kinds(pattern: Pattern) -> list[list[int]]:
    """Return the kind of each place: 0 free, 1 level, 2 oblique, 3 and 4 the same with certain readings only.

    Certain readings are asked for where the ear listens: at the even places and at the end of a line.
    """
    return [
        [
            _KINDS[tone] + (_STRICT if tone != FREE and (place % 2 or place == len(line) - 1) else 0)
            for place, tone in enumerate(line)
        ]
        for line in pattern.tones
    ]


class RuleTables:
    """What each character the model can write may do, as tensors on a device."""

    def __init__(self, prosody: Prosody, vocab: Vocab, allowed: Tensor) -> None:
        """Prepare the tables.

        Args:
            prosody: Tones and rhymes.
            vocab: The model's vocabulary.
            allowed: Characters that may be written, (output_size,) bool.
        """
        size = len(allowed)
        lenient, strict = prosody.masks(vocab), prosody.masks(vocab, strict=True)
        every = np.ones(len(vocab), dtype=bool)
        by_kind = np.stack([every, lenient.level, lenient.oblique, strict.level, strict.oblique])[:, :size]
        members = torch.from_numpy(prosody.group_matrix(vocab, strict=True)[:size].T.copy())  # (groups, output)
        members = members.to(allowed.device) & allowed
        # Masks are added to scores: 0 where a character is allowed, else minus infinity.
        self.by_kind = _additive(torch.from_numpy(by_kind).to(allowed.device) & allowed)  # (kinds, output)
        self.by_group = _additive(members)  # (groups, output)
        self.group_sizes = members.sum(dim=1).tolist()
        self.group_of = torch.where(members.any(dim=0), members.to(torch.int8).argmax(dim=0), OPEN)
        self.groups = prosody.rhyme_groups

    def opening(self, needed: int, tone: str) -> Tensor:
        """Return the words with which a rhyme may begin, (output_size,) float32: 0, or minus infinity.

        Args:
            needed: Rhyme words there will be.
            tone: 平, 仄 or 中.

        Raises:
            InputError: No group has so many words.
        """
        fitting = [
            group.id
            for group in self.groups
            if tone in (FREE, group.tone.value) and self.group_sizes[group.id] >= needed + _SPARE
        ]
        # A vocabulary or prosody may be small; then a group that just suffices is better than none.
        fitting = fitting or [
            group.id
            for group in self.groups
            if tone in (FREE, group.tone.value) and self.group_sizes[group.id] >= needed
        ]
        if not fitting:
            raise InputError(
                "no_large_rhyme_group",
                "no rhyme group has the {needed} words that this pattern needs; use <rhyme=none>",
                needed=needed,
            )
        return self.by_group[fitting].amax(dim=0)


@dataclass(frozen=True)
class Template:
    """The rules of some patterns of one shape, ready for a batch of poems of which each follows one of them.

    Attributes:
        lengths: Characters in each line.
        kinds: Kind of each place, shape (patterns, lines, longest line), int64.
        slots: Rhyme of each line, shape (patterns, lines), int64; -1 for none.
        groups: Rhyme groups fixed beforehand, shape (patterns, rhymes), int64; -1 where open.
        openings: Words with which a rhyme may begin, shape (patterns, rhymes, output_size), float32.
    """

    lengths: tuple[int, ...]
    kinds: Tensor
    slots: Tensor
    groups: Tensor
    openings: Tensor

    @classmethod
    def build(cls, patterns: Sequence[Pattern], presets: Sequence[Sequence[int]], tables: RuleTables) -> Template:
        """Prepare patterns of equal line lengths.

        Args:
            patterns: One or more.
            presets: For each pattern the group of each of its rhymes, or -1.
            tables: What characters may do.

        Raises:
            InputError: A rhyme has more words than any rhyme group.
        """
        lengths, device = patterns[0].line_lengths, tables.by_kind.device
        by_pattern = [slots(pattern) for pattern in patterns]
        most = max(1, *(max(rhymes) + 1 for rhymes in by_pattern))
        kind = torch.zeros(len(patterns), len(lengths), max(lengths), dtype=torch.int64)
        groups = torch.full((len(patterns), most), OPEN)
        openings = torch.zeros(len(patterns), most, tables.by_kind.shape[1], device=device)
        for row, pattern in enumerate(patterns):
            for line, values in enumerate(kinds(pattern)):
                kind[row, line, : len(values)] = torch.tensor(values)
            for slot, needed in Counter(slot for slot in by_pattern[row] if slot != OPEN).items():
                preset = presets[row][slot]
                if preset != OPEN and tables.group_sizes[preset] < needed:
                    raise InputError(
                        "small_rhyme_group",
                        "the rhyme group '{group}' has {count} words, but this pattern needs {needed}; choose another",
                        group=tables.groups[preset].name,
                        count=tables.group_sizes[preset],
                        needed=needed,
                    )
                groups[row, slot] = preset
                end = pattern.tones[by_pattern[row].index(slot)][-1]
                openings[row, slot] = tables.opening(needed, end)
        return cls(lengths, kind.to(device), torch.tensor(by_pattern, device=device), groups.to(device), openings)

    def allow(self, tables: RuleTables, pattern: Tensor, groups: Tensor, line: int, place: int) -> Tensor:
        """Return what tone and rhyme allow at a place, (poems, output_size) float32: 0, or minus infinity.

        Args:
            tables: What characters may do.
            pattern: Pattern that each poem follows, (poems,) int64.
            groups: Rhyme groups chosen so far, (poems, rhymes) int64.
            line: Number of the line.
            place: Place in the line.
        """
        by_tone = tables.by_kind[self.kinds[pattern, line, place]]
        slot = self.slots[pattern, line]
        rhyming = slot != OPEN
        if place < self.lengths[line] - 1 or not bool(rhyming.any()):
            return by_tone
        index = slot.clamp(min=0)
        group = groups.gather(1, index.unsqueeze(1))[:, 0]
        is_open = (group == OPEN).unsqueeze(1)
        words = torch.where(is_open, self.openings[pattern, index], tables.by_group[group.clamp(min=0)])
        # A word with a rhyme has the tone of its group, so the tone mask need not be asked as well.
        return torch.where(rhyming.unsqueeze(1), words, by_tone)


def _additive(allowed: Tensor) -> Tensor:
    return torch.where(allowed, 0.0, -torch.inf)
