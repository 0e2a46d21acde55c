import resource
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from zhseq.errors import CheckpointError, InputError
from zhseq.poetry.prosody import PROSODY_FILE, Pattern, Prosody, RhymeGroup, Tone, TunePattern
from zhseq.poetry.prosody.patterns import Echo
from zhseq.poetry.prosody.prosody import ToneTable
from zhseq.text.vocab import SPECIALS, Vocab


def small() -> Prosody:
    table = ToneTable(
        "东风月看稀", np.array([1, 0.998, 0, 0.5, np.nan], np.float32), "平平仄中中", np.array([1, 1, 1, 1, 0], bool)
    )
    groups = [
        RhymeGroup(0, "东", Tone.LEVEL, "东风", "东风"),
        RhymeGroup(1, "看", Tone.LEVEL, "看", ""),
        RhymeGroup(2, "叹", Tone.OBLIQUE, "看叹", "叹"),
    ]
    variant = Pattern((2, 3), ("平中", "仄仄平"), (0, 1), "，。", count=2)
    tune = TunePattern(
        *((3, 3), ("中平平", "仄仄平"), (1, 1), "，。", (1,), 7, (2,), (Echo(3, 0, 2),)),
        name="花间",
        total=10,
        variants=(variant,),
    )
    modern = Prosody(ToneTable("月", np.array([0], np.float32), "仄", np.array([False])), [], {tune.name: tune})
    lyric = Prosody(table, [RhymeGroup(0, "东", Tone.LEVEL, "东风看", "东")], {tune.name: tune})
    return Prosody(table, groups, {tune.name: tune}, lyric=lyric, modern=modern)


def test_a_saved_prosody_is_the_same_again(tmp_path: Path) -> None:
    before = small()
    before.save(tmp_path / "new")
    after = Prosody.load(tmp_path / "new")
    assert after.rhyme_groups == before.rhyme_groups
    assert after.tunes == before.tunes
    assert after.table.characters == before.table.characters
    assert after.table.classes == before.table.classes
    np.testing.assert_allclose(after.table.level, before.table.level, atol=5e-4)
    np.testing.assert_array_equal(after.table.learned, before.table.learned)
    assert after.modern().tone_class("月") is Tone.OBLIQUE
    assert after.modern().tunes == before.tunes
    assert [replace(group, title="") for group in after.lyric().rhyme_groups] == list(before.lyric().rhyme_groups)
    assert after.lyric().rhyme_groups[0].title == "第一部平声"
    assert after.lyric().tone_class("风") is Tone.LEVEL


def test_tones_of_characters() -> None:
    prosody = small()
    np.testing.assert_allclose(prosody.level("東月?看")[[0, 1, 3]], [1, 0, 0.5])
    assert np.isnan(prosody.level("?稀")).all()
    assert [prosody.tone_class(c) for c in "風月看龘"] == [Tone.LEVEL, Tone.OBLIQUE, Tone.EITHER, Tone.EITHER]


def test_oblique_groups_are_called_by_the_book(tmp_path: Path) -> None:
    before = small()
    named = replace(before.table, oblique_groups={"去声十五翰": "看", "上声十四旱": "看懒"})
    Prosody(named, before.rhyme_groups, before.tunes).save(tmp_path)
    after = Prosody.load(tmp_path)
    assert after.table.oblique_groups == named.oblique_groups
    assert after.oblique_groups("看") == ("去声十五翰", "上声十四旱")
    assert after.oblique_groups("叹") == ()
    assert after.group_names("看", 2) == ("去声十五翰 (叹)", "上声十四旱 (叹)")
    assert after.group_names("叹", 2) == (after.rhyme_groups[2].full_name,)
    assert after.group_names("东", 0) == (after.rhyme_groups[0].full_name,)


def test_a_group_is_found_by_its_name_in_the_book() -> None:
    before = small()
    groups = [replace(before.rhyme_groups[0], title="上平一东"), *before.rhyme_groups[1:]]
    prosody = Prosody(before.table, groups, before.tunes)
    assert prosody.group("上平一东") is groups[0]
    assert prosody.group("一东") is groups[0]
    for name in ("平", "", "一冬"):
        with pytest.raises(InputError, match="no rhyme group"):
            prosody.group(name)


def test_masks_of_a_vocabulary() -> None:
    vocab = Vocab([*SPECIALS, "<line>", "月", "看", "东", "龘", "，"])
    masks = small().masks(vocab)
    assert masks.level.tolist() == [False] * 5 + [False, True, True, True, False]
    assert masks.oblique.tolist() == [False] * 5 + [True, True, False, True, False]
    strict = small().masks(vocab, strict=True)
    assert strict.level.tolist() == [False] * 5 + [False, False, True, False, False]
    assert strict.oblique.tolist() == [False] * 5 + [True, False, False, False, False]


def test_a_rare_reading_is_not_taken_where_nobody_says_which_is_meant() -> None:
    table = ToneTable("望看阿", np.array([0.04, 0.5, 0.95], np.float32), "中中中", np.ones(3, dtype=bool))
    masks = Prosody(table, [], {}).masks(Vocab([*SPECIALS, "望", "看", "阿"]))
    assert masks.level[4:].tolist() == [False, True, True]
    assert masks.oblique[4:].tolist() == [True, True, False]


def test_rhymes() -> None:
    prosody = small()
    assert prosody.rhyme("東", "风")
    assert prosody.rhyme("看", "叹")
    assert not prosody.rhyme("东", "看")
    assert not prosody.rhyme("龘", "龘")
    assert prosody.groups("看") == (1, 2)
    assert prosody.certain_groups("看") == ()
    vocab = Vocab([*SPECIALS, "看", "叹", "风"])
    assert prosody.group_matrix(vocab)[4:].tolist() == [[False, True, True], [False, False, True], [True, False, False]]
    assert prosody.group_matrix(vocab, strict=True).sum() == 2


def test_a_group_is_called_by_a_member() -> None:
    prosody = small()
    assert prosody.group("风").name == "东"
    assert prosody.group("看").id == 1, "a name counts before a membership"
    with pytest.raises(InputError, match=r"no rhyme group '龘'.*东"):
        prosody.group("龘")


def test_without_modern_readings() -> None:
    with pytest.raises(InputError, match="modern"):
        small().modern().modern()


def test_rhymes_of_ci_are_another_set_of_groups() -> None:
    prosody = small()
    assert prosody.lyric().rhyme("东", "看")
    assert not prosody.rhyme("东", "看")
    assert prosody.lyric().lyric() is prosody.lyric()  # a prosody without them has none finer than its own


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=f"holds no {PROSODY_FILE}"):
        Prosody.load(tmp_path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"kind":', '"kond":'),
        ('"version": 1', '"version": 9'),
        ('"classes": "平', '"classes": "'),
        ('"tone":"平"', '"tone":"x"'),
        ('"rhymes":[1,1]', '"rhymes":[1]'),
        ('"level": [', '"level": "x", "was": ['),
        ('"fallback": "稀"', '"fallback": null'),
        ("}\n}\n", ""),
    ],
)
def test_damaged_files(tmp_path: Path, old: str, new: str) -> None:
    small().save(tmp_path)
    path = tmp_path / PROSODY_FILE
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(CheckpointError, match=PROSODY_FILE):
        Prosody.load(tmp_path)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be written"):
        small().save(tmp_path / "file" / "deeper")


def test_a_full_disk_leaves_the_tables_that_were_there(tmp_path: Path) -> None:
    small().save(tmp_path)
    before = (tmp_path / PROSODY_FILE).read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))  # the operating system refuses larger files
    try:
        with pytest.raises(CheckpointError, match="cannot be written: File too large"):
            small().save(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [(PROSODY_FILE, before)]
