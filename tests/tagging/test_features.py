import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tagging.tiny_tagger import tiny_features
from zhseq.batching import IGNORED
from zhseq.errors import CheckpointError
from zhseq.tagging.features import BIGRAMS_FILE, TaggerFeatures, most_frequent_bigrams
from zhseq.tagging.lexicon import Lexicon, slots_per_set
from zhseq.text.normalize import blanks, codepoints


def test_a_batch_by_hand() -> None:
    features = tiny_features()
    batch = features.batch(["中国人民", "京"], [np.array([4, 5, 6, 7]), np.array([8])], "pos")
    assert batch.head == "pos"
    assert features.vocab.decode(batch.ids[0].tolist()) == "中国人民"
    assert batch.ids[1].tolist() == [features.vocab.id("京"), 0, 0, 0]
    assert batch.mask.tolist() == [[True] * 4, [True, False, False, False]]
    assert batch.targets is not None
    assert batch.targets.tolist() == [[4, 5, 6, 7], [8, *[IGNORED] * 3]]
    assert batch.bigram_ids is not None
    assert batch.bigram_ids.tolist() == [[1, 0, 0, 0], [0, 0, 0, 0]]
    assert batch.word_ids is not None
    assert batch.word_ids.shape == (2, 4, 4 * slots_per_set(features.lexicon.max_length))
    named = [{features.lexicon.words[row - 1] for row in rows if row} for rows in batch.word_ids[0].tolist()]
    assert named == [{"中", "中国"}, {"中国", "国人"}, {"国人", "人民"}, {"人民"}]
    assert not batch.word_ids[1].any()


@given(st.lists(st.text("中国人民北京大学学习,龘\U00020000\n", min_size=1, max_size=12), min_size=1, max_size=6))
def test_the_compiled_loop_finds_what_numpy_finds(texts: list[str]) -> None:
    full = tiny_features()
    without_threes = Lexicon(
        ["中", "北京大学", "人民"], [3.0, 1e5, 7.0], 4, {"places": {4: codepoints("中国人民")[None]}}
    )
    for features in (
        full,
        TaggerFeatures(full.vocab, [], without_threes),
        TaggerFeatures(full.vocab, ["中国"], Lexicon([], [], 4)),
    ):
        lengths = np.array([len(text) for text in texts])
        points = codepoints("".join(texts))
        found = features.look_up(points, lengths)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("zhseq.tagging.features.library", lambda: None)
            expected = features.look_up(points, lengths)
        for name in ("ids", "bigrams", "words", "weights"):
            ours, theirs = getattr(found, name), getattr(expected, name)
            assert (ours is None) == (theirs is None)
            assert theirs is None or (ours.dtype == theirs.dtype and np.array_equal(ours, theirs))


def test_a_copy_of_the_tables_finds_the_same() -> None:
    features = tiny_features()
    expected = features.batch(["中国人民"]).word_ids
    twin = pickle.loads(pickle.dumps(features))
    del features
    assert np.array_equal(twin.batch(["中国人民"]).word_ids, expected)


def test_traditional_and_full_width_texts_read_the_same() -> None:
    features = tiny_features()
    plain, other = features.batch(["中国学习,123"]), features.batch(["中國學習，１２３"])
    for name in ("ids", "bigram_ids", "word_ids", "word_weights"):
        assert np.array_equal(getattr(plain, name), getattr(other, name))


def test_a_text_reads_the_same_in_any_batch() -> None:
    features = tiny_features()
    texts = ["北京大学", "中国", "人", "中国人民在北京大学学习"]
    together = features.batch(texts)
    for row, text in enumerate(texts):
        alone = features.batch([text])
        for name in ("ids", "bigram_ids", "word_ids", "word_weights"):
            assert np.array_equal(getattr(together, name)[row, : len(text)], getattr(alone, name)[0])


def test_without_bigrams_and_words() -> None:
    full = tiny_features()
    batch = TaggerFeatures(full.vocab, [], type(full.lexicon)([], [], 4)).batch(["中国"])
    assert batch.bigram_ids is None
    assert batch.word_ids is None


def test_saved_and_loaded(tmp_path: Path) -> None:
    features = tiny_features()
    for name, content in features.files().items():
        if callable(content):
            content(tmp_path / name)
        else:
            (tmp_path / name).write_text(content, encoding="utf-8")
    again = TaggerFeatures.load(tmp_path)
    assert (again.vocab, again.bigrams, again.lexicon.words) == (
        features.vocab,
        features.bigrams,
        features.lexicon.words,
    )
    (tmp_path / BIGRAMS_FILE).unlink()
    with pytest.raises(CheckpointError, match="fetch the checkpoint again"):
        TaggerFeatures.load(tmp_path)


def test_blanks_are_those_of_python() -> None:
    points = np.arange(0x110000, dtype=np.uint32)
    expected = [chr(point).isspace() for point in range(0x110000)]
    assert blanks(points).tolist() == expected


def test_most_frequent_bigrams() -> None:
    texts = [codepoints(text) for text in ("中国中国", "中国人", "人", "国人")]
    assert most_frequent_bigrams(texts, 2) == ["中国", "国人"]
    assert most_frequent_bigrams([], 2) == []
