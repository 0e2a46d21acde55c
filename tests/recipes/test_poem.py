"""The parts of the recipe of the poem model: vocabulary, encoding, batches, dev set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import CHARACTERS
from zhseq.corpus import load_poems, select_split
from zhseq.errors import ConfigError, CorpusError
from zhseq.recipes import poem as recipe
from zhseq.recipes.poem import PoemBatches, PoemDataConfig, PoemRecipe, build_vocab, encode, select_dev
from zhseq.text.vocab import LINE, SPECIALS


def test_both_splits_must_hold_poems(corpora: Path, tmp_path: Path) -> None:
    training = select_split(load_poems(corpora), "train")
    with pytest.raises(CorpusError, match=rf"the corpus has {len(training)} training and 0 dev poems"):
        recipe.train_poem(PoemRecipe(), tmp_path / "run", poems=training)


def test_the_vocabulary_parts_what_is_written_from_what_is_asked(corpora: Path) -> None:
    poems = select_split(load_poems(corpora), "train")
    vocab, output_size = build_vocab(poems, PoemDataConfig(max_authors=2))
    assert vocab.symbols[:5] == (*SPECIALS, LINE)
    assert all(len(symbol) == 1 for symbol in vocab.symbols[5:output_size])
    assert set(CHARACTERS[:24]) <= set(vocab.symbols[5:output_size])
    asked = vocab.symbols[output_size:]
    assert {"<form:五绝>", "<form:七绝>", "<dynasty:唐>"} <= set(asked)
    authors = [symbol for symbol in asked if symbol.startswith("<author:")]
    assert len(authors) == 2
    assert set(authors) <= {"<author:甲生>", "<author:乙生>", "<author:丙生>"}
    small, size = build_vocab(poems, PoemDataConfig(vocab_size=12))
    assert size == 12
    assert len(small) > 12


def test_every_poem_comes_once_an_epoch_with_parts_of_its_prefix(corpora: Path) -> None:
    poems = select_split(load_poems(corpora), "train")
    config = PoemDataConfig(tokens_per_batch=700, drop_form=0.25, drop_title=0.5, drop_author=1.0)
    vocab, _ = build_vocab(poems, config)
    encoded = encode(poems, vocab, config.max_symbols)
    epochs = [PoemBatches(encoded, config, vocab.bos_id, 1, epoch) for epoch in (0, 0, 1)]
    first = [batch.ids for batch in epochs[0]]
    assert all(torch.equal(one, again) for one, again in zip(first, (batch.ids for batch in epochs[1]), strict=True))
    assert any(a.shape != b.shape or not a.equal(b) for a, b in zip(first, (b.ids for b in epochs[2]), strict=False))
    for batches in epochs[1:]:
        rows = np.sort(np.concatenate(batches.buckets))
        assert np.array_equal(rows, np.arange(len(poems)))
        assert all(batch.ids.numel() <= 700 for batch in batches)
        assert sum(batch.weight for batch in batches) == len(encoded.symbols)
        forms = (batches.controls[:, 0] > 0).mean()
        titles = (batches.title_lengths > 0).mean()
        assert forms == pytest.approx(0.75, abs=0.08)
        assert titles == pytest.approx(0.5, abs=0.08)
        assert not batches.controls[:, 2].any()


def test_long_poems_are_cut_after_a_line_and_have_no_end(corpora: Path) -> None:
    poems = select_split(load_poems(corpora), "train").filter(lambda row: row["form"] in ("五绝", "七绝"))
    vocab, _ = build_vocab(poems, PoemDataConfig())
    encoded = encode(poems, vocab, 14)
    lengths = np.diff(encoded.symbol_offsets)
    assert set(lengths.tolist()) == {11, 7}  # two lines of five with a separator, one line of seven
    assert vocab.eos_id not in encoded.symbols


def test_dev_poems_are_of_the_four_forms_and_always_the_same(corpora: Path) -> None:
    poems = load_poems(corpora)
    chosen = select_dev(poems, 20)
    assert list(chosen["id"]) == list(select_dev(poems.select(range(len(poems) - 1, -1, -1)), 20)["id"])
    assert len(chosen) == 20
    assert set(chosen["form"]) <= {"五绝", "七绝"}


@pytest.mark.parametrize("name", ["drop_form", "drop_dynasty", "drop_author", "drop_title"])
@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_shares_lie_between_none_and_all(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"data.{name} must lie in 0 to 1"):
        PoemDataConfig(**{name: value})
