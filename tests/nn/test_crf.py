"""Sums of the CRF (partition, scores, marginals, loss) against brute force and against pytorch-crf."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import pytest
import torch
import torchcrf
from torch import Tensor

from zhseq.nn.crf import CRF, ILLEGAL_SCORE, Scores, Support, exact_log_partition, log_partition


class Path(NamedTuple):
    tags: tuple[int, ...]
    score: float


def bmes(num_labels: int) -> dict[str, Tensor]:
    """Allowed transitions of B, M, E, S x labels; tag 4 * label + 0 is that label's B, + 1 its M, and so on."""
    kind, label = torch.arange(4 * num_labels) % 4, torch.arange(4 * num_labels) // 4
    opens, closes = (kind == 0) | (kind == 3), kind >= 2
    inside = ~closes[:, None] & ~opens & (label[:, None] == label)
    return {"allowed": (closes[:, None] & opens) | inside, "allowed_start": opens, "allowed_end": closes}


def is_legal(crf: CRF, path: list[int]) -> bool:
    """Whether a path uses allowed starts, transitions and ends only."""
    steps = all(bool(crf.allowed[before, after]) for before, after in itertools.pairwise(path))
    return steps and bool(crf.allowed_ends[0, path[0]]) and bool(crf.allowed_ends[1, path[-1]])


def random_crf(num_tags: int, seed: int = 0, **tables: Tensor) -> CRF:
    generator = torch.Generator().manual_seed(seed)
    crf = CRF(num_tags, **tables)
    with torch.no_grad():
        for parameter in crf.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(torch.where(parameter <= ILLEGAL_SCORE, parameter, noise))
    return crf


def random_batch(lengths: list[int], num_tags: int, seed: int = 0, scale: float = 2.0) -> tuple[Tensor, Tensor]:
    """Emissions with NaN on the padding, and their mask."""
    generator = torch.Generator().manual_seed(seed)
    emissions = scale * torch.randn(len(lengths), max(lengths), num_tags, generator=generator)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return emissions.masked_fill(~mask[..., None], torch.nan), mask


def all_paths(crf: CRF, emissions: Tensor, length: int, allowed_tags: Tensor | None = None) -> list[Path]:
    """All legal paths of one row, best first, scored one by one."""
    start, end = crf.start_transitions.tolist(), crf.end_transitions.tolist()
    transitions, local = crf.transitions.tolist(), emissions.tolist()
    allowed, (may_start, may_end) = crf.allowed.tolist(), crf.allowed_ends.tolist()
    paths = []
    for tags in itertools.product(range(crf.num_tags), repeat=length):
        steps = list(itertools.pairwise(tags))
        legal = may_start[tags[0]] and may_end[tags[-1]] and all(allowed[a][b] for a, b in steps)
        if allowed_tags is not None:
            legal = legal and all(allowed_tags[position, tag] for position, tag in enumerate(tags))
        if legal:
            score = start[tags[0]] + end[tags[-1]] + sum(transitions[a][b] for a, b in steps)
            paths.append(Path(tags, score + sum(local[position][tag] for position, tag in enumerate(tags))))
    return sorted(paths, key=lambda path: -path.score)


def summed(paths: list[Path]) -> float:
    return float(torch.tensor([path.score for path in paths], dtype=torch.float64).logsumexp(0))


CASES = [
    pytest.param(3, {}, [5, 1, 3, 2, 4], id="all transitions"),
    pytest.param(4, bmes(1), [5, 1, 3, 2, 4], id="one label"),
    pytest.param(8, bmes(2), [4, 1, 3, 2], id="two labels"),
    pytest.param(1, {}, [3, 1], id="one tag"),
    pytest.param(2, {"allowed": torch.tensor([[0, 1], [1, 0]])}, [6, 1, 5], id="alternating"),
]


@pytest.mark.parametrize(("num_tags", "tables", "lengths"), CASES)
def test_partition_and_marginals_equal_brute_force(num_tags: int, tables: dict[str, Tensor], lengths: list[int]):
    crf = random_crf(num_tags, **tables)
    emissions, mask = random_batch(lengths, num_tags)
    totals, marginals = crf.log_partition(emissions, mask).tolist(), crf.marginals(emissions, mask)
    expected = torch.zeros_like(marginals)
    for row, length in enumerate(lengths):
        paths = all_paths(crf, emissions[row], length)
        assert totals[row] == pytest.approx(summed(paths), rel=1e-6)
        for path in paths:
            probability = torch.tensor(path.score - summed(paths)).exp()
            expected[row, torch.arange(length), torch.tensor(path.tags)] += probability
    torch.testing.assert_close(marginals, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("num_tags", "tables", "lengths"), CASES)
def test_score_equals_brute_force(num_tags: int, tables: dict[str, Tensor], lengths: list[int]):
    crf = random_crf(num_tags, **tables)
    emissions, mask = random_batch(lengths, num_tags)
    for row, length in enumerate(lengths):
        for path in all_paths(crf, emissions[row], length)[:20]:
            tags = torch.full((1, max(lengths)), -100)
            tags[0, :length] = torch.tensor(path.tags)
            score = crf.score(emissions[row : row + 1], tags, mask[row : row + 1])
            assert score.item() == pytest.approx(path.score, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("tables", [{}, bmes(3)], ids=["all transitions", "BMES"])
@pytest.mark.parametrize("reduction", ["none", "sum", "mean", "token_mean"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-9)])
def test_likelihood_and_gradients_equal_pytorch_crf(
    tables: dict[str, Tensor], reduction: str, dtype: torch.dtype, tolerance: float
):
    crf = random_crf(12, **tables).to(dtype)
    emissions, mask = random_batch([30, 1, 17, 29, 2], 12)
    emissions = emissions.nan_to_num(0.0).to(dtype).requires_grad_()
    tags = crf.decode(random_batch([30] * 5, 12, seed=1)[0], mask).clamp_min(0)  # legal in both schemes
    ours = crf(emissions, tags, mask, reduction=reduction)
    reference = torchcrf.CRF.forward(crf, emissions, tags, mask, reduction=reduction)
    assert ours.dtype == dtype
    torch.testing.assert_close(ours, reference, rtol=min(tolerance, 1e-5), atol=0.0)
    variables = [emissions, *crf.parameters()]
    our_gradients = torch.autograd.grad(ours.sum(), variables)
    for our_gradient, gradient in zip(our_gradients, torch.autograd.grad(reference.sum(), variables), strict=True):
        torch.testing.assert_close(our_gradient, gradient, rtol=tolerance, atol=tolerance)


def test_loss_is_the_mean_over_sequences():
    crf = random_crf(5)
    emissions, mask = random_batch([4, 2], 5)
    tags = torch.ones(2, 4, dtype=torch.int64)
    expected = -torchcrf.CRF.forward(crf, emissions.nan_to_num(0.0), tags, mask, reduction="mean")
    torch.testing.assert_close(crf.loss(emissions, tags, mask), expected)


@pytest.mark.parametrize("partition", [log_partition, exact_log_partition])
@pytest.mark.parametrize("partial", [False, True])
def test_gradients_pass_gradcheck(partition, partial: bool):
    crf = random_crf(8, **bmes(2)).double()
    emissions, mask = random_batch([6, 1, 4], 8)
    allowed_tags = torch.ones(emissions.shape, dtype=torch.bool)
    allowed_tags[0, 2, 4:] = False
    support = Support(mask, crf._reachable(6), allowed_tags if partial else None)
    variables = (emissions.nan_to_num(0.0).double().requires_grad_(), *crf.parameters())

    def total(emissions: Tensor, start: Tensor, end: Tensor, transitions: Tensor) -> Tensor:
        scores = Scores(
            transitions.masked_fill(~crf.allowed, -torch.inf),
            start.masked_fill(~crf.allowed_ends[0], -torch.inf),
            end.masked_fill(~crf.allowed_ends[1], -torch.inf),
        )
        return partition(emissions, scores, support)

    assert torch.autograd.gradcheck(total, variables)


def test_gradient_of_the_loss_in_double_precision():
    crf = random_crf(4, **bmes(1)).double()
    emissions, mask = random_batch([5, 2], 4)
    tags = torch.tensor([[0, 1, 2, 3, 3], [0, 2, -1, -1, -1]])
    emissions = emissions.nan_to_num(0.0).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda values: crf.loss(values, tags, mask), emissions)


def test_partial_labelling_restricts_the_sums():
    crf = random_crf(4, **bmes(1))
    emissions, mask = random_batch([5, 3, 1], 4)
    allowed_tags = torch.rand(emissions.shape, generator=torch.Generator().manual_seed(1)) < 0.8
    allowed_tags[..., 3] = True  # a word of one character is legal everywhere
    totals = crf.log_partition(emissions, mask, allowed_tags=allowed_tags).tolist()
    for row, length in enumerate([5, 3, 1]):
        paths = all_paths(crf, emissions[row], length, allowed_tags[row])
        assert totals[row] == pytest.approx(summed(paths), rel=1e-6)
    marginals = crf.marginals(emissions, mask, allowed_tags=allowed_tags)
    assert not bool(marginals[~allowed_tags].any())
    torch.testing.assert_close(marginals.sum(-1), mask.float())


def test_no_legal_path_has_log_partition_minus_infinity():
    crf = CRF(4, **bmes(1))
    emissions = torch.zeros(2, 1, 4)
    only_b = torch.tensor([[True, False, False, False], [True, True, True, True]])[:, None]
    totals = crf.log_partition(emissions, allowed_tags=only_b)
    assert totals.tolist() == [-torch.inf, pytest.approx(crf.log_partition(emissions)[1].item())]


def test_rows_do_not_depend_on_their_batch_or_padding():
    crf = random_crf(8, **bmes(2))
    lengths = [7, 1, 12, 4]
    emissions, mask = random_batch(lengths, 8)
    tags = crf.decode(emissions, mask)
    together = crf(emissions, tags, mask, reduction="none"), crf.marginals(emissions, mask)
    for row, length in enumerate(lengths):
        alone = emissions[row : row + 1, :length]
        likelihood = crf(alone, tags[row : row + 1, :length], reduction="none")
        torch.testing.assert_close(likelihood[0], together[0][row], rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(crf.marginals(alone)[0], together[1][row, :length], rtol=1e-6, atol=1e-6)


def test_padding_gets_no_gradient_even_when_it_holds_nan():
    crf = random_crf(8, **bmes(2))
    emissions, mask = random_batch([3, 6], 8)
    emissions.requires_grad_()
    crf.loss(emissions, torch.full((2, 6), 3), mask).backward()
    assert torch.equal(emissions.grad[~mask], torch.zeros(3, 8))
    assert bool(torch.isfinite(emissions.grad).all())


def test_results_in_inference_mode_are_the_same():
    crf = random_crf(8, **bmes(2))
    emissions, mask = random_batch([9, 5], 8)
    expected = crf.marginals(emissions, mask)
    with torch.inference_mode():
        inside = crf.marginals(emissions.clone(), mask.clone(), allowed_tags=torch.ones(2, 9, 8, dtype=torch.bool))
    torch.testing.assert_close(inside, expected)


def test_illegal_gold_is_finite_but_impossible_to_overlook():
    crf = random_crf(4, **bmes(1))
    emissions, mask = random_batch([3, 2], 4)
    tags = torch.tensor([[0, 3, 3], [0, 2, -100]])  # B S S: one forbidden step; B E: legal
    assert [is_legal(crf, row) for row in ([0, 3, 3], [0, 2])] == [False, True]
    likelihood = crf(emissions, tags, mask, reduction="none")
    illegal, legal = likelihood.tolist()
    assert ILLEGAL_SCORE - 50 < illegal < ILLEGAL_SCORE + 50 < legal


def test_forbidden_parameters_are_fixed_and_the_state_is_that_of_pytorch_crf():
    crf = CRF(4, **bmes(1))
    crf.loss(torch.randn(2, 5, 4), torch.full((2, 5), 3)).backward()
    assert not bool(crf.transitions.grad[~crf.allowed].any())
    assert bool((crf.transitions[~crf.allowed] == ILLEGAL_SCORE).all())
    crf.reset_parameters()
    assert bool((crf.transitions[~crf.allowed] == ILLEGAL_SCORE).all())
    assert set(crf.state_dict()) == set(torchcrf.CRF(4).state_dict())


def test_wrong_arguments_say_what_was_expected():
    with pytest.raises(ValueError, match=r"expected allowed of shape \(3, 3\), got \(2, 3\)"):
        CRF(3, allowed=torch.ones(2, 3))
    crf = CRF(3)
    emissions, tags = torch.zeros(1, 4, 3), torch.zeros(1, 4, dtype=torch.int64)
    with pytest.raises(ValueError, match="a mask with holes"):
        crf.loss(emissions, tags, torch.tensor([[True, False, True, True]]))
    with pytest.raises(ValueError, match="first timestep must all be on"):
        crf.loss(emissions, tags, torch.zeros(1, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match="invalid reduction"):
        crf(emissions, tags, reduction="max")
    with pytest.raises(ValueError, match="expected allowed_tags of the shape of emissions"):
        crf.decode(emissions, allowed_tags=torch.ones(1, 4, 2, dtype=torch.bool))
