"""Couplets are exchanged between poems of one rhyme and one tone pattern only."""

from __future__ import annotations

import pytest

from zhseq import Poet
from zhseq.errors import InputError

pytest.importorskip("datasets")

FIRST = ("白日依山尽", "黄河入海流", "欲穷千里目", "更上一层楼")
SECOND = ("木落雁南渡", "北风江上秋", "欲归家万里", "独立看孤舟")
OTHER_RHYME = ("白日依山尽", "黄河入海来", "欲穷千里目", "更上一层台")
UNRHYMED = ("白日依山尽", "黄河入海流", "欲穷千里目", "更上一层天")


@pytest.fixture(autouse=True)
def _scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend("scripts")


@pytest.fixture(scope="module")
def poet() -> Poet:
    return Poet.load()


def test_only_poems_of_one_kind_lend_couplets(poet: Poet) -> None:
    from scripts.foreign_couplets import exchanges

    quatrains = [(lines, "五绝") for lines in (FIRST, SECOND, OTHER_RHYME, UNRHYMED)]
    found = exchanges(quatrains, poet.reviewing(), seed=0)
    assert [(each.poem, each.other) for each in found] == [(FIRST, SECOND), (SECOND, FIRST)]
    assert exchanges([(FIRST, "五绝"), (FIRST, "五绝")], poet.reviewing(), seed=0) == []  # the rhyme word would repeat


def test_what_is_told_is_counted_by_bits(poet: Poet) -> None:
    from scripts.foreign_couplets import Exchange, told

    figures = told(poet, [Exchange(FIRST, SECOND, "五绝")])
    whole, foreign = (score.bits for score in poet.score([FIRST, FIRST[:2] + SECOND[2:]], ["五绝"] * 2))
    assert figures["bits that a foreign couplet costs"] == pytest.approx(foreign - whole, abs=1e-4)
    assert figures["told"] == float(whole < foreign)
    assert figures["quatrains"] == 1


def test_how_common_a_couplet_is_falls_out(poet: Poet) -> None:
    from scripts.foreign_couplets import Exchange, commonness, told

    found = [Exchange(FIRST, SECOND, "五绝")]
    figures = told(poet, found, references=2)
    # The one other first couplet is that of the lender, so the foreign poem has its own second couplet back.
    own, foreign = commonness(poet, found, references=2, seed=0)
    expected = [SECOND[:2] + FIRST[2:], SECOND]
    bits = [score.bits for score in poet.score(expected, ["五绝"] * 2)]
    assert [own[0], foreign[0]] == pytest.approx(bits, abs=1e-4)
    assert (figures["references"], figures["told by what the first couplet adds"] in (0, 1)) == (2, True)


def test_nothing_to_exchange_is_said(poet: Poet) -> None:
    from scripts.foreign_couplets import told

    with pytest.raises(InputError, match="no two quatrains"):
        told(poet, [])
