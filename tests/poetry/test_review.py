"""The critic, on poems whose faults are known; tones and rhymes are told by hand here."""

from dataclasses import replace

import numpy as np
import pytest

from zhseq.errors import InputError, command_line
from zhseq.poetry.faults import LICENCES, REASONS, Fault, Finding
from zhseq.poetry.prosody import Pattern, Prosody, RhymeGroup, Tone, TunePattern
from zhseq.poetry.prosody.patterns import Echo
from zhseq.poetry.prosody.prosody import ToneTable
from zhseq.poetry.reading import read_lines
from zhseq.poetry.review import review
from zhseq.poetry.scoring import candidates, positions_to_mend

CRANE = "白日依山尽，黄河入海流。欲穷千里目，更上一层楼。"
QUIET = "床前明月光，疑是地上霜。举头望明月，低头思故乡。"
LEVEL = "依山黄河流穷千层楼床前明光疑霜头低思乡秋人心云长江东来无风"
OBLIQUE = "白日尽入海欲里目上一月是地举望故雪夜去树"
EITHER = "更"
GROUPS = ("流楼秋", "光霜床乡黄长江", "人云", "目", "雪月")


def prosody():
    characters = LEVEL + OBLIQUE + EITHER
    classes = "平" * len(LEVEL) + "仄" * len(OBLIQUE) + "中" * len(EITHER)
    level = np.array([{"平": 1, "仄": 0, "中": 0.5}[sign] for sign in classes], dtype=np.float32)
    groups = [
        RhymeGroup(n, members[0], Tone.LEVEL if members[0] in LEVEL else Tone.OBLIQUE, members, members)
        for n, members in enumerate(GROUPS)
    ]
    tune = TunePattern((3, 5), ("中平平", "中仄仄平平"), (1, 1), "，。", (), 5, name="小令", total=6)
    return Prosody(ToneTable(characters, level, classes, np.ones(len(characters), dtype=bool)), groups, {"小令": tune})


def faults(text, **more):
    return [(fault.kind, fault.line, fault.position) for fault in review(text, prosody(), **more).faults]


def test_a_regular_poem_has_no_fault():
    found = review(CRANE, prosody())
    assert found.faults == ()
    assert (found.form, found.pattern) == ("五绝", "仄起 首句不入韵")
    assert [found.rhymes[n] for n in (1, 3)] == [0, 0]
    assert found.tones[3] == "中仄仄平平"


def test_script_and_layout_do_not_matter():
    assert faults("白日依山盡\n黃河入海流\n\n欲窮千里目\n更上一層樓") == []
    assert faults("白日依山尽,黄河入海流.欲穷千里目,更上一层楼") == []


def test_each_fault_has_its_place():
    found = review(QUIET, prosody(), form="五绝").faults
    assert [(fault.kind, fault.line, fault.position) for fault in found] == [
        ("tone", 2, 4),
        ("tone", 3, 0),
        ("tone", 4, 0),
    ]
    assert [str(fault) for fault in found] == [
        "line 2, character 4 '上': its tone is oblique, but level is required here",
        "line 3: its tones are not linked to those of line 2 (失粘)",
        "line 4: its tones do not oppose those of line 3 (失对)",
    ]
    assert [str(remark) for remark in review(QUIET, prosody(), form="五绝").remarks] == [
        "line 3, character 4 '明': 拗: 平平仄平仄 instead of 平平平仄仄, which is allowed",
        "line 3, character 4 '明': '明月' already occurs in line 1; this may be intended",
    ]


def test_faults_are_data_and_are_said_in_each_language():
    first, second = review(QUIET, prosody(), form="五绝").faults[:2]
    assert first == Fault("wrong_tone", 2, 4, "上", tone="仄", expected="平")
    assert second == Fault("not_linked", 3, other_line=2)
    assert first.message.render(language="zh") == "第 2 句第 4 字「上」：此字仄声，此处当用平声"
    assert second.message.render(language="zh") == "第 3 句：与第 2 句平仄不相粘（失粘）"
    note = review(QUIET, prosody()).note
    assert note.render(command_line, "zh") == (
        "读来是古体：平仄不合任何近体格式；若作五绝，则有 3 处不合，可用 --form 五绝 列出"
    )


def test_every_fault_can_be_said_in_both_languages():
    for code in (*REASONS, *LICENCES):
        fault = Finding(code, 3, 2, "春", "仄", "平", 1, "东", 4, 5, "春风", "小令")
        english, chinese = (fault.message.render(language=language) for language in ("en", "zh"))
        assert english.startswith("line 3, character 2 '春': ")
        assert chinese.startswith("第 3 句第 2 字「春」：")
        assert fault.kind in ("form", "tone", "rhyme", "repetition", "rescue", "licence")


def test_a_review_prints_its_note_and_its_faults():
    assert str(review(QUIET, prosody(), form="五绝")).splitlines()[1] == (
        "line 3: its tones are not linked to those of line 2 (失粘)"
    )
    assert str(review(QUIET, prosody())).startswith("reads as old-style verse")
    assert str(review(CRANE, prosody())) == ""


def test_verse_in_the_old_style_is_told_and_judged_by_its_rhymes():
    found = review(QUIET, prosody())
    assert (found.form, found.pattern, found.faults, found.rhymes) == ("五绝", "古体", (), (1, 1, -1, 1))
    assert str(found.note) == (
        "reads as old-style verse (古体): its tones follow no regulated pattern; as a 五绝 it would have 3 faults, "
        "which form='五绝' lists"
    )
    assert set("".join(found.expected)) == {"中"}
    oblique = review("黄河入海目，白日无雪月。欲上一层楼，长江秋夜雪。", prosody())
    assert (oblique.pattern, oblique.faults) == ("古体", ())
    assert "rhymes on oblique words" in str(oblique.note)
    assert faults("黄河入海流，白日依山月。欲上一层楼，长江秋夜目。") == [("rhyme", 4, 5)]
    assert faults("黄河入海目，白日无雪月。欲上一层楼，长江秋夜月。") == [("repetition", 4, 5)]


def test_a_quatrain_that_is_not_linked_has_a_name_of_its_own():
    turned = CRANE.split("。")[0] + "。月夜云人目，无风一地楼。"
    found = review(turned, prosody())
    assert (found.pattern, found.faults) == ("仄起 首句不入韵 折腰体", ())
    assert [(remark.code, remark.line) for remark in found.remarks] == [("broken_waist", 3)]


def test_longer_verse_has_to_be_linked():
    """Lines 1 to 4 keep a pattern, lines 5 to 8 begin it anew on the wrong tone."""
    first = "白日依山尽，黄河入海流。无风千里目，夜月一层楼。"
    second = "白日依山欲，长江入地秋。云人穷里月，夜雪一乡流。"
    found = review(first + second, prosody())
    assert [fault.code for fault in found.faults if fault.kind == "tone"] == []
    third = "思乡穷里月，夜雪一层楼。"
    found = review(first + third + "云人无月目，白日一山秋。", prosody())
    assert ("not_linked", 5) in [(fault.code, fault.line) for fault in found.faults]


RESCUED = {
    "turned_end": ("黄河入长目", 3, "更上一层楼"),
    "rescued_by_next": ("白日入地尽", 1, "黄河无海流"),
    "lonely_rescued": ("白日入山尽", 1, "黄河无海流"),
    "lonely_open": ("白日入山尽", 1, "黄河入海流"),
    "rescued_within": ("白日依山尽", 2, "月河无海流"),
}


@pytest.mark.parametrize("code", RESCUED)
def test_a_tone_out_of_place_that_is_rescued_is_said(code):
    upper, line, lower = RESCUED[code]
    lines = ["白日依山尽", "黄河入海流", "欲穷千里目", "更上一层楼"]
    first = 2 if code == "turned_end" else 0
    lines[first : first + 2] = [upper, lower]
    found = review("，".join(lines), prosody())
    assert found.faults == ()
    assert (code, line) in [(remark.code, remark.line) for remark in found.remarks]


def test_seven_characters_are_rescued_as_five_are():
    found = review("长江白日雪月地，月夜思乡无地流。月夜思乡无月目，长江白日雪无楼。", prosody(), form="七绝")
    assert ("rescued_by_next", "无") in [(remark.code, remark.text) for remark in found.remarks]
    assert not [fault for fault in found.faults if fault.line < 3]


def test_what_should_rescue_and_does_not_is_a_fault():
    found = review("白日入地尽，黄河入海流。欲穷千里目，更上一层楼。", prosody())
    assert [(fault.code, fault.line, fault.position) for fault in found.faults] == [("wrong_tone", 1, 4)]


def test_quatrains_on_oblique_rhymes():
    found = review("黄河入海目，白日依山月。欲上一层楼，长江秋夜雪。", prosody())
    assert (found.pattern, found.note) == ("平起 首句入韵 仄韵", None)
    assert [(fault.code, fault.line) for fault in found.faults] == [("no_rhyme", 1)]


def test_the_other_reading_of_old_style_verse_can_be_mended():
    found = review(QUIET, prosody())
    assert found.faults == ()
    assert len(found.otherwise.faults) == 3
    assert positions_to_mend(found) == [(1, 3)]


def test_a_form_is_kept_to():
    with pytest.raises(InputError, match="a 五律 has 8 lines, but this poem has 4"):
        review(CRANE, prosody(), form="五律")
    with pytest.raises(InputError, match="no form '词'"):
        review(CRANE, prosody(), form="词")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("海流", "海霜", [("rhyme", 4, 5)]),  # two words, two groups: the first found is the measure
        ("海流", "海目", [("tone", 2, 5)]),
        ("里目", "里心", [("tone", 3, 5)]),
        ("黄河入", "黄人心", [("tone", 2, 5), ("tone", 2, 4)]),
        ("一层楼", "山层楼", [("tone", 4, 3)]),  # three level tones at the end
        ("一层楼", "一层流", [("repetition", 4, 5)]),
        ("黄河入海流", "白日依山尽", None),
        ("黄河入海", "入河入海", [("tone", 2, 1)]),  # a level tone left alone
        ("黄河", "长江水", [("form", 2, 0)]),
    ],
)
def test_what_is_spoiled_is_found(old, new, expected):
    found = faults(CRANE.replace(old, new))
    if expected is None:
        assert ("repetition", 2, 0) in found
    elif old == "黄河入":
        assert found == []  # 人 is level at the second place as 河 was, and the third place is free
    else:
        assert [fault for fault in found if fault in expected] == expected or found == expected


def test_a_turned_end_is_allowed():
    found = review("白日依山尽，黄河入海流。黄河入长目，更上一层楼。", prosody())
    assert found.faults == ()
    assert [(remark.code, remark.position) for remark in found.remarks] == [("repeated_pair", 1), ("turned_end", 4)]


def test_a_character_of_both_tones_stands_anywhere():
    assert faults(CRANE.replace("黄河", "黄更")) == []


def test_ci_are_told_by_their_lines_and_judged_by_their_tune():
    found = review("黄河流，欲上一层楼。", prosody())
    assert (found.form, found.tune, found.faults) == ("词", "小令", ())
    assert faults("黄河流，欲上一层霜。") == [("rhyme", 2, 5)]
    assert faults("黄日流，欲上一层楼。") == [("tone", 1, 2)]
    tune = prosody().tunes["小令"]
    assert ("form", 2, 0) in faults("黄河流，欲上一层楼秋。", tune=tune)
    assert ("form", 1, 0) in faults("黄河流。", tune=tune)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("今天我们去学校，老师说了很多话。", "found 2 lines of 7、7 characters"),
        ("春风 spring", "contains 's'"),
        ("，。！", "no Chinese character"),
        ("？", "found 1 line of 1 characters"),
        ("？" * 40, "found 7 lines of"),
    ],
)
def test_what_is_no_poem_is_refused_in_one_sentence(text, reason):
    with pytest.raises(InputError, match=reason) as caught:
        review(text, prosody())
    assert "\n" not in str(caught.value)


def test_marked_places_are_told_from_question_marks():
    assert read_lines("白日依山？黄河？海流？欲穷千里目？更？一层楼？") == [
        "白日依山?",
        "黄河?海流",
        "欲穷千里目",
        "更?一层楼",
    ]
    assert read_lines("黄？流？欲上一□楼", (3, 5)) == ["黄?流", "欲上一?楼"]


def test_candidates_keep_tone_and_rhyme_and_do_not_repeat():
    found = review(CRANE.replace("海流", "海？").replace("穷千", "？千"), prosody())
    assert found.faults == ()
    alphabet = LEVEL + OBLIQUE + EITHER
    assert candidates(found, 1, 4, alphabet, prosody()) == ["流", "秋"]
    level = candidates(found, 2, 1, alphabet, prosody())
    assert "穷" in level
    assert not set(level) & set(OBLIQUE + EITHER + "依山黄河")


def sung(*patterns, name="新令"):
    """A prosody with one more tune."""
    main, *variants = patterns
    found = prosody()
    tune = TunePattern(**vars(main), name=name, total=9, variants=tuple(variants))
    return Prosody(found.table, found.rhyme_groups, {**found.tunes, name: tune})


def test_a_pause_within_a_line_is_no_line():
    known = sung(Pattern((7, 5), ("中中中中中平平", "中仄仄平平"), (1, 1)))
    for text in ("白日雪、依山河流，欲上一层楼。", "白日雪，依山河流，欲上一层楼。", "白日雪依山河流。欲上一层楼。"):
        found = review(text, known)
        assert (found.tune, found.faults) == ("新令", ())
    assert review("白日雪、依山河流，欲上一层楼。", known).lines == ("白日雪依山河流", "欲上一层楼")


def test_a_variant_of_a_tune_is_told_by_its_length():
    known = sung(Pattern((3, 5), ("中仄平", "中仄仄平平"), (1, 1)), Pattern((4, 5), ("中仄中平", "中仄仄平平"), (1, 1)))
    assert review("白日依流，欲上一层楼。", known).faults == ()
    assert [(fault.line, fault.position) for fault in review("白依月流，欲上一层楼。", known).faults] == [(1, 2)]


def test_what_a_tune_repeats_is_demanded():
    known = sung(Pattern((2, 2, 5), ("平仄", "平仄", "中仄仄平平"), (0, 0, 1), echoes=(Echo(2, 0, 2),)))
    tune = known.tunes["新令"]
    assert review("黄月，黄月，欲上一层楼。", known, tune).faults == ()
    assert [
        (fault.code, fault.line, fault.text) for fault in review("黄月，无雪，欲上一层楼。", known, tune).faults
    ] == [("no_repetition", 2, "黄月")]


def test_what_some_poets_leave_is_no_fault():
    strict = Pattern((3, 3, 5), ("中仄平", "中仄平", "中仄仄平平"), (1, 1, 1))
    known = sung(replace(strict, loose=(1, 5)))
    tune = known.tunes["新令"]
    assert review("黄河流，白日尽，欲上一层楼。", known, tune).faults == ()
    assert [(fault.line, fault.position) for fault in review("黄日流，白河楼，欲上一层秋。", known, tune).faults] == [
        (2, 2)
    ]


def test_a_line_too_many_is_said_with_the_tune_that_it_was_taken_for():
    lines = ("中仄平", "中仄仄平平", "中平仄", "平平仄仄平")
    known = sung(Pattern((3, 5, 3, 5), lines, (1, 1, 0, 1)))
    found = review("白日流，欲上一层楼，黄河月，无人，黄河白日秋。", known)
    assert found.tune == "新令"
    assert [fault.code for fault in found.faults] == ["surplus_line"]
    assert str(found.note) == "read as 新令, the closest tune; if that is wrong, name the tune with tune="


def test_verse_of_mixed_lengths_and_poems_run_together_are_told():
    mixed = review("白日流，欲上一层楼，黄河日月入海流，白日依山，更上秋楼。", prosody())
    assert (mixed.form, mixed.pattern) == ("杂言", "古体")
    second = "夜雪无人地，长江月目光。思乡千里目，白日一山霜。"
    assert str(review(CRANE + second, prosody()).note).startswith("reads as 2 五绝 run together")


HILLS = "长江白日千山雪，白雪黄河入海流。月地欲穷千里目，秋云更上一层楼。"
FROST = "江山日月一层霜，白日依山入海光。白雪长江千里目，秋云更上一低床。"


def test_quatrains_run_together_are_judged_one_by_one():
    assert review(HILLS, prosody()).faults == review(FROST, prosody()).faults == ()
    both = review(HILLS + FROST, prosody())
    assert str(both.note) == "reads as 2 七绝 run together; separate them with a blank line"
    assert (both.form, both.faults, both.rhymes) == ("七绝", (), (-1, 0, -1, 0, 1, 1, -1, 1))
    three = review(HILLS + FROST + HILLS, prosody())
    assert str(three.note) == "reads as 3 七绝 run together; separate them with a blank line"
    spoiled = review(HILLS + FROST.replace("低床", "低云"), prosody())
    assert str(spoiled.note).startswith("reads as 2 七绝 run together")
    assert [(fault.code, fault.line, fault.position) for fault in spoiled.faults] == [("no_rhyme", 8, 7)]


def test_a_poem_of_eight_lines_with_slips_is_one_poem():
    whole = "江云日月千山雪，白雪黄河入海光。月地欲穷千里目，秋云更上一层霜。"
    whole += "千层雪夜黄河月，望月低头一夜床。举目明前无日地，人心入海上东乡。"
    assert (review(whole, prosody()).form, review(whole, prosody()).faults) == ("七律", ())
    found = review(whole.replace("床", "楼"), prosody())
    assert (found.form, found.note, [fault.code for fault in found.faults]) == ("七律", None, ["no_rhyme"])


def test_two_poems_of_different_forms_run_together_are_told():
    longer = "江山白日依山尽，白雪黄河入海流。月地欲穷千里目，秋云更上一层楼。"
    assert (review(longer, prosody()).form, review(longer, prosody()).faults) == ("七绝", ())
    for text, first, second in ((CRANE + longer, "五绝", "七绝"), (longer + CRANE, "七绝", "五绝")):
        found = review(text, prosody())
        assert str(found.note) == f"reads as a {first} and a {second} run together; separate them with a blank line"
        assert (found.form, found.faults) == ("杂言", ())
    found = review(CRANE + "黄河流，欲上一层楼。", prosody())
    assert str(found.note) == "reads as a 五绝 and a 小令 run together; separate them with a blank line"


def test_of_neighbouring_lines_of_one_length_that_one_is_too_many_without_which_the_rest_keeps_the_tune():
    lines = ("平平仄", "平仄平", "中仄仄平平", "仄平仄", "平平仄仄平", "仄仄仄平平", "中平仄仄平")
    known = sung(Pattern(tuple(map(len, lines)), lines, (0, 1, 1, 0, 1, 0, 1)))
    text = "云山月，黄日流，欲上一层楼。上江月，江山白日秋。入海故乡山，江山欲上流。"
    assert review(text, known).faults == ()
    for surplus, code in ((text + "江山夜雪楼。", "surplus_lines"), ("日月一山秋。" + text, "surplus_line")):
        found = review(surplus, known)
        assert [(fault.code, fault.line) for fault in found.faults][:1] == [(code, 8 if code[-1] == "s" else 1)]
        assert len(found.faults) == 1
    found = review(text.replace("江山白日秋。", ""), known)
    assert [(fault.code, fault.line) for fault in found.faults] == [("missing_line", 4)]


def test_a_text_with_faults_is_hardly_to_a_tune_that_few_poets_used():
    """闲中好 has as many characters, but two of its tones are against it."""
    goose = "鹅鹅鹅，曲项向天歌。白毛浮绿水，红掌拨清波。"
    assert review(goose, Prosody.load("checkpoints/poem")).form == "杂言"


def test_old_style_verse_may_rhyme_on_a_word_twice_and_an_odd_number_of_lines_is_not_judged():
    text = "黄河入海目，江云雪无月。白日依山流，长江秋夜雪。欲上一层楼，江山人去月。"
    found = review(text, prosody())
    assert (found.pattern, found.faults) == ("古体", ())
    assert [(remark.code, remark.line, remark.other_line) for remark in found.remarks] == [("rhyme_word_again", 6, 2)]
    odd = review("黄河入海流，白日依山霜。欲穷千里目，更上一层楼。长江秋夜雪。", prosody())
    assert (odd.form, odd.pattern, odd.faults) == ("五古", "古体", ())
    assert (
        str(odd.note) == "reads as old-style verse (古体): its 5 lines do not form pairs, so its rhymes are not checked"
    )


def test_old_style_verse_that_would_be_regulated_without_a_fault_is_said_so():
    found = review("黄河入海流，白日依山月。江山白日楼，欲上长江雪。", prosody())
    assert found.otherwise is not None
    assert found.otherwise.faults == ()
    assert "it would have no fault as a 五绝 (平起" in str(found.note)


def test_a_line_too_many_is_told_whatever_tune_comes_nearer_by_its_lengths():
    usual = ("仄仄平平仄", "平仄平平", "中平中", "中仄中平", "平中中", "中仄平平")
    lines = tuple(map(len, usual))
    tune = Pattern(lines, usual, (0, 1, 0, 1, 0, 1))
    text = "白日依山尽，黄海江流，长江日，月上山楼，云江雪，白日无秋，"
    assert review(text, sung(tune)).faults == ()
    found = review(text + "白日江山流。", sung(tune))
    assert str(found.note).startswith("read as 新令")
    assert [(fault.code, fault.line) for fault in found.faults] == [("surplus_lines", 7)]


def test_long_regulated_verse_is_read():
    one, two = CRANE.split("。")[:2]
    parts = [one, two, "白日无山月，长江入地秋", "思乡穷里目，夜雪一层楼", "月夜依人尽，无风月目流"]
    found = review("。".join(parts), prosody())
    assert found.form == "五言排律"
    assert found.pattern == "仄起 首句不入韵"


def test_a_text_of_marked_places_alone_is_held_to_a_tune():
    found = review("？？？？？，？？？？？？。", prosody(), prosody().tunes["小令"])
    assert found.tune == "小令"
    assert {fault.kind for fault in found.faults} == {"form"}


def test_lines_that_are_joined_or_parted_do_not_hide_what_is_wrong_elsewhere():
    lines = ("中中仄平", "中仄仄平平", "中平仄", "平平仄仄平", "中仄仄平平")
    known = sung(Pattern(tuple(map(len, lines)), lines, (1, 1, 0, 1, 1)))
    text = "黄日，白流。白雪一层楼，无云月，黄河日雪秋，长，雪月一无流。"
    found = review(text, known, known.tunes["新令"])
    assert [(fault.code, fault.line) for fault in found.faults] == [("surplus_line", 6)]


def test_prose_in_even_lines_is_no_poem_with_faults():
    found = review("黄上河日目，白依日山秋。江上云地雪，白人日山云。", prosody())
    assert (found.form, found.faults, found.rhymes) == ("散文", (), (-1,) * 4)
    assert str(found.note).startswith("reads as prose: no two of its lines rhyme, and its tones follow no regulated")
    assert found.otherwise is not None
    assert len(found.otherwise.faults) > 3
    even = review("日月江上，云雪无人，山光夜去，海地思秋。", prosody())
    assert str(even.note) == "reads as prose: no two of its 4 lines of 4 characters rhyme"


def test_uneven_lines_that_hardly_rhyme_are_prose():
    found = review("白日依山，黄河入海流。欲穷千里，更上一层楼兮。", prosody())
    assert (found.form, found.faults) == ("散文", ())
    assert str(found.note) == (
        "read as prose or free verse: hardly any of its 4 lines, of 4、5、4、6 characters, rhyme, and no known tune "
        "has such lines; if it is a ci, name the tune with tune="
    )


def test_a_song_is_told_and_not_judged():
    found = review("黄河日月江楼，白日无人夜秋，上月依山故流。江秋雪月，低人海地流楼。", prosody())
    assert (found.form, found.pattern, found.faults) == ("曲", "天净沙", ())
    assert str(found.note).startswith("read as 天净沙, a tune of songs (曲)")


def test_ci_to_one_tune_run_together_are_told():
    lines = "黄河流，欲上一层楼。"
    assert str(review(lines * 3, prosody()).note) == "reads as 3 小令 run together; separate them with a blank line"


def test_rhymes_on_oblique_words_are_called_by_the_book():
    found = prosody()
    named = replace(found.table, oblique_groups={"入声五物、六月": "月雪", "入声九屑": "雪"})
    known = Prosody(named, found.rhyme_groups, found.tunes)
    judged = review("黄河入海雪，白日依山雪。江山白日楼，欲上长江月。", known)
    assert [judged.rhyme_name(line, known) for line in range(4)] == ["入声五物、六月 (雪)"] * 2 + [
        "",
        "入声五物、六月 (雪)",
    ]


def test_what_is_no_poem_to_the_tune_that_was_named_has_one_fault():
    tune = Pattern((3,) * 9, ("中中平",) * 9, (1,) * 9)
    found = review("黄河白流，白日尽无秋。", sung(tune), sung(tune).tunes["新令"])
    assert [str(fault) for fault in found.faults] == ["line 2: this is not 新令, which has 9 lines of other lengths"]


def test_characters_of_which_nothing_is_known_are_said():
    found = review(CRANE.replace("河", "龘"), prosody())
    assert found.faults == ()
    assert str(found.note) == "the tones of 龘 are unknown; they are accepted at any position"


def test_verse_whose_rhyme_changes_is_verse_in_the_old_style():
    text = "白日依山目，江人去无雪。黄来欲上光，黄河夜上月。长江入海流，秋云依白楼。江山人去地，白日无人秋。"
    found = review(text, prosody())
    assert found.pattern == "古体 换韵"
    assert found.faults == ()


def test_marks_of_no_width_are_left_out():
    assert review("\ufeff" + CRANE + "\u200b", prosody()).faults == ()


def test_lines_of_another_length_are_mixed_verse_and_one_character_more_is_a_slip():
    lines = ["君不见黄河之水天上来", "奔流到海不复回", "君不见高堂明镜悲白发", "朝如青丝暮成雪"]
    lines += ["人生得意须尽欢", "莫使金樽空对月", "天生我材必有用", "千金散尽还复来"]
    shipped = Prosody.load("checkpoints/poem")
    assert review("，".join(lines), shipped).form == "杂言"
    lines[2] = lines[2][3:]
    assert (
        review("，".join(lines), shipped).form == "杂言"
    )  # a line that is longer by three characters is no slip, either
    lines[0] = lines[0][2:]
    assert "line_length" in [fault.code for fault in review("，".join(lines), shipped).faults]
