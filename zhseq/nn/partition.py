"""Compute the log partition of a linear-chain CRF, the sum over every path of the trellis, with its gradient.

The usual recursion takes a log-sum-exp over (batch, tags, tags) numbers at every character. Here all emissions are
exponentiated once, and one character costs one matrix product per direction. The gradient needs no graph: the
forward and the backward sums give the marginals (gradient of the emissions), and one matrix product over all
characters of the batch gives the expected transition counts (gradient of the transitions).

The sums are kept in double precision, relative to the best tag of each character. Should a value that the tag scheme
can reach fall below what a double can hold (hundreds of nats behind its rivals), its sequence is summed again in log
space, slowly and exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

RESCALE_EVERY = 4  # characters; a double has room for many more between two divisions by the largest sum
IMPOSSIBLE = -1e30  # nats; stands for minus infinity where an infinity would turn gradients into NaN


class Scores(NamedTuple):
    """The parameters of the chain in nats, minus infinity where the scheme forbids.

    *Shape:* transitions (tags, tags) from row to column, start (tags,), end (tags,).
    """

    transitions: Tensor
    start: Tensor
    end: Tensor


@dataclass(frozen=True)
class Support:
    """Which cells of one batch's trellis exist.

    Attributes:
        mask: (batch, length) bool, True for real characters, which come first in every row.
        reach: (2, at least length, 1 or batch, tags) bool or None: tags that legal paths can reach from the start
            (first) and from the end (second), see `reachable`. None: all of them.
        allowed_tags: (batch, length, tags) bool or None: the tags a partial labelling leaves to each character.
    """

    mask: Tensor
    reach: Tensor | None = None
    allowed_tags: Tensor | None = None


def reachable(first: Tensor, moves: Tensor, length: int, local: Tensor | None = None) -> Tensor:
    """Tags that some legal path from each end can hold after 1, 2, ... `length` characters.

    Args:
        first: (2, tags) bool, the tags a sequence may start with and those it may end with.
        moves: (tags, tags) bool, allowed transitions from row to column.
        length: Characters to go.
        local: (2, length, batch, tags) bool or None: allowed tags of each character, in both reading directions.

    Returns:
        (2, length, 1 or batch, tags) bool.
    """
    weights = torch.stack([moves, moves.T]).float()
    state = first[:, None, :]  # (2, 1, tags)
    steps = []
    for position in range(length):
        if position:
            state = torch.bmm(state.float(), weights) > 0
        if local is not None:
            state = state & local[:, position]
        steps.append(state)
    return torch.stack(steps, 1)


def log_partition(emissions: Tensor, scores: Scores, support: Support) -> Tensor:
    """Log of the summed exponentiated scores of all legal paths.

    Args:
        emissions: (batch, length, tags) float; what padding holds does not matter.
        scores: The parameters of the chain.
        support: Which cells of the trellis exist.

    Returns:
        (batch,) float64 (float32 on devices without doubles), nats; minus infinity where no path is legal.
    """
    tensors = (emissions, *scores)
    wants_gradient = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    result, trusted = _ScaledPartition.apply(*tensors, support, wants_gradient)  # type: ignore[no-untyped-call]
    if bool(trusted.all()):
        return result  # type: ignore[no-any-return]
    rows = (~trusted).nonzero()[:, 0]
    allowed = None if support.allowed_tags is None else support.allowed_tags[rows]
    exact = exact_log_partition(emissions[rows], scores, Support(support.mask[rows], None, allowed))
    return result.masked_fill(~trusted, 0.0).index_add(0, rows, exact)  # type: ignore[no-any-return]


def exact_log_partition(emissions: Tensor, scores: Scores, support: Support) -> Tensor:
    """The same as `log_partition` in log space: slow, memory hungry, and safe for emissions of any size."""
    dtype = _sum_dtype(emissions)
    transitions, start, end = (score.to(dtype).clamp_min(IMPOSSIBLE) for score in scores)
    emissions = emissions.to(dtype).masked_fill(~support.mask[..., None], 0.0)
    if support.allowed_tags is not None:
        emissions = emissions.masked_fill(~(support.allowed_tags | ~support.mask[..., None]), IMPOSSIBLE)
    state = start + emissions[:, 0]
    for position in range(1, emissions.shape[1]):
        following = torch.logsumexp(state[:, :, None] + transitions, dim=1) + emissions[:, position]
        state = torch.where(support.mask[:, position, None], following, state)
    total = torch.logsumexp(state + end, dim=1)
    return total.masked_fill(total < IMPOSSIBLE / 2, -torch.inf)


def reverse_index(mask: Tensor) -> Tensor:
    """For each cell of (length, batch), the flat cell that holds the same character counted from the row's end.

    Padding stays where it is, so applying the index twice gives the original order.
    """
    length, batch = mask.shape[1], mask.shape[0]
    position = torch.arange(length, device=mask.device)[:, None]
    mirrored = torch.where(mask.T, mask.sum(1) - 1 - position, position)  # (length, batch)
    return (mirrored * batch + torch.arange(batch, device=mask.device)).flatten()


def relative_emissions(emissions: Tensor, support: Support) -> tuple[Tensor, Tensor]:
    """Emissions minus the best allowed one of their character, and that best one.

    Returns:
        (batch, length, tags), at most 0: minus infinity for tags that are not allowed, 0 on padding; and
        (batch, length), 0 on padding.
    """
    if support.allowed_tags is not None:
        emissions = emissions.masked_fill(~support.allowed_tags, -torch.inf)
    lowest = torch.finfo(emissions.dtype).min  # a character without any allowed tag keeps minus infinity, not NaN
    peak = emissions.amax(-1, keepdim=True).clamp_min(lowest)
    relative, peak = emissions - peak, peak[..., 0]
    if not bool(support.mask.all()):
        padding = ~support.mask
        relative.masked_fill_(padding[..., None], 0.0)
        peak = peak.masked_fill(padding, 0.0)
    return relative, peak


def exponentiated(scores: Scores, dtype: torch.dtype) -> tuple[Scores, Scores]:
    """exp(scores - their maximum), 0 where the scheme forbids, and the three maxima, both of type `dtype`."""
    scores = Scores(*(score.to(dtype) for score in scores))
    lowest = torch.finfo(torch.float32).min  # where everything is forbidden, 0 instead of NaN
    peaks = Scores(*(score.amax().clamp_min(lowest) for score in scores))
    return Scores(*((score - peak).exp_() for score, peak in zip(scores, peaks, strict=True))), peaks


def _sum_dtype(emissions: Tensor) -> torch.dtype:
    return torch.float32 if emissions.device.type == "mps" else torch.float64  # Apple GPUs have no doubles


def _scan(first: Tensor, weights: Tensor, local: Tensor) -> tuple[Tensor, Tensor]:
    """Sums over all partial paths, in each direction, before and after the emission of each character.

    Args:
        first: (directions, 1, tags).
        weights: (directions, tags, tags).
        local: (directions, length, batch, tags), exponentiated emissions; overwritten with the sums after them.

    Returns:
        The sums before the emissions, shaped like `local`; and (directions, length, batch, 1), what those after the
        emissions were divided by.
    """
    before = torch.empty_like(local)
    before[:, 0] = first
    scale = local.new_ones(*local.shape[:3], 1)
    tiny = torch.finfo(local.dtype).tiny
    befores, afters, scales = before.unbind(1), local.unbind(1), scale.unbind(1)
    for position in range(len(afters)):
        if position:
            torch.bmm(afters[position - 1], weights, out=befores[position])
        afters[position].mul_(befores[position])
        if position % RESCALE_EVERY == RESCALE_EVERY - 1:
            torch.amax(afters[position], -1, keepdim=True, out=scales[position])
            afters[position].div_(scales[position].clamp_min_(tiny))
    return before, scale


class _ScaledPartition(torch.autograd.Function):
    """Log partition and, per sequence, whether nothing that matters was lost to underflow."""

    @staticmethod
    def forward(
        ctx: Any, emissions: Tensor, transitions: Tensor, start: Tensor, end: Tensor, support: Support, gradient: bool
    ) -> tuple[Tensor, Tensor]:
        dtype = _sum_dtype(emissions)
        mask, lengths = support.mask, support.mask.sum(1)
        relative, peak = relative_emissions(emissions, support)
        scores = Scores(transitions, start, end)
        (weights, first, last), peaks = exponentiated(scores, dtype)
        batch, length, tags = relative.shape
        directions = 1 + gradient
        after = torch.empty(directions, length, batch, tags, dtype=dtype, device=relative.device)
        after[0] = relative.transpose(0, 1)
        after[0].exp_()
        order = reverse_index(mask)
        if gradient:
            torch.index_select(after[0].view(-1, tags), 0, order, out=after[1].view(-1, tags))
        before, scale = _scan(
            torch.stack([first, last])[:directions, None], torch.stack([weights, weights.T])[:directions], after
        )

        ended = after[0, lengths - 1, torch.arange(batch, device=mask.device)] @ last  # (batch,)
        fixed = peaks.transitions * (lengths - 1) + peaks.start + peaks.end
        peak_and_scale = peak.to(dtype) + scale[0, :, :, 0].log().T
        result = (peak_and_scale * mask).sum(1) + ended.log() + fixed

        floor = torch.finfo(dtype).tiny * 1e10  # headroom, so that sums of what was lost stay below the precision
        trusted = _above(floor, after, scale.clamp_max(1.0), _reach_of(support, scores, length)[:directions])
        trusted &= ended >= floor
        if gradient:
            backward = after[1].view(-1, tags)[order].view(length, batch, tags)
            joint = before[0].mul_(backward)  # proportional to the marginals of each character
            total = joint.sum(-1)  # (length, batch)
            trusted &= ((total >= floor**0.5) | ~mask.T).all(0)
            ctx.save_for_backward(joint, total, after[0], backward, weights, mask, trusted)
            ctx.dtypes = tuple(tensor.dtype for tensor in (emissions, transitions, start, end))
        ctx.mark_non_differentiable(trusted)
        return result, trusted

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        joint, total, forward, backward, weights, mask, trusted = ctx.saved_tensors
        _, batch, tags = joint.shape
        share = torch.where(mask.T & trusted, grads[0] / total, 0.0)[..., None]  # (length, batch, 1)
        marginals = joint * share
        last = marginals[mask.sum(1) - 1, torch.arange(batch, device=mask.device)]
        following = (backward[1:] * share[1:]).view(-1, tags)
        counts = weights * (forward[:-1].view(-1, tags).T @ following)
        results: Sequence[Tensor] = (marginals.transpose(0, 1), counts, marginals[0].sum(0), last.sum(0))
        contiguous = torch.contiguous_format
        return (
            *(value.to(dtype, memory_format=contiguous) for value, dtype in zip(results, ctx.dtypes, strict=True)),
            None,
            None,
        )


def _reach_of(support: Support, scores: Scores, length: int) -> Tensor:
    if support.allowed_tags is None:
        if support.reach is None:
            return torch.ones(2, length, 1, 1, dtype=torch.bool, device=support.mask.device)
        return support.reach[:, :length]
    allowed = (support.allowed_tags | ~support.mask[..., None]).transpose(0, 1)  # (length, batch, tags)
    mirrored = allowed.flatten(0, 1)[reverse_index(support.mask)].view_as(allowed)
    ends = torch.stack([scores.start, scores.end]) > -torch.inf
    return reachable(ends, scores.transitions > -torch.inf, length, torch.stack([allowed, mirrored]))


def _above(floor: float, values: Tensor, scale: Tensor, reach: Tensor) -> Tensor:
    """For each sequence (batch,), whether all its reachable values exceeded `floor` when they were computed.

    Args:
        floor: The bound.
        values: (directions, length, batch, tags), divided by the scale since.
        scale: (directions, length, batch, 1), at most 1.
        reach: (directions, length, 1 or batch, tags) bool.
    """
    if reach.shape[2] == 1:  # first a bound for the whole batch, which nearly always suffices
        lowest = values.amin(2, keepdim=True) * scale.amin(2, keepdim=True)
        if bool(((lowest >= floor) | ~reach).all()):
            return torch.ones(values.shape[2], dtype=torch.bool, device=values.device)
    return ((values * scale >= floor) | ~reach).all(-1).all(0).all(0)
