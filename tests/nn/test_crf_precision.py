"""Sums of the CRF at the edge of floating point: extreme emissions, fallbacks, half precision, infinities and NaN."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.nn.test_crf import all_paths, bmes, random_batch, random_crf, summed
from zhseq.nn import crf as module
from zhseq.nn.crf import CRF, Support, _ScaledPartition, exact_log_partition


@pytest.mark.parametrize("scale", [1.0, 1e2, 1e3, 1e4])
@pytest.mark.parametrize("tables", [{}, bmes(1)], ids=["all transitions", "BMES"])
def test_extreme_emissions_equal_brute_force(scale: float, tables: dict[str, Tensor]):
    crf = random_crf(4, **tables)
    for seed in range(5):
        emissions = scale * torch.randint(-1, 2, (3, 5, 4), generator=torch.Generator().manual_seed(seed))
        emissions = emissions.double().requires_grad_()
        totals = crf.log_partition(emissions)
        for row in range(3):
            assert totals[row].item() == pytest.approx(summed(all_paths(crf, emissions[row], 5)), rel=1e-6)
        (gradient,) = torch.autograd.grad(totals.sum(), emissions)
        torch.testing.assert_close(gradient.sum(-1), torch.ones(3, 5, dtype=torch.float64))


@pytest.mark.parametrize(("cost", "gain"), [(300.0, 40.0), (1000.0, 100.0)])
def test_a_chain_that_underflows_from_both_ends_is_not_lost(cost: float, gain: float):
    """The best path starts and ends badly, and only those ends lead to its good middle."""
    crf = CRF(8, **bmes(2))
    emissions = torch.zeros(1, 32, 8, dtype=torch.float64)
    emissions[..., [0, 2]] = -cost  # B and E of the first label
    emissions[..., 1] = gain  # its M
    exact = exact_log_partition(emissions, crf._scores(), Support(torch.ones(1, 32, dtype=torch.bool)))
    assert exact.item() == pytest.approx(30 * gain - 2 * cost, abs=10.0)
    torch.testing.assert_close(crf.log_partition(emissions), exact)


def test_sums_that_are_trusted_are_exact():
    """Scales from harmless to hopeless; what the fast sums vouch for must equal the sums in log space."""
    vouched = 0
    for seed in range(60):
        scale = (3.0, 30.0, 100.0, 300.0, 1000.0)[seed % 5]
        crf = random_crf(8, seed, **(bmes(2) if seed % 2 else {})).double()
        emissions, mask = random_batch([13, 5, 1, 9], 8, seed, scale)
        emissions = emissions.nan_to_num(0.0).double().requires_grad_()
        scores, support = crf._scores(), Support(mask, crf._reachable(13))
        totals, trusted = _ScaledPartition.apply(emissions, *scores, support, True)
        exact = exact_log_partition(emissions, scores, support)
        torch.testing.assert_close(totals[trusted], exact[trusted], rtol=1e-12, atol=1e-9)
        (gradient,) = torch.autograd.grad(totals[trusted].sum(), emissions)
        (expected,) = torch.autograd.grad(exact[trusted].sum(), emissions)
        torch.testing.assert_close(gradient, expected, rtol=0.0, atol=1e-9)
        vouched += int(trusted.sum())
    assert 120 <= vouched < 240


@pytest.mark.parametrize("partial", [False, True])
def test_ordinary_emissions_never_take_the_slow_way(monkeypatch: pytest.MonkeyPatch, partial: bool):
    def refuse(*_: object) -> Tensor:
        raise AssertionError("fell back to the slow partition")

    monkeypatch.setattr(module, "exact_log_partition", refuse)
    crf = random_crf(40, **bmes(10))
    emissions, mask = random_batch([60, 1, 45, 7], 40, scale=20.0)
    allowed_tags = torch.ones(emissions.shape, dtype=torch.bool)
    allowed_tags[0, 4:9, :3] = False
    crf.log_partition(emissions, mask, allowed_tags=allowed_tags if partial else None)
    crf.marginals(emissions, mask, allowed_tags=allowed_tags if partial else None)


def test_emissions_of_minus_infinity_forbid_their_tag():
    crf = random_crf(4, **bmes(1))
    emissions, mask = random_batch([5, 3, 1], 4)
    allowed_tags = torch.ones(emissions.shape, dtype=torch.bool)
    allowed_tags[0, 1:3, :2] = False
    expected = crf.log_partition(emissions, mask, allowed_tags=allowed_tags)
    forbidden = emissions.masked_fill(~allowed_tags, -torch.inf).requires_grad_()
    totals = crf.log_partition(forbidden, mask)
    torch.testing.assert_close(totals, expected)
    (gradient,) = torch.autograd.grad(totals.sum(), forbidden)
    torch.testing.assert_close(gradient, crf.marginals(emissions, mask, allowed_tags=allowed_tags))


def test_devices_without_doubles_get_the_same_sums(monkeypatch: pytest.MonkeyPatch):
    crf = random_crf(8, **bmes(2))
    emissions, mask = random_batch([13, 5, 1, 9], 8, scale=10.0)
    expected = crf.log_partition(emissions, mask), crf.marginals(emissions, mask)
    monkeypatch.setattr(module, "_sum_dtype", lambda _: torch.float32)
    torch.testing.assert_close(crf.log_partition(emissions, mask), expected[0], rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(crf.marginals(emissions, mask), expected[1], rtol=1e-4, atol=1e-4)


def test_nan_emissions_show_in_the_loss():
    emissions = torch.zeros(2, 3, 4)
    emissions[1, 1, 2] = torch.nan
    likelihood = CRF(4)(emissions, torch.zeros(2, 3, dtype=torch.int64), reduction="none")
    assert likelihood.isnan().tolist() == [False, True]


def test_autocast_and_half_emissions_compute_in_single_precision():
    crf = random_crf(8, **bmes(2))
    emissions, mask = random_batch([9, 5], 8)
    emissions = emissions.bfloat16()
    tags = crf.decode(emissions, mask)
    expected = crf.loss(emissions.float(), tags, mask)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = crf.loss(emissions, tags, mask)
        marginals = crf.marginals(emissions, mask)
    assert loss.dtype == marginals.dtype == torch.float32
    assert torch.equal(loss, expected)
