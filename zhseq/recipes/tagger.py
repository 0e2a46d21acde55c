"""Recipe of the tagger: corpora by head, vocabularies, initial weights, evaluation by F1, checkpoint."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from zhseq.batching import gather_ragged, length_buckets
from zhseq.cli import SettingsParser, add_run_options, program
from zhseq.config import from_dict, override, to_dict
from zhseq.device import autocast
from zhseq.errors import CheckpointError, ConfigError
from zhseq.recipes.card import write_card
from zhseq.recipes.tagged_texts import (
    EncodedTexts,
    Part,
    Source,
    Sources,
    TaggerDataConfig,
    concatenate,
    describe,
    read_sources,
    task_of,
    to_json,
)
from zhseq.recipes.vectors import load_vectors
from zhseq.tagging.evaluation import Score
from zhseq.tagging.features import (
    MAX_WORD_LENGTH,
    SequenceTaggerConfig,
    TaggerFeatures,
    TaggerModelConfig,
    most_frequent_bigrams,
)
from zhseq.tagging.lexicon import Lexicon, choose_words, jieba_frequencies, read_word_list, read_word_lists
from zhseq.tagging.model import SequenceTagger
from zhseq.text.normalize import from_codepoints
from zhseq.text.tags import OUTSIDE, TASKS, TagTable, scheme_tags, spans_from_ids
from zhseq.text.vocab import SPECIALS, Vocab
from zhseq.training.loop import Evaluation, TrainingConfig
from zhseq.training.state import PRODUCTS

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from zhseq.tagging.features import TaggerFeatures
    from zhseq.tagging.model import SequenceTagger

LISTS_HELP = "directory of name lists, one .txt file each; the names of a list share an embedding"

Vectors = dict[str, tuple[list[str], npt.NDArray[np.float32]]]


def build(
    texts: dict[str, EncodedTexts], recipe: TaggerRecipe, start: Start
) -> tuple[SequenceTagger, TaggerFeatures, dict[str, TagTable]]:
    """Create the model, its features and the tag tables of its heads for training texts.

    Args:
        texts: Training texts by head.
        recipe: Settings.
        start: Initial weights and word lists.
    """
    tables = {head: TagTable.build(head_tags(head, part)) for head, part in texts.items()}
    heads = {head: table.tags for head, table in tables.items()}
    if start.init is not None:
        return *_continue(start.init, heads, recipe, start.lists, start.units), tables
    vectors = load_vectors(start.vectors) if start.vectors is not None else {}
    own = read_word_list(start.words) if start.words is not None else {}
    features = choose_features(list(texts.values()), vectors, recipe.data, own)
    if start.lists is not None:
        features = _with_lists(features, start.lists)
    model = SequenceTagger(
        SequenceTaggerConfig(
            vocab_size=len(features.vocab),
            bigram_vocab_size=len(features.bigrams) + 1 if features.bigrams else 0,
            word_vocab_size=len(features.lexicon) + 1 if len(features.lexicon) else 0,
            heads=heads,
            **to_dict(recipe.model),
        )
    )
    if vectors:
        _start_from(model, features, vectors)
    return model, features, tables


def head_tags(head: str, texts: EncodedTexts) -> list[str]:
    """Return the tags of a head that occur in texts: BMES without O for words, BIOES with O for entities."""
    words = task_of(head) == "pos"
    scheme, middle = ("BMES", "M") if words else ("BIOES", "I")
    seen: set[str] = set()
    for size, label in {(min(span.end - span.start, 3), span.label) for spans in texts.spans for span in spans}:
        prefixes = {1: "S", 2: "BE", 3: f"B{middle}E"}[size]
        seen.update(prefix + f"-{label}" * bool(label) for prefix in prefixes)
    labels = {label for spans in texts.spans for label in {span.label for span in spans}}
    return [tag for tag in scheme_tags(labels, scheme, outside=not words) if tag in seen or tag == OUTSIDE]


def choose_features(
    parts: Sequence[EncodedTexts], vectors: Vectors, config: TaggerDataConfig, own: Mapping[str, float]
) -> TaggerFeatures:
    """Choose the vocabularies: characters, bigrams and words of the texts first, then those with pretrained vectors."""
    joined = [from_codepoints(part.points) for part in parts if len(part.points)]
    seen = Vocab.build(joined, config.max_vocab)
    extra = [char for char in vectors.get("char", ([], None))[0] if len(char) == 1 and char not in seen]
    vocab = Vocab([*seen.symbols, *extra[: config.max_vocab - len(seen)]])
    pieces = [piece for part in parts for piece in np.split(part.points, part.offsets[1:-1])]
    frequent = most_frequent_bigrams(pieces, config.max_bigrams)
    known = [pair for pair in vectors.get("bigram", ([], None))[0] if len(pair) == 2][: config.max_bigrams]
    # Half of the table for the bigrams of the training texts, the rest for bigrams with pretrained vectors.
    bigrams = list(dict.fromkeys([*frequent[: config.max_bigrams // 2], *known, *frequent]))[: config.max_bigrams]
    words, frequencies = choose_words(
        jieba_frequencies(), config.max_words, MAX_WORD_LENGTH, own=own, known=vectors.get("word", ([], None))[0]
    )
    return TaggerFeatures(vocab, bigrams, Lexicon(words, frequencies, MAX_WORD_LENGTH))


def _start_from(model: SequenceTagger, features: TaggerFeatures, vectors: Vectors) -> None:
    """Copy pretrained vectors to the embedding tables; units without a vector keep their random initialisation."""
    embedding = model.embedding
    for unit, table, symbols, first in (
        ("char", embedding.characters, features.vocab.symbols[len(SPECIALS) :], len(SPECIALS)),
        ("bigram", embedding.bigrams, features.bigrams, 1),
        ("word", embedding.words, features.lexicon.words, 1),
    ):
        if table is None or unit not in vectors:
            continue
        names, values = vectors[unit]
        row_of = {name: row for row, name in enumerate(names)}
        pairs = [(first + index, row_of[name]) for index, name in enumerate(symbols) if name in row_of]
        reduced = _reduce(values, table.weight.shape[1])
        rows, chosen = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        with torch.no_grad():
            table.weight[torch.from_numpy(rows.copy())] = torch.from_numpy(reduced[chosen])


def _reduce(values: npt.NDArray[np.float32], dim: int) -> npt.NDArray[np.float32]:
    """Project vectors, (rows, columns), to their `dim` principal components (or pad with zeros), with mean norm 1."""
    if values.shape[1] < dim:
        return np.pad(values, ((0, 0), (0, dim - values.shape[1])))
    if values.shape[1] > dim:
        _, directions = np.linalg.eigh(values.T @ values)
        values = values @ directions[:, ::-1][:, :dim]
    return np.asarray(values / np.linalg.norm(values, axis=1).mean(), dtype=np.float32)


def _with_lists(features: TaggerFeatures, directory: Path) -> TaggerFeatures:
    """Return features with the word lists of a directory instead of the previous ones."""
    lexicon = features.lexicon
    lists = read_word_lists(directory, lexicon.words, lexicon.max_length)
    counts = ", ".join(f"{name} {sum(map(len, own.values())):,}" for name, own in lists.items())
    print(f"word lists: {counts}", file=sys.stderr)
    lexicon = Lexicon(lexicon.words, lexicon.frequencies.tolist(), lexicon.max_length, lists)
    return TaggerFeatures(features.vocab, features.bigrams, lexicon)


def _continue(
    name: str, heads: dict[str, tuple[str, ...]], recipe: TaggerRecipe, lists: Path | None, units: int
) -> tuple[SequenceTagger, TaggerFeatures]:
    """Load a tagger for further training with new heads; weights of tags that exist in both are kept.

    The sizes of the tagger are kept, except for the units of its LSTM if `units` is given; only the dropout rates of
    the recipe's model are used. Word lists replace those of the tagger; embeddings of lists with the same name are
    kept.

    Raises:
        ConfigError: `units` is less than the number of units of the tagger.
    """
    from zhseq.checkpoint import resolve
    from zhseq.tagging.model import load_parts, widened

    old, features = load_parts(resolve(name))
    before = features
    if units:
        if units < old.config.hidden_size:
            raise ConfigError(
                "cannot_narrow",
                "the LSTM of {name} has {has} units per direction, which cannot become {units}: give as many or more",
                name=name,
                has=old.config.hidden_size,
                units=units,
            )
        old = widened(old, units)
    if lists is not None:
        features = _with_lists(features, lists)
    rates = {rate: getattr(recipe.model, rate) for rate in ("unknown_rate", "input_dropout", "output_dropout")}
    rows = len(features.lexicon) + 1 if len(features.lexicon) else 0
    model = SequenceTagger(dataclasses.replace(old.config, heads=heads, word_vocab_size=rows, **rates))
    state = {key: value for key, value in old.state_dict().items() if not key.startswith(("projections.", "crfs."))}
    if (table := state.get("embedding.words.weight")) is not None:
        state["embedding.words.weight"] = _rows_of(table, before.lexicon, features.lexicon)
    model.load_state_dict(state, strict=False)  # all except the heads
    for head, tags in heads.items():
        known = old.config.heads.get(head, ())
        pairs = [(new, known.index(tag)) for new, tag in enumerate(tags) if tag in known]
        if pairs:
            _copy_head(model, old, head, torch.tensor(pairs))
    return model, features


def _rows_of(table: torch.Tensor, before: Lexicon, after: Lexicon) -> torch.Tensor:
    """Return the word embeddings for new lists: those of lists with the same name, zero for others."""
    first, known = 1 + len(before.words), list(before.lists)
    moved = torch.zeros(1 + len(after), table.shape[1])
    moved[:first] = table[:first]
    for row, name in enumerate(after.lists, start=first):
        if name in known:
            moved[row] = table[first + known.index(name)]
    return moved


def _copy_head(model: SequenceTagger, old: SequenceTagger, head: str, pairs: torch.Tensor) -> None:
    """Copy the rows of the tags that both models have, given as pairs of ids (new, old)."""
    new_ids, old_ids = pairs.T
    target, source = model.projections[head], old.projections[head]
    assert isinstance(target, nn.Linear)
    assert isinstance(source, nn.Linear)
    with torch.no_grad():
        target.weight[new_ids] = source.weight[old_ids]
        target.bias[new_ids] = source.bias[old_ids]
        crf, old_crf = model.crf(head), old.crf(head)
        crf.transitions[new_ids[:, None], new_ids] = old_crf.transitions[old_ids[:, None], old_ids]
        crf.start_transitions[new_ids] = old_crf.start_transitions[old_ids]
        crf.end_transitions[new_ids] = old_crf.end_transitions[old_ids]


@torch.no_grad()
def span_scores(
    model: SequenceTagger, features: TaggerFeatures, head: str, texts: EncodedTexts, precision: str
) -> dict[str, float]:
    """Return the F1 of the spans of a head as `HEAD_f1`, and for words also the F1 without labels as `words_f1`."""
    table = TagTable.build(model.config.heads[head])
    index = {label: number for number, label in enumerate(table.labels)}
    found: list[npt.NDArray[np.int64]] = []
    gold: list[npt.NDArray[np.int64]] = []
    device = next(model.parameters()).device
    for rows in length_buckets(texts.lengths, 8192, seed=(0,)):
        points, lengths = gather_ragged(texts.points, texts.offsets, rows)
        batch = features.assemble(points.astype(np.uint32), lengths).to(device)
        with autocast(device, precision):
            emissions = model.emissions(batch, (head,))[head]
        paths = model.crf(head).decode(emissions, batch.mask).cpu().numpy()
        for row, length, path in zip(rows.tolist(), lengths.tolist(), paths, strict=True):
            base = int(texts.offsets[row])
            starts, ends, labels = spans_from_ids(path[:length], table)
            found.append(np.stack([starts + base, ends + base, labels], axis=1))
            wanted = [(s.start + base, s.end + base, index.setdefault(s.label, len(index))) for s in texts.spans[row]]
            gold.append(np.array(wanted, dtype=np.int64).reshape(-1, 3))
    predicted, reference = np.concatenate(found), np.concatenate(gold)
    details = {f"{head}_f1": Score.of(predicted, reference).f1}
    if task_of(head) == "pos":
        details["words_f1"] = Score.of(predicted[:, :2], reference[:, :2]).f1
    return details


@dataclass(frozen=True)
class TaggerRecipe:
    """Settings of a training of the tagger; the defaults are those of the shipped tagger."""

    data: TaggerDataConfig = field(default_factory=TaggerDataConfig)
    model: TaggerModelConfig = field(default_factory=TaggerModelConfig)
    training: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(
            epochs=4,
            learning_rate=1.5e-3,
            warmup_steps=300,
            evaluate_every=1000,
            weight_decay=0.02,
            ema_decay=0.999,
        )
    )


@dataclass(frozen=True)
class Named:
    """A named recipe.

    Attributes:
        sources: Training and dev texts, see `Sources`.
        settings: Settings that differ from the defaults, as `key=value`.
        transfer: Whether to start from the shipped tagger by default, which improves small corpora most. `pos-ud` does
            not, so that all its training data is openly licensed.
    """

    sources: Sources
    settings: tuple[str, ...] = ()
    transfer: bool = False


_NEW = ("training.epochs=8", "training.learning_rate=2e-3", "training.ema_decay=0")  # from vectors or random weights


def _small(epochs: int, size: int = 1024) -> tuple[str, ...]:
    """Return settings for corpora of less than a million characters: small batches and high dropout."""
    training = (*_NEW[1:], f"training.epochs={epochs}", "training.warmup_steps=100", "training.evaluate_every=0")
    return (f"data.tokens_per_batch={size}", *training, "model.input_dropout=0.5", "model.output_dropout=0.5")


_GENTLY = (*_small(10), "training.learning_rate=1e-3")  # from a trained encoder, which overfits easily
_MODERN = (
    Source("modern_text", "modern_text:dev", weight=3),
    Source("modern_labels", None, weight=1.6),
    Source("modern_written", None, weight=2),
)
RECIPES = {
    "default": Named(
        {
            "pos": (Source("pfr199801", weight=1.2), *_MODERN),
            "ner": (Source("msra_ner", weight=1.2), *_MODERN, Source("uner_gsdsimp", "uner_gsdsimp:dev", weight=1.5)),
            "ner-cluener": (Source("cluener2020", None),),
            "pos-cnc": (Source("cnc_words", None, weight=0.3),),
        },
        transfer=True,
    ),
    "pos-pku": Named({"pos": (Source("pfr199801"),)}, _NEW),
    "pos-ud": Named({"pos": (Source("ud_chinese_gsd", "ud_chinese_gsd:dev"),)}, _small(20)),
    "ner-msra": Named({"ner": (Source("msra_ner"),)}, _NEW),
    "ner-uner": Named({"ner": (Source("uner_gsdsimp", "uner_gsdsimp:dev"),)}, _GENTLY, transfer=True),
    "ner-weibo": Named({"ner": (Source("weibo_ner", "weibo_ner:dev"),)}, _GENTLY, transfer=True),
    "ner-resume": Named(
        {"ner": (Source("resume_ner", "resume_ner:dev"),)}, (*_GENTLY, "training.epochs=20"), transfer=True
    ),
    "ner-cluener": Named({"ner": (Source("cluener2020", "cluener2020:dev"),)}, _GENTLY, transfer=True),
    "ner-classical": Named({"ner": (Source("cclue_ner", "cclue_ner:dev"),)}, _GENTLY, transfer=True),
}


def add_parser(commands: _SubParsersAction[SettingsParser]) -> None:
    """Add `tagger` to the commands of `python -m zhseq.train`."""
    parser = commands.add_parser("tagger", help="train a tagger: words, part-of-speech tags, named entities")
    parser.add_argument("--recipe", metavar="NAME|FILE.json", help=f"corpora and settings: {', '.join(RECIPES)}")
    parser.add_argument("--task", choices=(*TASKS, "both"), help="labels to learn: words (pos), entities (ner) or both")
    parser.add_argument("--train", metavar="FILE|CORPUS", help="training texts, instead of a recipe")
    parser.add_argument("--dev", metavar="FILE|CORPUS", default="", help="dev texts (default: a share of --train)")
    parser.add_argument("--format", default="auto", help="format of the files (default: detected)")
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--vectors", type=Path, metavar="DIR", help="embeddings to start from (made by train vectors)")
    start.add_argument("--init", metavar="CHECKPOINT", help="tagger to start from; new labels are allowed")
    start.add_argument("--scratch", action="store_true", help="start from random weights, not from the shipped tagger")
    parser.add_argument("--words", type=Path, metavar="FILE", help="words of your own, in addition to the dictionary")
    parser.add_argument("--lists", type=Path, metavar="DIR", help=LISTS_HELP)
    add_run_options(parser, "tagger", TaggerRecipe(), products=PRODUCTS)
    parser.set_defaults(run=main)


def main(options: argparse.Namespace) -> int:
    """Train a tagger with the options of the command line, and return the exit status."""
    named = _choose(options)
    recipe = override(override(TaggerRecipe(), named.settings), options.set)
    init = options.init
    if named.transfer and not (init or options.vectors or options.words or options.scratch):
        init = own_tagger()
    start = Start(options.vectors, init, options.words, options.lists)
    result = train_tagger(
        recipe, named.sources, options.output, start=start, format=options.format, resume=options.resume
    )
    scores = ", ".join(f"{name} {value:.4f}" for name, value in result.details.items())
    print(f"best: {scores} on dev; model in {options.output / 'best'}")
    print(f"curves: {program('train')} plot {options.output}", file=sys.stderr)
    return 0


def _choose(options: argparse.Namespace) -> Named:
    """Return the recipe given on the command line, or a recipe for the texts given there."""
    if not options.train:
        if options.task or options.dev:
            raise ConfigError("unused_task", "<task> and <dev> require <train>; a <recipe> has its own texts")
        return find_recipe(options.recipe or "default")
    if not options.task:
        raise ConfigError("missing_task", "<train> requires <task> (pos, ner or both), the labels to learn")
    heads = TASKS if options.task == "both" else (options.task,)
    sources: Sources = dict.fromkeys(heads, (Source(options.train, options.dev),))
    if options.recipe:
        return dataclasses.replace(find_recipe(options.recipe), sources=sources)
    from zhseq.corpus.tagging import read_tagged

    corpus = read_tagged(options.train, format=options.format, task=heads[0])
    characters = sum(len(text.text) for text in corpus.texts)
    if characters >= _LARGE:
        return Named(sources, (), transfer=True)
    epochs = min(40, max(10, _SEEN // max(1, characters)))
    return Named(sources, _small(epochs, min(1024, max(128, characters // 20))), transfer=True)


def find_recipe(name: str) -> Named:
    """Return a recipe by name, or read one from a JSON file with the fields of `Named`.

    Example: `{"sources": {"ner": [{"train": "mine.jsonl", "weight": 5}, {"train": "msra_ner"}]}, "transfer": true}`.

    Raises:
        ConfigError: There is no such recipe, or the file is invalid.
    """
    if name in RECIPES:
        return RECIPES[name]
    path = Path(name)
    if path.suffix != ".json" or not path.is_file():
        raise ConfigError(
            "unknown_recipe",
            "there is no recipe '{name}'; choose one of {known}, or give a JSON file",
            name=name,
            known=", ".join(RECIPES),
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(
            "broken_recipe",
            "{path}: expected a recipe as JSON, but it cannot be read ({error})",
            path=path,
            error=error,
        ) from error
    heads = values.pop("sources", None) if isinstance(values, dict) else None
    if not isinstance(heads, dict) or not heads or not all(isinstance(own, list) and own for own in heads.values()):
        raise ConfigError(
            "recipe_without_sources",
            '{path}: expected "sources" with a list of corpora for each head; found none',
            path=path,
        )
    if unknown := [head for head in heads if task_of(head) not in TASKS]:
        raise ConfigError(
            "unknown_head",
            "{path}: expected heads named pos, ner, pos-NAME or ner-NAME, found '{head}'",
            path=path,
            head=unknown[0],
        )
    sources = {head: tuple(from_dict(Source, item, source=name) for item in own) for head, own in heads.items()}
    settings = from_dict(_Settings, values, source=name)
    return Named(sources, settings.settings, settings.transfer)


@dataclass(frozen=True)
class _Settings:
    """Fields of a recipe file other than the sources."""

    settings: tuple[str, ...] = ()
    transfer: bool = False


_LARGE = 1_000_000  # characters of a corpus from which the default settings are used
_SEEN = 3_000_000  # characters to read in all epochs together, for smaller corpora


def own_tagger() -> str | None:
    """Return the shipped tagger to start from, or None if this installation has none."""
    from zhseq.checkpoint import shipped

    try:
        directory = str(shipped("tagger"))
    except CheckpointError:
        print("this installation has no tagger to start from: starting from random weights", file=sys.stderr)
        return None
    print(f"starting from {directory} (use --scratch to start from random weights)", file=sys.stderr)
    return directory


@dataclass(frozen=True)
class Start:
    """Initial weights and vocabularies of a training.

    Attributes:
        vectors: Directory of pretrained vectors.
        init: Checkpoint to start from; with neither `vectors` nor `init`, weights are random.
        words: File of additional words for the lexicon.
        lists: Directory of word lists; the words of a list share one embedding.
        units: Number of LSTM units per direction to which the checkpoint is widened; 0: unchanged.
    """

    vectors: Path | None = None
    init: str | None = None
    words: Path | None = None
    lists: Path | None = None
    units: int = 0


def train_tagger(
    recipe: TaggerRecipe,
    sources: Sources,
    directory: Path,
    *,
    start: Start | None = None,
    format: str = "auto",
    resume: bool = False,
) -> Evaluation:
    """Train a tagger and save the best checkpoint in `directory`/best.

    Args:
        recipe: Settings.
        sources: Training and dev texts, by head.
        directory: Output directory.
        start: Initial weights; by default random.
        format: Format of the files.
        resume: Whether to resume the run in `directory`.

    Raises:
        CorpusError: A corpus is missing, invalid, or has no annotation for its head.
    """
    import torch

    from zhseq.recipes.tagged_texts import TaggerBatches
    from zhseq.tagging.model import save
    from zhseq.training import train

    parts = read_sources(sources, recipe.data, format)
    torch.manual_seed(recipe.training.seed)
    training = {head: concatenate([part.train for part in own]) for head, own in parts.items()}
    model, features, tables = build(training, recipe, start or Start())
    tagged = {head: texts.with_tags(tables[head]) for head, texts in training.items()}
    weights = {
        head: np.concatenate([np.full(len(part.train), part.weight) for part in own]) for head, own in parts.items()
    }

    def batches(epoch: int) -> TaggerBatches:
        size, seed = recipe.data.tokens_per_batch, (recipe.training.seed, epoch)
        return TaggerBatches(tagged, features, size, drop_mark=recipe.data.drop_mark, seed=seed, weights=weights)

    def save_best(best: SequenceTagger, evaluation: Evaluation) -> None:
        record = {"recipe": to_dict(recipe), "sources": to_json(sources), "evaluation": evaluation.details}
        save(directory / "best", with_heads(best, [head for head in sources if head in TASKS]), features, record)
        write_card(directory / "best", recipe, describe(sources))

    evaluate = evaluator(parts, features, recipe)
    return train(model, batches, evaluate, save_best, recipe.training, directory=directory, resume=resume)


def with_heads(model: SequenceTagger, heads: Sequence[str]) -> SequenceTagger:
    """Return a tagger with a subset of the heads of `model`, and copies of its weights."""
    if len(heads) == len(model.config.heads):
        return model
    part = SequenceTagger(dataclasses.replace(model.config, heads={head: model.config.heads[head] for head in heads}))
    state = model.state_dict()
    part.load_state_dict({name: state[name] for name in part.state_dict()})
    return part


def evaluator(
    parts: dict[str, list[Part]], features: TaggerFeatures, recipe: TaggerRecipe
) -> Callable[[SequenceTagger], Evaluation]:
    """Return a function that evaluates a model: F1 on the dev texts of each head and source; the score is their mean.

    Measures are `pos_f1`, `words_f1` and `ner_f1`; if a head has several dev sets, `NAME:pos_f1` and so on.
    """

    def evaluate(model: SequenceTagger) -> Evaluation:
        details: dict[str, float] = {}
        scores = []
        for head, own in parts.items():
            evaluated = [(part.name, part.dev) for part in own if part.dev is not None]
            for name, dev in evaluated:
                found = span_scores(model, features, head, dev, recipe.training.precision)
                scores.append(found[f"{head}_f1"])
                details.update({f"{name}:{key}" if len(evaluated) > 1 else key: value for key, value in found.items()})
        return Evaluation(sum(scores) / len(scores), details)

    return evaluate
