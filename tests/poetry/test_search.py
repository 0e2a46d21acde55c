"""Poems of an untrained model keep every rule: the rules are told here a second time, by hand."""

import inspect
from itertools import pairwise

import pytest

from tests.poetry.conftest import EITHER, LEVEL_GROUPS, OBLIQUE, OBLIQUE_GROUPS
from zhseq.errors import InputError
from zhseq.poem import build_parser
from zhseq.poetry.forms import FORMS
from zhseq.poetry.poet import Poet, Request
from zhseq.poetry.request import Ranking, Sampling


def tone(character):
    return "中" if character in EITHER else "仄" if character in OBLIQUE else "平"


def group_of(character):
    return next((group for group in (*LEVEL_GROUPS, *OBLIQUE_GROUPS) if character in group), character)


def write(poet, num=40, **wishes):
    return list(poet.stream(Request(sampling=Sampling(temperature=1.5, seed=7), **wishes), num))


@pytest.mark.parametrize("form", FORMS)
def test_tones_alternate_oppose_and_are_taken_up(ruled_poet, form):
    for poem in write(ruled_poet, form=form):
        second = [tone(line[1]) for line in poem.lines]
        assert set(second) == {"平", "仄"}
        for number, line in enumerate(poem.lines):
            heard = [tone(line[place]) for place in range(1, len(line) - 1, 2)]
            assert all(a != b for a, b in pairwise(heard)), line
            assert (second[number] != second[number - 1]) if number % 2 else True
            assert (second[number] == second[number - 1]) if number and number % 2 == 0 else True


@pytest.mark.parametrize("form", FORMS)
def test_even_lines_rhyme_on_a_level_tone_and_no_word_rhymes_with_itself(ruled_poet, form):
    for poem in write(ruled_poet, form=form):
        words = [line[-1] for number, line in enumerate(poem.lines) if number % 2 or tone(line[-1]) == "平"]
        assert {tone(word) for word in words} == {"平"}
        assert len({group_of(word) for word in words}) == 1
        assert len(set(words)) == len(words)
        others = [line[-1] for number, line in enumerate(poem.lines) if number % 2 == 0 and number]
        assert {tone(word) for word in others} == {"仄"}


def test_each_rhyme_of_a_tune_has_a_group_and_a_tone_of_its_own(ruled_poet):
    for poem in write(ruled_poet, tune="小令"):
        first, second, third, fourth = (line[-1] for line in poem.lines)
        assert tuple(map(len, poem.lines)) == (3, 5, 4, 3)
        assert group_of(first) == group_of(second)
        assert group_of(third) == group_of(fourth)
        assert (tone(first), tone(third)) == ("平", "仄")
        assert poem.text.split("\n")[1] == f"{poem.lines[2]}，{poem.lines[3]}。"
        assert (poem.form, poem.tune) == ("词", "小令")


def test_characters_do_not_return_except_doubled_at_once(ruled_poet):
    for poem in write(ruled_poet, form="五绝"):
        text = "|".join(poem.lines)
        for index, character in enumerate(text):
            if character != "|" and character in text[:index]:
                assert text[index - 1] == character
                assert text.count(character) == 2


def test_poems_do_not_depend_on_how_many_are_asked_for(ruled_poet):
    few, many = write(ruled_poet, 3), write(ruled_poet, 70)
    assert few == many[:3]
    assert len(set(many)) == 70


@pytest.mark.parametrize("wishes", [{"acrostic": "春夏秋冬"}, {"acrostic": "雪月日夜水雨地酒"}, {"acrostic": "龘風"}])
def test_acrostics_are_honoured(ruled_poet, wishes):
    for poem in write(ruled_poet, 5, **wishes):
        assert "".join(line[0] for line in poem.lines).startswith(wishes["acrostic"])


@pytest.mark.parametrize(("count", "lines"), [(9, 10), (11, 12)])
def test_long_acrostics_make_long_regulated_poems(ruled_poet, count, lines):
    acrostic = "春月夜人心雪雨"[: count % 7] + "春月夜人心雪雨" * (count // 7)
    poem = ruled_poet.write(acrostic=acrostic)
    assert (poem.form, {len(line) for line in poem.lines}, len(poem.lines)) == ("七言排律", {7}, lines)
    assert "".join(line[0] for line in poem.lines).startswith(acrostic)
    assert poem.text.count("\n") == lines // 2 - 1
    assert len(poem.pattern.rhymes) == lines


def test_long_regulated_poems_hold_what_is_given(ruled_poet):
    lines = [f"{head}花月夜雪人来" for head in "春秋冬夏日地山水云雨江"]
    assert ruled_poet.write(form="七言排律", lines=lines, rhyme="none").lines[:11] == tuple(lines)
    short = ruled_poet.write(form="五言排律", start="春", rhyme="none")
    assert (len(short.lines), short.text[0]) == (10, "春")
    again = ruled_poet.rewrite(short.lines, 9, 2, rhyme="none")
    assert all(len(line) == 5 for line in again)


def test_an_acrostic_at_the_end_of_lines(ruled_poet):
    for poem in write(ruled_poet, 5, acrostic="春人月心", acrostic_at="end"):
        assert "".join(line[-1] for line in poem.lines) == "春人月心"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("acrostic", ["月夜雪雨", "春人心云", "春月人夜"])
def test_every_form_carries_every_tone_at_the_head_of_its_lines(ruled_poet, form, acrostic):
    assert "".join(line[0] for line in ruled_poet.write(form=form, acrostic=acrostic).lines).startswith(acrostic)


def test_a_start_chooses_the_pattern(ruled_poet):
    for start, second in (("春风", "平"), ("春月", "仄")):
        for poem in write(ruled_poet, 10, start=start, form="七绝", rhyme="classical"):
            assert poem.text.startswith(start)
            assert tone(poem.lines[3][1]) == second


def test_a_start_that_breaks_the_rules_is_kept_or_refused_as_asked(ruled_poet):
    start = "春风花来山天人"  # level at the second, fourth and sixth place
    poem = ruled_poet.write(start=start, form="七绝")
    assert poem.lines[0] == start
    assert group_of(poem.lines[1][-1]) == group_of(poem.lines[3][-1])
    with pytest.raises(InputError, match="'来' in line 1 would have to be oblique"):
        ruled_poet.write(start=start, form="七绝", rhyme="classical")


def test_the_rhyme_group_can_be_chosen(ruled_poet):
    for poem in write(ruled_poet, 10, rhyme_group="风", form="五绝"):
        assert poem.lines[1][-1] in LEVEL_GROUPS[1]


@pytest.mark.parametrize(
    ("wishes", "reason"),
    [
        ({"acrostic": "春" * 41}, "41 characters, but a [五七]言排律 has 40 lines"),
        ({"acrostic": "春A"}, "contains 'A'"),
        ({"acrostic": "春夏", "start": "秋"}, "'秋' of the start and '春' of the acrostic"),
        ({"acrostic": "春夏秋冬", "acrostic_at": "end", "form": "七绝"}, "'夏' in line 2 would have to be level"),
        ({"acrostic": "春春", "acrostic_at": "end", "form": "七绝"}, "occurs twice"),
        ({"acrostic": "春风", "acrostic_at": "middle"}, "not at 'middle'"),
        ({"rhyme_group": "月", "form": "五绝"}, "oblique"),
        ({"rhyme_group": "空"}, "no rhyme group '空'"),
        ({"rhyme_group": "风", "rhyme": "none"}, "leave one of the two out"),
        ({"rhyme": "blank"}, "no rhyme 'blank'"),
        ({"rhyme": "modern"}, "no modern readings"),
        ({"tune": "大令"}, "similar names: 小令"),
        ({"tune": "小令", "form": "五绝"}, "exclude each other"),
        ({"best_of": 0}, "1 to 256"),
        ({"lines": ["春风花月山", "春风"], "form": "七绝"}, "line 1 has 5 characters, but in a 七绝 it has 7"),
        ({"lines": ["<p>春风花月山</p>"], "form": "七绝"}, "this text contains '<'"),
        ({"lines": ["春风"], "start": "春"}, "leave one out"),
        ({"lines": ["，"], "form": "七绝"}, "no line to continue"),
    ],
)
def test_impossible_wishes_are_one_sentence(ruled_poet, wishes, reason):
    with pytest.raises(InputError, match=reason) as caught:
        ruled_poet.write(**wishes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wishes", [{"rhyme": "classical"}, {"tune": "小令"}, {"rhyme_group": "春"}])
def test_a_model_without_prosody_says_so(tiny_poet, wishes):
    with pytest.raises(InputError, match=r"zhseq train prosody"):
        tiny_poet.write(**wishes)


def test_without_rhyme_only_the_shape_is_kept(ruled_poet, tiny_poet):
    assert ruled_poet.write(rhyme="none", seed=3) == tiny_poet.write(seed=3)
    free = write(ruled_poet, tune="小令", rhyme="none")
    assert {tuple(map(len, poem.lines)) for poem in free} == {(3, 5, 4, 3)}
    assert len({group_of(poem.lines[1][-1]) for poem in free}) > 3


def test_lines_are_gone_on_from(ruled_poet):
    poem = ruled_poet.write(lines=["春风来去月，", "山水"], form="五绝")
    assert poem.lines[0] == "春风来去月"
    assert poem.lines[1].startswith("山水")
    assert ruled_poet.write(lines=["春风来去月，", "山水"]).form == "五绝"


def test_subject_and_author_change_the_poem_and_not_the_rules(ruled_poet):
    plain, pulled = (
        write(ruled_poet, 5, form="五绝", **wishes) for wishes in ({}, {"about": "明月", "author": "李白"})
    )
    assert [poem.lines for poem in plain] != [poem.lines for poem in pulled]
    assert {poem.title for poem in pulled} == {"明月"}
    for poem in pulled:
        assert group_of(poem.lines[1][-1]) == group_of(poem.lines[3][-1])


def test_more_candidates_make_poems_the_model_likes_better(ruled_poet):
    def bits(best_of):
        ranking = Ranking(best_of, typical=0.0)
        poems = list(ruled_poet.stream(Request(form="五绝", ranking=ranking, sampling=Sampling(1.5)), 30))
        return sum(score.bits for score in ruled_poet.score([poem.lines for poem in poems], ["五绝"] * 30))

    assert bits(16) < bits(1)


@pytest.mark.parametrize("upper", ["春风来去月", "春风来去月，", "春风，来去月"])
def test_a_couplet_opposes_tones_and_shares_no_character(ruled_poet, upper):
    (lower,) = ruled_poet.couplet(upper)
    bare = [text.strip("，。").replace("，", "") for text in (upper, lower)]
    assert not set(bare[0]) & set(bare[1])
    assert len(bare[0]) == len(bare[1])
    assert tone(lower.strip("。")[-1]) == "平"
    assert lower.endswith("。") == upper.endswith("，")
    if "，" not in upper[:-1]:
        assert (tone(bare[1][1]), tone(bare[1][3])) == ("仄", "平")


@pytest.mark.parametrize("upper", ["", "春", "春A", "春" * 25, "，。"])
def test_what_is_no_upper_line_is_refused(ruled_poet, upper):
    with pytest.raises(InputError, match="upper line"):
        ruled_poet.couplet(upper)


def test_options_of_the_command_line_are_arguments_of_the_library(ruled_poet):
    parser = build_parser()
    options = {action.dest for action in parser._actions}
    for method, also in ((Poet.write, {"dynasty", "lines"}), (Poet.couplet, {"upper"})):
        names = set(inspect.signature(method).parameters) - {"self"}
        assert names - also <= options
    assert ruled_poet.write(rhyme_with="松", form="五绝") == ruled_poet.write(rhyme_group="松", form="五绝")
    with pytest.raises(InputError, match="rhyme_group= and rhyme_with= mean the same"):
        ruled_poet.write(rhyme_with="松", rhyme_group="松")


def test_many_poems_have_the_wishes_of_one(ruled_poet):
    one, many = (inspect.signature(method).parameters for method in (Poet.write, Poet.write_many))
    assert list(many) == ["self", "num", *list(one)[1:]]
    wishes = {"form": "五绝", "acrostic": "春夏", "traditional": True, "seed": 4, "temperature": 1.2, "best_of": 2}
    assert ruled_poet.write_many(2, **wishes)[0] == ruled_poet.write(**wishes)


def test_a_poet_and_what_it_writes_show_themselves(ruled_poet, tiny_poet, tiny_model_dir):
    assert repr(ruled_poet) == "<Poet without a name (4 forms, 1 tunes, 2 authors) by numpy>"
    assert repr(Poet.load(tiny_model_dir)) == "<Poet tiny (4 forms, 0 tunes, 2 authors) by numpy>"
    poem = ruled_poet.write(form="五绝")
    assert str(poem) == poem.text


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda poet: poet.write(start=None), "start of type str, but got NoneType"),
        (lambda poet: poet.write(start=float("nan")), "start of type str, but got float"),
        (lambda poet: poet.write(lines="春风"), "lines of type"),
        (lambda poet: poet.write_many("3"), "num of type int, but got str"),
        (lambda poet: poet.rewrite("春风", 0), "lines of type"),
        (lambda poet: poet.rewrite(["春风"], "0"), "index of type int, but got str"),
        (lambda poet: poet.couplet(["春风"]), "upper of type str, but got list"),
        (lambda poet: poet.check(None), "text of type str, but got NoneType"),
        (lambda poet: poet.check("春风", tune=None), "tune of type str, but got NoneType"),
        (lambda poet: poet.suggest(b"x"), "text of type str, but got bytes"),
    ],
)
def test_a_wrong_type_is_named(ruled_poet, call, expected):
    with pytest.raises(TypeError, match=f"expected {expected}"):
        call(ruled_poet)


def test_prosody_is_read_from_the_model_directory(tiny_model_dir, small_prosody, tmp_path):
    import shutil

    shutil.copytree(tiny_model_dir, tmp_path / "model")
    assert Poet.load(tmp_path / "model").tunes == ()
    small_prosody.save(tmp_path / "model")
    poet = Poet.load(tmp_path / "model")
    assert poet.tunes == ("小令",)
    assert poet.write(tune="小令").tune == "小令"
