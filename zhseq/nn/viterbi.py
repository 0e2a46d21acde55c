"""Find the best path, and the k best paths, through the trellis of a linear-chain CRF.

Two forward passes find the score of the best partial path into every cell:

* `max_plus` adds in log space. It works on every device and for emissions of any size.
* `max_product` multiplies in exp space through the sparse "matrix product with maximum" of PyTorch, which fuses the
  multiplication with the maximum and skips forbidden transitions: several times faster for batches on a CPU. It says
  which sequences left the range of a float; those go through `max_plus`.

Neither stores back-pointers: on the way back the best predecessor is sought again, for one tag per sequence instead
of all of them.
"""

from __future__ import annotations

import functools
import warnings

import numpy as np
import torch
from torch import Tensor

from zhseq.nn.partition import RESCALE_EVERY, Scores, Support, exponentiated, relative_emissions

SPARSE_FROM_BATCH = 4  # sequences; below, one sparse product costs more than adding all pairs of tags
HEADROOM = 1e30  # the best exp-space score after rescaling: 150 nats above the least that a float32 holds


def best_paths(emissions: Tensor, scores: Scores, support: Support) -> tuple[Tensor, Tensor]:
    """The best legal path of every sequence.

    Args:
        emissions: (batch, length, tags) float32 or float64; what padding holds does not matter.
        scores: The parameters of the chain.
        support: Which cells of the trellis exist; without `reach`, all tags are taken to be reachable.

    Returns:
        paths: (batch, length) int64, -1 on padding and where no path is legal.
        feasible: (batch,) bool, whether any path is legal.
    """
    sparse = emissions.device.type == "cpu" and len(emissions) >= SPARSE_FROM_BATCH and support.allowed_tags is None
    if not sparse:
        return _best_paths_in_log_space(emissions, scores, support)
    weights, _ = exponentiated(scores, emissions.dtype)
    values, trusted = max_product(emissions, weights, support)
    best, last = (values[support.mask.sum(1) - 1, torch.arange(len(emissions))] * weights.end).max(1)
    paths = _walk_back(values, weights.transitions.T.contiguous(), last, support.mask, np.multiply)
    feasible = trusted & (best >= _floor(values))
    if not bool(feasible.all()):
        rows = (~feasible).nonzero()[:, 0]
        selected = Support(support.mask[rows], support.reach)
        paths[rows], feasible[rows] = _best_paths_in_log_space(emissions[rows], scores, selected)
    return paths, feasible


def k_best_paths(emissions: Tensor, scores: Scores, support: Support, k: int) -> tuple[Tensor, Tensor]:
    """The k best legal paths of every sequence, best first.

    A walk from the end keeps the k best suffixes of each sequence, ranked by the score of the best complete path they
    belong to, which `max_plus` has already found. The k best paths never lose their suffix: less than k others can
    rank above it.

    Returns:
        paths: (batch, k, length) int64, -1 on padding and for paths that do not exist.
        feasible: (batch, k) bool, whether the path exists.
    """
    values, relative = max_plus(emissions, scores, support)
    mask = support.mask
    batch, length, tags = emissions.shape
    final = values[mask.sum(1) - 1, torch.arange(batch, device=mask.device)] + scores.end
    if tags < k:
        final = torch.nn.functional.pad(final, (0, k - tags), value=-torch.inf)
    totals, tag = final.topk(k)  # (batch, k)
    tag = tag.clamp_max(tags - 1)
    suffix = scores.end[tag].masked_fill(totals == -torch.inf, -torch.inf)  # transitions and emissions to the right
    into = scores.transitions.T.contiguous()
    same = torch.arange(k, device=mask.device).expand(batch, k)
    history = [(same, tag)]
    for position in range(length - 1, 0, -1):
        active = mask[:, position, None]
        longer = (suffix + relative[:, position].gather(1, tag))[..., None] + into[tag]  # (batch, k, tags)
        best, flat = (longer + values[position - 1][:, None]).flatten(1).topk(k)
        suffix = torch.where(active, longer.flatten(1).gather(1, flat), suffix)
        totals = torch.where(active, best, totals)
        tag = torch.where(active, flat % tags, tag)
        history.append((flat // tags, tag))  # (parent, tag); on padding nobody asks for the parent
    paths = torch.empty(batch, k, length, dtype=torch.int64, device=mask.device)
    beam = same
    for position, (parent, tag) in enumerate(reversed(history)):
        paths[:, :, position] = tag.gather(1, beam)
        beam = parent.gather(1, beam)
    feasible = totals > -torch.inf
    return paths.masked_fill_(~(feasible[..., None] & mask[:, None]), -1), feasible


def max_plus(emissions: Tensor, scores: Scores, support: Support) -> tuple[Tensor, Tensor]:
    """Scores of the best partial paths in log space, relative to the sum of the best emissions so far.

    Returns:
        values: (length, batch, tags), minus infinity where no legal path leads; padding holds no meaning.
        relative: (batch, length, tags), the emissions minus the best one of their character.
    """
    relative, _ = relative_emissions(emissions, support)
    batch, length, tags = relative.shape
    local = relative.transpose(0, 1).contiguous()
    values = torch.empty_like(local)
    pairs = local.new_empty(batch, tags, tags)
    best = local.new_empty(batch, tags)
    torch.add(local[0], scores.start, out=values[0])
    for position in range(1, length):
        torch.add(values[position - 1][:, :, None], scores.transitions, out=pairs)
        torch.amax(pairs, 1, out=best)
        torch.add(best, local[position], out=values[position])
    return values, relative


def max_product(emissions: Tensor, weights: Scores, support: Support) -> tuple[Tensor, Tensor]:
    """Exponentiated scores of the best partial paths up to a factor per sequence and character, on the CPU.

    Args:
        emissions: (batch, length, tags).
        weights: The exponentiated parameters of the chain, at most 1.
        support: Which cells of the trellis exist; `allowed_tags` is not looked at.

    Returns:
        values: (length, batch, tags), 0 where no legal path leads; padding holds no meaning.
        trusted: (batch,) bool, False where a reachable score left the range of a float.
    """
    values = emissions.permute(1, 2, 0).contiguous()  # (length, tags, batch), from here on overwritten in place
    values.sub_(values.amax(1, keepdim=True)).exp_()
    if not bool(support.mask.all()):
        values.masked_fill_(~support.mask.T[:, None, :], 1.0)
    length, tags, batch = values.shape
    scale = values.new_ones(length, 1, batch)
    into = _sparse_rows(weights.transitions.T)
    tiny = torch.finfo(values.dtype).tiny
    steps = values.unbind()
    steps[0].mul_(weights.start[:, None] * HEADROOM)
    for position in range(1, length):
        steps[position].mul_(torch.sparse.mm(into, steps[position - 1], "amax"))
        if position % RESCALE_EVERY == RESCALE_EVERY - 1:
            torch.amax(steps[position], 0, keepdim=True, out=scale[position])
            steps[position].div_(scale[position].div_(HEADROOM).clamp_min_(tiny))
    reach = values.new_ones(length, tags, dtype=torch.bool) if support.reach is None else support.reach[0, :length, 0]
    floor = _floor(values)
    if bool(((values.amin(2) * scale.amin(2) >= floor) | ~reach).all()):
        return values.transpose(1, 2).contiguous(), torch.ones(batch, dtype=torch.bool)
    trusted = ((values * scale >= floor) | ~reach[..., None]).all(1).all(0)
    return values.transpose(1, 2).contiguous(), trusted


def _floor(values: Tensor) -> float:
    return torch.finfo(values.dtype).tiny * 10  # what is smaller lost precision or became zero


def _best_paths_in_log_space(emissions: Tensor, scores: Scores, support: Support) -> tuple[Tensor, Tensor]:
    values, _ = max_plus(emissions, scores, support)
    batch = torch.arange(len(emissions), device=emissions.device)
    best, last = (values[support.mask.sum(1) - 1, batch] + scores.end).max(1)
    paths = _walk_back(values, scores.transitions.T.contiguous(), last, support.mask, np.add)
    feasible = best > -torch.inf
    return paths.masked_fill_(~feasible[:, None], -1), feasible


def _walk_back(values: Tensor, into: Tensor, last: Tensor, mask: Tensor, combine: np.ufunc) -> Tensor:
    """Best predecessors from the last character to the first, on the CPU.

    One step is a handful of operations on a small matrix, where a call into PyTorch (or a kernel launch) costs more
    than the work; numpy halves the time.

    Args:
        values: (length, batch, tags), scores of the best partial paths.
        into: (tags, tags), transitions from column to row.
        last: (batch,) int64, best last tags.
        mask: (batch, length) bool.
        combine: Joins values and transitions: `np.add` for logarithms, `np.multiply` for exponentials.

    Returns:
        (batch, length) int64 on the device of `values`, -1 on padding.
    """
    steps, rows, tag = (tensor.detach().cpu().numpy() for tensor in (values, into, last))
    active = mask.T.cpu().numpy()
    path = np.empty(steps.shape[:2], dtype=np.int64)
    candidates = np.empty_like(steps[0])
    for position in range(len(steps) - 1, -1, -1):
        path[position] = tag
        if position:
            rows.take(tag, axis=0, out=candidates, mode="clip")  # the default mode would buffer the output
            combine(steps[position - 1], candidates, out=candidates)
            tag = np.where(active[position], candidates.argmax(1), tag)
    path[~active] = -1
    return torch.from_numpy(np.ascontiguousarray(path.T)).to(values.device)


@functools.lru_cache(maxsize=1)
def _announce_sparse_tensors() -> None:
    """Let PyTorch say once, unheard, that its sparse row format is in beta: users can do nothing about it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.eye(1).to_sparse_csr()


def _sparse_rows(matrix: Tensor) -> Tensor:
    _announce_sparse_tensors()
    return matrix.to_sparse_csr()
