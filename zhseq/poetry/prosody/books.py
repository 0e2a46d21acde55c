"""Names of rhyme groups and tunes in the standard reference books. Imports nothing of the project.

A group is identified by a few well-known words; its other members are learned from verse.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

CLASSICAL, LYRIC, MODERN = "classical", "ci", "modern"
"""Reference books: 106 groups of regulated verse (平水韵), 19 of ci (词林正韵), 16 of modern Chinese (中华通韵)."""
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
"""The oblique groups of ci. Parts 1 to 14 have a level group as well; parts 15 to 19 are entering tones."""
OBLIQUE_GROUPS = {
    "上声一董、二肿": "孔总陇冢勇捧恐踊", "上声三讲、二十二养": "养像往想响", "上声四纸、五尾": "纸水子死耳鬼尾苇",
    "上声六语": "语旅女举渚", "上声七麌": "雨舞古土虎", "上声八荠": "礼米底洗启", "上声九蟹、十贿": "海改采彩待",
    "上声十一轸、十二吻": "忍准引笋尽粉近隐", "上声十三阮": "远晚苑返阮", "上声十四旱": "暖管满短懒",
    "上声十五潸": "眼简产限盏", "上声十六铣": "善遣浅转犬", "上声十七筱": "小表鸟了晓", "上声十八巧": "巧饱卯爪",
    "上声十九皓": "宝早老好道", "上声二十哿": "火我可果左", "上声二十一马": "马下野雅者",
    "上声二十三梗、二十四迥": "影景井岭静顶", "上声二十五有": "有酒手口友", "上声二十六寝": "寝凛审稔",
    "上声二十七感": "感览胆惨澹", "去声一送、二宋": "送凤梦众宋用颂", "去声三绛、二十三漾": "上望状帐浪",
    "去声四寘": "置事地意志", "去声五未": "味气贵费沸", "去声六御": "御处去虑据", "去声七遇": "遇路露树暮",
    "去声八霁": "制计势世丽", "去声九泰": "带盖泰赖濑", "去声十卦": "卖隘怪界戒", "去声十一队": "内爱退对碎",
    "去声十二震、十三问": "信印进润阵问运韵", "去声十四愿": "愿怨恨万饭", "去声十五翰": "岸汉断乱散",
    "去声十六谏": "雁涧患慢幻", "去声十七霰": "殿面县变箭", "去声十八啸": "笑照庙调钓", "去声十九效": "效校孝棹闹",
    "去声二十号": "帽报到导告", "去声二十一个": "个贺佐过卧", "去声二十二祃": "驾夜谢榭价",
    "去声二十四敬、二十五径": "命正政性定径", "去声二十六宥": "候秀旧绣奏", "去声二十九艳": "剑念验店欠",
    "入声一屋": "屋木竹目服", "入声二沃": "沃俗玉足曲", "入声三觉": "角岳学捉", "入声四质": "质日笔室实",
    "入声五物、六月": "物拂屈月发阙越骨", "入声七曷、八黠": "达末阔活渴察滑", "入声九屑": "屑节雪绝列",
    "入声十药": "药薄略作落", "入声十一陌、十二锡": "陌石客白泽壁历击笛", "入声十三职": "职国德食力",
    "入声十四缉": "辑立集急湿", "入声十五合": "合塔答杂纳", "入声十六叶": "叶帖贴接牒", "入声十七洽": "洽狭峡法甲",
}  # fmt: skip
"""Oblique group of regulated verse -> words that identify it; two groups that poets mix are one entry.

Five have too few words to be identified: 上声二十八琰, 上声二十九豏, 去声二十七沁, 去声二十八勘, 去声三十陷.
"""
_MODERN = "啊喔鹅衣乌迂哀欸熬欧安恩昂英雍儿"
_NUMERALS = ("一", "二", "三", "四", "五", "六", "七", "八", "九", "十", "十一", "十二", "十三", "十四", "十五", "十六")
_NEIGHBOURS = ("东冬", "江阳", "支微齐", "鱼虞", "佳灰", "真文元寒删先", "萧肴豪", "佳麻", "庚青蒸", "覃盐咸")
"""Neighbouring groups, which a first line may use (首句邻韵), by the last character of their names."""
_ENTERING = "入声"


def named(groups: Sequence[tuple[str, str]], book: str) -> tuple[str, ...]:
    """Return the names of rhyme groups in a book, empty for groups that are not in the book.

    Args:
        groups: Name in this project and all characters of each group.
        book: One of `BOOK_NAMES`.
    """
    if book == MODERN:
        return tuple(_modern(name) for name, _ in groups)
    listed = {**(_LEVEL if book == CLASSICAL else _LYRIC_LEVEL), **_LYRIC_OBLIQUE}
    return tuple(_best(frozenset(characters), listed) for _, characters in groups)


def _best(characters: frozenset[str], listed: Mapping[str, str]) -> str:
    """Return the name with the largest share of its words among `characters`, empty if that is less than half."""
    shares = {name: len(characters.intersection(words)) / len(words) for name, words in listed.items()}
    best = max(shares, key=lambda name: shares[name])
    return best if shares[best] >= 0.5 else ""


def _modern(name: str) -> str:
    rank = _MODERN.find(name[:1])
    return f"{_NUMERALS[rank]}{name[0]}" if name and rank >= 0 else ""


def entering(name: str) -> bool:
    """Return whether a group, given by its name in the book, has the entering tone (入声)."""
    return _ENTERING in name


@lru_cache(maxsize=1024)
def neighbours(one: str, other: str) -> bool:
    """Return whether two level groups of regulated verse, given by their names in the book, are neighbours (邻韵)."""
    return bool(one and other) and any(one[-1] in each and other[-1] in each for each in _NEIGHBOURS)


# Tunes.

_SAME = """
忆江南 望江南 梦江南 谢秋娘 江南好 春去也 望江梅 梦江口 归塞北 春去 望蓬莱 步虚声 壶山好 安阳好
忆江南 梦游仙 忆江南令
江南春 秋风清
踏莎行 蹋莎行
抛球乐 抛毬乐
醉花间 醉花闲
相思引 琴调相思引
六么令 六幺令
西子妆 西子妆慢
夏初临 燕春台
辘轳金井 四犯剪梅花
减字木兰花 益寿美金花
卜算子 黄鹤洞中仙
瑞鹧鸪 十报恩
青杏儿 促拍丑奴儿 摊破南乡子 似娘儿 闲闲令
江城梅花引 摊破江神子
霓裳中序第一
杏花天
柳腰轻
醉春风
绮寮怨
惜秋华
采桑子 丑奴儿 丑奴儿令 罗敷媚 罗敷艳歌 罗敷令 伴登临 苗而秀
念奴娇 百字令 酹江月 大江东去 大江东 壶中天 壶中天慢 大江西上曲 百字谣 无俗念 赤壁词 大江词 太平欢
念奴娇 淮甸春 庆长春 湘月 赛天香
贺新郎 金缕曲 金缕词 金缕歌 乳燕飞 貂裘换酒 贺新凉 风敲竹 乳飞燕
摸鱼儿 摸鱼子 迈陂塘 买陂塘 陂塘柳 山鬼谣 双蕖怨
齐天乐 台城路 如此江山 五福降中天 五福丽中天
减字木兰花 减兰 木兰花减字 天下乐令 木兰香
南歌子 南柯子 风蝶令 望秦川 春宵曲 水晶帘 碧窗梦 十爱词 恨春宵 悟南柯
蝶恋花 鹊踏枝 凤栖梧 黄金缕 卷珠帘 一箩金 明月生南浦 江如练 西笑吟 细雨吹池沼 鱼水同欢 转调蝶恋花
忆秦娥 秦楼月 双荷叶 碧云深 花深深 玉交枝
如梦令 忆仙姿 宴桃源 无梦令 比梅 如意令 如梦里 不见
浪淘沙 卖花声 浪淘沙令 过龙门 曲入冥 炼丹砂
浣溪沙 浣溪纱 浣沙溪 浣纱溪 减字浣溪沙 减字浣溪纱 小庭花 东风寒 醉木犀 霜菊黄 广寒枝 试香罗 清和风
浣溪沙 怨啼鹃 玩丹砂 满院春
山花子 摊破浣溪沙 摊破浣溪纱 添字浣溪沙 南唐浣溪沙
一剪梅 一翦梅 腊梅香 玉簟秋 蜡梅香
忆王孙 豆叶黄 阑干万里心 怨王孙 画娥眉 忆君王 独脚令
八声甘州 甘州 潇潇雨 宴瑶池
长相思 长相思令 双红豆 相思令 吴山青 忆多娇 山渐青 青山相送迎 越山青 长思仙
十六字令 苍梧谣 归字谣 归梧谣
菩萨蛮 菩萨鬘 重叠金 子夜歌 子夜 花间意 梅花句 花溪碧 晚云烘日 巫山一片云 城里钟
鹧鸪天 思佳客 思越人 剪朝霞 半死桐 骊歌一叠 千叶莲 于中好 醉梅花 锦鹧鸪
水龙吟 龙吟曲 小楼连苑 丰年瑞 鼓笛慢 庄椿岁 海天阔处 水龙吟令
庆宫春 庆春宫
声声慢 胜胜慢 人在楼上 凤求凰 寒松叹 神光灿
多丽 绿头鸭 跨金鸾 陇头泉 鸭头绿
琐窗寒 锁寒窗 锁窗寒 琐寒窗
西江月 步虚词 白苹香 江月令 玉炉三涧雪
清平乐 清平乐令 忆萝月 醉东风
虞美人 虞美人令 玉壶冰 一江春水 忆柳曲 巫山十二峰
点绛唇 点樱桃 十八香 南浦月 沙头雨 寻瑶草 万年春
南乡子 好离乡 蕉叶怨
踏莎行 柳长春 喜朝天 踏云行 踏雪行 芳心苦 惜余春 度新声 思牛女
卜算子 卜算子令 百尺楼 眉峰碧 楚天遥 缺月挂疏桐
玉楼春 木兰花 玉楼春令 木兰花令 惜春容 西湖曲 东邻妙 呈纤手
渔家傲 绿蓑令 吴门柳 荆溪咏 游仙咏
好事近 钓船笛 翠园枝 翠圆枝 倚秋千 秦刷子
洞仙歌 洞仙歌令 羽仙歌 洞仙词 洞中仙
鹊桥仙 鹊桥仙令 广寒秋 金风玉露相逢曲 忆人人 梅已谢
谒金门 垂杨碧 花自落 不怕醉 醉花春 东风吹酒面 空相忆 出塞 春早湖山
江城子 江神子 村意远
高阳台 庆春泽慢 庆春泽
生查子 楚云深 陌上郎 绿罗裙 梅和柳 晴色入青山 梅溪渡 愁风月
柳梢青 陇头月 玉水明沙 早春怨 云淡秋空 雨洗元宵
朝中措 照江梅 芙蓉曲 梅月圆 醉偎香
青玉案 横塘路 西湖路 一年春 青莲池上客
阮郎归 碧桃春 醉桃源 宴桃源令 濯缨曲
蓦山溪 上阳春 弄珠英 心月照云溪
风入松 远山横 风入松慢
诉衷情 诉衷情令 渔父家风 一丝风 步花间 偶相逢 画楼空 桃花水 试周郎
小重山 小重山令 小冲山 柳色新 枕屏风 玉京山
苏幕遮 鬓云松 鬓云松令 古调歌 云雾敛 般涉调
祝英台近 祝英台 月底修箫谱 宝钗分 燕莺语 寒食词 祝英台令
喜迁莺 喜迁莺令 喜迁莺慢 早梅芳令 烘春桃李 燕归来 万年枝
少年游 玉腊梅枝 小阑干 少年游令
杨柳枝 柳枝 折杨柳 寿杯词
行香子 爇心香 读书引
眼儿媚 秋波媚
感皇恩 感皇恩令 人南渡 叠萝花
捣练子 捣练子令 深院月 咏捣练 杵声齐 剪征袍
一斛珠 醉落魄 怨春风 醉落拓 章台月 一斛夜明珠 斛珠
定风波 卷春空 定风波令 定风流 醉琼枝
唐多令 糖多令 南楼令 箜篌曲
更漏子 无漏子 独倚楼 付金钗 翻翠袖
太常引 太清引 腊前梅
千秋岁 千秋节
调笑令 转应曲 古调笑 古调笑令 宫中调笑 三台令 调啸词 转应词 调笑 调笑词
瑞鹧鸪 舞春风 桃花落 鹧鸪词 天下乐 五拍 拾菜娘 报师恩
桃源忆故人 桃园忆故人 虞美人影 转声虞美人 杏花风 醉桃园
霜天晓角 月当窗 踏月 长桥月
相见欢 乌夜啼 秋夜月 上西楼 西楼子 忆真妃 月上瓜洲 西楼
昭君怨 一痕沙 宴西园 洛妃怨 添字昭君怨
画堂春 画堂春令 万峰攒翠
酒泉子 忆余杭
武陵春 武林春 花想容
渔歌子 渔父 渔父乐 渔父词
法曲献仙音 献仙音 越女镜心 法曲第二
山亭柳 遍地花
烛影摇红 忆故人 归去曲 玉珥坠金环 秋色横空
天仙子 万斯年 万斯年曲
永遇乐 消息
雨霖铃 雨淋铃
凤凰台上忆吹箫 忆吹箫
汉宫春 庆千秋
扫花游 扫地花 扫地游
疏影 绿意 解佩环
暗香 红情
风流子 内家娇
过秦楼 惜余春慢 选冠子 苏武慢 选官子 转调选冠子 仄韵过秦楼
桂枝香 疏帘淡月
兰陵王 大犯
解连环 望梅 杏梁燕 玉连环
玉蝴蝶 玉胡蝶 玉蝴蝶慢
应天长 应天长令 应天长慢 应天歌
真珠帘 珍珠帘
贺圣朝 贺圣朝影令 转调贺圣朝
江城梅花引 江梅引 摊破江城子 四笑江梅引 明月引 西湖明月引
庆清朝 庆清朝慢
八六子 感黄鹂
石州慢 石州引 柳色黄
人月圆 青衫湿 人月圆令
河满子 何满子
河传 秋光满目 庆同天 月照梨花
惜分飞 惜双双 惜芳菲 惜双双令
御街行 孤雁儿
天香 伴云来 楼下柳
迎春乐 辟寒金 辟寒香 攀鞍态 舞迎春
钗头凤 撷芳词 摘红英 惜分钗 折红英 玉珑璁
清商怨 关河令 伤情怨 东阳叹
一落索 一络索 一落萦 洛阳春 上林春 一络萦
夜行船 明月棹孤舟 夜厌厌
最高楼 醉高楼 醉高春 最高春
忆少年 陇首山 桃花曲 忆少年令
燕山亭 宴山亭
燕归梁 悟黄粱
促拍满路花 满路花 满园花 归去难 一枝花 喝马一枝花
新荷叶 折新荷引 泛兰舟
隔浦莲近拍 隔浦莲 隔浦莲近
醉蓬莱 雪月交光 冰玉风月
金人捧露盘 铜人捧露盘 上平西 上平南 上西平 西平曲 铜人捧露盘引 上丹霄
婆罗门引 望月婆罗门引 婆罗门
东坡引 东坡引令
六么令 绿腰 乐世 录要
巫山一段云 金莲出玉花
瑞龙吟 章台路
宝鼎现 三段子 宝鼎儿
氐州第一 熙州摘遍
探芳信 探芳讯 西湖春 玉人歌
夜飞鹊 夜飞鹊慢
尉迟杯 东吴乐
长亭怨慢 长亭怨
新雁过妆楼 雁过妆楼 瑶台聚八仙 八宝妆 百宝妆
拜星月慢 拜星月 拜新月
月下笛 凉蟾莹彻 静倚官桥吹笛
探春慢 探春
瑶花 瑶花慢 瑶华
丑奴儿慢 采桑子慢 愁春未醒 叠青钱 丑奴儿近
梅花引 小梅花 贫也乐 将进酒 行路难
人娇 殢人娇 恣逍遥
凤箫吟 芳草 凤楼吟
归朝欢 菖蒲绿
醉太平 凌波曲 醉思凡 四字令
红林檎近 红林擒近
离亭燕 离亭宴
归国谣 归国遥 归自谣 风光子
六丑 个侬
薄命女 长命女
秋霁 春霁
春光好 愁倚阑令 愁倚栏令 愁倚阑 倚阑令
满江红 上江虹 念良游 伤春曲
沁园春 寿星明 洞庭春色 东仙 念离群
水调歌头 花犯念奴 元会曲 凯歌 台城游 水调歌
临江仙 谢新恩 鸳鸯梦 画屏春 庭院深深 雁后归 采莲回 想娉婷 瑞鹤仙令 临江仙令
满庭芳 满庭霜 锁阳台 潇湘夜雨 话桐乡 满庭花 转调满庭芳
木兰花慢 千秋木兰
瑞鹤仙 一捻红
意难忘 空亭日暮
千秋岁引 千秋引 千秋万岁
破阵子 十拍子
相思儿令 相思儿
添声杨柳枝 太平时 贺圣朝影
滴滴金 缕缕金
雨中花令 雨中花 送将归
扑蝴蝶 扑蝴蝶近
西河 西湖
"""
"""One tune per row: the usual name, then its other names; a name of two tunes belongs to the tune with more poems."""
_AS_FOLDED = str.maketrans("爇殢翦", "𦶟𣨼剪")  # characters of names that `normalize` replaces
_LISTED = {name: row.split()[0] for row in _SAME.strip().split("\n") for name in row.split()}
_STANDARD = {name.translate(_AS_FOLDED): standard for name, standard in _LISTED.items()}

SONGS = frozenset(
    [
        "一半儿",
        "凭栏人",
        "叨叨令",
        "喜春来",
        "四块玉",
        "塞鸿秋",
        "天净沙",
        "寿阳曲",
        "小桃红",
        "山坡羊",
        "干荷叶",
        "庆东原",
        "得胜令",
        "折桂令",
        "拨不断",
        "普天乐",
        "梧叶儿",
        "殿前欢",
        "水仙子",
        "沉醉东风",
        "沽美酒",
        "清江引",
        "红绣鞋",
        "落梅风",
        "蟾宫曲",
        "醉高歌",
        "金字经",
        "阳春曲",
        "鹦鹉曲",
        "黑漆弩",
    ]
)
"""Tunes of songs (散曲); poems under these names are 曲, not ci."""
_SONG_SHAPES = {
    (6, 6, 6, 4, 6): "天净沙",
    (4, 4, 7, 3, 3, 7, 7, 1, 3, 1, 3): "山坡羊",
    (4, 4, 7, 3, 3, 7, 8, 1, 3, 1, 3): "山坡羊",
    (7, 7, 5, 5): "凭栏人",
    (7, 7, 7, 3, 5): "喜春来",
    (7, 5, 5, 5, 7): "清江引",
    (3, 3, 7, 7, 3, 3, 3): "四块玉",
}
"""Line lengths of songs with fixed lengths -> tune."""
_NO_TUNES = frozenset(
    [
        "一七令",
        "三五七言",
        "乐语",
        "九张机",
        "九秋吟",
        "兑阁十词",
        "六州",
        "剑舞",
        "十二月乐词",
        "南徐好",
        "双调",
        "吴中柳枝",
        "养家苦",
        "合宫歌",
        "大",
        "大曲",
        "太清舞",
        "失调名",
        "奉礼歌",
        "导引",
        "小品",
        "杂曲歌辞",
        "杂诗",
        "水调",
        "法曲",
        "消寒",
        "纪游",
        "西楼梦妆懒",
        "长安秋思三调",
        "清平调",
        "渔夫舞",
        "自度曲",
        "花舞",
        "花非花",
        "薄媚",
        "调笑转踏",
        "调笑转踏姑苏台",
        "道无情",
        "采绿吟",
        "采莲子",
        "采莲曲",
        "采莲舞",
        "阳春",
        "降仙台",
    ]
)
"""Names in the tune field of the corpora that are not tunes: ceremonies, dances, ballads, titles."""
_NOT_SUNG = re.compile(r"竹枝|竹枝词|柳枝词|舞马词|[景咏首阙阕词歌辞]$|^杂|[一二三四五六七八九十]+首")
_ORDINAL = re.compile(r"(?:其|之)?(?<!第)[一二三四五六七八九十]+[首阙阕咏]?$")
_OWN = "慢令引近子序犯遍影"  # a name with such an ending is a separate tune, even if it begins with the name of another
_SHORTEST_HEAD, _SHORTEST_TOPIC = 3, 1


@lru_cache(maxsize=8192)
def standard_name(name: str) -> str:
    """Return the usual name of a tune, or an empty string if the name is not that of a tune.

    Args:
        name: A normalised name, optionally followed by a topic or a number (望江南啜茶十咏).
    """
    if name in _STANDARD:
        return _STANDARD[name]
    if name in SONGS or name in _NO_TUNES:
        return ""
    head = _ORDINAL.sub("", name)
    if head != name and len(head) > 1:
        return standard_name(head)
    for length in range(len(name) - _SHORTEST_TOPIC, _SHORTEST_HEAD - 1, -1):
        if name[:length] in _STANDARD and name[-1] not in _OWN:
            return _STANDARD[name[:length]]
    return "" if _NOT_SUNG.search(name) else name


def song_of(lengths: tuple[int, ...]) -> str:
    """Return the tune of songs (曲) with these line lengths, or an empty string."""
    return _SONG_SHAPES.get(lengths, "")


def other_names(name: str) -> tuple[str, ...]:
    """Return the other names of a tune."""
    return tuple(other for other, standard in _LISTED.items() if standard == name != other)


def names_tune(name: str) -> bool:
    """Return whether a normalised text is the name of a tune or song and unlikely to be anything else."""
    return (len(name) >= _SHORTEST_HEAD and name in _STANDARD) or name in SONGS
