"""Best paths of the CRF against brute force and against pytorch-crf; forbidden transitions are never decoded."""

from __future__ import annotations

import pytest
import torch
import torchcrf
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.nn.test_crf import CASES, all_paths, bmes, is_legal, random_batch, random_crf
from zhseq.errors import InputError
from zhseq.nn.crf import CRF, ILLEGAL_SCORE


def unpadded(paths: Tensor) -> list[list[int]]:
    return [[tag for tag in row if tag >= 0] for row in paths.tolist()]


@pytest.mark.parametrize(("num_tags", "tables", "lengths"), CASES)
def test_viterbi_equals_brute_force(num_tags: int, tables: dict[str, Tensor], lengths: list[int]):
    crf = random_crf(num_tags, **tables)
    emissions, mask = random_batch(lengths, num_tags)
    paths = crf.decode(emissions, mask)
    scores = crf.score(emissions, paths.clamp_min(0), mask).detach()
    assert torch.equal(paths >= 0, mask)
    for row, length in enumerate(lengths):
        best = all_paths(crf, emissions[row], length)[0]
        assert tuple(paths[row, :length].tolist()) == best.tags
        assert float(scores[row]) == pytest.approx(best.score, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("tables", [{}, bmes(5)], ids=["all transitions", "BMES"])
@pytest.mark.parametrize("batch", [3, 40])
def test_viterbi_equals_pytorch_crf(tables: dict[str, Tensor], batch: int):
    crf = random_crf(20, **tables)
    emissions, mask = random_batch([1 + 7 * row % 50 for row in range(batch)], 20)
    reference = torchcrf.CRF.decode(crf, emissions.nan_to_num(0.0), mask)
    assert unpadded(crf.decode(emissions, mask)) == reference


@pytest.mark.parametrize(("num_tags", "tables", "lengths"), CASES)
@pytest.mark.parametrize("k", [1, 2, 7, 50])
def test_nbest_equals_brute_force(num_tags: int, tables: dict[str, Tensor], lengths: list[int], k: int):
    crf = random_crf(num_tags, **tables)
    emissions, mask = random_batch(lengths, num_tags)
    paths, scores = crf.nbest(emissions, mask, k)
    assert paths.shape == (len(lengths), k, max(lengths))
    for row, length in enumerate(lengths):
        expected = all_paths(crf, emissions[row], length)[:k]
        found = [tuple(path) for path in unpadded(paths[row])]
        assert found == [path.tags for path in expected] + [()] * (k - len(expected))
        missing = [-torch.inf] * (k - len(expected))
        assert scores[row].tolist() == pytest.approx([path.score for path in expected] + missing, rel=1e-5, abs=1e-5)


def test_probabilities_of_all_paths_sum_to_one():
    crf = random_crf(4, **bmes(1))
    emissions, mask = random_batch([4, 2], 4)
    _, scores = crf.nbest(emissions, mask, 30)
    shares = (scores - crf.log_partition(emissions, mask)[:, None]).exp()
    torch.testing.assert_close(shares.sum(1), torch.ones(2))


@pytest.mark.parametrize("batch", [2, 12])
def test_partial_labelling_holds(batch: int):
    crf = random_crf(8, **bmes(2))
    lengths = [3 + row % 2 for row in range(batch)]
    emissions, mask = random_batch(lengths, 8)
    allowed_tags = torch.rand(emissions.shape, generator=torch.Generator().manual_seed(3)) < 0.7
    allowed_tags[..., 3] = True  # a word of one character is legal everywhere
    paths = crf.decode(emissions, mask, allowed_tags=allowed_tags)
    scores = crf.score(emissions, paths.clamp_min(0), mask).detach()
    best_two, _ = crf.nbest(emissions, mask, 2, allowed_tags=allowed_tags)
    for row, length in enumerate(lengths):
        expected = all_paths(crf, emissions[row], length, allowed_tags[row])
        assert tuple(paths[row, :length].tolist()) == expected[0].tags
        assert float(scores[row]) == pytest.approx(expected[0].score, rel=1e-5)
        assert [tuple(path) for path in unpadded(best_two[row])] == [path.tags for path in expected[:2]]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    scales=st.lists(st.sampled_from([0.0, 1.0, 30.0, 300.0, 1e4, 1e6]), min_size=1, max_size=9),
    length=st.integers(1, 4),
    copies=st.sampled_from([1, 9]),
)
def test_forbidden_transitions_are_never_decoded(seed: int, scales: list[float], length: int, copies: int):
    """Rows of very different scales share a batch; decoded paths are legal, and as good as the best one."""
    crf = random_crf(8, seed, **bmes(2))
    generator = torch.Generator().manual_seed(seed)
    scale = torch.tensor(scales * copies)[:, None, None]
    emissions = scale * torch.randn(len(scale), length, 8, generator=generator)
    paths = crf.decode(emissions)
    scores = crf.score(emissions, paths).detach()
    assert all(is_legal(crf, path) for path in paths.tolist())
    assert all(is_legal(crf, path) for path in crf.nbest(emissions, k=2)[0][:, 0].tolist())
    for row in range(len(scales)):
        best = all_paths(crf, emissions[row], length)[0]
        assert float(scores[row]) == pytest.approx(best.score, rel=1e-5, abs=1e-4)


def test_paths_through_bad_ends_are_not_lost():
    crf = CRF(8, **bmes(2))
    emissions = torch.zeros(10, 6, 8)
    emissions[..., [0, 2]] = -300.0  # B and E of the first label
    emissions[:5, 1:5, 1] = 200.0  # its M, which outweighs them in the first five rows
    emissions[5:, :, 3] = 1.0
    paths = crf.decode(emissions)
    assert paths.tolist() == [[0, 1, 1, 1, 1, 2]] * 5 + [[3] * 6] * 5


@pytest.mark.parametrize("scale", [3.0, 40.0])
@pytest.mark.parametrize("tables", [{}, bmes(5)], ids=["all transitions", "BMES"])
def test_all_lengths_in_one_batch_are_read_as_they_are_alone(tables: dict[str, Tensor], scale: float):
    crf = random_crf(20, **tables)
    emissions, mask = random_batch(list(range(1, 41)), 20, scale=scale)
    alone = [crf.decode(emissions[row : row + 1, : row + 1])[0].tolist() for row in range(40)]
    assert unpadded(crf.decode(emissions, mask)) == alone


def test_equally_good_paths_are_legal_and_as_good():
    """Where every path is as good as every other, what is found is still legal, one row alone or many together."""
    crf = CRF(8, **bmes(2))
    with torch.no_grad():
        for parameter in crf.parameters():
            parameter[parameter > ILLEGAL_SCORE] = 0.0
    for batch in (1, 12):
        emissions = torch.zeros(batch, 9, 8)
        paths = crf.decode(emissions)
        assert all(is_legal(crf, path) for path in paths.tolist())
        assert crf.score(emissions, paths).tolist() == [0.0] * batch


@pytest.mark.parametrize("batch", [1, 9])
def test_no_legal_path_is_an_error_in_decode_and_minus_infinity_in_nbest(batch: int):
    crf = CRF(4, **bmes(1))
    emissions = torch.zeros(batch, 2, 4)
    allowed_tags = torch.ones(emissions.shape, dtype=torch.bool)
    allowed_tags[-1, 1] = torch.tensor([False, True, False, False])  # M cannot end a sequence
    with pytest.raises(InputError, match=rf"legal tagging of sequence {batch - 1} \(2 characters\), found none"):
        crf.decode(emissions, allowed_tags=allowed_tags)
    paths, scores = crf.nbest(emissions, allowed_tags=allowed_tags)
    assert paths[-1].tolist() == [[-1, -1]]
    assert scores[:, 0].isinf().tolist() == [False] * (batch - 1) + [True]


@pytest.mark.parametrize("batch", [1, 9])
def test_nan_emissions_are_refused(batch: int):
    emissions = torch.zeros(batch, 3, 4)
    emissions[-1, 1, 2] = torch.nan
    with pytest.raises(InputError, match=rf"sequence {batch - 1} .* check the emissions for NaN"):
        CRF(4, **bmes(1)).decode(emissions)


def test_rows_do_not_depend_on_their_batch_or_padding():
    crf = random_crf(8, **bmes(2))
    lengths = [7, 1, 12, 4, 9, 3, 2, 11, 5, 8]
    emissions, mask = random_batch(lengths, 8)
    together = crf.decode(emissions, mask)
    three, _ = crf.nbest(emissions, mask, 3)
    for row, length in enumerate(lengths):
        alone = emissions[row : row + 1, :length]
        assert torch.equal(crf.decode(alone)[0], together[row, :length])
        assert torch.equal(crf.nbest(alone, k=3)[0][0], three[row, :, :length])


def test_nbest_refuses_k_of_zero():
    with pytest.raises(ValueError, match="expected k of at least 1, got 0"):
        CRF(3).nbest(torch.zeros(1, 2, 3), k=0)


def test_decoding_needs_no_gradient_and_works_in_inference_mode():
    crf = random_crf(8, **bmes(2))
    emissions, mask = random_batch([6] * 9, 8)
    expected = crf.decode(emissions.requires_grad_(), mask)
    with torch.inference_mode():
        assert torch.equal(crf.decode(emissions.detach(), mask), expected)


def test_the_search_follows_every_step_of_an_optimizer():
    crf = random_crf(6)
    emissions, mask = random_batch([9] * 8, 6)
    liked = torch.full(mask.shape, 2)
    optimizer = torch.optim.AdamW(crf.parameters(), lr=3.0, fused=True)  # it changes parameters without a trace
    before = unpadded(crf.decode(emissions, mask))
    for _ in range(4):
        (-crf.score(emissions, liked, mask)).sum().backward()
        optimizer.step()
        assert unpadded(crf.decode(emissions, mask)) == torchcrf.CRF.decode(crf, emissions, mask)
    assert unpadded(crf.decode(emissions, mask)) != before
