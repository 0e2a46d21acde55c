from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zhseq.errors import CheckpointError, InputError
from zhseq.tagging.lexicon import (
    SEPARATOR,
    Lexicon,
    NgramTable,
    TextHashes,
    choose_words,
    jieba_frequencies,
    read_word_list,
    read_word_lists,
    rolling_hashes,
    slots_per_set,
)
from zhseq.text.normalize import codepoints

WORDS = ["中", "中国", "国人", "中国人", "中国人民", "人民", "民"]


def sets_by_hand(text: str, words: list[str], longest: int) -> list[list[set[str]]]:
    """The four sets of each character, from the definition."""
    found: list[list[set[str]]] = [[set(), set(), set(), set()] for _ in text]
    for start in range(len(text)):
        for end in range(start + 1, min(len(text), start + longest) + 1):
            word = text[start:end]
            if word not in words:
                continue
            for place in range(start, end):
                kind = 3 if end - start == 1 else 0 if place == start else 2 if place == end - 1 else 1
                found[place][kind].add(word)
    return found


def sets_of(lexicon: Lexicon, text: str) -> list[list[set[str]]]:
    rows, weights = lexicon.sets(list(rolling_hashes(codepoints(text), lexicon.max_length)))
    assert ((rows > 0) == (weights > 0)).all()
    totals = weights.sum(axis=1)
    assert (np.isclose(totals, 4.0, atol=1e-5) | (totals == 0)).all()
    parts = rows.reshape(len(text), 4, -1)
    return [[{lexicon.words[row - 1] for row in group if row} for group in character] for character in parts.tolist()]


@given(st.text("中国人民大\n", min_size=1, max_size=30))
def test_sets_are_those_of_the_definition(text: str) -> None:
    lexicon = Lexicon(WORDS, [5.0] * len(WORDS), 4)
    assert sets_of(lexicon, text) == sets_by_hand(text, WORDS, 4)


def test_sets_with_longer_words_have_more_slots() -> None:
    words = ["中国人民大", "中国", "国人民大学"]
    lexicon = Lexicon(words, [1.0, 2.0, 3.0], 5)
    assert slots_per_set(5) == 6
    assert sets_of(lexicon, "中国人民大学") == sets_by_hand("中国人民大学", words, 5)


def test_a_more_frequent_word_weighs_more_but_not_all() -> None:
    lexicon = Lexicon(["中国", "中国人"], [10000.0, 10.0], 4)
    rows, weights = lexicon.sets(list(rolling_hashes(codepoints("中国人"), 4)))
    of = dict(zip(rows[0].tolist(), weights[0].tolist(), strict=True))
    assert 2 * of[2] < of[1] < 10 * of[2]


def test_no_word_across_texts() -> None:
    lexicon = Lexicon(["中国"], [1.0], 4)
    assert chr(SEPARATOR) == "\n"
    assert not lexicon.sets(list(rolling_hashes(codepoints("中\n国"), 4)))[0].any()


def test_a_text_shorter_than_the_words() -> None:
    rows, _ = Lexicon(["中国", "中"], [1.0, 1.0], 4).sets(list(rolling_hashes(codepoints("中"), 4)))
    assert rows[rows > 0].tolist() == [2]


@pytest.mark.parametrize("words", [["中国", "中国"], [""], ["中国人民大学"]])
def test_words_that_cannot_be(words: list[str]) -> None:
    with pytest.raises(ValueError, match=r"must|reshape"):
        Lexicon(words, [1.0] * len(words), 4)


def test_a_table_finds_its_own_and_no_others() -> None:
    rng = np.random.default_rng(0)
    points = np.unique(rng.integers(0x4E00, 0x9FA5, (20_000, 2)).astype(np.uint32), axis=0)
    half = len(points) // 2
    table = NgramTable(points[:half], np.arange(1, half + 1))
    *_, hashes = rolling_hashes(points.reshape(-1), 2)
    assert table.find(hashes[::2]).tolist() == [*range(1, half + 1), *[0] * (len(points) - half)]


def test_words_of_a_list_share_a_row(tmp_path: Path) -> None:
    for name, text in {"place": "上海\n斯坦福\n中国\n", "company": "\ufeff字节跳动\n上海\n很长很长的名字\n\n"}.items():
        (tmp_path / f"{name}.txt").write_text(text, encoding="utf-8")
    lists = read_word_lists(tmp_path, ["中国"], 4)
    assert {name: sorted(own) for name, own in lists.items()} == {"company": [2, 4], "place": [3]}
    lexicon = Lexicon(["中国", "人"], [7.0, 9.0], 4, lists)
    assert len(lexicon) == 4
    rows, weights = lexicon.sets(list(rolling_hashes(codepoints("中国人在上海和斯坦福找字节跳动"), 4)))
    found = [sorted(set(row[row > 0].tolist())) for row in rows]
    assert found == [[1], [1], [2], [], [3], [3], [], [4], [4], [4], [], [3], [3], [3], [3]]
    assert np.isclose(weights.sum(axis=1), [4.0 * bool(row) for row in found], atol=1e-5).all()
    lexicon.save(tmp_path / "words.tsv")
    lexicon.save_lists(tmp_path / "lists.tsv")
    again = Lexicon.load(tmp_path / "words.tsv", 4, tmp_path / "lists.tsv")
    assert list(again.lists) == ["company", "place"]
    assert (
        again.sets(list(rolling_hashes(codepoints("去斯坦福"), 4)))[0]
        == lexicon.sets(list(rolling_hashes(codepoints("去斯坦福"), 4)))[0]
    ).all()


DAMAGED_LISTS = (
    "place\t2\t上海北\n",
    "place\t0\t上海\n",
    "place\t上海\n",
    "place\tx\t上海\n",
    "p\t2\t中国\n",
    "p\t5\t上海北京人\n",
)


@pytest.mark.parametrize("content", DAMAGED_LISTS)
def test_damaged_lists(tmp_path: Path, content: str) -> None:
    Lexicon(["中国"], [1.0], 4).save(tmp_path / "words.txt")
    (tmp_path / "lists.txt").write_text(content, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"lists\.txt is not a word list"):
        Lexicon.load(tmp_path / "words.txt", 4, tmp_path / "lists.txt")


def test_a_directory_without_lists(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n中国\n", encoding="utf-8")
    with pytest.raises(InputError, match="found no word"):
        read_word_lists(tmp_path, ["中国"], 4)
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"bytes\.txt: expected words in UTF-8"):
        read_word_lists(tmp_path, [], 4)


def test_saved_and_loaded(tmp_path: Path) -> None:
    words = ["中国", "a b", "\\n", "好"]
    lexicon = Lexicon(words, [1.0, 2.5, 1000000.0, 7.0], 4)
    lexicon.save(tmp_path / "words.txt")
    again = Lexicon.load(tmp_path / "words.txt", 4)
    assert again.words == lexicon.words
    assert again.frequencies.tolist() == lexicon.frequencies.tolist()


@pytest.mark.parametrize("content", ["中国\n", "中国\tviel\n", "中国\t1\n中国\t2\n"])
def test_a_damaged_list(tmp_path: Path, content: str) -> None:
    path = tmp_path / "words.txt"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"words\.txt is not a word list"):
        Lexicon.load(path, 4)
    with pytest.raises(CheckpointError, match="missing"):
        Lexicon.load(tmp_path / "missing", 4)


def test_words_of_a_user(tmp_path: Path) -> None:
    path = tmp_path / "own.txt"
    path.write_text("\ufeff雲計算\n\n北京 50\n深度学习\t2.5 n\n", encoding="utf-8")
    assert read_word_list(path) == {"云计算": 1000.0, "北京": 50.0, "深度学习": 2.5}
    path.write_text("北京 viel\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"own\.txt, line 1: expected a positive frequency .* found 'viel'"):
        read_word_list(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_word_list(tmp_path / "missing")


def test_the_dictionary_and_the_choice_from_it() -> None:
    frequencies = jieba_frequencies()
    assert len(frequencies) > 300_000
    assert frequencies["中国"] > frequencies["国人"] > 0
    words, counts = choose_words(frequencies, 50, 4, own={"云计算": 9.0, "很长很长的词": 1.0}, known=[])
    assert words[0] == "云计算"
    assert "很长很长的词" not in words
    assert sorted(counts[1:], reverse=True) == counts[1:]
    words, _ = choose_words(frequencies, 2, 4, own={}, known=["不在词典里", "北京", "中国", "上海"])
    assert words == ["北京", "中国"]


@given(st.text(min_size=1, max_size=40))
def test_hashes_of_any_length_are_those_that_roll(text: str) -> None:
    points = codepoints(text)
    hashes = TextHashes(points)
    for length, rolled in enumerate(rolling_hashes(points, len(text)), start=1):
        assert hashes.of_length(length).tolist() == rolled.tolist()
