import pytest

from zhseq.errors import InputError
from zhseq.poetry.forms import FORMS, Controls, encode_poems, encode_prefix, fits, form_of, place_start
from zhseq.text.vocab import LINE, SPECIALS, Vocab

QUATRAIN = ["白日依山尽", "黄河入海流", "欲穷千里目", "更上一层楼"]


def test_layout_puts_couplets_on_rows_of_their_own():
    assert FORMS["五绝"].layout(QUATRAIN) == ["白日依山尽，黄河入海流。", "欲穷千里目，更上一层楼。"]
    assert len(FORMS["七律"].layout(["一二三四五六七"] * 8)) == 4


def test_form_is_told_from_the_lengths_of_the_lines():
    assert form_of(QUATRAIN) == "五绝"
    assert form_of([line + "一二" for line in QUATRAIN] * 2) == "七律"
    assert form_of(QUATRAIN[:3]) is None


@pytest.mark.parametrize(
    "start", ["", "春", "白日依山尽", "白日依山尽，", "白日依山尽，黄河入海流。欲", "“白日依山尽,\n黄河入海流.”"]
)
def test_start_keeps_its_characters_and_may_have_the_marks_of_the_form(start):
    assert place_start(start, FORMS["五绝"]) == "".join(
        character for character in start if character not in "，。,.“”\n"
    )


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        ("春，", "after 1 characters"),
        ("白日依山尽。", "has a '，'"),
        ("春A", "U\\+0041"),
        (" ", "U\\+0020"),
        ("\ud800", "U\\+D800"),
        ("春" * 21, "21 characters, but a 五绝 has 20"),
        ("白日依山尽，白日依山尽。", "same line twice"),
    ],
)
def test_start_that_the_form_cannot_carry_is_refused_with_the_reason(start, reason):
    with pytest.raises(InputError, match=reason):
        place_start(start, FORMS["五绝"])
    assert not fits(start, FORMS["五绝"])


def test_poems_are_encoded_with_line_and_end_symbols():
    vocab = Vocab([*SPECIALS, LINE, *"白日依山尽"])
    ids, offsets = encode_poems(vocab, [["白日", "依山"], ["尽春"]], max_symbols=100)
    assert offsets.tolist() == [0, 6, 9]
    assert ids.tolist() == [5, 6, 4, 7, 8, vocab.eos_id, 9, vocab.unk_id, vocab.eos_id]


def test_a_long_poem_is_cut_after_a_whole_line_and_has_no_end():
    vocab = Vocab([*SPECIALS, LINE, *"白日依山尽"])
    ids, offsets = encode_poems(vocab, [["白日", "依山", "尽尽"]], max_symbols=7)
    assert ids.tolist() == [5, 6, 4, 7, 8]
    assert offsets.tolist() == [0, 5]


def test_prefix_holds_known_controls_then_the_title():
    vocab = Vocab([*SPECIALS, LINE, "春", "<form:五绝>", "<author:李白>"])
    assert encode_prefix(vocab, Controls("五绝", "唐", "李白", "春")) == [6, 7, 5, vocab.bos_id]
    assert encode_prefix(vocab, Controls()) == [vocab.bos_id]
    assert len(encode_prefix(vocab, Controls(title="春" * 50))) == 13
