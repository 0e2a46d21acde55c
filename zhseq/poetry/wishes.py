"""Resolve topics and author names, as users write them, to names that the model knows. Imports no torch."""

from __future__ import annotations

import difflib
import re
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate
from types import MappingProxyType
from typing import TYPE_CHECKING

from zhseq.errors import InputError, Message
from zhseq.poetry.sense import Sense
from zhseq.text.normalize import codepoints, is_han, normalize
from zhseq.text.vocab import Vocab

if TYPE_CHECKING:
    from jieba import Tokenizer

LONGEST_SUBJECT = 200
"""Characters of a topic that are read; the rest is ignored."""

_WORDS = re.compile(r"[^\W_]+")
_WHOLE = 2  # characters up to which a word is not cut
_CARRIED = 0.5  # share of poems on a topic with one of its characters from which a generated poem should have one
_COMMON = 5000  # occurrences in couplets from which a character is known to any reader of verse
_FUNCTION = """
的 了 着 过 吗 呢 吧 啊 呀 是 在 和 与 跟 及 或 很 都 就 也 还 又 再 我 你 您 他
她 它 我们 你们 他们 她们 自己 这 那 这个 那个 这样 那样 一个 一首 首 个 种 关于 有关 写
作 诗 诗歌 古诗 给 对 对于 把 被 从 到 要 想 会 能 可以 有 没有 不 上 里 最 太 更 让
而 但 但是 因为 所以 如果 时候 什么 怎么 请 为 以 之 地 得 去 来
"""
_FUNCTION_WORDS = frozenset(_FUNCTION.split())
"""Function words of modern sentences and words of requests, which are not topics of verse."""

_OTHER_NAMES = """
李白 太白 李太白 青莲居士 谪仙 诗仙|杜甫 子美 杜子美 杜少陵 少陵 杜工部 老杜 诗圣
白居易 乐天 白乐天 香山居士 白香山|王维 摩诘 王摩诘 王右丞 诗佛|孟浩然 孟襄阳
韩愈 退之 韩退之 昌黎 韩昌黎|柳宗元 子厚 柳子厚 柳河东 柳柳州|李商隐 义山 李义山 玉溪生
杜牧 牧之 杜牧之 小杜 杜樊川|李贺 长吉 李长吉 诗鬼|刘禹锡 梦得 刘梦得 诗豪|元稹 微之 元微之
温庭筠 飞卿 温飞卿|贾岛 阆仙 浪仙 贾浪仙 贾阆仙|孟郊 东野 孟东野|韦应物 韦苏州
王昌龄 少伯 王少伯 王龙标|高适 达夫 高达夫|岑参 岑嘉州|陈子昂 伯玉 陈伯玉|骆宾王 观光
贺知章 季真 四明狂客|陆龟蒙 天随子 甫里先生|皮日休 袭美|韦庄 端己 韦端己|吕岩 吕洞宾 洞宾
苏轼 东坡 苏东坡 子瞻 苏子瞻 东坡居士|苏辙 子由 苏子由 颍滨|欧阳修 永叔 醉翁 六一居士 欧阳永叔
王安石 介甫 王介甫 荆公 王荆公 半山 王半山|黄庭坚 鲁直 黄鲁直 山谷 黄山谷 山谷道人 涪翁
秦观 少游 秦少游 淮海居士|李清照 易安 李易安 易安居士|辛弃疾 稼轩 辛稼轩 幼安 辛幼安
陆游 放翁 陆放翁 务观 陆务观|杨万里 诚斋 杨诚斋 杨廷秀|范成大 石湖 范石湖 石湖居士 范致能
姜夔 白石 姜白石 白石道人 姜尧章|柳永 耆卿 柳耆卿 柳三变 柳屯田|晏殊 同叔 大晏 晏同叔
晏几道 小山 小晏 晏小山 晏叔原|周邦彦 美成 清真居士 周美成|贺铸 贺方回 贺鬼头|吴文英 梦窗 吴梦窗
张炎 玉田 张玉田 张叔夏|司马光 君实 司马温公 温公|梅尧臣 圣俞 梅圣俞 宛陵先生 梅宛陵
林逋 和靖 林和靖 和靖先生|文天祥 文山 文文山 文信国|朱熹 晦庵 朱子 朱晦庵 朱元晦|范仲淹 希文 范文正
邵雍 尧夫 邵康节 康节|元好问 遗山 元遗山 元裕之|马致远 东篱|白朴 仁甫 白仁甫
赵孟𫖯 赵孟頫 子昂 赵子昂 松雪道人|李煜 李后主 后主 重光 南唐后主
陶渊明 陶潜 渊明 靖节先生 五柳先生 陶靖节|曹操 孟德 曹孟德 魏武帝|曹植 子建 曹子建 陈思王
阮籍 嗣宗 阮步兵|屈原 屈平 灵均|谢灵运 谢康乐 大谢|谢朓 玄晖 小谢 谢玄晖 谢宣城|鲍照 明远 鲍参军
李世民 唐太宗|冯延巳 正中 冯正中|叶绍翁 靖逸|王沂孙 碧山 王碧山|蒋捷 竹山 蒋竹山|张养浩 希孟 云庄
程颢 明道先生 程明道|唐寅 唐伯虎 伯虎 六如居士|文征明 衡山居士|徐渭 文长 徐文长 青藤 青藤道士
王守仁 王阳明 阳明 阳明先生|杨慎 升庵 杨升庵 杨用修|高启 青丘子 高青丘 高季迪|王夫之 船山 王船山
汤显祖 义仍 汤若士|陈子龙 卧子 陈卧子|吴伟业 梅村 吴梅村|朱彝尊 竹垞 朱竹垞
纳兰性德 容若 纳兰容若 纳兰 成德 纳兰成德|顾太清 太清 顾春|龚自珍 定庵 龚定庵|王国维 静安 王静安
朱淑真 幽栖居士|戚继光 戚少保|刘克庄 后村 刘后村 刘潜夫|张孝祥 于湖 张于湖|陈与义 简斋 陈简斋
庾信 庾子山|王世贞 王弇州 王元美 凤洲|屈大均 屈翁山
"""
OTHER_NAMES: Mapping[str, str] = MappingProxyType(
    {
        other: names.split()[0]
        for names in _OTHER_NAMES.replace("\n", "|").split("|")
        if names
        for other in names.split()[1:]
    }
)
"""Courtesy, art and other names of poets -> the name in the corpora."""


@dataclass(frozen=True)
class Named:
    """An author resolved to what the model knows."""

    author: str
    """Name of a control symbol of the model, or an empty string."""
    dynasty: str = ""
    """Dynasty of an author without a control symbol."""
    words: Mapping[str, float] = field(default_factory=dict)
    """Character -> how much more often an author without a control symbol uses it than others, in nats."""
    note: Message | None = None


@dataclass(frozen=True)
class About:
    """A topic resolved to what the model knows."""

    title: str
    """Text that the model reads as a title."""
    characters: str = ""
    """Characters of the topic, one of which the poem should contain."""
    note: Message | None = None


def control_values(vocab: Vocab, kind: str) -> tuple[str, ...]:
    """Return the values of control symbols of a kind, for example all authors, in the order of the vocabulary."""
    head = f"<{kind}:"
    return tuple(symbol[len(head) : -1] for symbol in vocab.symbols if symbol.startswith(head))


def other_names() -> dict[str, list[str]]:
    """Return author -> other names, for all authors that have some."""
    result: dict[str, list[str]] = {}
    for other, name in OTHER_NAMES.items():
        result.setdefault(name, []).append(other)
    return result


def read_author(name: str, vocab: Vocab, sense: Sense | None) -> Named:
    """Resolve the name of an author.

    Args:
        name: Name in any script, also a courtesy or art name.
        vocab: Vocabulary of the model.
        sense: Word lists with the styles of authors without a control symbol, or None.

    Raises:
        InputError: The author is unknown; the message lists similar names.
    """
    if not name:
        return Named("")
    folded = normalize(name.strip())
    by_fold = {normalize(known): known for known in control_values(vocab, "author")}
    folded = folded if folded in by_fold else normalize(OTHER_NAMES.get(folded, folded))
    if folded in by_fold:
        return Named(by_fold[folded])
    manners = sense.manners if sense is not None else {}
    if folded in manners:
        own = manners[folded]
        note = Message(
            "author_by_words",
            "the model does not know the name {name}; it follows the vocabulary of {poems} poems by this author{like}",
            {
                "name": folded,
                "poems": own.poems,
                "like": Message(
                    "and_nearest_author", ", and the style of {near}, the most similar known author", {"near": own.near}
                )
                if own.near
                else "",
            },
        )
        return Named(own.near if own.near in by_fold.values() else "", own.dynasty, own.words, note)
    known = [*by_fold, *manners]
    near = difflib.get_close_matches(folded, known, n=3, cutoff=0.3) or known[:3]
    raise InputError(
        "unknown_author",
        "the model knows no author '{name}'; it knows {count}, among them {near}",
        name=name,
        count=len(known),
        near="、".join(near),
    )


def read_subject(about: str, vocab: Vocab, sense: Sense | None) -> About:
    """Resolve a topic: one or several words, or a sentence.

    A sentence is cut into words and function words are left out. Words unknown to verse are left out as well, if there
    are others, and listed in the note.

    Args:
        about: The topic as the user wrote it.
        vocab: Vocabulary of the model.
        sense: Word lists with the table of topics; without it, the topic is used as it is.
    """
    if not about or sense is None or sense.subjects is None:
        return About(about)
    parts = _WORDS.findall(normalize(about[:LONGEST_SUBJECT]))
    cut = [word for part in parts for word in ([part] if len(part) <= _WHOLE else _cut(part, sense))]
    words = [_bare(word, vocab, sense) for word in dict.fromkeys(cut) if word not in _FUNCTION_WORDS] or parts
    unknown = [word for word in words if not _knows(word, vocab, sense)]
    known = [word for word in words if word not in unknown]
    # Use a single known phrase as it is; of a sentence, of several words or with unknown words, use the known words.
    plain = len(parts) == 1 and len(words) == len(cut)
    title = about if (plain and not unknown) or not known else "".join(known)
    note = None
    if unknown:
        values = {"words": "、".join(unknown[:5])}
        note = Message(
            "words_unknown_to_verse", "not known as a word of verse: {words}; choose words that poets use", values
        )
    found = [sense.subjects.words[word] for word in known if word in sense.subjects.words]
    telling = [each.characters for each in found if each.share >= _CARRIED]
    # A word that is in no title is represented by its own characters.
    telling += [word for word in known if word not in sense.subjects.words and len(word) == _WHOLE]
    characters = "".join(dict.fromkeys("".join(telling)))
    return About(title, characters, note)


def _cut(part: str, sense: Sense) -> list[str]:
    """Cut a run of characters into words: a word of titles stays whole, everything else is cut by jieba."""
    assert sense.subjects is not None, "asked for only with a table of subjects"
    if part in sense.subjects.words:
        return [part]
    return list(words_of_prose().cut(part))


@cache
def words_of_prose() -> Tokenizer:
    """Load jieba's dictionary.

    The cache that jieba keeps in the shared temporary directory is not used: it saves hardly any time, anyone could
    have written it, and a service should not write to disk.
    """
    import jieba

    words = jieba.Tokenizer()
    with words.get_dict_file() as file:
        words.FREQ = Frequencies(file)
    words.total = words.FREQ.total
    words.initialized = True
    return words


class Frequencies(Mapping[str, int]):
    """Words of a jieba dictionary and their frequencies, with 0 for prefixes of words.

    Like jieba's own table, but in a tenth of the memory.

    Args:
        lines: Word, frequency and part of speech, separated by blanks. The last line of a word counts.

    Attributes:
        total: Sum of all frequencies in the lines.
    """

    def __init__(self, lines: Iterable[bytes]) -> None:
        pairs = [(word.decode(), int(count)) for word, count in (line.split()[:2] for line in lines)]
        self.total = sum(count for _, count in pairs)
        found = dict(pairs)
        words = sorted(found)
        self._text = "".join(words)
        self._ends = array("I", accumulate(map(len, words)))
        self._counts = array("I", map(found.__getitem__, words))

    def __getitem__(self, begin: str) -> int:
        place = bisect_left(range(len(self)), begin, key=self._word)
        if place == len(self) or not (word := self._word(place)).startswith(begin):
            raise KeyError(begin)
        return self._counts[place] if word == begin else 0

    def __iter__(self) -> Iterator[str]:
        return map(self._word, range(len(self)))

    def __len__(self) -> int:
        return len(self._ends)

    def _word(self, place: int) -> str:
        return self._text[self._ends[place - 1] if place else 0 : self._ends[place]]


def _bare(word: str, vocab: Vocab, sense: Sense) -> str:
    """Return a known word, or an unknown one without its function characters if verse knows the rest."""
    if _knows(word, vocab, sense):
        return word
    left = "".join(character for character in word if character not in _FUNCTION_WORDS)
    return left if left and _knows(left, vocab, sense) else word


def _knows(word: str, vocab: Vocab, sense: Sense) -> bool:
    """Return whether verse knows a word (思乡, 远方, but not 手机).

    Single characters of the vocabulary are known. A longer word is known if its first two and its last two characters
    are words of titles or couplets, or if all its characters are frequent in couplets and no function words.
    """
    if not is_han(codepoints(word)).all() or vocab.unk_id in vocab.encode(word).tolist():
        return False
    subjects = sense.subjects.words if sense.subjects is not None else {}
    uses = sense.facing.uses if sense.facing is not None else {}
    if len(word) == 1 or all(end in subjects or end in uses for end in (word[:2], word[-2:])):
        return True
    return all(uses.get(character, 0) >= _COMMON and character not in _FUNCTION_WORDS for character in word)
