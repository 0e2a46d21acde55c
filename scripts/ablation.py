"""What each part of the tagger earns: train it without the part on the same texts and compare F1 on dev.

Both heads of the default recipe are trained on a share of its documents; the dev sets are those of the recipe. Writes
a table (Markdown), all figures (JSON) and a plot (PNG):

    python scripts/ablation.py --vectors runs/vectors --out runs/ablation --share 0.06 --epochs 6 --seeds 1

Runs that are finished are kept, so the script can be stopped and started again. `--encoder` adds a tagger that starts
from an encoder trained on raw text (`python -m zhseq.train encoder`), `--only` leaves out all variants but the named.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from zhseq.batching import gather_ragged
from zhseq.cli import run_main
from zhseq.config import override
from zhseq.nn.crf import CRF
from zhseq.nn.layers import BiLSTM, WindowCNN
from zhseq.recipes.tagged_texts import EncodedTexts, Part, Source, TaggerBatches, read_sources
from zhseq.recipes.tagger import Start, TaggerRecipe, build, evaluator
from zhseq.tagging.model import SequenceTagger
from zhseq.training import train

FIGURES = {"pos_f1": "words + POS", "words_f1": "words", "ner_f1": "entities"}


class CnnFirst(nn.Module):
    """A BiLSTM that reads what a window CNN makes of the characters, in the place of one that reads them itself."""

    def __init__(self, lstm: BiLSTM, hidden_size: int) -> None:
        super().__init__()
        size = lstm.forwards[0].input_size
        self.cnn = WindowCNN(size, size)
        self.inner = BiLSTM(size, hidden_size)
        self.forwards = self.inner.forwards

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """Encode as `BiLSTM` does."""
        encoded: Tensor = self.inner(self.cnn(vectors, mask), mask)
        return encoded


def cnn_first(model: SequenceTagger) -> None:
    """Put a CNN before the BiLSTM."""
    model.lstm = CnnFirst(model.lstm, model.config.hidden_size)  # type: ignore[assignment]


def softmax(model: SequenceTagger) -> None:
    """Take the CRFs out: without transitions they are a softmax at each character."""
    for head, tags in model.config.heads.items():
        crf = CRF(len(tags))
        for parameter in crf.parameters():
            parameter.requires_grad_(False).zero_()
        model.crfs[head] = crf


@dataclass(frozen=True)
class Variant:
    """A change of the default tagger."""

    settings: tuple[str, ...] = ()
    surgery: Callable[[SequenceTagger], None] | None = None
    vectors: bool = True
    encoder: bool = False


RAW_TEXT_FIRST = "encoder trained on raw text first"
VARIANTS = {
    "default (CNN beside BiLSTM)": Variant(),
    "CNN before BiLSTM": Variant(("model.channels=0",), cnn_first),
    "CNN before and beside": Variant((), cnn_first),
    "no CNN": Variant(("model.channels=0",)),
    "no bigrams": Variant(("data.max_bigrams=0",)),
    "no dictionary": Variant(("data.max_words=0",)),
    "no pretrained vectors": Variant((), None, vectors=False),
    "softmax instead of CRF": Variant((), softmax),
    "two BiLSTM layers": Variant(("model.num_layers=2",)),
    RAW_TEXT_FIRST: Variant(vectors=False, encoder=True),
}


def part_of(texts: EncodedTexts, share: float) -> EncodedTexts:
    """Return a share of the pieces, always the same ones."""
    rows = np.sort(np.random.default_rng(0).permutation(len(texts))[: max(1, int(share * len(texts)))])
    points, lengths = gather_ragged(texts.points, texts.offsets, rows)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    spans = tuple(texts.spans[row] for row in rows.tolist())
    return EncodedTexts(points.astype(np.uint32), offsets, spans, np.zeros(0, dtype=np.int64))


NEWSPAPERS = {"pos": (Source("pfr199801"),), "ner": (Source("msra_ner"),)}
Splits = dict[str, Part]


def run(name: str, seed: int, splits: Splits, options: argparse.Namespace) -> dict[str, float]:
    """Train one variant, or read its figures if that was done before."""
    variant = VARIANTS[name]
    directory = options.out / f"{name.replace(' ', '-')}-seed{seed}"
    result_file = directory / "result.json"
    if result_file.exists():
        return dict(json.loads(result_file.read_text(encoding="utf-8")))
    changes = [f"training.epochs={options.epochs}", f"training.seed={seed}", "training.warmup_steps=60"]
    recipe = override(TaggerRecipe(), [*changes, "training.evaluate_every=0", *variant.settings, *options.set])
    torch.manual_seed(seed)
    training = {head: part.train for head, part in splits.items()}
    start = Start(options.vectors if variant.vectors else None, str(options.encoder) if variant.encoder else None)
    model, features, tables = build(training, recipe, start)
    if variant.surgery is not None:
        variant.surgery(model)
    tagged = {head: texts.with_tags(tables[head]) for head, texts in training.items()}

    def batches(epoch: int) -> TaggerBatches:
        size = recipe.data.tokens_per_batch
        return TaggerBatches(tagged, features, size, drop_mark=recipe.data.drop_mark, seed=(seed, epoch))

    begin = time.process_time()
    evaluate = evaluator({head: [part] for head, part in splits.items()}, features, recipe)
    best = train(model, batches, evaluate, lambda model, evaluation: None, recipe.training, directory=directory)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    result = {**best.details, "parameters": parameters, "seconds": time.process_time() - begin}
    result_file.write_text(json.dumps(result), encoding="utf-8")
    (directory / "resume.safetensors").unlink(missing_ok=True)
    return result


def table(results: dict[str, list[dict[str, float]]]) -> str:
    """Return the figures as a Markdown table: means over seeds, and what changes against the first row."""
    base = {key: statistics.mean(result[key] for result in next(iter(results.values()))) for key in FIGURES}
    rows = [
        f"| tagger | {' | '.join(f'{title} F1' for title in FIGURES.values())} | parameters | processor seconds |",
        f"|---|{'---|' * len(FIGURES)}---|---|",
    ]
    for name, runs in results.items():
        cells = []
        for key in FIGURES:
            mean = 100 * statistics.mean(result[key] for result in runs)
            change = mean - 100 * base[key]
            cells.append(f"{mean:.2f} ({change:+.2f})" if change else f"{mean:.2f}")
        size, seconds = runs[0]["parameters"] / 1e6, statistics.mean(result["seconds"] for result in runs)
        rows.append(f"| {name} | {' | '.join(cells)} | {size:.2f} M | {seconds:,.0f} |")
    return "\n".join(rows)


def plot(results: dict[str, list[dict[str, float]]], path: Path) -> None:
    """Draw what each change does to F1, in points."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    names = list(results)[1:]
    figure, axes = plt.subplots(figsize=(8, 0.5 * len(names) + 1.6), constrained_layout=True)
    height = 0.8 / len(FIGURES)
    for index, (key, title) in enumerate(FIGURES.items()):
        means = {name: 100 * statistics.mean(result[key] for result in runs) for name, runs in results.items()}
        changes = [means[name] - next(iter(means.values())) for name in names]
        places = np.arange(len(names)) + (index - 1) * height
        axes.barh(places, changes, height, label=title)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel("change of dev F1 against the default, in points")
    axes.grid(alpha=0.3, axis="x")
    axes.legend()
    figure.savefig(path, dpi=120)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is missing and write table, figures and plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=Path, required=True, metavar="DIR")
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"), metavar="DIR")
    parser.add_argument("--share", type=float, default=0.06, help="of the training texts")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--encoder", type=Path, metavar="DIR", help="checkpoint of an encoder")
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="NAME", help="variants")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args(arguments)
    names = [name for name in options.only if options.encoder or not VARIANTS[name].encoder]
    data = override(TaggerRecipe(), options.set).data
    whole = read_sources(NEWSPAPERS, data)
    splits = {head: replace(part, train=part_of(part.train, options.share)) for head, (part,) in whole.items()}
    results: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for seed in options.seeds:
        for name in names:
            results[name].append(run(name, seed, splits, options))
            print(name, "seed", seed, results[name][-1], flush=True)
    (options.out / "ablation.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    (options.out / "ablation.md").write_text(table(results) + "\n", encoding="utf-8")
    plot(results, options.out / "ablation.png")
    print(table(results))
    return 0


if __name__ == "__main__":
    run_main(main)
