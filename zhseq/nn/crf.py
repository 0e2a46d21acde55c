"""Score and find tag sequences with a linear-chain conditional random field, exactly and fast on a CPU."""

from __future__ import annotations

import numpy as np
import torch
import torchcrf
from torch import Tensor

from zhseq.errors import InputError
from zhseq.nn.partition import Scores, Support, log_partition, reachable
from zhseq.nn.viterbi import Chain, Sequences, best_paths, k_best_paths

ILLEGAL_SCORE = -1e4  # nats; what one forbidden step costs a gold sequence: finite, yet impossible to overlook


class CRF(torchcrf.CRF):  # type: ignore[misc]
    """Conditional random field with forbidden transitions.

    The parameters, their names and the reference semantics belong to `torchcrf.CRF` (pytorch-crf); this class
    computes the same numbers without its loops over pairs of tags and over characters. Forbidden transitions have
    probability zero and are never decoded, whatever the emissions say; their parameters hold `ILLEGAL_SCORE` and
    receive no gradient.

    A gold sequence that the scheme forbids cannot be told from a legal one without a look at every tag, so `loss`
    does not refuse it: each forbidden step adds 10,000 nats.

    Everywhere, `emissions` is (batch, length, tags) in any float type, computed in float32 at least (so autocast
    cannot harm it); `mask` is (batch, length) bool, True for characters, with at least one True first in every row
    and padding after them; None means no padding. What padding holds does not matter, not even NaN.

    Source: Lafferty, McCallum & Pereira (2001), "Conditional random fields".
    Differs: partition sums run in exp space, see `zhseq.nn.partition`; paths are sought on the processor, whatever the
    device, see `zhseq.nn.viterbi`.
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
        """Create the layer; None allows everything.

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
        """Draw legal transitions from U(-0.1, 0.1); forbidden ones hold `ILLEGAL_SCORE`."""
        super().reset_parameters()
        if "allowed" in self._buffers:  # not yet when the base class calls this
            self._forbid()

    def loss(self, emissions: Tensor, tags: Tensor, mask: Tensor | None = None) -> Tensor:
        """Mean negative log-likelihood per sequence, in nats.

        Args:
            emissions: See the class.
            tags: (batch, length) int64 gold tags; padding may hold any number.
            mask: See the class.

        Returns:
            Scalar, float32 (float64 for float64 emissions).
        """
        return -self.forward(emissions, tags, mask, reduction="mean")

    def forward(self, emissions: Tensor, tags: Tensor, mask: Tensor | None = None, reduction: str = "sum") -> Tensor:
        """Log-likelihood of gold tags, with the arguments and the sign of `torchcrf.CRF.forward`.

        Args:
            emissions: See the class.
            tags: (batch, length) int64 gold tags; padding may hold any number.
            mask: See the class.
            reduction: `none` for (batch,); `sum`, `mean` over sequences or `token_mean` for a scalar.

        Raises:
            ValueError: A shape or the reduction is not one of those expected.
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
        """Log of the sum over all legal paths, (batch,) in nats; minus infinity where there is none.

        With `allowed_tags` (batch, length, tags) bool, over those that agree with a partial labelling: the
        difference to the unrestricted sum is the log-probability of that labelling.
        """
        emissions, support = self._prepare(emissions, mask, allowed_tags=allowed_tags)
        return log_partition(emissions, self._scores(), support).to(emissions.dtype)

    def score(self, emissions: Tensor, tags: Tensor, mask: Tensor | None = None) -> Tensor:
        """Unnormalised log score of given paths, (batch,); each forbidden step counts `ILLEGAL_SCORE`."""
        emissions, support = self._prepare(emissions, mask, tags=tags)
        return self._path_score(emissions, tags, support.mask).to(emissions.dtype)

    def marginals(self, emissions: Tensor, mask: Tensor | None = None, *, allowed_tags: Tensor | None = None) -> Tensor:
        """Probability of each tag at each character, (batch, length, tags); 0 on padding.

        With `allowed_tags` (batch, length, tags) bool, given that partial labelling. The result carries no gradient.
        """
        with torch.inference_mode(False), torch.enable_grad():  # inside, tensors made in inference mode need copies
            mask, allowed_tags = (None if table is None else table.clone() for table in (mask, allowed_tags))
            emissions, support = self._prepare(emissions.detach().clone(), mask, allowed_tags=allowed_tags)
            emissions.requires_grad_()
            total = log_partition(emissions, Scores(*(score.detach() for score in self._scores())), support)
            return torch.autograd.grad(total.sum(), emissions)[0]

    @torch.no_grad()
    def decode(self, emissions: Tensor, mask: Tensor | None = None, *, allowed_tags: Tensor | None = None) -> Tensor:
        """Best legal path of every sequence.

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
                "expected at least one legal tagging of sequence {row} ({length} characters), found none: loosen its "
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
        """The k best legal paths of every sequence, best first.

        Args:
            emissions: See the class.
            mask: See the class.
            k: Paths per sequence, at least 1.
            allowed_tags: (batch, length, tags) bool or None: the tags a partial labelling leaves to each character.

        Returns:
            paths: (batch, k, length) int64, -1 on padding and for paths that do not exist.
            scores: (batch, k), unnormalised as in `score`, minus infinity for paths that do not exist.

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
        """Return the parameters as the search takes them.

        They are laid out anew each time: an optimizer may change them without a trace (`fused=True` leaves `_version`).
        """
        return Chain(*(score.detach().float().cpu().numpy() for score in self._scores()))

    def _path_score(self, emissions: Tensor, tags: Tensor, mask: Tensor) -> Tensor:
        """Scores (batch,) of the paths in double precision, for a small difference to a large partition."""
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
        """Check the arguments of a public method; give emissions of at least float32 and what is legal."""
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
