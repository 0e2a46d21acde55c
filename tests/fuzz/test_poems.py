"""Any text as a poem to judge, to mend, to begin with, to answer."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.fuzzing import any_text, fuzzed, result_or_error
from zhseq.checkpoint import shipped
from zhseq.errors import InputError
from zhseq.poetry.poet import Poet
from zhseq.poetry.prosody import Prosody
from zhseq.poetry.reading import read_lines, read_poems
from zhseq.poetry.review import review

pytestmark = pytest.mark.fuzz

POEMS = ("床前明月光，疑是地上霜。\n举头望明月，低头思故乡。", "白日依山尽，黄河入海流。欲穷千里目，更上一层楼。")


@st.composite
def any_poem(draw: st.DrawFn) -> str:
    """A poem with characters that are others, gone, marked or too many; or any text."""
    if draw(st.integers(0, 3)) == 0:
        return draw(any_text(80))
    text = list(draw(st.sampled_from(POEMS)))
    for _ in range(draw(st.integers(0, 5))):
        place = draw(st.integers(0, len(text)))
        text[place : place + draw(st.integers(0, 2))] = draw(any_text(2) | st.just("？") | st.sampled_from("春风，。"))
    return "".join(text)


@pytest.fixture(scope="module")
def poet(tiny_model_dir: Path) -> Poet:
    prosody = Prosody.load(shipped("poem"))
    tiny = Poet.load(tiny_model_dir)
    return Poet(tiny.network, tiny.vocab, prosody=prosody)


@fuzzed()
@given(
    text=any_poem(),
    tune=st.sampled_from(["", "", "浣溪沙", "十六字令"]),
    rhyme=st.sampled_from(["classical", "modern"]),
)
def test_any_text_is_judged_or_refused(poet: Poet, text: str, tune: str, rhyme: str) -> None:
    found = result_or_error(lambda: poet.check(text, tune=tune, rhyme=rhyme), InputError)
    if found is not None:
        assert all(str(fault) and 1 <= fault.line <= len(found.lines) for fault in found.faults)
        dataclasses.asdict(found)


@fuzzed()
@given(text=st.lists(any_poem(), max_size=3).map("\n\n".join))
def test_any_file_of_poems_is_judged_or_refused(poet: Poet, text: str) -> None:
    blocks = result_or_error(lambda: read_poems(text, "file.txt", poet.reviewing().tunes), InputError) or []
    for block in blocks:
        result_or_error(lambda block=block: review(block.verse, poet.reviewing()), InputError)  # type: ignore[misc]
    result_or_error(lambda: read_lines(text), InputError)


@fuzzed(0.5)
@given(text=any_poem())
def test_any_text_is_mended_or_refused(poet: Poet, text: str) -> None:
    for mark in result_or_error(lambda: poet.suggest(text, num=2), InputError) or []:
        assert len(mark.characters) <= 2


@fuzzed(0.5)
@given(
    start=any_text(8) | st.sampled_from(["春", "春风", "春风又绿江南岸", "春，"]),
    about=any_text(6),
    acrostic=any_text(5) | st.just(""),
    group=any_text(2) | st.just(""),
    seed=st.integers(0, 2**40),
)
def test_any_wish_is_fulfilled_or_refused(
    poet: Poet, start: str, about: str, acrostic: str, group: str, seed: int
) -> None:
    poem = result_or_error(
        lambda: poet.write(start=start, about=about, acrostic=acrostic, rhyme_group=group, seed=seed, best_of=1),
        InputError,
    )
    assert poem is None or len(poem.lines) in (4, 8)


@fuzzed(0.5)
@given(upper=any_text(10) | st.sampled_from(["春风", "春风，夏雨"]))
def test_any_upper_line_is_answered_or_refused(poet: Poet, upper: str) -> None:
    result_or_error(lambda: poet.couplet(upper), InputError)
