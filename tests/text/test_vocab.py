from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zhseq.errors import CheckpointError
from zhseq.text.vocab import SPECIALS, UNK, Vocab, escape, unescape

ANY_CHARACTER = st.characters(exclude_categories=())
ANY_SYMBOL = st.text(ANY_CHARACTER, min_size=1, max_size=4)
EXTREMES = (*"\0\n\r \\\u2028\u3000\ufeff#", "\ud800", "\udfff", "\U0010ffff", "\U0001f600")


@pytest.fixture
def vocab() -> Vocab:
    return Vocab([*SPECIALS, "<line>", *"春江花月夜"])


def test_ids_are_places_and_the_specials_come_first(vocab: Vocab) -> None:
    assert (vocab.pad_id, vocab.unk_id, vocab.bos_id, vocab.eos_id) == (0, 1, 2, 3)
    assert [vocab.id(symbol) for symbol in vocab.symbols] == list(range(len(vocab))) == list(range(10))
    assert [vocab.symbol(index) for index in range(len(vocab))] == list(vocab.symbols)
    assert "春" in vocab
    assert "秋" not in vocab
    assert vocab.id("秋") == vocab.unk_id


def test_encode_finds_characters_only(vocab: Vocab) -> None:
    ids = vocab.encode("春<line>夜\U0010ffff")
    assert ids.dtype == np.int64
    assert ids.tolist() == [5, 1, 1, 1, 1, 1, 1, 9, 1]
    assert vocab.encode("").shape == (0,)
    assert vocab.decode([5, 4, 9]) == "春<line>夜"


@settings(deadline=None)
@given(st.lists(ANY_CHARACTER, unique=True), st.text(ANY_CHARACTER))
def test_encode_equals_looking_up_each_character(characters: list[str], text: str) -> None:
    vocab = Vocab([*SPECIALS, *characters])
    assert vocab.encode(text).tolist() == [vocab.id(character) for character in text]
    known = "".join(character for character in text if character in vocab)
    assert vocab.decode(vocab.encode(known)) == known


@settings(deadline=None)
@given(st.lists(ANY_SYMBOL | st.sampled_from(EXTREMES), unique=True).filter(lambda some: not set(some) & set(SPECIALS)))
def test_saved_and_loaded_is_the_same(tmp_path_factory: pytest.TempPathFactory, symbols: list[str]) -> None:
    vocab = Vocab([*SPECIALS, *symbols])
    path = tmp_path_factory.mktemp("vocab") / "vocab.txt"
    vocab.save(path)
    assert Vocab.load(path) == vocab
    assert len(path.read_bytes().split(b"\n")) == len(vocab) + 1  # a line each, whatever the symbol


@settings(deadline=None)
@given(ANY_SYMBOL | st.sampled_from(EXTREMES))
def test_escaped_symbols_are_one_visible_line(symbol: str) -> None:
    line = escape(symbol)
    assert unescape(line) == symbol
    assert line.isprintable()
    assert line.strip()
    line.encode("utf-8")


def test_plain_symbols_stand_in_the_file_as_they_are(vocab: Vocab, tmp_path: Path) -> None:
    vocab.save(tmp_path / "vocab.txt")
    assert (tmp_path / "vocab.txt").read_text(encoding="utf-8").split() == list(vocab.symbols)


def test_build_takes_the_most_frequent_and_breaks_ties_by_code_point() -> None:
    texts = ["一一一二二", "三三丙乙甲", "一"]
    counts = Counter("".join(texts))
    vocab = Vocab.build(iter(texts), max_size=9, symbols=("<line>",))
    assert vocab.symbols == (*SPECIALS, "<line>", "一", "三", "二", "丙")
    assert counts["一"] > counts["三"] == counts["二"] > counts["丙"]
    assert Vocab.build([], max_size=100).symbols == SPECIALS
    assert Vocab.build(texts, max_size=2).symbols == SPECIALS


def test_build_counts_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zhseq.text.vocab._BLOCK", 2)
    assert Vocab.build(["甲", "乙", "乙", "丙", "丙", "丙"], max_size=6).symbols == (*SPECIALS, "丙", "乙")
    assert Vocab.build(["甲", "乙", "", "", "丙"], max_size=9).symbols == (*SPECIALS, "丙", "乙", "甲")


@pytest.mark.parametrize(
    "symbols",
    [[], [*SPECIALS[:3]], ["春", *SPECIALS], [*SPECIALS, "春", "春"], [*SPECIALS, ""], [*SPECIALS, UNK]],
)
def test_impossible_vocabularies_are_refused(symbols: list[str]) -> None:
    with pytest.raises(ValueError, match="vocabulary"):
        Vocab(symbols)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00",
        b"a b c\n",
        b"<pad>\n<unk>\n<bos>\n<eos>\n\\U0011ffff\n",
        b"<pad>\n<unk>\n\\\xe6\x98\xa5\n",
    ],
    ids=["empty", "no-utf8", "no-specials", "no-code-point", "half-escaped"],
)
def test_a_broken_file_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "vocab.txt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"vocab\.txt is not a vocabulary file"):
        Vocab.load(path)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"vocab\.txt is not a vocabulary file"):
        Vocab.load(tmp_path / "vocab.txt")


def test_equality_and_hash_follow_the_symbols(vocab: Vocab) -> None:
    same = Vocab(vocab.symbols)
    assert vocab == same
    assert hash(vocab) == hash(same)
    assert vocab != Vocab([*vocab.symbols, "秋"])
    assert vocab != vocab.symbols
