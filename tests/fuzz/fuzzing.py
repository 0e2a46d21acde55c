"""How inputs are made, and how many."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from zhseq.errors import ZhseqError

_VARIABLE = "FUZZ_SECONDS"
_RATE = 8  # examples for a second of it: a quiet processor makes more of most kinds

T = TypeVar("T")


def fuzzed(share: float = 1.0) -> settings:
    """How many examples to try, as a share of the usual number for tests that are slow."""
    return settings(
        max_examples=max(5, int(share * _RATE * float(os.environ.get(_VARIABLE, "5")))),
        deadline=None,
        derandomize=_VARIABLE not in os.environ,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def any_text(max_size: int = 120) -> st.SearchStrategy[str]:
    """Any characters, the troublesome ones often: lone surrogates, controls, blanks, joiners, marks, rare Han."""
    odd = "\x00\r\n\t\x0b\x1c\x85\xa0\u200d\u2028\u3000\ufeff\ufffd\ud800\udc00e\u0301👩‍🚀𠮷〇龘"
    usual = "中国人民在北京大学学习，。！？[]()/_#\\\"'{}<>Ab1．ａ"
    return st.text(st.one_of(st.sampled_from(usual), st.sampled_from(odd), st.characters()), max_size=max_size)


@st.composite
def mutated(draw: st.DrawFn, examples: tuple[bytes, ...]) -> bytes:
    """A valid file with a few bytes cut out, put in, changed or repeated; or any bytes at all."""
    data = bytearray(draw(st.sampled_from(examples)))
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=200))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        stop = min(len(data), start + draw(st.integers(0, 12)))
        piece = draw(
            st.one_of(
                st.just(b""),
                st.just(bytes(data[start:stop]) * 2),
                st.binary(max_size=4),
                st.sampled_from(
                    [b"\n", b"\t", b" ", b"\x00", b"\xff", b"-1", b"[", b"}", b"/", b"1e999", "中".encode()]
                ),
            )
        )
        data[start:stop] = piece
    return bytes(data)


_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([10**9, -(10**9), 2**63, 1e308, -0.5]),
    st.text(max_size=3),
    st.sampled_from(["平", "cpu", "ner", "B-PER", "\ud800"]),
)
ANY_JSON = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)


@st.composite
def mutated_json(draw: st.DrawFn, value: Any) -> bytes:
    """A JSON file in which one or two values, however deep, are others, or are gone."""
    root = [copy.deepcopy(value)]
    for _ in range(draw(st.integers(1, 2))):
        holder: Any = root
        key: Any = 0
        while isinstance(holder[key], (dict, list)) and holder[key] and draw(st.integers(0, 4)):
            holder = holder[key]
            key = draw(st.sampled_from(sorted(holder) if isinstance(holder, dict) else range(len(holder))))
        if holder is not root and draw(st.integers(0, 3)) == 0:
            del holder[key]
        else:
            holder[key] = draw(ANY_JSON)
    return json.dumps(root[0]).encode()


def result_or_error(call: Callable[[], T], *kinds: type[ZhseqError]) -> T | None:
    """Call, and return the result, or None after an error of one of these kinds, which is one sentence on one line."""
    try:
        return call()
    except ZhseqError as raised:
        error = raised
    assert isinstance(error, kinds or ZhseqError), repr(error)
    assert str(error).strip(), "an error says what is wrong"
    assert "\n" not in str(error), repr(error)
    return None
