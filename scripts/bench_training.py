"""What the training loop costs: symbols per second in `zhseq.training.train` over a bare forward-backward-step.

Both run the same model on the same batches, in turn, in one process:

    python scripts/bench_training.py --steps 20 --rounds 5
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from zhseq.config import to_dict
from zhseq.device import autocast, pick_device, tune_process
from zhseq.poetry.model import LanguageModel
from zhseq.poetry.network import LanguageModelConfig
from zhseq.poetry.scoring import EncodedPoems
from zhseq.recipes.poem import PoemBatches, PoemRecipe
from zhseq.training import Evaluation, train

VOCAB, CONTROLS = 8800, 1000


def random_poems(count: int) -> EncodedPoems:
    """Return poems of random characters in the four regulated shapes; speed does not depend on what they say."""
    rng = np.random.default_rng(0)
    lengths = rng.choice([24, 32, 48, 64], size=count)
    titles = rng.integers(0, 12, size=count)
    return EncodedPoems(
        symbols=rng.integers(4, VOCAB, size=lengths.sum()),
        symbol_offsets=np.concatenate([[0], np.cumsum(lengths)]),
        titles=rng.integers(4, VOCAB, size=titles.sum()),
        title_offsets=np.concatenate([[0], np.cumsum(titles)]),
        controls=rng.integers(VOCAB, VOCAB + CONTROLS, size=(count, 3)),
    )


def bare(model: LanguageModel, batches: PoemBatches, recipe: PoemRecipe, device: torch.device) -> float:
    """Return the seconds of the plainest possible training on these batches."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    ready = [batch.to(device) for batch in batches]
    synchronize(device)
    begin = time.perf_counter()
    for batch in ready:
        with autocast(device, recipe.training.precision):
            loss = model.loss(batch)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    synchronize(device)
    return time.perf_counter() - begin


def looped(model: LanguageModel, batches: PoemBatches, recipe: PoemRecipe, device: torch.device) -> float:
    """Return the seconds that the loop of zhseq takes for the same batches, evaluation and saving left out."""
    marks: list[float] = []

    def evaluate(_: LanguageModel) -> Evaluation:
        synchronize(device)
        marks.append(time.perf_counter())
        return Evaluation(0.0)

    class Timed:
        """The batches, noting when the first is asked for."""

        def __len__(self) -> int:
            return len(batches)

        def __getitem__(self, index: int) -> object:
            if index == 0:
                synchronize(device)
                marks.append(time.perf_counter())
            return batches[index]

    with tempfile.TemporaryDirectory() as directory:
        train(model, lambda _: Timed(), evaluate, lambda *_: None, recipe.training, directory=Path(directory))  # type: ignore[arg-type,return-value]
    return marks[1] - marks[0]


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    """Time both in turn and print medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()

    recipe = PoemRecipe()
    device = pick_device(options.device)
    tune_process(device)
    training = replace(recipe.training, max_steps=options.steps, evaluate_every=0, device=options.device)
    recipe = replace(recipe, training=training)
    batches = PoemBatches(random_poems(options.steps * 90), recipe.data, bos_id=2, seed=1, epoch=0)
    batches.buckets = batches.buckets[: options.steps]
    model = LanguageModel(
        LanguageModelConfig(**to_dict(recipe.model), vocab_size=VOCAB + CONTROLS, output_size=VOCAB)
    ).to(device)
    symbols = sum(int(batch.mask.sum()) for batch in batches)
    bare(model, batches, recipe, device)
    times = [
        (bare(model, batches, recipe, device), looped(model, batches, recipe, device)) for _ in range(options.rounds)
    ]
    bare_speed, loop_speed = (symbols / statistics.median(column) for column in zip(*times, strict=True))
    ratio = statistics.median(plain / loop for plain, loop in times)
    print(f"device {device}, {torch.get_num_threads()} threads, {options.steps} steps, {options.rounds} rounds in turn")
    print(f"bare step: {bare_speed:,.0f} symbols/s; loop: {loop_speed:,.0f} symbols/s; median ratio {ratio:.3f}")


if __name__ == "__main__":
    main()
