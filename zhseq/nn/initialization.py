"""How weights begin, and how to leave that out where they are about to be read from a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import nn

from zhseq.errors import CheckpointError

_skipped: ContextVar[bool] = ContextVar("initialization_skipped", default=False)


@contextmanager
def uninitialized() -> Iterator[None]:
    """Build modules without drawing their first weights: orthogonal matrices take longer than loading a model.

    Raises:
        CheckpointError: There is not the memory for the sizes of the model, which came from a file.
    """
    token = _skipped.set(True)
    try:
        yield
    except (RuntimeError, MemoryError, OverflowError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"the model's config.json asks for sizes that cannot be had: {reason}") from error
    finally:
        _skipped.reset(token)


def initialize_lstm(layer: nn.LSTM) -> None:
    """Orthogonal recurrent weights, Xavier input weights, forget-gate bias 1 (Jozefowicz et al., 2015)."""
    if _skipped.get():
        return
    for name, parameter in layer.named_parameters():
        if name.startswith("weight_hh"):
            for gate in parameter.data.chunk(4):
                nn.init.orthogonal_(gate)
        elif name.startswith("weight_ih"):
            nn.init.xavier_uniform_(parameter.data)
        else:
            nn.init.zeros_(parameter.data)
            if name.startswith("bias_ih"):
                size = parameter.shape[0] // 4
                parameter.data[size : 2 * size] = 1.0


def embedding_table(rows: int, dim: int) -> nn.Embedding:
    """Return an embedding whose vectors have a length of about 1, and 0 for padding, which is row 0."""
    if _skipped.get():
        return nn.Embedding(rows, dim, padding_idx=0, _weight=torch.empty(rows, dim))
    table = nn.Embedding(rows, dim, padding_idx=0)
    nn.init.normal_(table.weight, std=dim**-0.5)
    with torch.no_grad():
        table.weight[0].zero_()
    return table
