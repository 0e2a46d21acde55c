"""Compute the cross-entropy of a linear output layer without ever holding all of its logits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# Rows of logits computed at a time: on a CPU a block stays near the cache, on a GPU it fills the device.
_CPU_ROWS = 256
_DEVICE_ROWS = 16384


def linear_cross_entropy(hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy of `hidden @ weight.T + bias` against `targets`, in nats.

    The gradients are computed together with the loss, block by block, so that memory stays flat in the number of rows
    and most of the traffic of a large softmax never leaves the cache. Products run in bfloat16 under autocast; the
    softmax and all sums are float32.

    Args:
        hidden: (rows, embed) floating point.
        weight: (vocab, embed) float32.
        bias: (vocab,) float32.
        targets: (rows,) int64, each within the vocabulary; there must be at least one row.
    """
    lower = torch.is_autocast_enabled(hidden.device.type)
    dtype = torch.bfloat16 if lower else weight.dtype
    loss: Tensor = _LinearCrossEntropy.apply(hidden, weight, bias, targets, dtype)  # type: ignore[no-untyped-call]
    return loss


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, dtype: torch.dtype) -> Tensor:
        rows = hidden.shape[0]
        block = _CPU_ROWS if hidden.device.type == "cpu" else _DEVICE_ROWS
        wide = torch.promote_types(dtype, torch.float32)
        with torch.autocast(hidden.device.type, enabled=False):
            # The bias is one more column of the weights, read by one more input that is always 1.
            inputs = torch.cat([hidden.to(dtype), hidden.new_ones(rows, 1, dtype=dtype)], dim=1)
            output = torch.cat([weight, bias.unsqueeze(1)], dim=1).to(dtype)
            grad_inputs = torch.empty_like(inputs)
            grad_output = torch.zeros_like(output, dtype=wide)
            total = torch.zeros((), dtype=wide, device=hidden.device)
            for start in range(0, rows, block):
                part = inputs[start : start + block]
                gold = targets[start : start + block, None]
                shares = torch.log_softmax(part @ output.T, dim=1, dtype=wide)  # (block, vocab)
                total -= shares.gather(1, gold).sum()
                if not any(ctx.needs_input_grad[:3]):
                    continue
                shares.exp_()
                shares.scatter_add_(1, gold, shares.new_full(gold.shape, -1.0))  # softmax minus one-hot
                lowered = shares.to(dtype)
                torch.mm(lowered, output, out=grad_inputs[start : start + block])
                grad_output += lowered.T @ part
        ctx.save_for_backward(grad_inputs[:, :-1], grad_output[:, :-1], grad_output[:, -1])
        ctx.rows = rows
        ctx.dtypes = (hidden.dtype, weight.dtype, bias.dtype)
        return total / rows

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        scale = gradients[0] / ctx.rows
        saved = zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        return (*((tensor.to(scale.dtype) * scale).to(dtype) for tensor, dtype in saved), None, None)
