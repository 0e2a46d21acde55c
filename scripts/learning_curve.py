"""How much labelled modern text a tagger needs, if its encoder has read raw text before and if not.

    python scripts/learning_curve.py --init runs/encoder/best --out runs/curve

For each amount and seed one tagger begins from `--init` and one from nothing; both learn words, parts of speech and
names of the same sentences of `modern_text` for the same number of steps, and are scored on `modern_text:dev`. Writes
a table (Markdown), all figures (JSON) and a plot (PNG). Runs that are finished are kept, so that the script can be
stopped and started again.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path

import torch
from ablation import FIGURES, Splits, part_of

from zhseq.cli import run_main
from zhseq.config import override
from zhseq.recipes.tagged_texts import Source, TaggerBatches, read_sources
from zhseq.recipes.tagger import Start, TaggerRecipe, build, evaluator
from zhseq.training import train

MODERN = {head: (Source("modern_text", dev="modern_text:dev"),) for head in ("pos", "ner")}
STARTS = ("encoder", "nothing")
Results = dict[tuple[str, int], list[dict[str, float]]]
"""Figures of each seed, by what the tagger began from and how many sentences it learned from."""


def run(begun: str, amount: int, seed: int, splits: Splits, options: argparse.Namespace) -> dict[str, float]:
    """Train one tagger, or read its figures if that was done before."""
    directory = options.out / f"{begun}-{amount}-seed{seed}"
    result_file = directory / "result.json"
    if result_file.exists():
        return dict(json.loads(result_file.read_text(encoding="utf-8")))
    settings = [f"training.max_steps={options.steps}", f"training.evaluate_every={options.steps // 2}"]
    settings += [f"training.seed={seed}", "training.warmup_steps=50", f"training.threads={options.threads}"]
    recipe = override(TaggerRecipe(), [*settings, *options.set])
    torch.manual_seed(seed)
    training = {head: part_of(part.train, amount / len(part.train)) for head, part in splits.items()}
    start = Start(init=str(options.init)) if begun == "encoder" else Start()
    model, features, tables = build(training, recipe, start)
    tagged = {head: texts.with_tags(tables[head]) for head, texts in training.items()}

    def batches(epoch: int) -> TaggerBatches:
        size = recipe.data.tokens_per_batch
        return TaggerBatches(tagged, features, size, drop_mark=recipe.data.drop_mark, seed=(seed, epoch))

    evaluate = evaluator({head: [part] for head, part in splits.items()}, features, recipe)
    best = train(model, batches, evaluate, lambda model, evaluation: None, recipe.training, directory=directory)
    result_file.write_text(json.dumps(best.details), encoding="utf-8")
    (directory / "resume.safetensors").unlink(missing_ok=True)
    return best.details


def cell(runs: Sequence[dict[str, float]], key: str) -> str:
    """Return mean and standard deviation of a figure over the seeds, in points."""
    values = [100 * run[key] for run in runs]
    deviation = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{deviation}"


def table(results: Results) -> str:
    """Return the figures as a Markdown table."""
    rows = [f"| sentences | begun from | {' | '.join(FIGURES.values())} |", f"|---:|---|{'---|' * len(FIGURES)}"]
    for (begun, amount), runs in sorted(results.items(), key=lambda item: (item[0][1], item[0][0])):
        rows.append(f"| {amount:,} | {begun} | {' | '.join(cell(runs, key) for key in FIGURES)} |")
    return "\n".join(rows)


def plot(results: Results, path: Path) -> None:
    """Draw F1 over the number of sentences, a panel for each figure, the range of the seeds as a band."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(FIGURES), figsize=(11, 3.6), constrained_layout=True)
    amounts = sorted({amount for _, amount in results})
    for panel, (key, title) in zip(panels, FIGURES.items(), strict=True):
        for begun in STARTS:
            values = [[100 * run[key] for run in results[begun, amount]] for amount in amounts]
            panel.plot(amounts, [statistics.mean(runs) for runs in values], marker="o", label=f"begun from {begun}")
            panel.fill_between(amounts, [min(runs) for runs in values], [max(runs) for runs in values], alpha=0.2)
        panel.set_xscale("log")
        panel.set_xticks(amounts, [f"{amount:,}" for amount in amounts], rotation=45)
        panel.minorticks_off()
        panel.set_title(title)
        panel.set_xlabel("labelled sentences")
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("F1 on modern_text:dev")
    panels[0].legend()
    figure.savefig(path, dpi=110)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is missing and write table, figures and plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--init", type=Path, required=True, metavar="DIR", help="encoder that has read raw text")
    parser.add_argument("--out", type=Path, default=Path("runs/curve"), metavar="DIR")
    parser.add_argument("--amounts", type=int, nargs="+", default=[250, 500, 1000, 2000, 4000, 6508], metavar="N")
    parser.add_argument("--steps", type=int, default=600, help="of each training (default: 600)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args(arguments)
    data = override(TaggerRecipe(), options.set).data
    splits = {head: part for head, (part,) in read_sources(MODERN, data).items()}
    results: Results = {}
    for seed in options.seeds:
        for amount in options.amounts:
            for begun in STARTS:
                found = run(begun, amount, seed, splits, options)
                results.setdefault((begun, amount), []).append(found)
                print(begun, amount, "seed", seed, found, flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "curve.md").write_text(table(results) + "\n", encoding="utf-8")
    figures = [{"begun": begun, "sentences": amount, "runs": runs} for (begun, amount), runs in results.items()]
    (options.out / "curve.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    plot(results, options.out / "curve.png")
    print(table(results))
    return 0


if __name__ == "__main__":
    run_main(main)
