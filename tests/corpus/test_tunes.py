from __future__ import annotations

import pytest

from zhseq.corpus.tunes import canonical_tune, collect_tunes, split_title


@pytest.mark.parametrize(
    ("field", "tune"),
    [
        ("浣溪沙", "浣溪沙"),
        ("秦楼月・忆秦娥", "忆秦娥"),
        ("念奴娇(平韵)", "念奴娇"),
        ("“僮至”念奴娇", "念奴娇"),
        ("百字令", "念奴娇"),
        ("失调名", ""),
        ("", ""),
    ],
)
def test_canonical_tune(field: str, tune: str) -> None:
    assert canonical_tune(field) == tune


def test_tunes_are_collected_from_fields_and_from_frequent_heads() -> None:
    known = collect_tunes(["一丛花", "失调名"], ["减兰·春", "看山·一", "看山·二", "看山·三", "看水·一"])
    assert {"一丛花", "看山", "减兰"} <= known  # 减兰 as a known other name
    assert not known & {"失调名", "看水", ""}


@pytest.mark.parametrize(
    ("title", "field", "expected"),
    [
        ("浣溪沙·春日", "", ("浣溪沙", "春日")),
        ("浣溪沙春日", "", ("浣溪沙", "春日")),
        ("浣溪沙慢春日", "", ("浣溪沙慢", "春日")),
        ("菩萨蛮 其六", "菩萨蛮", ("菩萨蛮", "")),
        ("菩萨蛮·二首", "", ("菩萨蛮", "")),
        ("壶中天·咏雪", "", ("念奴娇", "咏雪")),
        ("题画", "", ("", "题画")),
        ("一二三四五六七八·春", "", ("", "一二三四五六七八·春")),
        ("", "菩萨蛮", ("菩萨蛮", "")),
    ],
)
def test_split_title(title: str, field: str, expected: tuple[str, str]) -> None:
    assert split_title(title, field, {"浣溪沙", "浣溪沙慢", "菩萨蛮"}) == expected
