import pytest
import torch
from torch import Tensor
from torch.nn import functional

from zhseq.nn import layers as module
from zhseq.nn.layers import linear_cross_entropy


def case(
    rows: int, embed: int = 7, vocab: int = 11, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(rows)
    shapes = ((rows, embed), (vocab, embed), (vocab,))
    hidden, weight, bias = (torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes)
    for tensor in (hidden, weight, bias):
        tensor.requires_grad_()
    return hidden, weight, bias, torch.randint(0, vocab, (rows,), generator=generator)


def reference(hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(functional.linear(hidden, weight, bias), targets)


@pytest.mark.parametrize("rows", [1, 3, 8, 9])
def test_value_and_gradients_equal_the_plain_way(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(module, "_CPU_ROWS", 4)  # several blocks, the last one whole or not
    *leaves, targets = case(rows)
    loss, expected = linear_cross_entropy(*leaves, targets), reference(*leaves, targets)
    torch.testing.assert_close(loss, expected)
    gradients = torch.autograd.grad(3 * loss, leaves)  # also with another gradient than 1 coming in
    for found, wanted in zip(gradients, torch.autograd.grad(3 * expected, leaves), strict=True):
        torch.testing.assert_close(found, wanted)


def test_gradcheck_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CPU_ROWS", 2)
    *leaves, targets = case(5, embed=3, vocab=4, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda *inputs: linear_cross_entropy(*inputs, targets), leaves)


def test_large_scores_neither_overflow_nor_vanish() -> None:
    *leaves, targets = case(4)
    hidden = (leaves[0] * 1e4).detach().requires_grad_()
    loss = linear_cross_entropy(hidden, *leaves[1:], targets)
    torch.testing.assert_close(loss, reference(hidden, *leaves[1:], targets))
    loss.backward()
    assert hidden.grad is not None
    assert bool(hidden.grad.isfinite().all())


def test_autocast_multiplies_in_bfloat16_and_sums_in_float32() -> None:
    *leaves, targets = case(600, embed=32, vocab=200)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = linear_cross_entropy(*leaves, targets)
    expected = reference(*leaves, targets)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected, rtol=5e-3, atol=0)
    assert not torch.equal(loss, expected)  # otherwise the products were not in bfloat16
    gradients = torch.autograd.grad(loss, leaves)
    for found, wanted in zip(gradients, torch.autograd.grad(expected, leaves), strict=True):
        assert found.dtype == torch.float32
        assert float((found - wanted).norm() / wanted.norm()) < 0.02


def test_reads_bfloat16_activations_and_returns_their_gradient_in_kind() -> None:
    *leaves, targets = case(20)
    hidden = leaves[0].detach().bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        linear_cross_entropy(hidden, *leaves[1:], targets).backward()
    assert hidden.grad is not None
    assert hidden.grad.dtype == torch.bfloat16


def test_without_gradients_the_value_is_the_same() -> None:
    *leaves, targets = case(9)
    with torch.no_grad():
        loss = linear_cross_entropy(*leaves, targets)
    assert not loss.requires_grad
    torch.testing.assert_close(loss, reference(*leaves, targets))


def test_only_what_needs_a_gradient_gets_one() -> None:
    hidden, weight, bias, targets = case(6)
    loss = linear_cross_entropy(hidden.detach(), weight, bias.detach(), targets)
    loss.backward()
    assert weight.grad is not None
    assert (hidden.grad, bias.grad) == (None, None)
