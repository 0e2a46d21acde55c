"""One layer or two? Train language models of 1, 2 and 3 LSTM layers on the same poems and compare them.

(a) at equal hidden size, (b) at equal numbers of parameters, over several seeds. Writes a table (Markdown), all figures
(JSON) and a plot (PNG):

    python scripts/compare_depth.py --out runs/depth --steps 800 --seeds 1 2

Runs that are finished are kept, so the script can be stopped and started again.
"""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zhseq.config import override
from zhseq.recipes.poem import PoemRecipe, train_poem

if TYPE_CHECKING:
    from datasets import Dataset

EMBEDDING_DIM = 160
HIDDEN_SIZE = 320


def lstm_parameters(hidden_size: int, layers: int) -> int:
    """Return the number of LSTM weights of `layers` equal layers over the embedding."""
    inputs = EMBEDDING_DIM + (layers - 1) * hidden_size
    return 4 * hidden_size * (inputs + layers * hidden_size + 2 * layers)


def equal_size(layers: int) -> int:
    """Return the hidden size at which `layers` layers have about the weights of two layers of `HIDDEN_SIZE`."""
    goal = lstm_parameters(HIDDEN_SIZE, 2)
    return min(range(16, 2048, 4), key=lambda size: abs(lstm_parameters(size, layers) - goal))


def variants() -> dict[str, tuple[int, ...]]:
    """Return the hidden sizes of all models to be compared, by name."""
    same_hidden = {f"{layers} x {HIDDEN_SIZE}": (HIDDEN_SIZE,) * layers for layers in (1, 2, 3)}
    same_size = {f"{layers} x {equal_size(layers)}": (equal_size(layers),) * layers for layers in (1, 3)}
    return same_hidden | same_size


def run(name: str, sizes: tuple[int, ...], seed: int, poems: Dataset, options: argparse.Namespace) -> dict[str, float]:
    """Train one model, or read its figures if that was done before."""
    directory = options.out / f"{name.replace(' ', '')}-seed{seed}"
    result_file = directory / "result.json"
    if result_file.exists():
        return dict(json.loads(result_file.read_text(encoding="utf-8")))
    recipe = override(PoemRecipe(), [f"training.max_steps={options.steps}", f"training.seed={seed}", *options.set])
    model = replace(recipe.model, embedding_dim=EMBEDDING_DIM, hidden_sizes=sizes)
    training = replace(recipe.training, evaluate_every=max(1, options.steps // 4), warmup_steps=options.steps // 10)
    recipe = replace(recipe, model=model, training=training)
    train_poem(recipe, directory, poems=poems)
    log = [json.loads(line) for line in (directory / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    weights = json.loads((directory / "best" / "config.json").read_text(encoding="utf-8"))["model"]
    embeddings = (weights["vocab_size"] + sizes[-1]) * EMBEDDING_DIM
    result = {
        "bits_per_han": log[-1]["bits_per_han"],
        "parameters": lstm_parameters(sizes[0], len(sizes)) + embeddings,
        "lstm_parameters": lstm_parameters(sizes[0], len(sizes)),
        "tokens_per_second": recipe.data.tokens_per_batch * options.steps / log[-1]["seconds"],
        "curve": [[entry["step"], entry["bits_per_han"]] for entry in log],
    }
    result_file.write_text(json.dumps(result), encoding="utf-8")
    return result


def table(results: dict[str, list[dict[str, float]]]) -> str:
    """Return the figures as a Markdown table: means over seeds, and the spread."""
    rows = [
        "| layers x hidden size | parameters (LSTM alone) | dev bits per Han: mean (lowest to highest) | symbols/s |",
        "|---|---|---|---|",
    ]
    for name, runs in results.items():
        bits = [result["bits_per_han"] for result in runs]
        size, lstm = runs[0]["parameters"] / 1e6, runs[0]["lstm_parameters"] / 1e6
        speed = statistics.median(result["tokens_per_second"] for result in runs)
        spread = f"{statistics.mean(bits):.3f} ({min(bits):.3f} to {max(bits):.3f})"
        rows.append(f"| {name} | {size:.2f} M ({lstm:.2f} M) | {spread} | {speed:,.0f} |")
    return "\n".join(rows)


def plot(results: dict[str, list[dict[str, float]]], path: Path) -> None:
    """Draw the learning curves and the final figures."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), constrained_layout=True)
    for index, (name, runs) in enumerate(results.items()):
        curve = np.array([result["curve"] for result in runs]).mean(axis=0)
        left.plot(curve[:, 0], curve[:, 1], marker="o", color=f"C{index}", label=name)
        for result in runs:
            right.scatter(result["parameters"] / 1e6, result["bits_per_han"], color=f"C{index}")
        mean = statistics.mean(result["bits_per_han"] for result in runs)
        right.annotate(name, (runs[0]["parameters"] / 1e6, mean), xytext=(6, 0), textcoords="offset points")
    left.set(xlabel="optimizer steps", ylabel="dev bits per Han character", title="Learning curves (mean of seeds)")
    right.set(xlabel="parameters (millions)", ylabel="dev bits per Han character", title="At the end, each seed")
    right.margins(x=0.15)
    left.legend()
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Train what is missing and write table, figures and plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/depth"))
    parser.add_argument("--steps", type=int, default=800, help="optimizer steps of each model")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--poems", type=int, default=100_000, help="training poems to draw from")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()

    from zhseq.corpus import load_poems

    poems = load_poems()
    splits = np.array(poems["split"])
    chosen = np.random.default_rng(0).permutation(np.flatnonzero(splits == "train"))[: options.poems]
    poems = poems.select(np.sort(np.concatenate([chosen, np.flatnonzero(splits == "dev")])))
    results: dict[str, list[dict[str, float]]] = {name: [] for name in variants()}
    for seed in options.seeds:
        for name, sizes in variants().items():
            results[name].append(run(name, sizes, seed, poems, options))
            print(name, "seed", seed, results[name][-1], flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "depth.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    (options.out / "depth.md").write_text(table(results) + "\n", encoding="utf-8")
    plot(results, options.out / "depth.png")
    print(table(results))


if __name__ == "__main__":
    main()
