"""Which of the characters that the rules allow the model likes best at a place: what follows it counts as well."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from zhseq.batching import IGNORED, Batch
from zhseq.models.language_model import LanguageModel
from zhseq.poem_batches import encode_with_forms
from zhseq.prosody import Prosody
from zhseq.review import BLANK, Review, Suggestion, candidates
from zhseq.scoring import score_poems
from zhseq.text.vocab import Vocab
from zhseq.verse import LINE, Controls, encode_prefix

_SHORT_LIST = 48  # characters, the likeliest by what stands before them, that are tried in the whole poem
_DEFAULT = 8


def places_to_mend(found: Review) -> list[tuple[int, int]]:
    """Return line and place, from 0, of what should be mended: marked places, or where there are none the faults."""
    marked = [(n, place) for n, line in enumerate(found.lines) for place, c in enumerate(line) if c == BLANK]
    return marked or sorted({(fault.line - 1, fault.place - 1) for fault in found.faults if fault.place})


def suggest(
    model: LanguageModel, vocab: Vocab, prosody: Prosody, found: Review, num: int = _DEFAULT
) -> list[Suggestion]:
    """Propose characters for the places to mend.

    Args:
        model: In evaluation mode.
        vocab: Its vocabulary.
        prosody: Tones and rhymes.
        found: The reviewed poem.
        num: How many characters for each place.
    """
    alphabet = [symbol for symbol in vocab.symbols[: model.config.output_size] if prosody.groups(symbol)]
    lines = list(found.lines)
    places = places_to_mend(found)
    for line, place in places:
        if lines[line][place] == BLANK:  # a first reading of all marked places, so that each is judged in a whole poem
            options = candidates(found, line, place, _unused(alphabet, lines), prosody)
            lines[line] = _put(lines[line], place, _short_list(model, vocab, found, lines, line, place, options)[:1])
    result = []
    for line, place in places:
        options = candidates(found, line, place, alphabet, prosody)
        listed = _short_list(model, vocab, found, lines, line, place, options)
        poems = [[*lines[:line], _put(lines[line], place, c), *lines[line + 1 :]] for c in listed]
        bits = [score.bits for score in score_poems(model, vocab, poems, [found.form] * len(poems))]
        best = tuple(listed[index] for index in np.argsort(bits, kind="stable")[:num])
        result.append(Suggestion(line + 1, place + 1, found.lines[line][place], best))
    return result


def surprise(model: LanguageModel, vocab: Vocab, lines: Sequence[str], form: str, title: str = "") -> list[list[float]]:
    """Return the bits that each character of a poem costs, given its form and title, as a list for each line."""
    prefix = encode_prefix(vocab, Controls(form, title=title))
    symbols = encode_with_forms(vocab, [lines], [""]).symbols
    ids = torch.tensor([*prefix, *symbols.tolist()], device=model.output_bias.device)
    targets = ids[1:].clone()
    targets[: len(prefix) - 1] = IGNORED
    read = ids[:-1].unsqueeze(0)
    losses = model.token_losses(Batch(read, torch.ones_like(read, dtype=torch.bool), targets.unsqueeze(0)))[0]
    bits = (losses / np.log(2)).tolist()[len(prefix) - 1 :]
    result, begin = [], 0
    for line in lines:
        result.append(bits[begin : begin + len(line)])
        begin += len(line) + 1  # the symbol between two lines
    return result


@torch.inference_mode()
def _short_list(
    model: LanguageModel,
    vocab: Vocab,
    found: Review,
    lines: Sequence[str],
    line: int,
    place: int,
    options: Sequence[str],
) -> list[str]:
    """Return the options that are likeliest after what stands before the place."""
    before = [*lines[:line], lines[line][:place]]
    prefix = encode_prefix(vocab, Controls(found.form, title=found.tune))
    ids = list(prefix)
    for number, text in enumerate(before):
        ids += [vocab.id(LINE)] * bool(number) + vocab.encode(text).tolist()
    logits, _ = model.step(torch.tensor([ids], device=model.output_bias.device))
    scores = logits[0, torch.tensor([vocab.id(option) for option in options], dtype=torch.int64)]
    order = scores.argsort(descending=True, stable=True)[:_SHORT_LIST].tolist()
    return [options[index] for index in order]


def _put(line: str, place: int, character: Sequence[str]) -> str:
    return line[:place] + "".join(character) + line[place + 1 :] if character else line


def _unused(alphabet: Sequence[str], lines: Sequence[str]) -> list[str]:
    used = set("".join(lines))
    return [character for character in alphabet if character not in used]
