"""Find the tune names of ci, in a field of their own or at the head of a title, without topics and variants."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable

_BRACKETED = re.compile(r"[(\[“‘〔【].*?[)\]”’〕】]")
_UNKNOWN = frozenset({"失调名", "无题", "阙题", ""})
_ORDINAL = re.compile(r"(?:其|之)?[一二三四五六七八九十百\d]+(?:首)?$")
_DOTS = "·・•‧"
_SPLIT = re.compile(f"[{_DOTS}]")
_MIN_HEAD = 3
"""A head before a dot counts as a tune from so many titles on: a rare one may be half of a place name."""
_MAX_TUNE = 7
"""Longest tune name taken on trust from before a dot, in characters (凤凰台上忆吹箫 has seven)."""
_ALIASES = {
    "金缕曲": "贺新郎", "金缕词": "贺新郎", "乳燕飞": "贺新郎", "貂裘换酒": "贺新郎", "贺新凉": "贺新郎",
    "百字令": "念奴娇", "酹江月": "念奴娇", "壶中天": "念奴娇", "大江东去": "念奴娇", "壶中天慢": "念奴娇",
    "大江西上曲": "念奴娇", "百字谣": "念奴娇", "无俗念": "念奴娇", "赤壁词": "念奴娇", "大江东": "念奴娇",
    "迈陂塘": "摸鱼儿", "买陂塘": "摸鱼儿", "摸鱼子": "摸鱼儿", "陂塘柳": "摸鱼儿",
    "台城路": "齐天乐", "减兰": "减字木兰花", "木兰花减字": "减字木兰花",
    "罗敷媚": "采桑子", "罗敷艳歌": "采桑子", "丑奴儿": "采桑子", "丑奴儿令": "采桑子",
    "江神子": "江城子", "南柯子": "南歌子", "风蝶令": "南歌子",
    "望江南": "忆江南", "梦江南": "忆江南", "谢秋娘": "忆江南",
    "鹊踏枝": "蝶恋花", "凤栖梧": "蝶恋花", "黄金缕": "蝶恋花",
    "秦楼月": "忆秦娥", "双荷叶": "忆秦娥", "碧云深": "忆秦娥",
    "宴桃源": "如梦令", "忆仙姿": "如梦令", "卖花声": "浪淘沙", "浪淘沙令": "浪淘沙",
    "浣溪纱": "浣溪沙", "浣沙溪": "浣溪沙", "一翦梅": "一剪梅", "怨王孙": "忆王孙",
    "甘州": "八声甘州", "长相思令": "长相思", "双红豆": "长相思", "喜迁莺令": "喜迁莺",
    "苍梧谣": "十六字令", "归字谣": "十六字令", "重叠金": "菩萨蛮", "思佳客": "鹧鸪天", "龙吟曲": "水龙吟",
    "庆春宫": "庆宫春", "胜胜慢": "声声慢", "绿头鸭": "多丽", "锁寒窗": "琐窗寒", "锁窗寒": "琐窗寒",
}  # fmt: skip
"""Other names of common tunes -> the name under which most poems stand. A name that two tunes share is not here."""


def collect_tunes(names: Iterable[str], titles: Iterable[str]) -> frozenset[str]:
    """Gather the tune names that the corpora themselves attest.

    Args:
        names: normalised tune fields (`rhythmic`).
        titles: normalised titles of ci; tunes stand before a dot, as in 浣溪沙·春日, or are the whole title.
    """
    known = {part for name in names for part in _SPLIT.split(_BRACKETED.sub("", name))} | set(_ALIASES)
    heads = Counter(_SPLIT.split(title)[0].strip() for title in titles)
    known.update(head for head, count in heads.items() if count >= _MIN_HEAD and 2 <= len(head) <= _MAX_TUNE)
    return frozenset(known - _UNKNOWN)


def canonical_tune(name: str) -> str:
    """Strip variants and remarks from a normalised tune field; 秦楼月・忆秦娥 (alias, standard name) gives 忆秦娥."""
    tune = _SPLIT.split(_BRACKETED.sub("", name))[-1].strip()
    return "" if tune in _UNKNOWN else _ALIASES.get(tune, tune)


def split_title(title: str, tune: str, known: Collection[str]) -> tuple[str, str]:
    """Part the normalised title of a ci into tune and topic.

    Args:
        title: title, with or without the tune at its head.
        tune: canonical tune from a field of its own, or empty.
        known: tune names that may stand at the head of a title.

    Returns:
        Tune (empty when there is none that is known) and topic (empty when the title is only a tune and a number).
    """
    head, *rest = _SPLIT.split(title, maxsplit=1)
    head = _BRACKETED.sub("", head).strip()
    if tune:
        topic = title.removeprefix(tune)
    elif rest and (head in known or 2 <= len(head) <= _MAX_TUNE):
        tune, topic = head, rest[0]
    else:
        lengths = range(min(_MAX_TUNE + 3, len(title)), 1, -1)
        tune = next((title[:length] for length in lengths if title[:length] in known), "")
        topic = title.removeprefix(tune)
    topic = topic.strip(_DOTS + " ")
    return _ALIASES.get(tune, tune), "" if _ORDINAL.match(topic) else topic
