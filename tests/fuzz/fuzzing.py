"""How inputs are made, and how many."""

from __future__ import annotations

import bz2
import copy
import gzip
import json
import lzma
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


class Content(bytes):
    """Bytes of a file, of which a failure shows only the beginning."""

    def __repr__(self) -> str:
        return bytes.__repr__(self) if len(self) < 2000 else f"{bytes(self[:2000])!r}... ({len(self)} bytes)"


@st.composite
def mutated(draw: st.DrawFn, examples: tuple[bytes, ...]) -> bytes:
    """A valid file with a few bytes cut out, put in, changed or repeated; or any bytes at all."""
    data = bytearray(draw(st.sampled_from(examples)))
    if draw(st.integers(0, 9)) == 0:
        return Content(draw(st.binary(max_size=200)))
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
    return Content(draw(st.sampled_from(_DAMAGES))(bytes(data)))


def _same(data: bytes) -> bytes:
    return data


def _recoded(encoding: str) -> Callable[[bytes], bytes]:
    return lambda data: data.decode(errors="replace").encode(encoding, "replace")


def _cut(pack: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    return lambda data: pack(data)[:-6]


_DAMAGES: tuple[Callable[[bytes], bytes], ...] = (
    *[_same] * 20,
    *map(_recoded, ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "big5", "gb18030", "shift_jis", "euc-kr")),
    *(
        lambda data, end=end: data.replace(b"\n", end)
        for end in (b"\r", b"\r\n", b"\r\r\n", b"\xc2\x85", b"\xe2\x80\xa8")
    ),
    lambda data: data + _recoded("gb18030")(data),
    lambda data: _recoded("big5")(data) + data,
    lambda data: b"\xef\xbb\xbf" * 2 + data.replace(b"\n", b"\n\xef\xbb\xbf"),
    lambda data: data.replace(b" ", b"\0"),
    lambda data: data + bytes(500),
    lambda data: data.replace(b"\n", b"") * 5000,
    lambda data: b"[" * 100_000 + data + b"]" * 100_000,
    lambda data: data.replace(b":", b":" + b"[" * 50_000, 1),
    lambda data: b" ".join(reversed(data.split(b" "))),
    lambda data: b"\n".join(b" ".join(reversed(line.split())) for line in data.split(b"\n")),
    lambda data: b"\n".join(b"\t".join(reversed(line.split())) for line in data.split(b"\n")),
    *(pack for whole in (gzip.compress, lzma.compress, bz2.compress) for pack in (whole, _cut(whole))),
)
"""What becomes of whole files: other encodings, line ends, marks, packings cut off, columns turned, one line of all."""

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
    return Content(json.dumps(root[0]).encode())


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
