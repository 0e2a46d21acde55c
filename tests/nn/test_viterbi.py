import itertools

import numpy as np
import pytest
import torch
import torchcrf

from tests.nn.test_crf import is_legal
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
