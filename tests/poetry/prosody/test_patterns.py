import itertools

import pytest

from zhseq.errors import InputError
from zhseq.poetry.prosody import Pattern, templates


@pytest.mark.parametrize(("form", "lines", "length"), [("五绝", 4, 5), ("七绝", 4, 7), ("五律", 8, 5), ("七律", 8, 7)])
def test_templates_keep_the_three_rules(form: str, lines: int, length: int) -> None:
    found = templates(form)
    assert len({pattern.tones for pattern in found}) == 4
    for pattern in found:
        assert pattern.line_lengths == (length,) * lines
        for line, tones in enumerate(pattern.tones):
            evens = tones[1:-1:2]
            assert set(evens) <= set("平仄")
            assert all(a != b for a, b in itertools.pairwise(evens)), "tones alternate"
            assert (tones[-1] == "平") == bool(pattern.rhymes[line])
            if line % 2:
                before = pattern.tones[line - 1]
                assert all(a != b for a, b in zip(evens, before[1:-1:2], strict=True)), "a couplet is opposed"
            elif line:
                assert tones[1] == pattern.tones[line - 1][1], "each couplet takes up the one before"
        assert pattern.rhymes[1::2] == (1,) * (lines // 2)
        assert not any(pattern.rhymes[2::2])


def test_a_known_quatrain_fits_a_template() -> None:
    tones = ("仄仄平平仄", "平平仄仄平", "仄平平仄仄", "仄仄仄平平")  # 白日依山尽 黄河入海流 欲穷千里目 更上一层楼
    fits = [
        all(
            sign in ("中", tone)
            for signs, line in zip(p.tones, tones, strict=True)
            for sign, tone in zip(signs, line, strict=True)
        )
        for p in templates("五绝")
    ]
    assert fits == [True, False, False, False]


def test_other_forms_have_no_template() -> None:
    with pytest.raises(InputError, match="五绝, 七绝, 五律, 七律"):
        templates("词")


def test_a_pattern_with_parts_of_different_size_is_refused() -> None:
    with pytest.raises(ValueError, match="one sign"):
        Pattern((5,), ("平平",), (0,))
    with pytest.raises(ValueError, match="is made of"):
        Pattern((2,), ("平x",), (0,))
    with pytest.raises(ValueError, match="punctuation"):
        Pattern((2,), ("平平",), (0,), marks="，。")
