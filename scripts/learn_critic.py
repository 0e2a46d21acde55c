"""Train the critic of whole poems: `ZHSEQ_CORPORA=corpora python scripts/learn_critic.py --out checkpoints/poem`.

Each batch holds training poems of one form, one rhyme and one order of tones. What stands before a cut is to be joined
with what follows, among all the others that would fit (InfoNCE: van den Oord et al., 2018). Half of the batches are cut
in the middle, the other half behind any line, and then the next line is what follows.

`--out` gets `critic.safetensors`, beside the model whose vectors the training starts from. `--report` prints instead
how well the critic that is there tells held-out poems from disturbed ones: with the second half of another poem (rhyme
and tones kept), with one by our own model, with spring and autumn exchanged in the second half. `auc` compares all
poems with all disturbed ones, `told` each poem with itself disturbed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from foreign_couplets import QUATRAINS, exchanges, kind, quatrains_of
from learn_usage import whole_steps
from torch import Tensor, nn

from zhseq import checkpoint
from zhseq.batching import Batch, Ints
from zhseq.cli import run_main
from zhseq.corpus import load_poems, select_split
from zhseq.poetry.coherence import CRITIC_FILE, Critic
from zhseq.poetry.forms import FORMS
from zhseq.poetry.poet import Poet, Request
from zhseq.poetry.prosody import LEVEL, Prosody
from zhseq.poetry.request import Sampling
from zhseq.training import Evaluation, TrainingConfig, train

Lines = tuple[str, ...]
SIZE = 128
"""Numbers of a vector."""
LEAST = 64
"""Poems of one form, rhyme and order of tones below which they are left out."""
SEASONS = str.maketrans("春秋", "秋春")


class Halves(nn.Module):
    """Two directions of lines, of what stands before and of what follows, and a loss that joins them."""

    def __init__(self, vectors: Tensor) -> None:
        super().__init__()
        # The principal components of a language model's vectors are a better start than none.
        _, _, axes = torch.pca_lowrank(vectors, q=SIZE, niter=4)
        first = (vectors - vectors.mean(dim=0)) @ axes
        first = first / first.std() * 0.1
        first[0] = 0
        self.vectors = nn.Embedding.from_pretrained(first, freeze=False, padding_idx=0)
        self.before = nn.Linear(SIZE, SIZE, bias=False)
        self.behind = nn.Linear(SIZE, SIZE, bias=False)
        for layer in (self.before, self.behind):
            nn.init.eye_(layer.weight)
        self.scale = nn.Parameter(torch.tensor([2.3]))

    def loss(self, batch: Batch[Tensor]) -> Tensor:
        """Return the cross-entropy of the poem that each half belongs to, the halves before standing first."""
        one, other = batch.ids.chunk(2)
        scores = self.scale.exp() * (self._read(one, self.before) @ self._read(other, self.behind).T)
        own = torch.arange(len(one), device=scores.device)
        both = nn.functional.cross_entropy(scores, own) + nn.functional.cross_entropy(scores.T, own)
        return both / 2

    def _read(self, ids: Tensor, layer: nn.Linear) -> Tensor:
        # padding_idx keeps padding out of the mean.
        bags = nn.functional.embedding_bag(ids, self.vectors.weight, mode="mean", padding_idx=0)
        return nn.functional.normalize(layer(bags), dim=1)

    def tensors(self) -> dict[str, Tensor]:
        """Return the weights of a `Critic`."""
        weights = {"vectors": self.vectors.weight, "before": self.before.weight, "behind": self.behind.weight}
        return {**{name: weight.detach() for name, weight in weights.items()}, "scale": self.scale.detach().exp()}


class Cuts(Sequence["Batch[Tensor]"]):
    """The batches of an epoch: poems of one kind, cut at one place."""

    def __init__(self, kinds: Sequence[Ints], size: int, seed: tuple[int, int], number: int = 1000) -> None:
        self.kinds, self.size, self.seed, self.number = kinds, size, seed, number
        counts = np.array([len(poems) for poems in kinds], dtype=np.float64)
        self.shares = counts / counts.sum()

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, index: int) -> Batch[Tensor]:  # type: ignore[override]
        if not 0 <= index < self.number:
            raise IndexError(index)
        rng = np.random.default_rng([*self.seed, index])
        poems = self.kinds[rng.choice(len(self.kinds), p=self.shares)]
        rows = poems[rng.choice(len(poems), min(self.size, len(poems)), replace=False)]
        lines, cut = rows.shape[1], rows.shape[1] // 2
        end = lines
        if rng.random() < 0.5:
            cut = int(rng.integers(1, lines))
            end = cut + 1
        one, other = (part.reshape(len(rows), -1).astype(np.int64) for part in (rows[:, :cut], rows[:, cut:end]))
        ids = np.zeros((2 * len(rows), max(one.shape[1], other.shape[1])), dtype=np.int64)
        ids[: len(rows), : one.shape[1]], ids[len(rows) :, : other.shape[1]] = one, other
        return Batch(torch.from_numpy(ids), torch.from_numpy(ids > 0))


def main(arguments: Sequence[str] | None = None) -> int:
    """Train a critic, or print what the one that is there tells apart."""
    parser = argparse.ArgumentParser(description="Train the critic of whole poems.")
    parser.add_argument("--model", default=None, help="model directory (default: the one that comes with zhseq)")
    parser.add_argument("--out", type=Path, metavar="DIR", help=f"gets {CRITIC_FILE}")
    parser.add_argument("--run", type=Path, default=Path("runs/critic"), metavar="DIR", help="log and resume state")
    parser.add_argument("--steps", type=int, default=2400, help="optimizer steps (default: 2400)")
    parser.add_argument("--batch", type=int, default=384, help="poems in a batch (default: 384)")
    parser.add_argument("--report", action="store_true", help="train nothing, print what the critic tells apart")
    parser.add_argument("--own", type=int, default=100, metavar="N", help="dev poems continued by our own model")
    parser.add_argument("--split", default="dev", help="poems of the report: dev or test (default: dev)")
    options = parser.parse_args(arguments)
    if not options.report and options.out is None:
        parser.error("give --out, or --report")
    poet = Poet.load(options.model)
    poems = load_poems()
    held_out = [(lines, form) for lines, form in quatrains_of(select_split(poems, options.split))]
    if options.report:
        directory = checkpoint.shipped("poem") if options.model is None else checkpoint.resolve(options.model)
        critic = Critic.load(directory, len(poet.vocab))
        print(json.dumps(report(critic, poet, held_out, options.own), ensure_ascii=False, indent=1))
        return 0
    training = select_split(poems, "train")
    kinds = by_kind(training, poet)
    told = exchanges(held_out, poet.reviewing(), seed=0)
    model = Halves(torch.from_numpy(poet.network.vectors.copy()))

    def evaluate(trained: Halves) -> Evaluation:
        found = foreign(as_critic(trained), poet, [(each.poem, each.other) for each in told])
        return Evaluation(found["auc"], found)

    def save_best(best: Halves, _: Evaluation) -> None:
        options.out.mkdir(parents=True, exist_ok=True)
        checkpoint.write_tensors(options.out / CRITIC_FILE, stored(best), half=True)

    config = TrainingConfig(
        max_steps=options.steps,
        learning_rate=3e-3,
        warmup_steps=100,
        evaluate_every=max(1, options.steps // 6),
        precision="float32",
        threads=1,
    )
    best = train(
        model,
        lambda epoch: Cuts(kinds, options.batch, (config.seed, epoch)),
        evaluate,
        save_best,
        config,
        directory=options.run,
    )
    print(json.dumps(best.details, indent=1))
    return 0


def as_critic(model: Halves) -> Critic:
    """Return a model as what reads poems."""
    tensors = {name: tensor.cpu().numpy() for name, tensor in model.tensors().items()}
    return Critic(tensors["vectors"], tensors["before"], tensors["behind"], float(tensors["scale"][0]))


def stored(model: Halves) -> dict[str, Tensor]:
    """Return what `Critic` reads from a file."""
    tensors = model.tensors()
    return {**tensors, **whole_steps("vectors", tensors["vectors"].cpu().numpy())}


def by_kind(poems: Any, poet: Poet) -> list[Ints]:
    """Return the regulated poems of each form, rhyme and order of tones, (poems, lines, length) of ids."""
    prosody = poet.reviewing()
    result = []
    for form, shape in FORMS.items():
        rows = zip(poems["lines"][:], poems["form"][:], strict=True)
        lengths = list(shape.line_lengths)
        own = [lines for lines, name in rows if name == form and [len(line) for line in lines] == lengths]
        kinds: dict[tuple[int, str], list[int]] = {}
        for row, lines in enumerate(own):
            if found := kind_of(lines, prosody):
                kinds.setdefault(found, []).append(row)
        ids = poet.vocab.encode("".join(chain.from_iterable(own))).reshape(-1, len(lengths), lengths[0])
        result += [ids[rows].astype(np.int32) for _, rows in sorted(kinds.items()) if len(rows) >= LEAST]
    return result


def kind_of(lines: Sequence[str], prosody: Prosody) -> tuple[int, str] | None:
    """Return rhyme group and tone of the second character, or None for a poem without a level rhyme."""
    shared = set.intersection(*(set(prosody.groups(line[-1])) for line in lines[1::2]))
    level = [group for group in sorted(shared) if prosody.rhyme_groups[group].tone.value == LEVEL]
    return (level[0], prosody.tone_class(lines[0][1]).value) if level else None


def report(critic: Critic, poet: Poet, held_out: Sequence[tuple[Lines, str]], own: int) -> dict[str, Any]:
    """Return what a critic tells apart on held-out quatrains, kind by kind, and of foreign and own halves together."""
    prosody = poet.reviewing()
    pairs = [(each.poem, each.other) for each in exchanges(held_out, prosody, seed=0)]
    regular = [(lines, form) for lines, form in held_out if form == QUATRAINS[0] and kind(lines, form, prosody)]
    drawn = np.random.default_rng(1).permutation(len(regular))[:own].tolist()
    continued = []
    for seed, row in enumerate(drawn):
        lines, form = regular[row]
        wish = Request(lines=lines[:2], form=form, sampling=Sampling(seed=seed))
        continued.append((lines, next(poet.stream(wish, 1)).lines))
    turned = [(lines, _turned(lines)) for lines, _ in held_out if _turned(lines) != lines]
    both = [*pairs[: len(continued)], *continued]
    kinds = {"foreign second half": pairs, "by our own model": continued, "season exchanged": turned}
    found = {name: foreign(critic, poet, own_pairs) for name, own_pairs in kinds.items()}
    return {**found, "foreign and own together": foreign(critic, poet, both)}


def _turned(lines: Lines) -> Lines:
    middle = len(lines) // 2
    return (*lines[:middle], *(line.translate(SEASONS) for line in lines[middle:]))


def foreign(critic: Critic, poet: Poet, pairs: Sequence[tuple[Sequence[str], Sequence[str]]]) -> dict[str, float]:
    """Return how well poems are told from themselves with the second half of others."""
    if not pairs:
        return {"poems": 0.0}
    own = critic.score([lines for lines, _ in pairs], poet.vocab)
    mixed = [[*lines[: len(lines) // 2], *other[len(lines) // 2 :]] for lines, other in pairs]
    disturbed = critic.score(mixed, poet.vocab)
    ranks = np.searchsorted(np.sort(disturbed), own)
    return {
        "poems": float(len(pairs)),
        "auc": float(ranks.mean() / len(pairs)),
        "told": float((own > disturbed).mean()),
    }


if __name__ == "__main__":
    run_main(main)
