"""How surprising poems are to the language model: bits for everything it must produce, given at most the form."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from zhseq.errors import InputError
from zhseq.models.language_model import LanguageModel
from zhseq.poem_batches import encode_with_forms, form_only_batches
from zhseq.text.normalize import codepoints, is_han, normalize
from zhseq.text.vocab import Vocab
from zhseq.training.device import autocast
from zhseq.verse import UNKNOWN_BITS, form_of

_TOKENS_PER_BATCH = 8192
_BETWEEN_LINES = re.compile(r"[|，。！？；：,.!?;:\s]+")


@dataclass(frozen=True)
class Score:
    """What a poem costs."""

    bits: float
    """-log2 of the probability of all characters, line separators and the end; `UNKNOWN_BITS` more for each character
    that the vocabulary lacks."""
    han: int
    """Chinese characters in it."""

    @property
    def bits_per_han(self) -> float:
        """Bits for each Chinese character."""
        return self.bits / self.han


@torch.inference_mode()
def score_poems(
    model: LanguageModel, vocab: Vocab, poems: Sequence[Sequence[str]], forms: Sequence[str], precision: str = "float32"
) -> list[Score]:
    """Score poems.

    Args:
        model: In evaluation mode.
        vocab: Its vocabulary.
        poems: The lines of each poem, normalised and without punctuation.
        forms: The form that each poem is said to have, or an empty string.
        precision: As in `TrainingConfig`.
    """
    encoded = encode_with_forms(vocab, poems, forms)
    device = model.output_bias.device
    nats = np.zeros(len(poems))
    with autocast(device, precision):
        for rows, batch in form_only_batches(encoded, _TOKENS_PER_BATCH, vocab.bos_id):
            nats[rows] = model.token_losses(batch.to(device)).double().sum(dim=1).cpu().numpy()
    unknown = np.add.reduceat(encoded.symbols == vocab.unk_id, encoded.symbol_offsets[:-1]) if len(poems) else nats
    bits = nats / math.log(2) + UNKNOWN_BITS * unknown
    return [
        Score(float(cost), int(is_han(codepoints("".join(lines))).sum()))
        for cost, lines in zip(bits, poems, strict=True)
    ]


def read_poem(record: str, place: str) -> tuple[list[str], str]:
    """Read a poem from one line of a file: plain text with punctuation, or JSON with `content` and maybe `form`.

    Args:
        record: The line; lines of the poem are parted by `|` or punctuation.
        place: File and line, for messages.

    Returns:
        The normalised lines, and the form: the one given, else the regulated shape of the lines, else "".

    Raises:
        InputError: It is neither.
    """
    form, content = "", record
    if record.lstrip().startswith("{"):
        try:
            fields = json.loads(record)
            content, form = fields["content"], fields.get("form", "")
        except (ValueError, KeyError) as error:
            detail = "has no 'content'" if isinstance(error, KeyError) else f"is not valid JSON ({error})"
            raise InputError(
                f'{place}: the record {detail}; expected {{"content": "line|line|...", "form": "七绝"}}'
            ) from error
        if not isinstance(content, str) or not isinstance(form, str):
            raise InputError(f"{place}: 'content' and 'form' must be strings")
    # Marks are folded to half width by normalisation, so both kinds part lines.
    lines = [line for line in _BETWEEN_LINES.split(normalize(content)) if line]
    if not is_han(codepoints("".join(lines))).any():
        raise InputError(f"{place}: there is no Chinese character in this poem")
    return lines, normalize(form) or form_of(lines) or ""
