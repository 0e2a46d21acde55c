"""Knowledge distillation: train a small tagger on raw text labelled by larger ones, in addition to the gold texts.

The teachers are combined into one CRF whose emissions and transitions are the means of theirs, so the probability of a
tag sequence is proportional to the geometric mean of its probabilities under the teachers.

Source: Hinton et al. (2015), "Distilling the Knowledge in a Neural Network". Differs: the student learns the best
tag sequence of texts that the teachers label with confidence, not their distribution.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from zhseq.batching import gather_ragged, length_buckets
from zhseq.checkpoint import resolve
from zhseq.cli import SettingsParser, add_run_options
from zhseq.config import override
from zhseq.device import autocast, pick_device
from zhseq.errors import ConfigError, InputError
from zhseq.recipes.tagged_texts import EncodedTexts, Source, Sources, TaggerDataConfig, encode_pieces, read_split
from zhseq.recipes.tagger import Start, TaggerRecipe, find_recipe, own_tagger, train_tagger
from zhseq.recipes.vectors import VectorsRecipe, find_files, sample_lines
from zhseq.tagging.features import TaggerFeatures, TaggerModelConfig
from zhseq.tagging.model import SequenceTagger, load_parts
from zhseq.text.normalize import from_codepoints, normalize
from zhseq.text.tags import TASKS, TagTable, spans_from_ids
from zhseq.training.loop import TrainingConfig
from zhseq.training.state import PRODUCTS, RESUME_FILE

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from zhseq.corpus.tagging import TaggedText
    from zhseq.nn.crf import CRF

LABELLED_FILE = "labelled.jsonl"
_KEY = 8  # leading characters of an evaluation text by which it is indexed
_BATCH = 8192  # maximum number of padded characters in a batch of the teachers


@dataclass(frozen=True)
class DistillRecipe:
    """Settings of distillation."""

    data: TaggerDataConfig = field(default_factory=TaggerDataConfig)
    model: TaggerModelConfig = field(default_factory=TaggerModelConfig)
    training: TrainingConfig = field(default_factory=lambda: TaggerRecipe().training)
    characters: int = 10_000_000
    """Characters of raw text to label; 0: all."""
    news_share: float = 0.15
    """Share of these characters from files whose name begins with `news`, if there are any."""
    mean_probability: float = 0.95
    """Minimum mean word probability of a text used for the student."""
    least_probability: float = 0.5
    """Minimum tag probability of every character of such a text, for words and for entities."""
    weight: float = 1.0
    """Expected number of repetitions of each labelled text per epoch."""

    def __post_init__(self) -> None:
        if min(self.mean_probability, self.least_probability) < 0 or self.characters < 0 or not self.weight > 0:
            raise ConfigError(
                "impossible_distillation",
                "characters and probabilities must not be negative, and weight must be greater than 0",
            )


def add_parser(commands: _SubParsersAction[SettingsParser]) -> None:
    """Add `distill` to the commands of `python -m zhseq.train`."""
    parser = commands.add_parser("distill", help="train a tagger on raw text labelled by other taggers")
    parser.add_argument(
        "--teacher",
        action="append",
        required=True,
        metavar="CHECKPOINT",
        help="a tagger that labels the text; repeatable",
    )
    parser.add_argument(
        "--recipe", default="default", metavar="NAME|FILE.json", help="gold corpora and settings of the student"
    )
    parser.add_argument(
        "--text", default="raw", metavar="NAME|PATH", help="a corpus, a directory of .txt files or a file"
    )
    parser.add_argument(
        "--init", metavar="CHECKPOINT", help="tagger that the student starts from (default: as its recipe says)"
    )
    add_run_options(parser, "distill", DistillRecipe(), products=(*PRODUCTS, LABELLED_FILE))
    parser.set_defaults(run=main)


def main(options: argparse.Namespace) -> int:
    """Label raw text unless a resumed run has done so, train the student, and return the exit status."""
    named = find_recipe(options.recipe)
    recipe = override(override(DistillRecipe(), named.settings), options.set)
    init = options.init or (own_tagger() if named.transfer else None)
    labelled = options.output / LABELLED_FILE
    if not (options.resume and labelled.exists()):
        teachers = Teachers([load_parts(resolve(name)) for name in options.teacher], recipe.training.device)
        label_texts(teachers, options.text, labelled, recipe, named.sources)
    resume = options.resume and (options.output / RESUME_FILE).exists()  # else labelling was interrupted
    added = Source(str(labelled), None, recipe.weight)
    sources = {head: (*own, added) if head in TASKS else own for head, own in named.sources.items()}
    student = TaggerRecipe(recipe.data, recipe.model, recipe.training)
    result = train_tagger(student, sources, options.output, start=Start(init=init), resume=resume)
    scores = ", ".join(f"{name} {value:.4f}" for name, value in result.details.items())
    print(f"best: {scores} on dev; model in {options.output / 'best'}")
    return 0


@dataclass(frozen=True)
class Labels:
    """Predictions of the teachers for a batch and a head."""

    paths: npt.NDArray[np.int64]
    """Tag id of each character, (batch, length) int64; -1 at padding."""
    probabilities: npt.NDArray[np.float32]
    """Probability of that tag, (batch, length); 0 at padding."""


class Teachers:
    """An ensemble of taggers that predicts as one CRF."""

    def __init__(self, parts: Sequence[tuple[SequenceTagger, TaggerFeatures]], device: str = "cpu") -> None:
        """Combine taggers, given as pairs of model and features.

        Raises:
            InputError: The taggers differ in heads or tags.
        """
        self.device = pick_device(device)
        self.parts = [(model.to(self.device).eval(), features) for model, features in parts]
        first = self.parts[0][0].config.heads
        for model, _ in self.parts[1:]:
            own = model.config.heads
            if own.keys() != first.keys() or any(set(own[head]) != set(first[head]) for head in first):
                raise InputError(
                    "teachers_differ",
                    "expected teachers with the same heads and tags, but they differ; train them on the same corpora",
                )
        self.tables = {head: TagTable.build(tags) for head, tags in first.items()}
        self.orders = [
            {head: [model.config.heads[head].index(tag) for tag in tags] for head, tags in first.items()}
            for model, _ in self.parts
        ]
        self.crfs = {head: self._mean_crf(head) for head in first}

    def _mean_crf(self, head: str) -> CRF:
        crf = copy.deepcopy(self.parts[0][0].crf(head))
        rows = [(model.crf(head), order[head]) for (model, _), order in zip(self.parts, self.orders, strict=True)]
        with torch.no_grad():
            crf.transitions.copy_(torch.stack([own.transitions[order][:, order] for own, order in rows]).mean(0))
            crf.start_transitions.copy_(torch.stack([own.start_transitions[order] for own, order in rows]).mean(0))
            crf.end_transitions.copy_(torch.stack([own.end_transitions[order] for own, order in rows]).mean(0))
        return crf

    @torch.no_grad()
    def label(self, points: npt.NDArray[np.uint32], lengths: npt.NDArray[np.int64]) -> dict[str, Labels]:
        """Label texts with each head.

        Args:
            points: Normalised code points of the concatenated texts, (characters,).
            lengths: Characters of each text, (texts,).
        """
        sums: dict[str, Tensor] = {}
        for (model, features), order in zip(self.parts, self.orders, strict=True):
            batch = features.assemble(points, lengths).to(self.device)
            with autocast(self.device, "auto"):
                emissions = model.emissions(batch)
            for head, scores in emissions.items():
                own = scores.float()[..., order[head]] / len(self.parts)
                sums[head] = own if head not in sums else sums[head] + own
        found = {}
        for head, scores in sums.items():
            paths = self.crfs[head].decode(scores, batch.mask)
            chosen = self.crfs[head].marginals(scores, batch.mask).gather(2, paths.clamp_min(0)[..., None])[..., 0]
            found[head] = Labels(paths.cpu().numpy(), chosen.cpu().numpy())
        return found


def label_texts(teachers: Teachers, text: str, target: Path, recipe: DistillRecipe, sources: Sources) -> None:
    """Write the raw texts that the teachers label with confidence to `target`, as JSON lines for `read_tagged`.

    Texts that contain an evaluation text of a source are omitted.

    Args:
        teachers: The ensemble.
        text: Raw text: a corpus, a directory or a file.
        target: Output file.
        recipe: Settings.
        sources: Gold corpora of the student, by head.

    Raises:
        CorpusError: There is no raw text, or a source is missing.
        InputError: The teachers label no text with confidence.
    """
    sample = VectorsRecipe(characters=recipe.characters, news_share=recipe.news_share, seed=recipe.training.seed)
    held_out = HeldOut(text.text for text in held_out_texts(sources, recipe.data))
    lines = [line for line in dict.fromkeys(sample_lines(find_files(text), sample)) if not held_out.inside(line)]
    texts = encode_pieces(((line, ()) for line in lines), recipe.data.max_characters, covered=False)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".partial")
    kept = 0
    with partial.open("w", encoding="utf-8") as stream:
        for record in sure_texts(teachers, texts, recipe):
            stream.write(json.dumps(record, ensure_ascii=False) + "\n")
            kept += 1
    if not kept:
        partial.unlink()
        raise InputError(
            "no_sure_text",
            "the teachers are certain about none of {count} texts; lower mean_probability and "
            "least_probability with --set",
            count=len(texts),
        )
    partial.replace(target)
    print(f"labelled: {kept:,} of {len(texts):,} texts are labelled with enough certainty", file=sys.stderr)


def sure_texts(teachers: Teachers, texts: EncodedTexts, recipe: DistillRecipe) -> Iterator[dict[str, object]]:
    """Yield the texts that the teachers label with confidence, with words and entities."""
    batches = length_buckets(texts.lengths, _BATCH, seed=(recipe.training.seed,))
    for rows in tqdm(batches, unit="batch", desc="labelling", disable=None):
        flat, lengths = gather_ragged(texts.points, texts.offsets, rows)
        points = flat.astype(np.uint32)
        labels = teachers.label(points, lengths)
        bounds = np.concatenate([[0], np.cumsum(lengths)]).tolist()
        for index, length in enumerate(lengths.tolist()):
            if (record := _record(teachers, labels, index, length, recipe)) is not None:
                yield {"text": from_codepoints(points[bounds[index] : bounds[index + 1]]), **record}


def _record(
    teachers: Teachers, labels: dict[str, Labels], index: int, length: int, recipe: DistillRecipe
) -> dict[str, object] | None:
    """Return the words and entities of a text, or None if the teachers are uncertain or an entity splits a word."""
    record: dict[str, object] = {}
    borders: set[int] = set()
    for head, key, label in (("pos", "words", "pos"), ("ner", "entities", "label")):
        if head not in labels:
            continue
        table, own = teachers.tables[head], labels[head]
        starts, ends, kinds = spans_from_ids(own.paths[index, :length], table)
        probabilities = own.probabilities[index, :length]
        if probabilities.min() < recipe.least_probability:
            return None
        if head == "pos":  # the probability of a word is the minimum over its characters
            if np.minimum.reduceat(probabilities, starts).mean() < recipe.mean_probability:
                return None
            borders = {0, *ends.tolist()}
        elif borders and not borders.issuperset([*starts.tolist(), *ends.tolist()]):
            return None
        spans = zip(starts.tolist(), ends.tolist(), kinds.tolist(), strict=True)
        record[key] = [{"start": start, "end": end, label: table.labels[kind]} for start, end, kind in spans]
    return record


class HeldOut:
    """Evaluation texts, which must not occur in training texts."""

    def __init__(self, texts: Iterable[str]) -> None:
        """Index texts; those with fewer than eight characters are ignored, because they occur in many texts."""
        self.by_key: dict[str, list[str]] = {}
        for text in texts:
            compact = _compact(text)
            if len(compact) >= _KEY:
                self.by_key.setdefault(compact[:_KEY], []).append(compact)

    def inside(self, text: str) -> bool:
        """Return whether a text contains an indexed text; blanks, width and script are ignored."""
        compact = _compact(text)
        for start in range(len(compact) - _KEY + 1):
            if any(compact.startswith(known, start) for known in self.by_key.get(compact[start : start + _KEY], ())):
                return True
        return False


def _compact(text: str) -> str:
    return "".join(normalize(text).split())


def held_out_texts(sources: Sources, data: TaggerDataConfig) -> Iterator[TaggedText]:
    """Yield the evaluation texts of the sources."""
    for head, own in sources.items():
        for source in own:
            if source.dev is not None:
                yield from read_split(head, source, data)[1]
