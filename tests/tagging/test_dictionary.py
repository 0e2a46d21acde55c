import copy
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zhseq.errors import InputError
from zhseq.tagging import dictionary as user_dictionary
from zhseq.tagging.blocks import match
from zhseq.tagging.dictionary import Entry, UserDictionary
from zhseq.tagging.matching import FIRST_ENTRY
from zhseq.text.normalize import codepoints


def words_in(dictionary: UserDictionary, text: str) -> set[str]:
    tables = dictionary.tables()
    if tables is None:
        return set()
    matches = match(codepoints(text), np.array([0, len(text)]), tables)
    assert matches is not None
    return {text[start:end] for start, end in zip(matches.starts, matches.ends, strict=True)}


@given(
    st.lists(st.tuples(st.sampled_from("+-"), st.text("中国人", min_size=1, max_size=3)), max_size=30),
    st.integers(0, 5),
)
@settings(max_examples=60, deadline=None)
def test_changes_in_any_order_equal_a_set(changes: list[tuple[str, str]], limit: int) -> None:
    text = "中国人中中人国国人人中国"
    dictionary, expected = UserDictionary(["中", "国人"]), {"中", "国人"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(user_dictionary, "_MOST_CHANGES", limit)
        for kind, word in changes:
            if kind == "+":
                dictionary.add(word)
                expected.add(word)
            else:
                assert dictionary.remove(word) == (word in expected)
                expected.discard(word)
            assert words_in(dictionary, text) == {known for known in expected if known in text}
    assert {entry.word for entry in dictionary} == expected
    assert len(dictionary) == len(expected)


def test_entries_are_kept_with_what_they_say(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("计算 3 v\n計算 5 n\nNew York\tforce\tns\tLOC\n", encoding="utf-8")
    dictionary = UserDictionary.read(path)
    assert list(dictionary) == [Entry("计算", "n", "", 5.0, ""), Entry("New York", "ns", "LOC", None, "force")]
    assert dictionary.get("計算") == Entry("计算", "n", "", 5.0, "")
    assert "計算" in dictionary
    assert "算" not in dictionary
    dictionary.add("计算", "vn")
    assert dictionary.get("计算") == Entry("计算", "vn")
    assert dictionary.remove(" 計算 ")
    assert not dictionary.remove("计算")
    assert dictionary.get("计算") is None


def test_an_empty_dictionary_costs_nothing() -> None:
    dictionary = UserDictionary()
    assert dictionary.tables() is None
    dictionary.add("中国")
    assert words_in(dictionary, "中国") == {"中国"}
    dictionary.remove("中国")
    assert words_in(dictionary, "中国") == set()


def test_a_broken_entry_adds_nothing() -> None:
    dictionary = UserDictionary(["中国"])
    with pytest.raises(InputError):
        dictionary.update(["人民", ""])
    assert [entry.word for entry in dictionary] == ["中国"]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"mode": "must"}, "mode"), ({"weight": -1.0}, "weight"), ({"weight": float("nan")}, "weight")],
)
def test_bad_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=f"Expected (the|a) {message}"):
        UserDictionary(**options)  # type: ignore[arg-type]


def test_more_frequent_words_have_an_edge() -> None:
    dictionary = UserDictionary([Entry("常人", frequency=1e5), "中人", Entry("罕人", frequency=0.0)], weight=3.0)
    tables = dictionary.tables()
    assert tables is not None
    assert tables.attributes.bonus[FIRST_ENTRY:] == pytest.approx([4.0, 3.0, 1.5], abs=0.01)
    weak = UserDictionary([Entry("罕人", frequency=0.0)], weight=1.0).tables()
    assert weak is not None
    assert weak.attributes.bonus[FIRST_ENTRY] == 0.0


def test_a_long_word_gains_what_its_joints_do() -> None:
    tables = UserDictionary(["中", "中国", "人民", "中国人民"], weight=4.0).tables()
    assert tables is not None
    assert tables.attributes.bonus[FIRST_ENTRY:].tolist() == [1.0, 4.0, 4.0, 12.0]


def test_a_copy_goes_its_own_way() -> None:
    dictionary = UserDictionary(["中国"])
    dictionary.tables()
    other = dictionary.copy()
    other.add("人民")
    dictionary.remove("中国")
    assert words_in(other, "中国人民") == {"中国", "人民"}
    assert words_in(dictionary, "中国人民") == set()


def test_it_can_be_sent_to_another_process() -> None:
    """`copy` asks for the same state as what sends objects to processes; a lock would refuse."""
    dictionary = UserDictionary(["中国"], mode="force", weight=2.0)
    dictionary.tables()
    other = copy.deepcopy(dictionary)
    other.add("人民")
    assert (other.mode, other.weight, len(other), len(dictionary)) == ("force", 2.0, 2, 1)
    assert words_in(other, "中国人民") == {"中国", "人民"}


def test_changes_from_several_threads_are_all_kept() -> None:
    dictionary = UserDictionary(["中国"])
    wrong: list[str] = []

    def add(first: int) -> None:
        for number in range(first, first + 60):
            dictionary.add(f"词{number}号")
            if f"词{number}号" not in words_in(dictionary, f"词{number}号中国"):
                wrong.append(f"词{number}号")

    threads = [threading.Thread(target=add, args=(100 * index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(dictionary) == 241
