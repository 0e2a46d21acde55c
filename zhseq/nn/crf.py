"""Linear-chain conditional random field: exact loss, marginals and decoding, fast on a CPU.

The usual forward recursion for the log partition takes a log-sum-exp over (batch, tags, tags) numbers per character.
Here all emissions are exponentiated once, and a character costs one matrix product per direction. The gradient needs
no autograd graph: forward and backward sums give the marginals (gradient of the emissions), and one matrix product over
all characters of the batch gives the expected transition counts (gradient of the transitions).

The sums are in double precision, relative to the best tag of each character. If a reachable value underflows (hundreds
of nats below the best one), its sequence is recomputed in log space, which is slower.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torchcrf
from torch import Tensor
from torch.autograd.function import once_differentiable

from zhseq.errors import InputError
from zhseq.nn.viterbi import Chain, Sequences, best_paths, k_best_paths

RESCALE_EVERY = 4  # characters between two rescalings, far fewer than the range of a double permits
IMPOSSIBLE = -1e30  # nats; used instead of minus infinity, which would make gradients NaN


class Scores(NamedTuple):
    """CRF parameters in nats, minus infinity for forbidden transitions.

    *Shape:* transitions (tags, tags) from row to column, start (tags,), end (tags,).
    """

    transitions: Tensor
    start: Tensor
    end: Tensor


@dataclass(frozen=True)
class Support:
    """The cells of the trellis of a batch that legal paths can use.

    Attributes:
        mask: (batch, length) bool, True for real characters, which come first in every row.
        reach: (2, at least length, 1 or batch, tags) bool, tags reachable from the start (first) and from the end
            (second), see `reachable`; None for all tags.
        allowed_tags: (batch, length, tags) bool, tags that a partial labelling allows at each character; None for all.
    """

    mask: Tensor
    reach: Tensor | None = None
    allowed_tags: Tensor | None = None


def reachable(first: Tensor, moves: Tensor, length: int, local: Tensor | None = None) -> Tensor:
    """Return the tags that legal paths from each end can have after 1, 2, ... `length` characters.

    Args:
        first: (2, tags) bool, tags that a sequence may start with, and tags that it may end with.
        moves: (tags, tags) bool, allowed transitions from row to column.
        length: Number of characters.
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
    """Return the logarithm of the sum of the exponentiated scores of all legal paths.

    Args:
        emissions: (batch, length, tags) float; values at padding are ignored.
        scores: CRF parameters.
        support: Usable cells of the trellis.

    Returns:
        (batch,) float64 (float32 on devices without doubles), in nats; minus infinity if no path is legal.
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
    """Compute `log_partition` in log space: slower, with more memory, but without underflow for any emissions."""
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
    """Return the flat index that reverses each sequence of a (length, batch) array within its own length.

    Padding stays in place, so applying the index twice restores the original order.
    """
    length, batch = mask.shape[1], mask.shape[0]
    position = torch.arange(length, device=mask.device)[:, None]
    mirrored = torch.where(mask.T, mask.sum(1) - 1 - position, position)  # (length, batch)
    return (mirrored * batch + torch.arange(batch, device=mask.device)).flatten()


def relative_emissions(emissions: Tensor, support: Support) -> tuple[Tensor, Tensor]:
    """Subtract from the emissions of each character their maximum over the allowed tags.

    Returns:
        The differences, (batch, length, tags), minus infinity for tags that are not allowed, 0 at padding; and the
        maxima, (batch, length), 0 at padding.
    """
    if support.allowed_tags is not None:
        emissions = emissions.masked_fill(~support.allowed_tags, -torch.inf)
    lowest = torch.finfo(emissions.dtype).min  # gives minus infinity instead of NaN if no tag is allowed
    peak = emissions.amax(-1, keepdim=True).clamp_min(lowest)
    relative, peak = emissions - peak, peak[..., 0]
    if not bool(support.mask.all()):
        padding = ~support.mask
        relative.masked_fill_(padding[..., None], 0.0)
        peak = peak.masked_fill(padding, 0.0)
    return relative, peak


def exponentiated(scores: Scores, dtype: torch.dtype) -> tuple[Scores, Scores]:
    """Return exp(scores - maximum), 0 for forbidden transitions, and the three maxima, both of type `dtype`."""
    scores = Scores(*(score.to(dtype) for score in scores))
    lowest = torch.finfo(torch.float32).min  # gives 0 instead of NaN if everything is forbidden
    peaks = Scores(*(score.amax().clamp_min(lowest) for score in scores))
    return Scores(*((score - peak).exp_() for score, peak in zip(scores, peaks, strict=True))), peaks


def _sum_dtype(emissions: Tensor) -> torch.dtype:
    return torch.float32 if emissions.device.type == "mps" else torch.float64  # Apple GPUs have no doubles


def _scan(first: Tensor, weights: Tensor, local: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the sums over all partial paths in each direction, before and after the emission of each character.

    Args:
        first: Exponentiated scores of the first tag, (directions, 1, tags).
        weights: Exponentiated transitions, (directions, tags, tags).
        local: Exponentiated emissions, (directions, length, batch, tags); overwritten with the sums after emissions.

    Returns:
        The sums before emissions, shaped like `local`; and the divisors of the sums after emissions, (directions,
        length, batch, 1).
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
    """Log partition, (batch,), and whether it is free of underflow, (batch,) bool."""

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

        floor = torch.finfo(dtype).tiny * 1e10  # smaller values may have lost precision
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
    """Return for each sequence whether all its reachable values were at least `floor` before rescaling, (batch,) bool.

    Args:
        floor: The bound.
        values: (directions, length, batch, tags), rescaled.
        scale: (directions, length, batch, 1), at most 1.
        reach: (directions, length, 1 or batch, tags) bool.
    """
    if reach.shape[2] == 1:  # try a bound for the whole batch first, which is nearly always sufficient
        lowest = values.amin(2, keepdim=True) * scale.amin(2, keepdim=True)
        if bool(((lowest >= floor) | ~reach).all()):
            return torch.ones(values.shape[2], dtype=torch.bool, device=values.device)
    return ((values * scale >= floor) | ~reach).all(-1).all(0).all(0)


ILLEGAL_SCORE = -1e4  # nats; penalty of a forbidden transition in a gold sequence: finite, but conspicuous in the loss


class CRF(torchcrf.CRF):  # type: ignore[misc]
    """Conditional random field with forbidden transitions.

    Parameters, their names and the semantics are those of `torchcrf.CRF` (pytorch-crf); this class computes the same
    results faster. Forbidden transitions have probability zero and are never decoded, regardless of the emissions;
    their parameters hold `ILLEGAL_SCORE` and receive no gradient.

    `loss` does not check whether gold sequences are legal: each forbidden transition adds 10,000 nats.

    In all methods, `emissions` is (batch, length, tags) in any floating-point type, and is computed in float32 at
    least, also under autocast. `mask` is (batch, length) bool, True for characters, which come before the padding in
    each row; there is at least one per row. None means no padding. Values at padding are ignored, even NaN.

    Source: Lafferty, McCallum & Pereira (2001), "Conditional random fields".
    Differs: the partition function is computed in exp space, see `log_partition`; decoding always runs on the CPU, see
    `zhseq.nn.viterbi`.
    """

    allowed: Tensor
    allowed_ends: Tensor

    def __init__(
        self,
        num_tags: int,
        *,
        allowed: Tensor | None = None,
        allowed_start: Tensor | None = None,
        allowed_end: Tensor | None = None,
    ) -> None:
        """Create the layer. A table that is None allows everything.

        Args:
            num_tags: Number of tags.
            allowed: (tags, tags) bool, whether the column may follow the row.
            allowed_start: (tags,) bool, whether a sequence may start with the tag.
            allowed_end: (tags,) bool, whether a sequence may end with the tag.

        Raises:
            ValueError: A table has the wrong shape.
        """
        super().__init__(num_tags, batch_first=True)
        tables = []
        for name, table, shape in (
            ("allowed", allowed, (num_tags, num_tags)),
            ("allowed_start", allowed_start, (num_tags,)),
            ("allowed_end", allowed_end, (num_tags,)),
        ):
            if table is not None and table.shape != shape:
                raise ValueError(f"expected {name} of shape {shape}, got {tuple(table.shape)}")
            tables.append(torch.ones(shape, dtype=torch.bool) if table is None else table.detach().bool().clone())
        self.register_buffer("allowed", tables[0], persistent=False)
        self.register_buffer("allowed_ends", torch.stack(tables[1:]), persistent=False)
        self._constrained = not all(bool(table.all()) for table in tables)
        self._reach: Tensor | None = None
        self._forbid()

    def reset_parameters(self) -> None:
        """Initialise legal transitions from U(-0.1, 0.1), and forbidden ones with `ILLEGAL_SCORE`."""
        super().reset_parameters()
        if "allowed" in self._buffers:  # the base class calls this before the buffers exist
            self._forbid()

    def loss(self, emissions: Tensor, tags: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the mean negative log-likelihood per sequence, in nats.

        Args:
            emissions: See the class.
            tags: Gold tags, (batch, length) int64; values at padding are ignored.
            mask: See the class.

        Returns:
            Scalar, float32 (float64 for float64 emissions).
        """
        return -self.forward(emissions, tags, mask, reduction="mean")

    def forward(self, emissions: Tensor, tags: Tensor, mask: Tensor | None = None, reduction: str = "sum") -> Tensor:
        """Return the log-likelihood of gold tags in nats, like `torchcrf.CRF.forward`.

        Args:
            emissions: See the class.
            tags: Gold tags, (batch, length) int64; values at padding are ignored.
            mask: See the class.
            reduction: `none` for (batch,); `sum`, `mean` (over sequences) or `token_mean` for a scalar.

        Raises:
            ValueError: A shape is wrong, or the reduction is unknown.
        """
        if reduction not in ("none", "sum", "mean", "token_mean"):
            raise ValueError(f"invalid reduction: {reduction}")
        emissions, support = self._prepare(emissions, mask, tags=tags)
        likelihood = self._path_score(emissions, tags, support.mask)
        likelihood = likelihood - log_partition(emissions, self._scores(), support)
        if reduction == "sum":
            likelihood = likelihood.sum()
        elif reduction == "mean":
            likelihood = likelihood.mean()
        elif reduction == "token_mean":
            likelihood = likelihood.sum() / support.mask.sum()
        return likelihood.to(emissions.dtype)

    def log_partition(
        self, emissions: Tensor, mask: Tensor | None = None, *, allowed_tags: Tensor | None = None
    ) -> Tensor:
        """Return the log partition over all legal paths, (batch,) in nats; minus infinity if there are none.

        With a partial labelling `allowed_tags`, (batch, length, tags) bool, only paths that agree with it are summed.
        The difference to the unrestricted value is the log-probability of the partial labelling.
        """
        emissions, support = self._prepare(emissions, mask, allowed_tags=allowed_tags)
        return log_partition(emissions, self._scores(), support).to(emissions.dtype)

    def score(self, emissions: Tensor, tags: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the unnormalised log score of paths, (batch,); a forbidden transition scores `ILLEGAL_SCORE`."""
        emissions, support = self._prepare(emissions, mask, tags=tags)
        return self._path_score(emissions, tags, support.mask).to(emissions.dtype)

    def marginals(self, emissions: Tensor, mask: Tensor | None = None, *, allowed_tags: Tensor | None = None) -> Tensor:
        """Return the marginal probability of each tag at each character, (batch, length, tags); 0 at padding.

        With `allowed_tags`, (batch, length, tags) bool, the probabilities are conditional on that partial labelling.
        The result has no gradient.
        """
        with torch.inference_mode(False), torch.enable_grad():  # tensors created in inference mode must be copied
            mask, allowed_tags = (None if table is None else table.clone() for table in (mask, allowed_tags))
            emissions, support = self._prepare(emissions.detach().clone(), mask, allowed_tags=allowed_tags)
            emissions.requires_grad_()
            total = log_partition(emissions, Scores(*(score.detach() for score in self._scores())), support)
            return torch.autograd.grad(total.sum(), emissions)[0]

    @torch.no_grad()
    def decode(self, emissions: Tensor, mask: Tensor | None = None, *, allowed_tags: Tensor | None = None) -> Tensor:
        """Return the best legal path of each sequence (Viterbi decoding).

        Args:
            emissions: See the class.
            mask: See the class.
            allowed_tags: (batch, length, tags) bool or None: the tags a partial labelling leaves to each character.

        Returns:
            (batch, length) int64, -1 on padding.

        Raises:
            InputError: A sequence has no legal path, or its emissions are NaN.
        """
        emissions, support = self._prepare(emissions, mask, allowed_tags=allowed_tags)
        sequences = _sequences(emissions, support)
        tags, scores = best_paths(self._chain(), sequences)
        feasible = scores > -np.inf
        if not feasible.all():
            row = int(np.flatnonzero(~feasible)[0])
            raise InputError(
                "no_legal_tagging",
                "expected at least one legal tagging of sequence {row} ({length} characters), found none: relax its "
                "partial labelling, or check the emissions for NaN",
                row=row,
                length=int(sequences.lengths[row]),
            )
        paths = torch.full(emissions.shape[:2], -1, dtype=torch.int64)
        paths[support.mask.cpu()] = torch.from_numpy(tags)
        return paths.to(emissions.device)

    @torch.no_grad()
    def nbest(
        self,
        emissions: Tensor,
        mask: Tensor | None = None,
        k: int = 1,
        *,
        allowed_tags: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the k best legal paths of each sequence, best first.

        Args:
            emissions: See the class.
            mask: See the class.
            k: Number of paths per sequence, at least 1.
            allowed_tags: (batch, length, tags) bool, tags allowed by a partial labelling; None for all.

        Returns:
            paths: (batch, k, length) int64, -1 at padding and for missing paths.
            scores: (batch, k), unnormalised as in `score`, minus infinity for missing paths.

        Raises:
            ValueError: k is less than 1.
        """
        if k < 1:
            raise ValueError(f"expected k of at least 1, got {k}")
        emissions, support = self._prepare(emissions, mask, allowed_tags=allowed_tags)
        paths, feasible = (
            torch.from_numpy(found).to(emissions.device)
            for found in k_best_paths(self._chain(), _sequences(emissions, support), k)
        )
        feasible = feasible > -torch.inf
        rows = torch.arange(len(emissions), device=emissions.device).repeat_interleave(k)
        scores = self._path_score(emissions[rows], paths.flatten(0, 1).clamp_min(0), support.mask[rows]).view(-1, k)
        return paths, scores.masked_fill(~feasible, -torch.inf).to(emissions.dtype)

    def _scores(self, illegal: float = -torch.inf) -> Scores:
        parameters = (self.transitions, self.start_transitions, self.end_transitions)
        if not self._constrained:
            return Scores(*parameters)
        tables = (self.allowed, *self.allowed_ends)
        return Scores(*(p.masked_fill(~table, illegal) for p, table in zip(parameters, tables, strict=True)))

    def _chain(self) -> Chain:
        """Return the parameters for `zhseq.nn.viterbi`.

        They are not cached, because an optimizer can change them unnoticed (`fused=True` does not update `_version`).
        """
        return Chain(*(score.detach().float().cpu().numpy() for score in self._scores()))

    def _path_score(self, emissions: Tensor, tags: Tensor, mask: Tensor) -> Tensor:
        """Return the scores of paths, (batch,), in double precision, because they are subtracted from the partition."""
        transitions, start, end = self._scores(ILLEGAL_SCORE)
        dtype = torch.float32 if emissions.device.type == "mps" else torch.float64
        tags = tags.masked_fill(~mask, 0)
        last = tags.gather(1, mask.sum(1, keepdim=True) - 1)[:, 0]
        local = emissions.gather(2, tags[..., None])[..., 0].masked_fill(~mask, 0.0)
        steps = transitions.flatten()[tags[:, :-1] * self.num_tags + tags[:, 1:]].masked_fill(~mask[:, 1:], 0.0)
        return local.sum(1, dtype=dtype) + steps.sum(1, dtype=dtype) + start[tags[:, 0]] + end[last]

    def _prepare(
        self,
        emissions: Tensor,
        mask: Tensor | None,
        *,
        tags: Tensor | None = None,
        allowed_tags: Tensor | None = None,
    ) -> tuple[Tensor, Support]:
        """Validate the arguments of a public method; return emissions of at least float32, and the usable cells."""
        self._validate(emissions, tags=tags, mask=mask)
        if allowed_tags is not None and allowed_tags.shape != emissions.shape:
            raise ValueError(
                f"expected allowed_tags of the shape of emissions, {tuple(emissions.shape)}, "
                f"got {tuple(allowed_tags.shape)}"
            )
        if mask is None:
            mask = emissions.new_ones(emissions.shape[:2], dtype=torch.bool)
        mask = mask.bool()
        if bool((mask[:, 1:] & ~mask[:, :-1]).any()):
            raise ValueError("expected padding after the last character of a sequence only, got a mask with holes")
        if emissions.dtype in (torch.float16, torch.bfloat16):
            emissions = emissions.float()
        return emissions, Support(mask, self._reachable(emissions.shape[1]), allowed_tags)

    def _reachable(self, length: int) -> Tensor | None:
        if not self._constrained:
            return None
        if self._reach is None or self._reach.shape[1] < length or self._reach.device != self.allowed.device:
            self._reach = reachable(self.allowed_ends, self.allowed, max(length, 64))
        return self._reach

    def _forbid(self) -> None:
        parameters = (self.transitions, self.start_transitions, self.end_transitions)
        with torch.no_grad():
            for parameter, score in zip(parameters, self._scores(ILLEGAL_SCORE), strict=True):
                parameter.copy_(score)


def _sequences(emissions: Tensor, support: Support) -> Sequences:
    if support.allowed_tags is not None:
        emissions = emissions.masked_fill(~support.allowed_tags, -torch.inf)
    lengths = support.mask.sum(1)
    return Sequences(emissions.detach().float().cpu().numpy(), lengths.cpu().numpy())
