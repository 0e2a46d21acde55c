"""What the books of rhyme call their groups: names for what was learned from verse. Imports nothing of the project.

A group is told by a few well-known words; who else belongs to it was learned from verse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

CLASSICAL, LYRIC, MODERN = "classical", "ci", "modern"
"""The books: the 106 groups of regulated verse (平水韵), the 19 of ci (词林正韵), the 16 of today (中华通韵)."""
BOOK_NAMES = {CLASSICAL: "平水韵", LYRIC: "词林正韵", MODERN: "中华通韵"}

_LEVEL = {
    "上平一东": "东风空中红", "上平二冬": "钟龙松容峰", "上平三江": "江窗双邦缸", "上平四支": "枝时知诗池",
    "上平五微": "归衣飞扉晖", "上平六鱼": "书余居如初", "上平七虞": "图孤湖夫壶", "上平八齐": "低迷啼溪题",
    "上平九佳": "斋阶谐排鞋", "上平十灰": "来开台杯苔", "上平十一真": "人春新尘身", "上平十二文": "云闻君群军",
    "上平十三元": "门村魂昏孙", "上平十四寒": "安宽残官盘", "上平十五删": "山闲关颜攀", "下平一先": "年天烟边船",
    "下平二萧": "遥朝桥消潮", "下平三肴": "巢茅梢郊抛", "下平四豪": "高劳毛袍豪", "下平五歌": "何歌波河罗",
    "下平六麻": "花家霞沙茶", "下平七阳": "香光阳乡凉", "下平八庚": "生声情清城", "下平九青": "青星经亭庭",
    "下平十蒸": "僧灯冰能陵", "下平十一尤": "秋流游愁楼", "下平十二侵": "心深林吟阴", "下平十三覃": "南谈三酣堪",
    "下平十四盐": "帘添檐严兼", "下平十五咸": "衫帆凡衔咸",
}  # fmt: skip
"""The thirty level groups of regulated verse."""
_LYRIC_LEVEL = {
    "第一部平声": "东风峰龙", "第二部平声": "香光江窗", "第三部平声": "时归西杯", "第四部平声": "书无湖居",
    "第五部平声": "来开台斋", "第六部平声": "人云门春", "第七部平声": "年山寒天", "第八部平声": "遥高交潮",
    "第九部平声": "多何歌波", "第十部平声": "花家霞沙", "第十一部平声": "生青僧声", "第十二部平声": "秋流愁楼",
    "第十三部平声": "心深林吟", "第十四部平声": "南帘衫添",
}  # fmt: skip
_LYRIC_OBLIQUE = {
    "第一部仄声": "梦动送共", "第二部仄声": "上往想向", "第三部仄声": "里水意地", "第四部仄声": "去雨处语",
    "第五部仄声": "在海改爱", "第六部仄声": "尽近信问", "第七部仄声": "见远面断", "第八部仄声": "老好草道",
    "第九部仄声": "坐破我卧", "第十部仄声": "下马夜者", "第十一部仄声": "影冷静省", "第十二部仄声": "酒手后有",
    "第十三部仄声": "寝凛审稔", "第十四部仄声": "欠险览胆", "第十五部入声": "绿足玉竹", "第十六部入声": "落薄乐阁",
    "第十七部入声": "色客碧息", "第十八部入声": "月雪绝别", "第十九部入声": "榻杂插塔",
    "第十七部入声 (缉)": "揖隰汲絷", "第十八部入声 (叶)": "捷蹑鬣镊",
}  # fmt: skip
"""The nineteen groups of ci, each with its level and its oblique side; the last five are entering tones."""
_MODERN = "啊喔鹅衣乌迂哀欸熬欧安恩昂英雍儿"
_NUMERALS = ("一", "二", "三", "四", "五", "六", "七", "八", "九", "十", "十一", "十二", "十三", "十四", "十五", "十六")
_NEIGHBOURS = ("东冬", "江阳", "支微齐", "鱼虞", "佳灰", "真文元寒删先", "萧肴豪", "佳麻", "庚青蒸", "覃盐咸")
"""Groups whose words may rhyme in a first line with those of another (首句邻韵), by the last character of the name."""
_ENTERING = "入声"


def named(groups: Sequence[tuple[str, str]], book: str) -> tuple[str, ...]:
    """Return what a book calls groups, empty where it knows none with these words.

    Args:
        groups: Of each its name in this project and all its characters.
        book: One of `BOOK_NAMES`.
    """
    if book == MODERN:
        return tuple(_modern(name) for name, _ in groups)
    listed = {**(_LEVEL if book == CLASSICAL else _LYRIC_LEVEL), **_LYRIC_OBLIQUE}
    return tuple(_best(frozenset(characters), listed) for _, characters in groups)


def _best(characters: frozenset[str], listed: Mapping[str, str]) -> str:
    """Return the name most of whose words are in a group; at least half of them have to be."""
    shares = {name: len(characters.intersection(words)) / len(words) for name, words in listed.items()}
    best = max(shares, key=lambda name: shares[name])
    return best if shares[best] >= 0.5 else ""


def _modern(name: str) -> str:
    place = _MODERN.find(name[:1])
    return f"{_NUMERALS[place]}{name[0]}" if name and place >= 0 else ""


def entering(name: str) -> bool:
    """Tell whether a group, by its name in the book, holds words of the entering tone (入声)."""
    return _ENTERING in name


@lru_cache(maxsize=1024)
def neighbours(one: str, other: str) -> bool:
    """Tell whether two level groups of regulated verse, by their names in the book, are neighbours (邻韵)."""
    return bool(one and other) and any(one[-1] in each and other[-1] in each for each in _NEIGHBOURS)
