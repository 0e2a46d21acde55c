import copy
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tagging.test_tagger import check
from tests.tagging.tiny_tagger import NER, tiny_features, tiny_model
from zhseq.errors import InputError
from zhseq.tagging import decoding as tag_decoding
from zhseq.tagging.blocks import PIECE
from zhseq.tagging.dictionary import Entry, UserDictionary
from zhseq.tagging.formats import Document
from zhseq.tagging.model import TorchNetwork, save
from zhseq.tagging.tagger import Tagger
from zhseq.text.normalize import normalize

TAGGER = Tagger(TorchNetwork(tiny_model(), tiny_features()))
ANY_TEXT = st.text(st.one_of(st.characters(), st.sampled_from("中国人民 北京\n\u3000\ud800𠮷。,1aAB")), max_size=60)
WORDS = st.lists(
    st.builds(
        Entry,
        st.text("中国人民北京 aAB1。", min_size=1, max_size=6).filter(str.strip),
        st.sampled_from(["", "n", "v", "BRAND"]),
        st.sampled_from(["", "PER", "商标"]),
        st.sampled_from([None, 0.0, 5e6]),
        st.sampled_from(["prefer", "force"]),
    ),
    max_size=6,
)


def places(text: str, word: str) -> list[int]:
    """Where a word stands, not counting places within a longer word of Latin letters and digits."""
    found = []
    for start in range(len(text) - len(word) + 1):
        edges = [text[edge - 1 : edge + 1] for edge in (start, start + len(word)) if 0 < edge < len(text)]
        inside = any(all(c.isalnum() and ord(c) < 0x2E80 for c in edge) for edge in edges)
        if text.startswith(word, start) and not inside:
            found.append(start)
    return found


def forced_places(text: str, entries: list[Entry]) -> dict[tuple[int, int], Entry]:
    """From the definition: the longest first, then the leftmost."""
    words = {normalize(entry.word.strip()): entry for entry in entries}
    candidates = [
        (-len(word), start, entry)
        for word, entry in words.items()
        if entry.mode == "force"
        for start in places(normalize(text), word)
    ]
    chosen: dict[tuple[int, int], Entry] = {}
    for size, start, entry in sorted(candidates, key=lambda candidate: candidate[:2]):
        if all(start - size <= first or last <= start for first, last in chosen):
            chosen[start, start - size] = entry
    return chosen


@given(ANY_TEXT, WORDS)
@settings(max_examples=60, deadline=None)
def test_forced_words_stand_and_offsets_are_right_in_any_text(text: str, entries: list[Entry]) -> None:
    document = TAGGER(text, dictionary=UserDictionary(entries))
    inside = {place for start, end in forced_places(text, entries) for place in range(start, end)}
    check_with_blanks(document, inside)
    words = {(word.start, word.end): word.pos for word in document.words}
    entities = {(entity.start, entity.end): entity.label for entity in document.entities}
    for place, entry in forced_places(text, entries).items():
        assert place in words
        assert entry.pos in ("", words[place])
        assert not entry.label or entities[place] == entry.label


def check_with_blanks(document: Document, allowed: set[int]) -> None:
    """The law of offsets, but that a word of the dictionary may hold a blank."""
    for parts in (document.words, document.entities):
        ends = [0, *(part.end for part in parts)]
        assert all(end <= part.start < part.end for end, part in zip(ends, parts, strict=False))
        assert all(part.text == document.text[part.start : part.end] for part in parts)
    covered = {place for word in document.words for place in range(word.start, word.end)}
    solid = {place for place, character in enumerate(document.text) if not character.isspace()}
    assert solid <= covered
    for word in document.words:
        if any(character.isspace() for character in word.text):
            assert not word.text[0].isspace()
            assert not word.text[-1].isspace()


@given(ANY_TEXT, WORDS)
@settings(max_examples=15, deadline=None)
def test_scores_and_readings_with_a_dictionary(text: str, entries: list[Entry]) -> None:
    dictionary = UserDictionary(entries)
    document = TAGGER(text, scores=True, nbest=3, dictionary=dictionary)
    single = TAGGER(text, scores=True, dictionary=dictionary)
    plain = TAGGER(text, dictionary=dictionary)
    assert document.alternatives[0].words == document.words
    for reading in (*document.alternatives, single, plain):
        check_with_blanks(reading, set())
        for start, end in forced_places(text, entries):
            assert (start, end) in {(word.start, word.end) for word in reading.words}
    assert all(0 <= word.score <= 1.001 for word in document.words if word.score is not None)
    assert [(w.start, w.end) for w in single.words] == [(w.start, w.end) for w in plain.words]


def texts(document: Document) -> list[str]:
    return [word.text for word in document.words]


def test_prefer_is_a_matter_of_weight() -> None:
    text = "来自北京大学学习"
    plain = texts(TAGGER(text))
    word = next(
        text[start:end]
        for start in range(len(text))
        for end in range(start + 2, len(text) + 1)
        if text[start:end] not in plain
    )
    heavy, light = (TAGGER(text, dictionary=UserDictionary([word], weight=weight)) for weight in (200.0, 0.0))
    assert word in texts(heavy)
    assert texts(light) == plain


def test_given_labels_come_out_whether_known_or_not() -> None:
    words = [Entry("北京大学", "v", "LOC"), Entry("人民", "品牌", "商标"), Entry("上", "n"), Entry("的", "助", "PER")]
    for mode in ("prefer", "force"):
        document = TAGGER("人民在北京大学的上", dictionary=UserDictionary(words, mode=mode, weight=300.0))
        found = {word.text: word.pos for word in document.words}
        assert {"北京大学": "v", "人民": "品牌", "上": "n", "的": "助"}.items() <= found.items()
        entities = {entity.text: entity.label for entity in document.entities}
        assert {"北京大学": "LOC", "人民": "商标", "的": "PER"}.items() <= entities.items()


def test_a_word_may_hold_blanks_as_they_stand() -> None:
    dictionary = UserDictionary(["New York", Entry("a b c", "x", "PER")], mode="force")
    document = TAGGER("在New York和New  York,a b c。", dictionary=dictionary)
    assert [word.text for word in document.words if " " in word.text] == ["New York", "a b c"]
    assert [(entity.text, entity.label) for entity in document.entities if entity.text == "a b c"] == [("a b c", "PER")]
    assert [word.pos for word in document.words if word.text == "a b c"] == ["x"]
    preferred = TAGGER("在New York", dictionary=UserDictionary(["New York"], weight=300.0))
    assert texts(preferred)[-1] == "New York"


@pytest.mark.parametrize("mode", ["prefer", "force"])
def test_no_word_is_lost_where_a_long_text_is_cut(mode: str) -> None:
    word = "中国人民北京大学" * 8
    dictionary = UserDictionary([Entry(word, "长词")], mode=mode, weight=900.0)
    for before in range(PIECE - len(word) - 2, PIECE + 2, 7):
        text = "和" * before + word + "的" * (PIECE + 50)
        document = TAGGER(text, dictionary=dictionary)
        check(document)
        assert (word, "长词") in {(w.text, w.pos) for w in document.words}, before


def test_lines_without_matches_are_tagged_as_ever() -> None:
    dictionary = UserDictionary(["北京大学"], mode="force")
    lines = ["中国人民", "来自北京大学", "", "上海", "学习和" * 80]
    with_words = list(TAGGER.stream(lines, dictionary=dictionary))
    without = list(TAGGER.stream(lines))
    assert [with_words[index] for index in (0, 2, 3, 4)] == [without[index] for index in (0, 2, 3, 4)]
    assert "北京大学" in texts(with_words[1])


def test_a_line_is_tagged_the_same_in_any_company() -> None:
    dictionary = UserDictionary(["国人民", "大学学", Entry("京大", mode="force")], weight=4.0)
    lines = [("中国人民在北京大学学习。" * (index % 4))[index % 7 :] for index in range(28)]
    alone = [TAGGER(line, dictionary=dictionary) for line in lines]
    assert list(TAGGER.stream(lines * 30, dictionary=dictionary)) == alone * 30


@pytest.mark.parametrize("mode", ["prefer", "force"])
def test_how_many_texts_are_decoded_together_changes_nothing(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = UserDictionary(["中国人", "人民", "学习"], mode=mode)
    lines = [f"中国人民{'在北京' * number}学习" for number in range(9)]
    together = list(TAGGER.stream(lines, dictionary=words))
    monkeypatch.setattr(tag_decoding, "_BATCH", 40)
    assert list(TAGGER.stream(lines, dictionary=words)) == together


def test_words_added_at_run_time_count_at_once() -> None:
    tagger = Tagger(TorchNetwork(tiny_model(), tiny_features()))
    before = texts(tagger("在人民学"))
    tagger.dictionary.add("人民学", mode="force")
    assert texts(tagger("在人民学")) == ["在", "人民学"]
    tagger.dictionary.remove("人民学")
    assert texts(tagger("在人民学")) == before


def test_words_change_while_others_tag() -> None:
    tagger = Tagger(TorchNetwork(tiny_model(), tiny_features()), dictionary=UserDictionary(["北京大学"], mode="force"))
    wrong: list[str] = []
    stop = threading.Event()

    def tag() -> None:
        while not stop.is_set():
            documents = tagger.stream(["来自北京大学和上海的人民", "北京大学"] * 20)
            wrong.extend(document.text for document in documents if "北京大学" not in texts(document))

    threads = [threading.Thread(target=tag) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(100):
        tagger.dictionary.add(f"人民{number}", "n")
        tagger.dictionary.add("人民大学" if number % 2 else "海的人", "x")
        tagger.dictionary.remove(f"人民{number - 1}")
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(tagger.dictionary) == 4


def test_loaded_with_a_dictionary(tmp_path: Path) -> None:
    save(tmp_path / "model", tiny_model(), tiny_features(), {})
    path = tmp_path / "words.txt"
    path.write_text("人民学 force\n", encoding="utf-8")
    for dictionary in (path, str(path), UserDictionary.read(path)):
        tagger = Tagger.load(tmp_path / "model", dictionary=dictionary)
        assert texts(tagger("在人民学")) == ["在", "人民学"]
    path.write_text("人民 -1\n", encoding="utf-8")
    with pytest.raises(InputError, match="line 1: expected a frequency"):
        Tagger.load(tmp_path / "model", dictionary=path)


def test_a_tagger_can_be_sent_to_another_process() -> None:
    """`copy` asks for the same state as what sends objects to processes; a lock would refuse."""
    tagger = Tagger(
        TorchNetwork(tiny_model(), tiny_features()), dictionary=UserDictionary([Entry("人民学", mode="force")])
    )
    assert texts(copy.deepcopy(tagger)("在人民学")) == ["在", "人民学"]


def test_a_model_of_entities_only() -> None:
    tagger = Tagger(TorchNetwork(tiny_model({"ner": NER}), tiny_features()))
    tagger.dictionary.update([Entry("人民学", label="PER", mode="force"), Entry("北京", mode="force")])
    assert ("人民学", "PER") in {(entity.text, entity.label) for entity in tagger("在人民学北京").entities}


def test_a_word_that_the_model_has_no_tags_for_is_left_to_it() -> None:
    """A model that knows words of one character only cannot make one of two."""
    tagger = Tagger(TorchNetwork(tiny_model({"pos": ("S-n", "S-v")}), tiny_features()))
    document = tagger("人民学", dictionary=UserDictionary(["人民", "学"], mode="force"))
    assert texts(document) == ["人", "民", "学"]
