"""How a tagger begins: features chosen from texts and vectors, weights from vectors or from another tagger."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from zhseq.batching import gather_ragged, length_buckets
from zhseq.config import to_dict
from zhseq.features import MAX_WORD_LENGTH, TaggerFeatures, most_frequent_bigrams
from zhseq.models.sequence_tagger import SequenceTagger, SequenceTaggerConfig
from zhseq.recipes.tagged_texts import EncodedTexts
from zhseq.recipes.vectors import load_vectors
from zhseq.text.lexicon import Lexicon, choose_words, jieba_frequencies, read_word_list
from zhseq.text.normalize import from_codepoints
from zhseq.text.tags import OUTSIDE, TagTable, scheme_tags, spans_from_ids
from zhseq.text.vocab import SPECIALS, Vocab
from zhseq.training.device import autocast

if TYPE_CHECKING:
    from zhseq.recipes.tagger import Start, TaggerDataConfig, TaggerRecipe

Vectors = dict[str, tuple[list[str], npt.NDArray[np.float32]]]


def build(
    texts: dict[str, EncodedTexts], recipe: TaggerRecipe, start: Start
) -> tuple[SequenceTagger, TaggerFeatures, dict[str, TagTable]]:
    """Make features, tags and the model for training texts, by head."""
    tables = {head: TagTable.build(head_tags(head, part)) for head, part in texts.items()}
    heads = {head: table.tags for head, table in tables.items()}
    if start.init is not None:
        return *_continue(start.init, heads, recipe), tables
    vectors = load_vectors(start.vectors) if start.vectors is not None else {}
    own = read_word_list(start.words) if start.words is not None else {}
    features = choose_features(list(texts.values()), vectors, recipe.data, own)
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
    """Return the tags of a head that occur: BMES without O for words, BIOES with O for entities."""
    scheme = "BMES" if head == "pos" else "BIOES"
    middle = "M" if head == "pos" else "I"
    seen: set[str] = set()
    for size, label in {(min(span.end - span.start, 3), span.label) for spans in texts.spans for span in spans}:
        places = {1: "S", 2: "BE", 3: f"B{middle}E"}[size]
        seen.update(place + f"-{label}" * bool(label) for place in places)
    labels = {label for spans in texts.spans for label in {span.label for span in spans}}
    return [tag for tag in scheme_tags(labels, scheme, outside=head != "pos") if tag in seen or tag == OUTSIDE]


def choose_features(
    parts: Sequence[EncodedTexts], vectors: Vectors, config: TaggerDataConfig, own: Mapping[str, float]
) -> TaggerFeatures:
    """Choose characters, bigrams and words: those of the texts first, then those that have vectors."""
    joined = [from_codepoints(part.points) for part in parts if len(part.points)]
    seen = Vocab.build(joined, config.max_vocab)
    extra = [char for char in vectors.get("char", ([], None))[0] if len(char) == 1 and char not in seen]
    vocab = Vocab([*seen.symbols, *extra[: config.max_vocab - len(seen)]])
    pieces = [piece for part in parts for piece in np.split(part.points, part.offsets[1:-1])]
    frequent = most_frequent_bigrams(pieces, config.max_bigrams)
    known = [pair for pair in vectors.get("bigram", ([], None))[0] if len(pair) == 2][: config.max_bigrams]
    # Half of the places for the pairs of the training texts, the others for those of the language at large.
    bigrams = list(dict.fromkeys([*frequent[: config.max_bigrams // 2], *known, *frequent]))[: config.max_bigrams]
    words, frequencies = choose_words(
        jieba_frequencies(), config.max_words, MAX_WORD_LENGTH, own=own, known=vectors.get("word", ([], None))[0]
    )
    return TaggerFeatures(vocab, bigrams, Lexicon(words, frequencies, MAX_WORD_LENGTH))


def _start_from(model: SequenceTagger, features: TaggerFeatures, vectors: Vectors) -> None:
    """Write vectors into the embedding tables; units without a vector keep their random start."""
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
    """Turn vectors to their `dim` principal directions (or pad with zeros), with a mean length of 1."""
    if values.shape[1] < dim:
        return np.pad(values, ((0, 0), (0, dim - values.shape[1])))
    if values.shape[1] > dim:
        _, directions = np.linalg.eigh(values.T @ values)
        values = values @ directions[:, ::-1][:, :dim]
    return np.asarray(values / np.linalg.norm(values, axis=1).mean(), dtype=np.float32)


def _continue(
    name: str, heads: dict[str, tuple[str, ...]], recipe: TaggerRecipe
) -> tuple[SequenceTagger, TaggerFeatures]:
    """Load a tagger and give it the heads that are wanted; what its own heads know of the same tags is kept.

    Its shape stays as it is; of the recipe's model only the rates of dropout count.
    """
    from zhseq.checkpoint import resolve
    from zhseq.tagger import load_parts

    old, features = load_parts(resolve(name))
    rates = {rate: getattr(recipe.model, rate) for rate in ("unknown_rate", "input_dropout", "output_dropout")}
    model = SequenceTagger(dataclasses.replace(old.config, heads=heads, **rates))
    state = {key: value for key, value in old.state_dict().items() if not key.startswith(("projections.", "crfs."))}
    model.load_state_dict(state, strict=False)  # all but the heads
    for head, tags in heads.items():
        known = old.config.heads.get(head, ())
        pairs = [(new, known.index(tag)) for new, tag in enumerate(tags) if tag in known]
        if pairs:
            _copy_head(model, old, head, torch.tensor(pairs))
    return model, features


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
    """Return F1 of the spans of a head, and for words also without their labels, as `HEAD_f1` and `words_f1`."""
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
    details = {f"{head}_f1": _f1(predicted, reference)}
    if head == "pos":
        details["words_f1"] = _f1(predicted[:, :2], reference[:, :2])
    return details


def _f1(predicted: npt.NDArray[np.int64], gold: npt.NDArray[np.int64]) -> float:
    both = np.concatenate([predicted, gold])
    common = len(both) - len(np.unique(both, axis=0))
    return 2 * common / max(1, len(both))
