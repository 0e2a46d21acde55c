import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from zhseq.nn.layers import BiLSTM, LockedDropout, StackedLSTM, WindowCNN, reversal, take_rows

LENGTHS = [7, 1, 4, 7, 2]


@pytest.fixture
def vectors() -> Tensor:
    return torch.randn(len(LENGTHS), max(LENGTHS), 5, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def mask() -> Tensor:
    return torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]


def copy_layer(source: nn.Module, target: nn.Module, suffix: str) -> None:
    """Write the weights of a single LSTM into one layer or direction of another."""
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        getattr(target, f"{name}_{suffix}").data.copy_(getattr(source, f"{name}_l0").data)


def test_stacked_equals_one_lstm_of_two_layers(vectors: Tensor) -> None:
    ours = StackedLSTM(5, (6, 6))
    reference = nn.LSTM(5, 6, num_layers=2, batch_first=True)
    for index, layer in enumerate(ours.layers):
        copy_layer(layer, reference, f"l{index}")
    output, state = ours(vectors)
    expected, (hidden, cell) = reference(vectors)
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(torch.cat([pair[0] for pair in state]), hidden)
    torch.testing.assert_close(torch.cat([pair[1] for pair in state]), cell)
    again, _ = ours(vectors, state)
    torch.testing.assert_close(again, reference(vectors, (hidden, cell))[0])


def test_stacked_equals_two_single_layers_chained(vectors: Tensor) -> None:
    ours = StackedLSTM(5, (6, 3))
    first, second = nn.LSTM(5, 6, batch_first=True), nn.LSTM(6, 3, batch_first=True)
    copy_layer(ours.layers[0], first, "l0")
    copy_layer(ours.layers[1], second, "l0")
    torch.testing.assert_close(ours(vectors)[0], second(first(vectors)[0])[0])


@pytest.mark.parametrize("sizes", [(4,), (6, 3), (6, 5, 4)])
def test_the_last_output_is_the_last_hidden_state(vectors: Tensor, sizes: tuple[int, ...]) -> None:
    output, state = StackedLSTM(5, sizes)(vectors)
    assert output.shape == (5, 7, sizes[-1])
    assert [tuple(hidden.shape) for hidden, _ in state] == [(1, 5, size) for size in sizes]
    torch.testing.assert_close(output[:, -1], state[-1][0][0], rtol=0, atol=0)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_reading_in_pieces_equals_reading_at_once(vectors: Tensor, steps: int) -> None:
    encoder = StackedLSTM(5, (6, 4)).eval()
    whole, last = encoder(vectors)
    for gradients in (True, False):  # without gradients a step or two takes another way through the cells
        with torch.set_grad_enabled(gradients):
            outputs, state = [], None
            for piece in vectors.split(steps, dim=1):
                output, state = encoder(piece, state)
                outputs.append(output)
        assert state is not None
        torch.testing.assert_close(torch.cat(outputs, dim=1), whole)
        for (hidden, cell), (last_hidden, last_cell) in zip(state, last, strict=True):
            torch.testing.assert_close(hidden, last_hidden)
            torch.testing.assert_close(cell, last_cell)


def test_a_later_change_reaches_nothing_before_it(vectors: Tensor) -> None:
    encoder = StackedLSTM(5, (6, 4))
    before, _ = encoder(vectors)
    changed = vectors.clone()
    changed[:, 4] += 1
    after, _ = encoder(changed)
    assert torch.equal(before[:, :4], after[:, :4])
    assert (before[:, 4:] != after[:, 4:]).any(dim=-1).all()


@pytest.mark.parametrize("layers", [1, 2])
def test_bilstm_equals_a_packed_bidirectional_lstm(vectors: Tensor, mask: Tensor, layers: int) -> None:
    ours = BiLSTM(5, 6, num_layers=layers)
    reference = nn.LSTM(5, 6, num_layers=layers, batch_first=True, bidirectional=True)
    for index, (ahead, back) in enumerate(zip(ours.forwards, ours.backwards, strict=True)):
        copy_layer(ahead, reference, f"l{index}")
        copy_layer(back, reference, f"l{index}_reverse")
    packed = pack_padded_sequence(vectors, torch.tensor(LENGTHS), batch_first=True, enforce_sorted=False)
    expected, _ = pad_packed_sequence(reference(packed)[0], batch_first=True)
    output = ours(vectors, mask)
    torch.testing.assert_close(output[mask], expected[mask])
    output[mask].square().sum().backward()
    expected[mask].square().sum().backward()
    torch.testing.assert_close(ours.backwards[0].weight_hh_l0.grad, reference.weight_hh_l0_reverse.grad)


@pytest.mark.parametrize("kind", ["bilstm", "cnn"])
def test_padding_reaches_no_real_position(vectors: Tensor, mask: Tensor, kind: str) -> None:
    encoder = BiLSTM(5, 6, num_layers=2) if kind == "bilstm" else WindowCNN(5, 6)
    together = encoder(vectors, mask)
    garbage = vectors.masked_fill(~mask.unsqueeze(-1), 1e6)
    torch.testing.assert_close(encoder(garbage, mask)[mask], together[mask], rtol=0, atol=0)
    for row, length in enumerate(LENGTHS):
        alone = encoder(vectors[row : row + 1, :length], mask[row : row + 1, :length])
        torch.testing.assert_close(alone[0], together[row, :length])


def test_cnn_sees_its_window_and_nothing_else(vectors: Tensor) -> None:
    encoder = WindowCNN(5, 64, width=3)
    mask = torch.ones(vectors.shape[:2], dtype=torch.bool)
    before = encoder(vectors, mask)
    changed = vectors.clone()
    changed[:, 3] += 1
    moved = (encoder(changed, mask) != before).any(dim=-1).any(dim=0)
    assert moved.tolist() == [False, False, True, True, True, False, False]
    weight, bias = encoder.convolution.weight, encoder.convolution.bias
    by_hand = torch.einsum("cik,ki->c", weight, vectors[0, 2:5]) + bias
    torch.testing.assert_close(before[0, 3], by_hand.relu())


def test_reversal_is_its_own_inverse(mask: Tensor) -> None:
    order = reversal(mask)
    assert order.tolist()[2] == [3, 2, 1, 0, 4, 5, 6]
    numbers = torch.arange(35.0).view(5, 7, 1)
    assert torch.equal(take_rows(take_rows(numbers, order), order), numbers)


def test_locked_dropout_drops_the_same_columns_at_every_position() -> None:
    torch.manual_seed(0)
    dropout = LockedDropout(0.25)
    dropped = dropout(torch.ones(200, 6, 30))
    assert torch.equal(dropped, dropped[:, :1].expand_as(dropped))
    assert set(dropped.unique().tolist()) == {0.0, torch.tensor(1.0).div(0.75).item()}
    assert 0.22 < float((dropped == 0).float().mean()) < 0.28
    assert torch.equal(dropout.eval()(dropped), dropped)
    assert torch.equal(LockedDropout(0.0)(dropped), dropped)


def test_dropout_stands_between_the_layers_only(vectors: Tensor) -> None:
    encoder = StackedLSTM(5, (6, 6), dropout=0.5)
    single = StackedLSTM(5, (6,), dropout=0.5)
    assert not torch.equal(encoder(vectors)[0], encoder(vectors)[0])
    assert torch.equal(single(vectors)[0], single(vectors)[0])


@pytest.mark.skipif(torch.backends.cpu.get_cpu_capability() == "AVX2", reason="no LSTM in bfloat16 without AVX-512")
@pytest.mark.parametrize("grad", [True, False])
def test_autocast_changes_little_and_keeps_a_state_that_can_be_read_on(vectors: Tensor, grad: bool) -> None:
    encoder = StackedLSTM(5, (6, 4))
    expected, _ = encoder(vectors)
    with torch.set_grad_enabled(grad), torch.autocast("cpu", dtype=torch.bfloat16):
        output, state = encoder(vectors[:, :6])
        last, _ = encoder(vectors[:, 6:], state)
    torch.testing.assert_close(torch.cat([output, last], dim=1).float(), expected, rtol=0.05, atol=0.02)


def test_weights_begin_orthogonal_with_an_open_forget_gate() -> None:
    layer = StackedLSTM(5, (6,)).layers[0]
    for gate in layer.weight_hh_l0.chunk(4):
        torch.testing.assert_close(gate @ gate.T, torch.eye(6))
    bias = layer.bias_ih_l0 + layer.bias_hh_l0
    assert bias.tolist() == [0.0] * 6 + [1.0] * 6 + [0.0] * 12
