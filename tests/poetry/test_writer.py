"""How lines are printed: as editions do, unless that would break the pattern they keep."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

import zhseq
from zhseq.poetry.prosody import Prosody
from zhseq.poetry.writer import _printed

SHIPPED = Path(zhseq.__file__).parents[1] / "checkpoints" / "poem"


@pytest.fixture(scope="module")
def prosody() -> Prosody:
    return Prosody.load(SHIPPED)


def printed(line: str, prosody: Prosody, tones: str, rhymes: int = 0) -> str:
    pattern = SimpleNamespace(tones=(tones,), rhymes=(rhymes,))
    plan = SimpleNamespace(choice=SimpleNamespace(patterns=(pattern,)), prosody=prosody)
    return _printed(plan, line, 0, 0)  # type: ignore[arg-type]


def test_words_are_printed_as_editions_do(prosody: Prosody) -> None:
    assert printed("万里干坤小", prosody, "仄仄平平仄") == "万里乾坤小"
    assert printed("祇今春草绿", prosody, "中平平仄仄") == "只今春草绿"


def test_no_tone_is_broken_for_it(prosody: Prosody) -> None:
    assert printed("祇今春草绿", prosody, "平平平仄仄") == "祇今春草绿"  # 只 is oblique


def test_without_a_pattern_all_are_printed_so() -> None:
    plan = SimpleNamespace(choice=None, prosody=None)
    assert _printed(plan, "祇今春草绿", 0, 0) == "只今春草绿"  # type: ignore[arg-type]
