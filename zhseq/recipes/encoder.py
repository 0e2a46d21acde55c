"""Recipe for pretraining the encoder of the tagger on raw text, as a masked language model."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from zhseq.cli import SettingsParser, add_run_options, program
from zhseq.config import override, to_dict
from zhseq.errors import ConfigError
from zhseq.recipes.card import write_card
from zhseq.recipes.tagged_texts import Sources, TaggerDataConfig, describe, read_sources, to_json
from zhseq.recipes.tagger import LISTS_HELP, Start, TaggerRecipe, find_recipe
from zhseq.tagging.features import TaggerModelConfig
from zhseq.training.loop import Evaluation, TrainingConfig
from zhseq.training.state import PRODUCTS

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from zhseq.batching import Array, Batch
    from zhseq.recipes.tagged_texts import EncodedTexts
    from zhseq.tagging.features import TaggerFeatures
    from zhseq.tagging.model import MaskedLanguageModel

_HIDDEN = 0xE000  # a private-use code point: no vocabulary, bigram or dictionary word has it
_DEV_PIECES = 1500


@dataclass(frozen=True)
class EncoderRecipe:
    """Settings of the pretraining; the model cards record those of the shipped taggers."""

    data: TaggerDataConfig = field(default_factory=lambda: TaggerDataConfig(tokens_per_batch=4096))
    model: TaggerModelConfig = field(
        default_factory=lambda: TaggerModelConfig(unknown_rate=0.0, input_dropout=0.1, output_dropout=0.1)
    )
    training: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(
            learning_rate=2e-3, warmup_steps=500, evaluate_every=1000, weight_decay=0.01
        )
    )
    characters: int = 40_000_000
    """Characters of raw text to read; 0: all."""
    news_share: float = 0.5
    """Share of these characters from files whose name begins with `news`, if there are any."""
    hidden_share: float = 0.15
    """Share of the characters that are masked."""
    widen_to: int = 0
    """LSTM units per direction to which an encoder given with `--init` is widened; 0: unchanged."""

    def __post_init__(self) -> None:
        if not 0 < self.hidden_share < 1 or not 0 <= self.news_share <= 1 or min(self.characters, self.widen_to) < 0:
            raise ConfigError(
                "impossible_sample",
                "hidden_share must lie in (0, 1), news_share in 0 to 1, characters and widen_to must not be negative",
            )


class MaskedBatches(Sequence["Batch[Array]"]):
    """Batches of an epoch over raw text; the masked characters depend on seed and batch index only."""

    def __init__(
        self, texts: EncodedTexts, features: TaggerFeatures, tokens_per_batch: int, share: float, seed: tuple[int, int]
    ) -> None:
        """Create from texts.

        Args:
            texts: Raw text in pieces.
            features: Converts texts to batches.
            tokens_per_batch: Maximum number of padded characters in a batch.
            share: Share of the characters that are masked.
            seed: Seed of the run, and epoch.
        """
        from zhseq.batching import length_buckets

        self.texts, self.features, self.share, self.seed = texts, features, share, seed
        self.batches = length_buckets(texts.lengths, tokens_per_batch, seed=seed)

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Batch[Array]:  # type: ignore[override]
        from zhseq.batching import IGNORED, gather_ragged

        flat, lengths = gather_ragged(self.texts.points, self.texts.offsets, self.batches[index])
        points = flat.astype(np.uint32)
        ids = self.features.vocab.encode_points(points).astype(np.int64)
        known = np.flatnonzero(ids != self.features.vocab.unk_id)
        count = max(1, round(self.share * len(known)))
        rng = np.random.default_rng([*self.seed, index, 11])
        hidden = rng.choice(known, size=min(count, len(known)), replace=False)
        targets: npt.NDArray[np.int64] = np.full(len(points), IGNORED, dtype=np.int64)
        targets[hidden] = ids[hidden]
        points[hidden] = _HIDDEN
        return self.features.assemble(points, lengths, targets)


def add_parser(commands: _SubParsersAction[SettingsParser]) -> None:
    """Add `encoder` to the commands of `python -m zhseq.train`."""
    parser = commands.add_parser("encoder", help="pretrain the encoder of a tagger on raw text")
    parser.add_argument(
        "--recipe", default="default", metavar="NAME|FILE.json", help="recipe of the tagger that the encoder is for"
    )
    parser.add_argument(
        "--text", default="raw", metavar="NAME|PATH", help="a corpus, a directory of .txt files or a file"
    )
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--vectors", type=Path, metavar="DIR", help="embeddings to start from (made by train vectors)")
    start.add_argument("--init", metavar="CHECKPOINT", help="continue with the encoder of this tagger")
    parser.add_argument("--lists", type=Path, metavar="DIR", help=LISTS_HELP)
    add_run_options(parser, "encoder", EncoderRecipe(), products=PRODUCTS)
    parser.set_defaults(run=main)


def main(options: argparse.Namespace) -> int:
    """Pretrain an encoder with the options of the command line, and return the exit status."""
    recipe = override(EncoderRecipe(), options.set)
    sources = find_recipe(options.recipe).sources
    start = Start(options.vectors, options.init, lists=options.lists, units=recipe.widen_to)
    result = train_encoder(recipe, sources, options.text, options.output, start, resume=options.resume)
    right, bits = result.details["right"], result.details["bits_per_character"]
    best = options.output / "best"
    print(f"best: {right:.1%} of the hidden characters predicted, {bits:.3f} bits each; model in {best}")
    print(f"next: {program('train')} tagger --recipe {options.recipe} --init {best}", file=sys.stderr)
    return 0


def train_encoder(
    recipe: EncoderRecipe, sources: Sources, text: str, directory: Path, start: Start, *, resume: bool = False
) -> Evaluation:
    """Pretrain an encoder and save the best one in `directory`/best, as a tagger with untrained heads.

    Args:
        recipe: Settings.
        sources: Training texts of the later tagger, by head, which determine its vocabularies and tags.
        text: Raw text: a corpus, a directory or a file.
        directory: Output directory.
        start: Initial weights: pretrained vectors or a tagger.
        resume: Whether to resume the run in `directory`.

    Raises:
        CorpusError: A corpus is missing or invalid, or there is no raw text.
    """
    import torch

    from zhseq.recipes.tagged_texts import concatenate
    from zhseq.recipes.tagger import build
    from zhseq.tagging.model import MaskedLanguageModel, save
    from zhseq.training import train

    parts = read_sources(sources, recipe.data)
    tagged = {head: concatenate([part.train for part in own]) for head, own in parts.items()}
    torch.manual_seed(recipe.training.seed)
    tagger, features, _ = build(tagged, TaggerRecipe(recipe.data, recipe.model), start)
    dev, training = read_raw(text, recipe)
    model = MaskedLanguageModel(tagger)

    def batches(epoch: int) -> MaskedBatches:
        seed = (recipe.training.seed, epoch)
        return MaskedBatches(training, features, recipe.data.tokens_per_batch, recipe.hidden_share, seed)

    def save_best(best: MaskedLanguageModel, evaluation: Evaluation) -> None:
        record = {
            "recipe": to_dict(recipe),
            "sources": to_json(sources),
            "text": text,
            "evaluation": evaluation.details,
        }
        save(directory / "best", best.tagger, features, record)
        write_card(directory / "best", recipe, [f"raw text: {text}", *describe(sources)])

    held_out = MaskedBatches(dev, features, 8192, recipe.hidden_share, (0, 0))
    evaluate = evaluator(held_out, recipe.training.precision)
    return train(model, batches, evaluate, save_best, recipe.training, directory=directory, resume=resume)


def read_raw(text: str, recipe: EncoderRecipe) -> tuple[EncodedTexts, EncodedTexts]:
    """Read a sample of raw text in pieces, and hold out a random part.

    Returns:
        Held-out texts and training texts.
    """
    from zhseq.recipes.tagged_texts import encode_pieces
    from zhseq.recipes.vectors import VectorsRecipe, find_files, sample_lines

    sample = VectorsRecipe(characters=recipe.characters, news_share=recipe.news_share, seed=recipe.training.seed)
    lines = list(dict.fromkeys(sample_lines(find_files(text), sample)))
    np.random.default_rng(recipe.training.seed).shuffle(lines)
    cut = min(_DEV_PIECES, len(lines) // 10)
    held_out, training = (
        encode_pieces(((line, ()) for line in part), recipe.data.max_characters, covered=False)
        for part in (lines[:cut], lines[cut:])
    )
    count = int(training.offsets[-1])
    print(
        f"raw text: {len(training):,} pieces, {count:,} characters; {len(held_out):,} pieces held out", file=sys.stderr
    )
    return held_out, training


def evaluator(batches: MaskedBatches, precision: str) -> Callable[[MaskedLanguageModel], Evaluation]:
    """Return a function that evaluates a model by the cross-entropy of the masked characters of `batches`, in bits."""
    import torch

    from zhseq.device import autocast

    @torch.no_grad()
    def evaluate(model: MaskedLanguageModel) -> Evaluation:
        device = model.bias.device
        losses, rights, counts = [], [], []
        for index in range(len(batches)):
            batch = batches[index].to(device)
            with autocast(device, precision):
                losses.append(model.loss(batch))
                right, count = model.count_right(batch)
            rights.append(right)
            counts.append(count)
        weights = torch.tensor(counts, dtype=torch.float64)
        bits = float((torch.stack(losses).cpu().double() * weights).sum() / weights.sum() / np.log(2))
        share = float(torch.stack(rights).sum()) / max(1, sum(counts))
        return Evaluation(-bits, {"bits_per_character": bits, "right": share})

    return evaluate
