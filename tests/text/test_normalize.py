import hashlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zhseq.text.normalize import (
    _spelling,
    codepoints,
    from_codepoints,
    is_han,
    normalize,
    printed,
)

ANY_TEXT = st.text(st.characters(exclude_categories=()))  # lone surrogates and unassigned code points too
FOLD = "ee38681d4a168a822b06d6b4b017eaff751a3e43e981c66be46e3d72f493f69d"
EVERY_CODE_POINT = np.arange(0x110000, dtype=np.uint32)


@settings(deadline=None)
@given(ANY_TEXT)
def test_codepoints_round_trip(text: str) -> None:
    points = codepoints(text)
    assert points.dtype == np.uint32
    assert points.tolist() == [ord(character) for character in text]
    assert from_codepoints(points) == text


@settings(deadline=None)
@given(ANY_TEXT)
def test_normalize_keeps_length_and_is_idempotent(text: str) -> None:
    once = normalize(text)
    assert len(once) == len(text)
    assert normalize(once) == once


@settings(deadline=None)
@given(ANY_TEXT, ANY_TEXT)
def test_normalize_reads_each_character_alone(left: str, right: str) -> None:
    assert normalize(left + right) == normalize(left) + normalize(right)


def test_normalize_is_idempotent_on_every_code_point() -> None:
    once = normalize(from_codepoints(EVERY_CODE_POINT))
    assert normalize(once) == once


def test_only_these_blocks_are_changed() -> None:
    after = codepoints(normalize(from_codepoints(EVERY_CODE_POINT)))
    changed = np.flatnonzero(after != EVERY_CODE_POINT)
    assert 3000 < len(changed) < 20000
    assert changed.min() == 0xA0  # ASCII is its own normal form
    assert not ((changed >= 0xD800) & (changed < 0xE000)).any()  # nor has a surrogate another one
    assert not ((changed >= 0x1F000) & (changed < 0x20000)).any()  # nor an emoji


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ＡＢｃ１２３，！？：；（）", "ABc123,!?:;()"),
        ("山　水\u00a0月\u2003", "山 水 月 "),
        ("國風萬葉憂鬱頭髮髮頭", "国风万叶忧郁头发发头"),
        ("「春」『秋』﹁風﹂", "“春”‘秋’“风”"),
        ("\uf900\ufa0c\U0002f800", "岂兀丽"),  # compatibility ideographs, the first and last to simplified characters
        ("爲裏峯羣", "为里峰群"),
        ("abc 山水。、\n\t", "abc 山水。、\n\t"),
        ("", ""),
    ],
)
def test_normalize_examples(text: str, expected: str) -> None:
    assert normalize(text) == expected


def test_is_han() -> None:
    yes, no = "一龥〇㐀𠀀\ufa0c鿿", "aＡ1あ한。，　☃😀\ud840ー"
    assert is_han(codepoints(yes)).tolist() == [True] * len(yes)
    assert is_han(codepoints(no)).tolist() == [False] * len(no)


def test_the_fold_is_that_of_the_models_whatever_is_installed() -> None:
    """Models read text as it was folded when they were trained; another table would change what they read."""
    table = codepoints(normalize(from_codepoints(EVERY_CODE_POINT)))
    assert hashlib.sha256(table.astype("<u4").tobytes()).hexdigest() == FOLD


def test_normalizing_needs_no_opencc() -> None:
    program = "import sys; sys.modules['opencc'] = None; from zhseq.text import normalize; print(normalize('國風'))"
    done = subprocess.run([sys.executable, "-X", "utf8", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "国风\n"


def test_folded_texts_are_printed_by_the_word_they_stand_in() -> None:
    assert printed("万里干坤") == "万里乾坤"
    assert printed("玉门干戈倚阑干") == "玉门干戈倚阑干"
    assert printed("泪未干") == "泪未干"
    assert printed("小隠与沈浮") == "小隐与沉浮"
    assert printed("沈沈沈约沈郎") == "沉沉沈约沈郎"
    assert printed("祇今祇园") == "只今祇园"
    assert printed("春") == "春"
    assert printed("") == ""


def test_what_is_printed_is_read_as_before() -> None:
    """Offsets hold, and but for variants that folding leaves alone, so does what a model reads."""
    single, words, _ = _spelling()
    for old, new in (single | words).items():
        assert len(printed(old)) == len(new) == len(old)
    assert normalize(printed("干坤")) == "干坤"
