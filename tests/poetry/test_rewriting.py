"""A line written anew keeps what the poem keeps; the review, which shares no code with the search, is the judge."""

import pytest

from zhseq.errors import InputError
from zhseq.poetry.forms import FORMS
from zhseq.poetry.poet import Request
from zhseq.poetry.request import Sampling
from zhseq.poetry.review import review


def exchanged(poem, index, line):
    return [*poem.lines[:index], line, *poem.lines[index + 1 :]]


@pytest.mark.parametrize("form", FORMS)
def test_every_version_keeps_form_tones_rhyme_and_repeats_nothing(ruled_poet, small_prosody, form):
    poem = ruled_poet.write(form=form, seed=4, temperature=1.5)
    for index, old in enumerate(poem.lines):
        versions = ruled_poet.rewrite(poem.lines, index, 3, seed=1, temperature=1.5)
        assert 1 <= len(versions) <= 3
        assert len({*versions, *poem.lines}) == len(versions) + len(poem.lines)
        for line in versions:
            found = review("，".join(exchanged(poem, index, line)), small_prosody)
            assert (found.form, len(line)) == (form, len(old))
            if form.endswith("绝"):  # eight lines need more characters than the tiny vocabulary has
                assert found.faults == ()


def test_a_line_of_a_tune(ruled_poet, small_prosody):
    poem = ruled_poet.write(tune="小令", seed=2, temperature=1.5)
    for index in range(4):
        for line in ruled_poet.rewrite(poem.lines, index, 4, tune="小令", temperature=1.5):
            found = review("，".join(exchanged(poem, index, line)), small_prosody, small_prosody.tunes["小令"])
            assert not [fault for fault in found.faults if fault.kind in ("form", "tone", "rhyme")]


def test_a_first_line_that_rhymes_goes_on_rhyming(ruled_poet):
    for seed in range(12):
        poem = ruled_poet.write(form="七绝", seed=seed)
        for line in ruled_poet.rewrite(poem.lines, 0, 2):
            ends = [ruled_poet.prosody.groups(each[-1])[:1] for each in (line, poem.lines[1])]
            assert poem.pattern is not None
            assert (ends[0] == ends[1]) == bool(poem.pattern.rhymes[0])


def test_the_same_seed_gives_the_same_versions(ruled_poet):
    lines = ruled_poet.write(form="五绝", seed=3).lines
    first = ruled_poet.rewrite(lines, 2, seed=5, temperature=1.5)
    assert ruled_poet.rewrite(lines, 2, seed=5, temperature=1.5) == first
    assert ruled_poet.rewrite(lines, 2, seed=6, temperature=1.5) != first
    assert len(first) == 5


def test_how_the_line_reads_now_is_free(ruled_poet):
    lines = list(ruled_poet.write(form="五绝", seed=3).lines)
    for draft in ("", "春", "?????", lines[2] * 2):
        assert len(ruled_poet.rewrite([*lines[:2], draft, lines[3]], 2, 1)[0]) == 5


def test_start_and_acrostic_stay(ruled_poet):
    poem = ruled_poet.write(acrostic="春月夜人", form="七绝", seed=1)
    assert all(line[0] == "月" for line in ruled_poet.rewrite(poem.lines, 1, acrostic="春月夜人"))
    poem = ruled_poet.write(start="春風", form="七绝", seed=1)
    assert all(line.startswith("春風") for line in ruled_poet.rewrite(poem.lines, 0, start="春風"))


def test_a_poem_with_faults_is_mended_or_refused_as_asked(ruled_poet):
    lines = ["春风花来山", "雪山月人花", "云花日天水", "日山云雪心"]
    assert len(ruled_poet.rewrite(lines, 3, 1)[0]) == 5
    with pytest.raises(InputError, match="would have to be"):
        ruled_poet.rewrite(lines, 3, 1, rhyme="classical")


def test_without_rules_only_the_shape_is_kept(ruled_poet, tiny_poet):
    lines = tiny_poet.write(form="五绝", seed=3).lines
    for poet, wishes in ((tiny_poet, {}), (ruled_poet, {"rhyme": "none"})):
        assert all(len(line) == 5 and line not in lines for line in poet.rewrite(lines, 1, **wishes))
    tune = ruled_poet.write(tune="小令", rhyme="none").lines
    assert all(len(line) == 5 for line in ruled_poet.rewrite(tune, 1, tune="小令", rhyme="none"))


def test_versions_are_written_in_traditional_characters_if_asked(ruled_poet):
    lines = ["风", *ruled_poet.write(form="五绝", seed=3).lines[1:]]
    plain, traditional = (ruled_poet.rewrite(lines, 0, traditional=choice) for choice in (False, True))
    from opencc import OpenCC

    assert [OpenCC("t2s").convert(line) for line in traditional] == plain


@pytest.mark.parametrize(
    ("lines", "index", "wishes", "message"),
    [
        (["春风"] * 4, 4, {}, "no line 4 in a poem of 4 lines"),
        (["春风"] * 4, -1, {}, "no line -1"),
        ([], 0, {}, "no line 0"),
        (["春风花来山"] * 3, 0, {}, "expected a regulated poem .* 5、5、5 characters; name the tune"),
        (["春风花来山"] * 4, 0, {"form": "七绝"}, "expected the lines of a 七绝"),
        (["春风花来山"] * 4, 0, {"tune": "小令"}, "expected the lines of a 小令"),
        (["春风花来山"] * 4, 0, {"tune": "大令"}, "there is no tune '大令'"),
        (["春风花来山"] * 4, 0, {"form": "七言"}, "there is no form '七言'"),
        (
            ["春风花来山", "<b>春风", "春风花来山", "春风花来山"],
            0,
            {},
            "line 2 of the poem contains a missing or non-Chinese character",
        ),
        (["春风花来山", "", "春风花来山", "春风花来山"], 0, {}, "expected a regulated poem"),
        (["春风花来山"] * 4, 0, {"num": 0}, "number of versions must lie in 1 to 64, but is 0"),
        (["春风花来山"] * 4, 0, {"author": "李黑"}, "knows no author '李黑'"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(ruled_poet, lines, index, wishes, message):
    with pytest.raises(InputError, match=message) as caught:
        ruled_poet.rewrite(lines, index, **wishes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "wishes",
    [{"form": "七律"}, {"tune": "小令"}, {"rhyme": "none", "form": "五绝"}, {"start": "春風", "traditional": True}],
)
def test_lines_come_one_by_one_and_are_those_of_the_whole_poem(ruled_poet, wishes):
    request = Request(sampling=Sampling(seed=9, temperature=1.2), **wishes)
    whole = list(ruled_poet.stream(request, 3))
    for number, poem in enumerate(whole):
        parts = list(ruled_poet.lines(request, number))
        assert [part.lines for part in parts] == [poem.lines[: n + 1] for n in range(len(poem.lines))]
        assert parts[-1] == poem
        assert all(poem.text.startswith(part.text) for part in parts)


def test_the_first_line_stands_before_the_second_is_written(ruled_poet, monkeypatch):
    steps = []
    step = ruled_poet.network.step
    monkeypatch.setattr(ruled_poet.network, "step", lambda *arguments: steps.append(1) or step(*arguments))
    lines = ruled_poet.lines(Request(form="五绝"))
    next(lines)
    first = len(steps)
    list(lines)
    assert first == 5  # the beginning and four characters: the last is read when the second line is due
    assert len(steps) > 3 * first


def test_a_wish_that_cannot_be_fulfilled_is_told_before_the_first_line(ruled_poet):
    with pytest.raises(InputError, match="no form"):
        next(ruled_poet.lines(Request(form="七言")))


def test_a_poem_is_held_to_the_rules_of_a_form_if_asked(ruled_poet):
    text = "春风花山天，人心云来松，东梅兰竹菊，鱼诗高中秋。"  # level throughout
    assert not [fault for fault in ruled_poet.check(text).faults if fault.kind == "tone"]
    assert [fault for fault in ruled_poet.check(text, form="五绝").faults if fault.kind == "tone"]
    assert ruled_poet.suggest(text, form="五绝", num=1)
    with pytest.raises(InputError, match="no form '五言'"):
        ruled_poet.check(text, form="五言")
