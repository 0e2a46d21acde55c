import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from zhseq.tagging.blocks import match
from zhseq.tagging.dictionary import Entry, UserDictionary
from zhseq.text.normalize import codepoints, normalize

WORDS = st.text("中国人民Aa1 ", min_size=1, max_size=5).filter(lambda word: word.strip() == word)


def found(entries: list[Entry | str], *lines: str, mode: str = "prefer") -> list[tuple[int, int, str]]:
    """Start, end and part of speech of each match in the lines laid end to end."""
    tables = UserDictionary(entries, mode=mode).tables()
    assert tables is not None
    offsets = np.concatenate([[0], np.cumsum([len(line) for line in lines])])
    matches = match(codepoints(normalize("".join(lines))), offsets, tables)
    assert matches is not None
    names = [tables.attributes.names[number] for number in tables.attributes.pos[matches.rows].tolist()]
    return list(zip(matches.starts.tolist(), matches.ends.tolist(), names, strict=True))


def by_hand(words: set[str], line: str) -> list[tuple[int, int]]:
    places = []
    for start in range(len(line)):
        for end in range(start + 1, len(line) + 1):
            edges = [line[place - 1 : place + 1] for place in (start, end) if 0 < place < len(line)]
            inside = any(edge.isascii() and edge.isalnum() for edge in edges)
            if line[start:end] in words and not inside:
                places.append((start, end))
    return places


def longest_first(places: list[tuple[int, int]]) -> list[tuple[int, int]]:
    chosen: list[tuple[int, int]] = []
    for start, end in sorted(places, key=lambda place: (place[0] - place[1], place[0])):
        if all(end <= first or last <= start for first, last in chosen):
            chosen.append((start, end))
    return sorted(chosen)


@given(st.lists(WORDS, min_size=1, max_size=6), st.lists(st.text("中国人民Aa1 ", max_size=12), min_size=1, max_size=3))
def test_matches_are_those_of_the_definition(words: list[str], lines: list[str]) -> None:
    expected = {"prefer": [], "force": []}  # type: dict[str, list[tuple[int, int]]]
    for number, line in enumerate(lines):
        offset = sum(map(len, lines[:number]))
        places = by_hand(set(words), line)
        for mode, chosen in (("prefer", places), ("force", longest_first(places))):
            expected[mode] += [(start + offset, end + offset) for start, end in chosen]
    for mode, places in expected.items():
        assert [(start, end) for start, end, _ in found(list(words), *lines, mode=mode)] == places


def test_a_preferred_word_gives_way_to_a_forced_one() -> None:
    entries: list[Entry | str] = [Entry("国人", mode="force"), "中国", "人民", "民", "国人民"]
    assert [place[:2] for place in found(entries, "中国人民")] == [(1, 3), (3, 4)]


def test_width_and_script_are_folded_but_not_case() -> None:
    assert found([Entry("計算機", "n"), Entry("ＡＩ", "nx")], "计算机用AI和ａｉ") == [(0, 3, "n"), (4, 6, "nx")]


def test_a_blank_matches_one_blank() -> None:
    assert [place[:2] for place in found(["New York"], "在New York和New  York和New\u3000York")] == [(1, 9), (20, 28)]


def test_words_of_latin_letters_stand_apart() -> None:
    text = "MAIN里的AI,AI2和éAI、AI是"
    assert [text[start - 1 : end + 1] for start, end, _ in found(["AI"], text)] == ["的AI,", "、AI是"]
    assert found(["AI模型"], "用AI模型2") == [(1, 5, "")]


def test_no_match_crosses_lines() -> None:
    assert found(["中国", "AI"], "中", "国A", "I", "xA", "I") == []
    assert [place[:2] for place in found(["AI"], "MA", "AI")] == [(2, 4)]


def test_words_that_overlap_themselves() -> None:
    assert [place[:2] for place in found(["哈哈"], "哈哈哈哈哈", mode="force")] == [(0, 2), (2, 4)]


@given(st.integers(1, 128))
@settings(max_examples=10)
def test_words_up_to_the_limit(length: int) -> None:
    word = ("中国人民大学学习上海" * 13)[:length]
    assert (3, 3 + length, "x") in found([Entry(word, "x"), "哈"], "一二三" + word + "四")
