"""Propose characters that keep the rules, for marked places of a poem or for its faults."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from zhseq.poetry.faults import Review
from zhseq.poetry.forms import LINE, Controls, encode_prefix
from zhseq.poetry.model import LanguageModel
from zhseq.poetry.prosody import FREE, Prosody
from zhseq.poetry.reading import BLANK
from zhseq.poetry.scoring import score_poems
from zhseq.text.vocab import Vocab

_SHORT_LIST = 48  # characters, the likeliest by what stands before them, that are tried in the whole poem


@dataclass(frozen=True)
class Suggestion:
    """What could stand at a position."""

    line: int
    """Number of the line, from 1."""
    position: int
    """Position in the line, from 1."""
    character: str
    """What stands there; `?` at a marked place."""
    characters: tuple[str, ...]
    """What could stand there, the best first."""

    def fields(self) -> dict[str, Any]:
        """Return the suggestion as values of JSON."""
        return {"line": self.line, "place": self.position, "character": self.character, "characters": self.characters}


def suggest(
    model: LanguageModel, vocab: Vocab, prosody: Prosody, found: Review, num: int
) -> Iterator[Suggestion | None]:
    """Propose characters for the positions to mend, one after the other; yield None between two steps of the search.

    Args:
        model: In evaluation mode.
        vocab: Its vocabulary.
        prosody: Tones and rhymes.
        found: The reviewed poem.
        num: How many characters for each position.
    """
    alphabet = [symbol for symbol in vocab.symbols[: model.config.output_size] if prosody.groups(symbol)]
    lines = list(found.lines)
    positions = positions_to_mend(found)
    for line, position in positions:
        if lines[line][position] == BLANK:  # a first reading of all marked places, so that each stands in a whole poem
            used = set("".join(lines))
            unused = [character for character in alphabet if character not in used]
            options = candidates(found, line, position, unused, prosody)
            best = _likeliest(model, vocab, found, [*lines[:line], lines[line][:position]], options)[:1]
            lines[line] = _exchange(lines[line], position, best[0]) if best else lines[line]
            yield None
    for line, position in positions:
        options = candidates(found, line, position, alphabet, prosody)
        tried = _likeliest(model, vocab, found, [*lines[:line], lines[line][:position]], options)
        yield None
        poems = [[*lines[:line], _exchange(lines[line], position, c), *lines[line + 1 :]] for c in tried]
        bits = [score.bits for score in score_poems(model, vocab, poems, [found.form] * len(poems))]
        best = [tried[index] for index in np.argsort(bits, kind="stable")[:num]]
        yield Suggestion(line + 1, position + 1, found.lines[line][position], tuple(best))


def positions_to_mend(found: Review) -> list[tuple[int, int]]:
    """Return line and position, from 0, of the marked places, or where there are none of the faults."""
    marked = [(n, position) for n, line in enumerate(found.lines) for position, c in enumerate(line) if c == BLANK]
    return marked or sorted({(fault.line - 1, fault.position - 1) for fault in found.faults if fault.position})


def candidates(found: Review, line: int, position: int, alphabet: Iterable[str], prosody: Prosody) -> list[str]:
    """Return the characters that keep tone and rhyme at a position and do not stand in the poem already.

    Args:
        found: The poem.
        line: Number of the line, from 0.
        position: Position in the line, from 0.
        alphabet: Characters to choose from.
        prosody: Tones and rhymes.
    """
    prosody = found.rhymes_in(prosody)
    used = set("".join(found.lines))
    due = found.expected[line][position] if position < len(found.expected[line]) else FREE
    unused = [character for character in alphabet if character not in used]
    # Only certain tones are proposed: a character of two readings leaves the reader to guess.
    fitting = [c for c in unused if due in (FREE, prosody.tone_class(c).value)]
    rhyme = found.rhyming[line]
    if not rhyme or position != len(found.lines[line]) - 1:
        return fitting
    groups = [group for n, group in enumerate(found.rhymes) if found.rhyming[n] == rhyme and n != line and group >= 0]
    if not groups:
        return fitting
    group = max(set(groups), key=groups.count)
    return [character for character in fitting if group in prosody.groups(character)]


@torch.inference_mode()
def _likeliest(
    model: LanguageModel, vocab: Vocab, found: Review, before: Sequence[str], options: Sequence[str]
) -> list[str]:
    """Return the options that are likeliest after what stands before them: whole lines and the begun one."""
    ids = encode_prefix(vocab, Controls(found.form, title=found.tune))
    for number, text in enumerate(before):
        ids += [vocab.id(LINE)] * bool(number) + vocab.encode(text).tolist()
    logits, _ = model.step(torch.tensor([ids], device=model.output_bias.device))
    scores = logits[0, torch.tensor([vocab.id(option) for option in options], dtype=torch.int64)]
    order = scores.argsort(descending=True, stable=True)[:_SHORT_LIST].tolist()
    return [options[index] for index in order]


def _exchange(line: str, position: int, character: str) -> str:
    return line[:position] + character + line[position + 1 :]
