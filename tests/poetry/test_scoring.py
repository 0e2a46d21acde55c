import math

import numpy as np
import pytest

from zhseq.errors import InputError
from zhseq.poetry.forms import UNKNOWN_BITS, Controls, encode_prefix
from zhseq.poetry.reading import read_record
from zhseq.text.vocab import LINE

LINES = ["春夏秋冬风", "花雪月山水", "云雨江河天", "地日夜人心"]


def by_hand(poet, lines, form):
    """Walk through a poem symbol by symbol and add up what each costs."""
    vocab, state = poet.vocab, None
    pending = np.array([encode_prefix(vocab, Controls(form))])
    nats = 0.0
    symbols = [symbol for line in lines for symbol in [*line, LINE]]
    symbols[-1] = "<eos>"
    for symbol in symbols:
        logits, state = poet.network.step(pending, state)
        nats += float(np.log(np.exp(logits[0].astype(float)).sum()) - logits[0, vocab.id(symbol)])
        pending = np.array([[vocab.id(symbol)]])
    return nats / math.log(2)


def test_bits_count_every_symbol_that_must_be_produced(tiny_poet):
    (score,) = tiny_poet.score([LINES], ["五绝"])
    assert score.bits == pytest.approx(by_hand(tiny_poet, LINES, "五绝"), rel=1e-4)
    assert score.han == 20
    assert score.bits_per_han == score.bits / 20


def test_a_character_that_the_vocabulary_lacks_costs_its_spelling(tiny_poet):
    lines = [LINES[0].replace("春", "龘"), *LINES[1:]]
    (score,) = tiny_poet.score([lines], [""])
    assert score.bits == pytest.approx(by_hand(tiny_poet, lines, "") + UNKNOWN_BITS, rel=1e-4)


def test_scores_do_not_depend_on_the_company(tiny_poet):
    poems = [LINES, LINES[:2], [line + "酒诗" for line in LINES] * 2]
    together = tiny_poet.score(poems, ["五绝", "", "七律"])
    alone = [tiny_poet.score([poem], [form])[0] for poem, form in zip(poems, ["五绝", "", "七律"], strict=True)]
    assert [score.bits for score in together] == pytest.approx([score.bits for score in alone], rel=1e-4)


@pytest.mark.parametrize(
    ("record", "form"),
    [
        ("春夏秋冬风，花雪月山水。云雨江河天，地日夜人心。", "五绝"),
        ('{"content": "春夏秋冬风|花雪月山水|云雨江河天|地日夜人心", "form": "五绝"}', "五绝"),
        ('{"content": "春夏秋冬風|花雪月山水|雲雨江河天|地日夜人心"}', "五绝"),
        ('{"content": "春夏秋冬风|花雪月山水|云雨江河天|地日夜人心", "form": "杂言"}', "杂言"),
    ],
)
def test_poems_are_read_as_text_or_json(record, form):
    assert read_record(record, "x") == (LINES, form)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ("{", "not valid JSON"),
        ('{"form": "五绝"}', "has no 'content'"),
        ('{"content": 3}', "must be strings"),
        ("hello", "no Chinese character"),
        ('{"content": ""}', "no Chinese character"),
    ],
)
def test_a_broken_record_is_named_with_its_place(record, reason):
    with pytest.raises(InputError, match=f"poems.txt, line 7.*{reason}"):
        read_record(record, "poems.txt, line 7")
