"""The language model without PyTorch computes what PyTorch computes, but for the 8 bits of its matrix products."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.poetry.conftest import make_prosody
from tests.test_light import LIGHT
from zhseq import checkpoint
from zhseq.batching import IGNORED, Batch
from zhseq.device import LEVELS, instructions
from zhseq.errors import CheckpointError, ConfigError
from zhseq.poetry import network
from zhseq.poetry.model import LanguageModel, TorchNetwork
from zhseq.poetry.network import LanguageModelConfig, Network, NumpyNetwork, log_total, weight_shapes
from zhseq.poetry.poet import Poet
from zhseq.poetry.request import Request, Sampling

VOCAB, OUTPUT = 23, 17
LEVELS_HERE = range(LEVELS.index(instructions()) + 1) if instructions() else (0,)
"""Numpy, and instruction sets of this processor."""


class Exact:
    """Matrix products in 32 bits instead of `network._Matrix`, to compare everything else with PyTorch."""

    def __init__(self, weights: np.ndarray, bias: np.ndarray | None = None) -> None:
        self.weights, self.bias = weights, 0 if bias is None else bias

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        return (rows @ self.weights.T + self.bias).astype(np.float32, copy=False)


def both(hidden_sizes: tuple[int, ...], heads: int) -> tuple[TorchNetwork, NumpyNetwork]:
    """One model, computed in two ways in 32 bits."""
    torch.manual_seed(0)
    config = LanguageModelConfig(6, hidden_sizes, attention_heads=heads, vocab_size=VOCAB, output_size=OUTPUT)
    model = LanguageModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.normal_(std=0.6).half())  # as checkpoints hold them
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    assert {name: values.shape for name, values in weights.items()} == weight_shapes(config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "_Matrix", Exact)
        return TorchNetwork(model), NumpyNetwork(config, weights)


NETWORKS = {(sizes, heads): both(sizes, heads) for sizes in ((10,), (10, 8), (5, 9, 7)) for heads in (0, 2)}
any_networks = st.sampled_from(list(NETWORKS.values()))


@settings(deadline=None, max_examples=40)
@given(networks=any_networks, data=st.data())
def test_steps_and_chosen_rows_give_the_same_scores(
    networks: tuple[TorchNetwork, NumpyNetwork], data: st.DataObject
) -> None:
    rows, states = data.draw(st.integers(1, 5)), [None, None]
    for length in data.draw(st.lists(st.integers(1, 12), min_size=1, max_size=5)):
        ids = np.array(data.draw(st.lists(st.integers(0, VOCAB - 1), min_size=rows * length, max_size=rows * length)))
        found = [
            network.step(ids.reshape(rows, length), state) for network, state in zip(networks, states, strict=True)
        ]
        expected, scores = (scores for scores, _ in found)
        assert scores.dtype == np.float32
        assert scores.shape == (rows, OUTPUT)
        np.testing.assert_allclose(scores, expected, atol=1e-4, rtol=0)
        chosen = np.array(data.draw(st.lists(st.integers(0, rows - 1), min_size=1, max_size=6)))
        states = [network.select(state, chosen) for network, (_, state) in zip(networks, found, strict=True)]
        rows = len(chosen)


@settings(deadline=None, max_examples=40)
@given(networks=any_networks, lengths=st.lists(st.integers(1, 30), min_size=1, max_size=6), seed=st.integers(0, 99))
def test_whole_sequences_cost_the_same(
    networks: tuple[TorchNetwork, NumpyNetwork], lengths: list[int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    mask = np.arange(max(lengths)) < np.array(lengths)[:, None]
    ids = rng.integers(1, VOCAB, mask.shape) * mask
    targets = np.where(mask & (rng.random(mask.shape) < 0.8), rng.integers(0, OUTPUT, mask.shape), IGNORED)
    expected, losses = (network.token_losses(Batch(ids, mask, targets)) for network in networks)
    np.testing.assert_allclose(losses, expected, atol=1e-4, rtol=0)
    assert not losses[targets == IGNORED].any()


def test_many_long_sequences_are_read_in_parts() -> None:
    reference, network = NETWORKS[(10, 8), 2]
    ids = np.random.default_rng(0).integers(1, VOCAB, (70, 90))
    batch = Batch(ids, np.ones_like(ids, dtype=bool), np.minimum(ids, OUTPUT - 1))
    np.testing.assert_allclose(network.token_losses(batch), reference.token_losses(batch), atol=1e-4, rtol=0)


@pytest.mark.parametrize("network", NETWORKS[(10, 8), 2])
def test_what_follows_costs_the_same_read_in_parts(network: Network) -> None:
    ids = np.random.default_rng(0).integers(1, OUTPUT, (3, 21))
    targets = ids[:, 1:].copy()
    targets[1, 4] = IGNORED
    state, parts = None, []
    for begin in range(0, 20, 7):
        losses, state = network.follow(ids[:, begin : min(begin + 7, 20)], targets[:, begin : begin + 7], state)
        parts.append(losses)
    whole = network.token_losses(Batch(ids[:, :-1], np.ones((3, 20), dtype=bool), targets))
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, atol=1e-4)
    assert not whole[1, 4]


@pytest.mark.parametrize("network", NETWORKS[(10, 8), 2])
def test_a_state_can_be_gone_on_from_twice(network: Network) -> None:
    rng = np.random.default_rng(1)
    _, state = network.step(rng.integers(0, VOCAB, (2, 3)))
    some, other = rng.integers(0, VOCAB, (2, 2, 1))
    first, after = network.step(some, state)
    network.step(other, state)
    again, _ = network.step(some, state)
    np.testing.assert_array_equal(first, again)
    far, _ = network.step(other, after)  # nor does what came between change what goes on from the first
    _, after = network.step(some, state)
    np.testing.assert_array_equal(far, network.step(other, after)[0])


def test_the_total_of_scores_is_that_of_their_exponentials() -> None:
    scores = np.random.default_rng(2).standard_normal((40, 300), dtype=np.float32) * 5
    scores[:, ::3] = -np.inf
    scores[1] += 500
    expected = torch.from_numpy(scores).logsumexp(dim=1).numpy()
    np.testing.assert_allclose(log_total(scores), expected, rtol=1e-5)


any_sizes = {"rows": st.integers(1, 70), "inputs": st.integers(1, 90), "outputs": st.integers(1, 90)}


@given(seed=st.integers(0, 99), **any_sizes)
@settings(max_examples=60, deadline=None)
def test_products_are_those_of_rounded_numbers_on_every_processor(
    seed: int, rows: int, inputs: int, outputs: int
) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((outputs, inputs), dtype=np.float32)
    bias, values = rng.standard_normal(outputs, dtype=np.float32), rng.standard_normal((rows, inputs), np.float32)
    values[0] = 0
    found = [network._Matrix(weights, bias, level)(values) for level in LEVELS_HERE]
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])
    one = network._Matrix(weights, bias)(values[rows // 2 : rows // 2 + 1])
    np.testing.assert_array_equal(one[0], found[0][rows // 2])  # rows do not depend on each other
    exact = values.astype(np.float64) @ weights.T.astype(np.float64) + bias
    largest, wide = np.abs(values).max(axis=1, keepdims=True), 2 * np.abs(weights).max(axis=1)
    bound = (np.abs(values).sum(axis=1, keepdims=True) * wide + largest * np.abs(weights).sum(axis=1)) / 254
    bound += inputs * largest * wide / 254**2
    assert (np.abs(found[0] - exact) <= bound + 1e-4).all()


def test_without_compiled_loops_numpy_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    ids, more = rng.integers(0, VOCAB, (3, 4)), rng.integers(0, VOCAB, (3, 1))
    config = LanguageModelConfig(6, (10, 8), attention_heads=2, vocab_size=VOCAB, output_size=OUTPUT)
    weights = {name: rng.standard_normal(shape).astype(np.float16) for name, shape in weight_shapes(config).items()}

    def scores() -> list[np.ndarray]:
        one = NumpyNetwork(config, weights)
        first, state = one.step(ids)
        second, state = one.step(more, state)
        return [first, second, one.output(state), log_total(second)]

    compiled = scores()
    monkeypatch.setattr(network, "library", lambda: None)
    monkeypatch.setattr(network, "instructions", lambda: "")
    for one, other in zip(compiled, scores(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.fixture(scope="module")
def model(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory with a prosody."""
    directory = tmp_path_factory.mktemp("light") / "model"
    shutil.copytree(tiny_model_dir, directory)
    make_prosody().save(directory)
    return directory


@pytest.mark.parametrize(
    "wishes",
    [{"form": "七绝"}, {"form": "五律", "about": "明月", "author": "李白"}, {"tune": "小令"}, {"rhyme": "none"}],
)
def test_both_backends_write_the_same_poems(
    model: Path, wishes: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "_Matrix", Exact)
    request = Request(sampling=Sampling(1.2, seed=4), **wishes)
    one, other = (list(Poet.load(model, backend=backend).stream(request, 8)) for backend in ("torch", "onnx"))
    assert one == other


def test_both_backends_score_and_suggest_the_same(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "_Matrix", Exact)
    one, other = (Poet.load(model, backend=backend) for backend in ("torch", "onnx"))
    lines, text = ["春夏秋冬风", "花雪月山水"], "春风来去月，山水夜听？。云雨江河雪，地日夜人心。"
    assert one.score([lines], ["五绝"])[0].bits == pytest.approx(other.score([lines], ["五绝"])[0].bits, abs=1e-3)
    assert one.suggest(text) == other.suggest(text)
    found = one.check(text.replace("？", "春"))
    for mine, theirs in zip(one.surprise(found), other.surprise(found), strict=True):
        assert mine == pytest.approx(theirs, abs=1e-3)


def test_the_shipped_model_loses_little_in_8_bits() -> None:
    poet = Poet.load()
    lines = [poem.lines for poem in poet.write_many(8, form="七绝", seed=3, drafts=1)]
    found, exact = (one.score(lines, ["七绝"] * 8) for one in (poet, Poet.load(backend="torch")))
    more = np.array([own.bits / own.han - other.bits / other.han for own, other in zip(found, exact, strict=True)])
    assert 0 < np.abs(more).max() < 0.03
    assert abs(more.mean()) < 0.01


def test_the_processor_is_left_to_numpy(model: Path) -> None:
    assert str(Poet.load(model).network) == "numpy"
    assert str(Poet.load(model, device="auto", backend="onnx").network) == "numpy"
    assert str(Poet.load(model, backend="torch").network) == "torch on cpu"


@pytest.mark.parametrize(
    ("wishes", "expected"),
    [
        ({"backend": "jax"}, "backend= must be one of auto, native, onnx, torch, but is 'jax'"),
        ({"backend": "onnx", "device": "cuda"}, "device='cuda' requires PyTorch"),
        ({"threads": 0}, "must lie in 1 to 1024"),
        ({"threads": 0, "backend": "torch"}, "must lie in 1 to 1024"),
    ],
)
def test_what_cannot_compute_is_one_sentence(model: Path, wishes: dict[str, object], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        Poet.load(model, **wishes)


def damaged(model: Path, place: Path, name: str, values: torch.Tensor | None) -> Path:
    """A copy of a model with another weight, or without it."""
    shutil.copytree(model, place)
    tensors = checkpoint.read_tensors(place / "model.safetensors")
    changed = {**tensors, name: values} if values is not None else {k: v for k, v in tensors.items() if k != name}
    checkpoint.write_tensors(place / "model.safetensors", changed)
    return place


@pytest.mark.parametrize("backend", ["torch", "onnx"])
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (None, "does not fit config.json in the same directory|describes a larger model"),
        (torch.zeros(3), "does not fit config.json in the same directory|describes a larger model"),
        (torch.full((12, 16), torch.nan), "contains values that are not weights"),
        (torch.zeros(12, 16, dtype=torch.int32), "contains values that are not weights"),
    ],
)
def test_weights_that_are_none_are_refused(
    model: Path, tmp_path: Path, backend: str, values: torch.Tensor | None, expected: str
) -> None:
    place = damaged(model, tmp_path / "model", "projection.weight", values)
    with pytest.raises(CheckpointError, match=expected):
        Poet.load(place, backend=backend)


def test_settings_that_ask_for_more_than_there_is_are_refused(model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["model"]["hidden_sizes"] = [10**9, 10**9]
    path.write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(CheckpointError, match="does not fit"):
        Poet.load(tmp_path / "model")


COMMANDS = """
from zhseq.poem import main
statuses = [main(["--model", sys.argv[1], *arguments.split()]) for arguments in sys.argv[2:]]
sys.exit(max(statuses))
"""


def test_poems_are_written_scored_judged_and_mended_without_torch(model: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        command = [sys.executable, "-c", LIGHT + COMMANDS, str(model), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    poem = run("--start 春 --form 五绝 --seed 2")
    assert poem.startswith("春")
    assert poem == Poet.load(model).write(start="春", form="五绝", seed=2).text + "\n"
    (tmp_path / "poem.txt").write_text(poem, encoding="utf-8")
    (tmp_path / "marked.txt").write_text(poem.strip()[:-2] + "？。", encoding="utf-8")
    (tmp_path / "line.txt").write_text(poem.replace("\n", "").strip() + "\n", encoding="utf-8")
    judged, mended, scored = run(
        f"--check {tmp_path}/poem.txt", f"--suggest {tmp_path}/marked.txt --json", f"--score {tmp_path}/line.txt"
    ).split("\n", 2)
    assert "no fault" in judged
    assert json.loads(mended)["suggestions"][0]["characters"]
    assert json.loads(scored.splitlines()[-1])["poems"] == 1
    assert run("--couplet 春风来去月", "--tune 小令", "--rhyme none", "--start 春 --form 五绝 --explain")
