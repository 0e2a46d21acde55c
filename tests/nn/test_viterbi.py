import copy
import itertools
import pickle
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchcrf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.nn.test_crf import is_legal
from zhseq import device
from zhseq.nn import viterbi
from zhseq.nn.crf import CRF
from zhseq.nn.viterbi import Arcs, Chain, Limits, Sequences
from zhseq.text.tags import TagTable, allowed_transitions, scheme_tags, spans_from_ids

HEADS = (
    tuple(scheme_tags(["a", "b"], "BMES", outside=False)),
    tuple(scheme_tags(["X"], "BIOES")),
    ("S-c", "B-a", "E-a", "S-a", "B-b", "M-b", "E-b"),  # labels without some of their tags
)


def make_crf(tags: tuple[str, ...]) -> CRF:
    allowed, first, last = (torch.from_numpy(table) for table in allowed_transitions(tags))
    crf = CRF(len(tags), allowed=allowed, allowed_start=first, allowed_end=last)
    with torch.no_grad():
        for parameter in crf.parameters():
            parameter.add_(torch.randn_like(parameter) * (parameter > -1))
    return crf.requires_grad_(False)


def random_arcs(lengths: list[int], labels: int, rng: np.random.Generator) -> Arcs:
    """About half of all spans of all texts."""
    offset, spans = 0, []
    for length in lengths:
        spans += [
            (offset + s, offset + e) for s in range(length) for e in range(s + 1, length + 1) if rng.random() < 0.5
        ]
        offset += length
    starts, ends = np.array(spans, dtype=np.int64).reshape(-1, 2).T
    bonus = rng.uniform(0, 4, len(spans)).astype(np.float32)
    return Arcs(starts, ends, bonus, rng.integers(-1, labels, len(spans)))


def chain_of(crf: CRF, table: TagTable) -> Chain:
    return Chain(*(scores.numpy() for scores in crf._scores()), table.tag_ids)


def best_paths(
    chain: Chain, scores: torch.Tensor, lengths: list[int], arcs: Arcs, limits: Limits | None = None
) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """Of texts laid end to end."""
    emissions = torch.nn.utils.rnn.pad_sequence(list(scores.split(lengths)), batch_first=True).numpy()
    return viterbi.best_paths(chain, Sequences(emissions, np.array(lengths), limits), arcs)


def bonus_of(path: tuple[int, ...], offset: int, arcs: Arcs, table: TagTable) -> float:
    """From the definition: for each word that is a span of the path, once more if it has the label."""
    spans = {
        (s + offset, e + offset): label for s, e, label in zip(*spans_from_ids(np.array(path), table), strict=True)
    }
    total = 0.0
    for start, end, bonus, label in zip(arcs.starts, arcs.ends, arcs.bonus, arcs.labels, strict=True):
        if (start, end) in spans:
            total += float(bonus) * (2 if spans[start, end] == label else 1)
    return total


@pytest.mark.parametrize("seed", range(12))
def test_best_paths_against_all_paths(seed: int) -> None:
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    tags = HEADS[seed % len(HEADS)]
    table, crf = TagTable.build(tags), make_crf(tags)
    lengths = [3, 1, 4, 2]
    scores = 2 * torch.randn(sum(lengths), len(tags))
    arcs = random_arcs(lengths, len(table.labels), rng)
    found, totals = best_paths(chain_of(crf, table), scores, lengths, arcs)
    offset = 0
    for row, length in enumerate(lengths):
        own = scores[offset : offset + length]
        paths = torch.tensor(list(itertools.product(range(len(tags)), repeat=length)))
        paths = paths[[is_legal(crf, path) for path in paths.tolist()]]
        plain = crf.score(own.expand(len(paths), -1, -1), paths)
        best = max(
            float(score) + bonus_of(tuple(path), offset, arcs, table)
            for score, path in zip(plain, paths.tolist(), strict=True)
        )
        path = tuple(found[offset : offset + length].tolist())
        total = float(crf.score(own[None], torch.tensor([path]))) + bonus_of(path, offset, arcs, table)
        assert total == pytest.approx(best, abs=1e-3)
        assert totals[row] == pytest.approx(best, abs=1e-3)
        offset += length


@pytest.mark.parametrize("seed", range(20))
def test_without_words_it_is_the_viterbi_path(seed: int) -> None:
    """Of scores so close that often two or more closing tags compete, which the search treats apart from the rest."""
    torch.manual_seed(seed)
    tags = tuple(scheme_tags(["a", "b", "c", "d"], "BMES", outside=False))
    crf, table = make_crf(tags), TagTable.build(tags)
    lengths = torch.randint(1, 12, (4,))
    mask = torch.arange(int(lengths.max())) < lengths[:, None]
    emissions = torch.randn(len(lengths), mask.shape[1], len(tags))
    nothing = Arcs(*np.zeros((2, 0), dtype=np.int64), np.zeros(0, dtype=np.float32), np.zeros(0, dtype=np.int64))
    found, _ = best_paths(chain_of(crf, table), emissions[mask], lengths.tolist(), nothing)
    assert found.tolist() == [tag for path in torchcrf.CRF.decode(crf, emissions, mask) for tag in path]


def test_long_words_and_equal_scores() -> None:
    """A path of thirty characters that only its bonus makes good, by an arc whose middle is long."""
    tags = HEADS[0]
    crf, table = make_crf(tags), TagTable.build(tags)
    scores = torch.zeros(40, len(tags))
    scores[:, [tags.index("S-a"), tags.index("S-b")]] = 5.0
    arcs = Arcs(np.array([4]), np.array([34]), np.array([400.0], dtype=np.float32), np.array([-1]))
    path, _ = best_paths(chain_of(crf, table), scores, [40], arcs)
    spans = list(zip(*(column.tolist() for column in spans_from_ids(path, table)[:2]), strict=True))
    assert (4, 34) in spans
    assert len(spans) == 11


def test_characters_without_the_choice_of_all_tags() -> None:
    torch.manual_seed(2)
    tags = HEADS[0]
    chain, emissions = chain_of(make_crf(tags), TagTable.build(tags)), torch.randn(9, len(tags))
    penalties = np.full((3, len(tags)), -np.inf, dtype=np.float32)
    for row, tag in enumerate(("B-b", "M-b", "E-b")):
        penalties[row, tags.index(tag)] = 0.0
    arcs = Arcs(np.array([0]), np.array([2]), np.array([3.0], dtype=np.float32), np.array([0]))
    kinds = np.array([-1, -1, -1, 0, 1, 2, -1, -1, -1], dtype=np.int32)
    path, _ = best_paths(chain, emissions, [9], arcs, Limits(kinds, penalties))
    assert [tags[tag] for tag in path[3:6].tolist()] == ["B-b", "M-b", "E-b"]
    _, scores = best_paths(chain, emissions, [9], arcs, Limits(kinds, penalties - np.float32(np.inf)))
    assert scores.tolist() == [-np.inf]


def random_chain(rng: np.random.Generator, kind: str) -> Chain:
    """All transitions, those of BMES or BIO tags, or any."""
    if kind == "BMES":
        tags = tuple(scheme_tags("abcdefg"[: rng.integers(1, 7)], "BMES", outside=False))
    elif kind == "BIOES":
        tags = HEADS[int(rng.integers(1, 3))]
    elif kind == "BIO":
        tags = tuple(scheme_tags("abc", "BIO"))
    else:
        tags = tuple(f"B-{number}" for number in range(rng.integers(1, 40)))
    tables = allowed_transitions(tags)
    if kind == "any":
        tables = tuple(rng.random(table.shape) < 0.5 for table in tables)
    scale = rng.choice([0.1, 1.0, 10.0])
    scores = [np.where(table, rng.normal(0, scale, table.shape), -np.inf) for table in tables]
    table = TagTable.build(tags)
    return Chain(scores[0], scores[1], scores[2], table.tag_ids if table.strict else None)


def random_sequences(rng: np.random.Generator, tags: int) -> Sequences:
    lengths = rng.integers(1, 30, rng.integers(1, 6))
    emissions = rng.normal(0, rng.choice([0.5, 5.0, 300.0]), (len(lengths), lengths.max(), tags)).astype(np.float32)
    emissions[np.arange(lengths.max()) >= lengths[:, None]] = np.nan
    limits = None
    if rng.random() < 0.5:
        penalties = np.where(rng.random((3, tags)) < 0.7, np.float32(0.0), np.float32(-np.inf))
        limits = Limits(rng.integers(-1, 3, lengths.sum()).astype(np.int32), penalties)
    return Sequences(emissions, lengths, limits)


def without_loops(function: Callable[..., Any], *arguments: object) -> Any:
    """Call a function of the search as it is where nothing was compiled."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(viterbi, "library", lambda: None)
        return function(*arguments)


def test_the_loops_are_compiled_where_there_is_a_compiler() -> None:
    if any(map(shutil.which, ("cc", "gcc", "clang"))):
        assert viterbi.library() is not None, "compile them: python hatch_build.py"


def test_without_a_compiler_nothing_is_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(viterbi.__file__).resolve().parents[2]
    for name in device.SOURCES:
        shutil.copy(root / "zhseq" / "nn" / name, tmp_path)
    (tmp_path / "_kernel.so").write_text("of an older source")
    compile_kernel = runpy.run_path(str(root / "hatch_build.py"), run_name="build")["compile_kernel"]
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    assert compile_kernel(tmp_path) is None
    assert {path.name for path in tmp_path.iterdir()} == set(device.SOURCES)


@pytest.mark.parametrize("kind", ["all", "BMES", "BIOES", "BIO", "any"])
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_compiled_loops_and_numpy_find_the_same(kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    chain = random_chain(rng, kind)
    sequences = random_sequences(rng, chain.tags)
    arcs = random_arcs(sequences.lengths.tolist(), len(chain.spans), rng) if kind in ("BMES", "BIOES") else None
    found, scores = viterbi.best_paths(chain, sequences, arcs)
    expected, expected_scores = without_loops(viterbi.best_paths, chain, sequences, arcs)
    legal = np.repeat(scores > -np.inf, sequences.lengths)
    assert found[legal].tolist() == expected[legal].tolist()
    np.testing.assert_allclose(scores, expected_scores, rtol=1e-12)
    odds = viterbi.tag_probabilities(chain, sequences)
    np.testing.assert_allclose(odds, without_loops(viterbi.tag_probabilities, chain, sequences), atol=2e-5)
    np.testing.assert_allclose(odds[legal].sum(1), 1.0, atol=1e-4)


@pytest.mark.parametrize("kind", ["all", "BMES"])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_both_find_what_pytorch_crf_finds(kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    chain = random_chain(rng, kind)
    lengths = rng.integers(1, 20, 3)
    emissions = rng.normal(0, 3, (3, lengths.max(), chain.tags)).astype(np.float32)
    crf = torchcrf.CRF(chain.tags, batch_first=True)
    with torch.no_grad():
        for parameter, scores in zip(crf.parameters(), (chain.start, chain.end, chain.transitions), strict=True):
            parameter.copy_(torch.from_numpy(scores).clamp_min(-1e4))
    mask = torch.arange(int(lengths.max())) < torch.from_numpy(lengths)[:, None]
    expected = [tag for path in crf.decode(torch.from_numpy(emissions), mask) for tag in path]
    for search in (viterbi.best_paths, lambda *arguments: without_loops(viterbi.best_paths, *arguments)):
        assert search(chain, Sequences(emissions, lengths))[0].tolist() == expected


def test_paths_and_probabilities_are_lost_at_no_scale() -> None:
    """The best path starts and ends badly, and only those ends lead to its good middle."""
    chain = random_chain(np.random.default_rng(1), "BMES")
    emissions = np.zeros((1, 32, chain.tags), dtype=np.float32)
    emissions[..., chain.spans[0, [0, 2]]] = -1000.0
    emissions[..., chain.spans[0, 1]] = 100.0
    expected = [chain.spans[0, 0], *[chain.spans[0, 1]] * 30, chain.spans[0, 2]]
    sequences = Sequences(emissions, np.array([32]))
    for run in (lambda function, *arguments: function(*arguments), without_loops):
        assert run(viterbi.best_paths, chain, sequences)[0].tolist() == expected
        odds = run(viterbi.tag_probabilities, chain, sequences)
        np.testing.assert_allclose(odds[np.arange(32), expected], 1.0, rtol=1e-6)


def test_a_copy_holds_no_addresses_of_what_it_was_copied_from() -> None:
    rng = np.random.default_rng(4)
    chain = random_chain(rng, "BMES")
    sequences = random_sequences(rng, chain.tags)
    expected = viterbi.best_paths(chain, sequences)[0].tolist()
    twin = copy.deepcopy(chain)
    other = pickle.loads(pickle.dumps(chain))
    assert len({each.packed.address for each in (chain, twin, other)}) == 3
    del chain
    for each in (twin, other):
        assert viterbi.best_paths(each, sequences)[0].tolist() == expected


def test_wrong_sizes_never_reach_the_loops() -> None:
    chain = random_chain(np.random.default_rng(1), "BMES")
    emissions = np.zeros((2, 4, chain.tags), dtype=np.float32)
    with pytest.raises(ValueError, match="expected 2 lengths from 1 to 4"):
        Sequences(emissions, np.array([5, 1]))
    with pytest.raises(ValueError, match="expected emissions of"):
        viterbi.best_paths(chain, Sequences(emissions[..., 1:], np.array([4, 1])))
    with pytest.raises(ValueError, match="expected kinds of 5 characters"):
        Sequences(emissions, np.array([4, 1]), Limits(np.zeros(4, np.int32), emissions[0, :1]))
    for kinds, penalties in (([0, 9, 0, 0, 0], emissions[0, :1]), ([0] * 5, emissions[0, :1, 1:])):
        limits = Limits(np.array(kinds, dtype=np.int32), penalties)
        with pytest.raises(ValueError, match="expected penalties of"):
            viterbi.best_paths(chain, Sequences(emissions, np.array([4, 1]), limits))
    for start, end, label in ((3, 5, 0), (-1, 1, 0), (2, 2, 0), (4, 6, 0), (0, 2, 99)):
        arcs = Arcs(np.array([start]), np.array([end]), np.ones(1, np.float32), np.array([label]))
        with pytest.raises(ValueError, match=r"expected (arcs|a bonus)"):
            viterbi.best_paths(chain, Sequences(emissions, np.array([4, 1])), arcs)
