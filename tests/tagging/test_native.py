"""The network in compiled loops: nearly the scores of PyTorch, the same by all instructions, each text by itself."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tagging.test_graph import TEXTS, scored, weights_of
from tests.tagging.tiny_tagger import CHARACTERS, NER, POS, tiny_features, tiny_model
from zhseq.device import LEVELS, NAMES, instructions
from zhseq.errors import ConfigError
from zhseq.tagging.features import TaggerFeatures
from zhseq.tagging.model import SequenceTagger, TorchNetwork
from zhseq.tagging.native import NativeNetwork
from zhseq.tagging.tagger import Tagger

pytestmark = pytest.mark.skipif(not instructions(), reason="the loops are not compiled")
THERE = LEVELS.index(instructions()) if instructions() else 0
MODEL, FEATURES = tiny_model(), tiny_features()
TORCH = TorchNetwork(MODEL, FEATURES)


def native(
    model: SequenceTagger = MODEL, features: TaggerFeatures = FEATURES, threads: int = 1, level: int | None = None
) -> NativeNetwork:
    return NativeNetwork(weights_of(model), features, model.config, threads, level)


def differences(ours: list[np.ndarray], theirs: list[np.ndarray]) -> float:
    return max(float(np.abs(one - other).max()) for one, other in zip(ours, theirs, strict=True))


NATIVE = native()


@given(st.lists(st.text(CHARACTERS + "龘𠀀 ", min_size=1, max_size=90), min_size=1, max_size=70))
@settings(max_examples=40, deadline=None)
def test_the_scores_are_close_to_those_of_torch(texts: list[str]) -> None:
    for head in ("pos", "ner"):
        assert differences(scored(NATIVE, texts, head), scored(TORCH, texts, head)) < 0.3


@given(st.lists(st.text(CHARACTERS, min_size=1, max_size=150), min_size=2, max_size=70), st.integers(0, 69))
@settings(max_examples=40, deadline=None)
def test_a_text_scores_the_same_whatever_is_read_beside_it(texts: list[str], number: int) -> None:
    number %= len(texts)
    (alone,) = scored(NATIVE, [texts[number]])
    assert np.abs(scored(NATIVE, texts)[number] - alone).max() == 0
    assert differences(scored(native(threads=3), texts), scored(NATIVE, texts)) == 0


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"num_layers": 3},
        {"channels": 0},
        {"width": 1},
        {"width": 5, "hidden_size": 70, "channels": 70, "embedding_dim": 90},
        {"embedding_dim": 3, "bigram_dim": 2, "word_dim": 1, "hidden_size": 1, "channels": 1},
    ],
    ids=str,
)
def test_all_instructions_give_the_same_for_models_of_every_shape(sizes: dict[str, int]) -> None:
    model = tiny_model({"pos": POS, "ner": NER, "pos-ud": ("S-X",)}, **sizes)
    texts = [*TEXTS * 10, "北京大学" * 60]
    for head in ("pos", "ner", "pos-ud"):
        plain = scored(native(model, level=0), texts, head)
        assert differences(plain, scored(TorchNetwork(model, FEATURES), texts, head)) < 0.5
        for level in range(1, THERE + 1):
            assert differences(scored(native(model, level=level), texts, head), plain) == 0


def test_products_of_the_greatest_numbers_do_not_saturate() -> None:
    model = tiny_model()
    with torch.no_grad():
        for layer in (model.lstm, model.cnn, model.projections):
            for values in layer.parameters():
                values.copy_(values.sign())
    plain = scored(native(model, level=0), TEXTS)
    for level in range(1, THERE + 1):
        assert differences(scored(native(model, level=level), TEXTS), plain) == 0


def test_a_model_may_read_characters_alone() -> None:
    features = TaggerFeatures(FEATURES.vocab, [], type(FEATURES.lexicon)([], [], 4))
    model = tiny_model({"ner": NER}, bigram_vocab_size=0, word_vocab_size=0)
    ours, theirs = scored(native(model, features), TEXTS, "ner"), scored(TorchNetwork(model, features), TEXTS, "ner")
    assert 0 < differences(ours, theirs) < 0.2


def test_tags_are_found_one_head_at_a_time_or_together() -> None:
    tagger = Tagger(NATIVE)
    for task, other in (("pos", "entities"), ("ner", "words")):
        for document in tagger.stream(TEXTS, tasks=[task]):
            assert getattr(document, other) == ()
    assert [document.text for document in tagger.stream(TEXTS)] == TEXTS


def test_a_copy_tags_alike() -> None:
    tagger = Tagger(NATIVE)
    assert list(copy.deepcopy(tagger).stream(TEXTS)) == list(tagger.stream(TEXTS))
    assert str(NATIVE) == f"native ({instructions()}) on cpu"


def test_quicker_instructions_can_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for level, name in enumerate(NAMES):
        monkeypatch.setenv("ZHSEQ_INSTRUCTIONS", name)
        assert instructions() == LEVELS[min(level, THERE)]
    monkeypatch.setenv("ZHSEQ_INSTRUCTIONS", "sse9")
    with pytest.raises(
        ConfigError, match="expected ZHSEQ_INSTRUCTIONS to be one of plain, avx2, vnni, amx, found 'sse9'"
    ):
        instructions()
