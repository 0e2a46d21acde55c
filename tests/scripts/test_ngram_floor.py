from __future__ import annotations

import importlib.util
import json
import math
import sys
from collections import Counter
from itertools import product
from pathlib import Path
from types import ModuleType

import datasets
import numpy as np
import pytest

from zhseq.errors import ConfigError
from zhseq.poetry.forms import UNKNOWN_BITS
from zhseq.text.vocab import Vocab

SCRIPT = Path(__file__).parents[2] / "scripts" / "ngram_floor.py"
VOCAB_SIZE = 6
BEGIN = -1


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ngram_floor", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


script = load_script()


def random_texts(texts: int, seed: int) -> list[list[int]]:
    """Texts of 1 to 8 symbols, skewed and dependent on each other; the last symbol of the vocabulary never occurs."""
    rng = np.random.default_rng(seed)
    result = []
    for length in rng.integers(1, 9, texts):
        text = [0]
        for _ in range(length):
            text.append(int((text[-1] + rng.geometric(0.6)) % (VOCAB_SIZE - 1)))
        result.append(text[1:])
    return result


def flat(texts: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    offsets = np.cumsum([0] + [len(text) for text in texts])
    return np.array([symbol for text in texts for symbol in text], dtype=np.int64), offsets


class NaiveKneserNey:
    """The definition, with dictionaries: Chen & Goodman's equations, one n-gram at a time."""

    def __init__(self, order: int, texts: list[list[int]]) -> None:
        self.order = order
        raw: Counter[tuple[int, ...]] = Counter()
        for text in texts:
            padded = [BEGIN, *text]
            for end in range(2, len(padded) + 1):
                for length in range(1, min(order + 1, end) + 1):
                    raw[tuple(padded[end - length : end])] += 1
        self.counts: Counter[tuple[int, ...]] = Counter()
        for ngram, count in raw.items():
            if len(ngram) == order or (len(ngram) < order and ngram[0] == BEGIN):
                self.counts[ngram] = count
            if 1 < len(ngram) <= order:
                self.counts[ngram[1:]] += 1
        self.discounts = {length: self.discount(length) for length in range(1, order + 1)}

    def discount(self, length: int) -> list[float]:
        seen = Counter(count for ngram, count in self.counts.items() if len(ngram) == length)
        n1, n2, n3, n4 = (seen[count] for count in range(1, 5))
        if min(n1, n2, n3, n4) == 0:
            return [0.0, 0.5, 1.0, 1.5]
        y = n1 / (n1 + 2 * n2)
        estimates = [0.0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
        return estimates if min(estimates) >= 0 else [0.0, 0.5, 1.0, 1.5]

    def probability(self, symbol: int, context: tuple[int, ...]) -> float:
        lower = self.probability(symbol, context[1:]) if context else 1 / VOCAB_SIZE
        after = {ngram: count for ngram, count in self.counts.items() if ngram[:-1] == context}
        if not after:
            return lower
        discounts = self.discounts[len(context) + 1]
        off = sum(discounts[min(count, 3)] for count in after.values())
        own = after.get((*context, symbol), 0)
        return (own - discounts[min(own, 3)] + off * lower) / sum(after.values())

    def after_text(self, symbol: int, text: tuple[int, ...]) -> float:
        padded = (BEGIN, *text)
        return self.probability(symbol, padded[max(len(padded) - self.order + 1, 0) :] if self.order > 1 else ())


@pytest.mark.parametrize(("order", "texts"), [(1, 40), (2, 40), (3, 50), (4, 50), (4, 300), (5, 50)])
def test_equals_the_definition_and_sums_to_one(order: int, texts: int) -> None:
    training = random_texts(texts, seed=1)
    model = script.KneserNey(order, VOCAB_SIZE).fit(*flat(training))
    naive = NaiveKneserNey(order, training)
    for length in range(4):
        for context in product(range(VOCAB_SIZE), repeat=length):
            distribution = model.distribution(context)
            assert distribution.sum() == pytest.approx(1, abs=1e-9)
            expected = [naive.after_text(symbol, context) for symbol in range(VOCAB_SIZE)]
            np.testing.assert_allclose(distribution, expected, rtol=0, atol=1e-12)


def test_the_discounts_of_the_comparison_are_estimated() -> None:
    model = script.KneserNey(4, VOCAB_SIZE).fit(*flat(random_texts(50, seed=1)))
    usual = [0, *script.USUAL_DISCOUNTS]
    assert [level.discounts.tolist() == usual for level in model.levels] == [True, False, False, False]


def test_symbols_of_texts_cost_what_their_distributions_say() -> None:
    model = script.KneserNey(3, VOCAB_SIZE).fit(*flat(random_texts(50, seed=2)))
    texts = [*random_texts(20, seed=3), [VOCAB_SIZE - 1] * 5, [0]]
    expected = [
        math.log2(model.distribution(text[:place])[symbol]) for text in texts for place, symbol in enumerate(text)
    ]
    np.testing.assert_allclose(model.log2_probabilities(*flat(texts)), expected, rtol=0, atol=1e-10)


def test_discounts_worked_by_hand() -> None:
    # n1..n4 = 4, 2, 1, 1, so Y = 4 / 8; a fifth n-gram of a higher count plays no part.
    assert script.estimate_discounts(np.array([1, 2, 1, 3, 1, 4, 2, 1, 9])).tolist() == [0, 0.5, 1.25, 1]
    assert script.estimate_discounts(np.array([1, 1, 2, 3])).tolist() == [0, 0.5, 1, 1.5]


def test_texts_shorter_than_the_order() -> None:
    model = script.KneserNey(4, 3).fit(*flat([[0], [0], [1]]))
    distribution = model.distribution([])
    assert distribution.sum() == pytest.approx(1, abs=1e-9)
    assert distribution[0] > distribution[1] > distribution[2] > 0
    assert model.log2_probabilities(*flat([[0]]))[0] == pytest.approx(math.log2(distribution[0]))


def test_an_order_whose_codes_do_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="1 to 4, but is 5"):
        script.KneserNey(5, 8800)
    with pytest.raises(ConfigError, match="but is 0"):
        script.KneserNey(0, 8800)
    with pytest.raises(ValueError, match="at least one symbol"):
        script.KneserNey(2, 3).fit(*flat([[3]]))


def test_bits_of_poems(tiny_vocab: Vocab) -> None:
    training = [["春风", "秋月"], ["春花", "秋月"], ["山水"]]
    ids, offsets = script.encode_poems(tiny_vocab, training, script.NO_LIMIT)
    model = script.KneserNey(3, len(tiny_vocab)).fit(ids, offsets)
    floor = script.evaluate(model, tiny_vocab, [["春风", "A龘"]])
    line, end, unknown = tiny_vocab.id("<line>"), tiny_vocab.eos_id, tiny_vocab.unk_id
    text = [*tiny_vocab.encode("春风").tolist(), line, tiny_vocab.id("A"), unknown, end]
    free, ruled = [], []
    for place, symbol in enumerate(text):
        distribution = model.distribution(text[:place])
        free.append(-math.log2(distribution[symbol]))
        ruled.append(free[-1] + math.log2(1 - distribution[line] - distribution[end]))
    assert (floor.han, floor.symbols, floor.unknown) == (3, 6, 1)
    assert floor.bits_per_han == pytest.approx((sum(free) + UNKNOWN_BITS) / 3)
    assert floor.per_symbol == pytest.approx((sum(free) + UNKNOWN_BITS) / 6)
    assert floor.han_alone == pytest.approx((free[0] + free[1] + free[4] + UNKNOWN_BITS) / 3)
    assert floor.form_given == pytest.approx((sum(ruled[place] for place in (0, 1, 3, 4)) + UNKNOWN_BITS) / 3)


def test_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    poem = {"form": "五绝", "dynasty": "唐", "author": "王维", "lines": ["春风秋月夜", "山水来去人"] * 2}
    splits = ["train"] * 9 + ["dev"] * 3
    records = [{**poem, "split": split, "id": str(index)} for index, split in enumerate(splits)]
    monkeypatch.setattr(script, "load_poems", lambda: datasets.Dataset.from_list(records))
    assert script.main(["--order", "2", "--dev-poems", "2", "--limit", "4", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["poems"], report["han"], report["symbols"], report["training_symbols"]) == (2, 40, 48, 4 * 24)
    assert 0 < report["form_given"] < report["bits_per_han"] < math.log2(report["vocab_size"])
    assert script.main(["--order", "2", "--dev-poems", "2", "--limit", "4"]) == 0
    assert f"bits_per_han      {report['bits_per_han']:.3f}\n" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="--limit must be at least 1"):
        script.main(["--limit", "0"])
