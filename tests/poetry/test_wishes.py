"""Subjects are cut into words that verse knows, and authors are known by all their names, or by how they write."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import pytest

from zhseq.errors import CheckpointError, InputError
from zhseq.poetry.poet import Poet
from zhseq.poetry.request import Ranking, Request, Sampling
from zhseq.poetry.sense import FACING_FILE, Facing, Manner, Sense, Subject, Subjects
from zhseq.poetry.wishes import OTHER_NAMES, Frequencies, other_names, read_author, read_subject, words_of_prose
from zhseq.text.vocab import SPECIALS, Vocab

VOCAB = Vocab([*SPECIALS, *"思乡明月梅花手机我", "<author:李白>", "<author:苏轼>", "<dynasty:唐>"])
MANNER = Manner("李白", "唐", 46, {"云": 3.0, "梅": 2.0})


@pytest.fixture(scope="module")
def sense(tmp_path_factory: pytest.TempPathFactory) -> Sense:
    directory = tmp_path_factory.mktemp("sense")
    listed = {"明月": Subject(124, 3, 0.8, "月光"), "思乡": Subject(60, 2, 0.7, "归"), "月": Subject(99, 0, 0.4, "云")}
    Subjects({**listed, "梅花": Subject(90, 60, 0.9, "梅雪")}).save(directory)
    Facing({"花": {"月": 3}, "月": {"花": 3}}, {"花": 5, "月": 5, "月明": 2}, {1: 9, 2: 9}).save(directory)
    return Sense("", manners={"崔颢": MANNER}, directory=directory)


@pytest.mark.parametrize("name", ["苏轼", "蘇軾", "东坡", "苏东坡", "蘇東坡", " 子瞻 "])
def test_an_author_is_known_by_all_names(name: str, sense: Sense) -> None:
    assert read_author(name, VOCAB, sense).author == "苏轼"
    assert read_author(name, VOCAB, None).note is None


def test_an_author_without_a_name_in_the_model_is_followed_by_words(sense: Sense) -> None:
    named = read_author("崔顥", VOCAB, sense)
    assert (named.author, named.dynasty, named.words) == ("李白", "唐", MANNER.words)
    assert "46 poems" in str(named.note)
    assert "李白" in str(named.note)


def test_an_author_of_whom_nothing_is_known_is_refused(sense: Sense) -> None:
    with pytest.raises(InputError, match=r"knows no author '崔灏'; it knows 3, among them 崔颢"):
        read_author("崔灏", VOCAB, sense)
    with pytest.raises(InputError, match="it knows 2"):
        read_author("崔颢", VOCAB, None)


def test_no_other_name_is_that_of_two_poets_or_of_another_poet() -> None:
    listed = [other for others in other_names().values() for other in others]
    assert max(Counter(listed).values()) == 1
    assert not set(OTHER_NAMES) & set(OTHER_NAMES.values())
    known = set(Poet.load().authors)
    assert set(OTHER_NAMES.values()) <= known
    assert not set(OTHER_NAMES) & known


@pytest.mark.parametrize(
    ("about", "title", "characters", "unknown"),
    [
        ("明月", "明月", "月光", ""),
        ("思鄉", "思鄉", "归", ""),
        ("明月 思乡", "明月思乡", "月光归", ""),
        ("明月，梅花！", "明月梅花", "月光梅雪", ""),
        ("手机", "手机", "", "手机"),
        ("明月、手机", "明月", "月光", "手机"),
        ("我在明月下思乡", "明月思乡", "月光归", "下"),
        ("月里，梅花", "月梅花", "梅雪", ""),
        ("iPhone 明月", "明月", "月光", "iPhone"),
        ("月", "月", "", ""),
        ("月明", "月明", "月明", ""),
        ("，", "，", "", ""),
        ("\x00\x01", "\x00\x01", "", ""),
        ("的", "的", "", "的"),
    ],
)
def test_a_subject_is_read_word_by_word(about: str, title: str, characters: str, unknown: str, sense: Sense) -> None:
    found = read_subject(about, VOCAB, sense)
    assert (found.title, found.characters) == (title, characters)
    assert (found.note is not None) == bool(unknown)
    assert found.note is None or f"not known as a word of verse: {unknown};" in str(found.note)


def test_a_subject_of_any_length_is_read(sense: Sense) -> None:
    assert read_subject("明月" * 100_000, VOCAB, sense).note is None


def test_what_cuts_sentences_leaves_no_file_behind_and_reads_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sense: Sense
) -> None:
    """jieba on its own keeps a cache where everybody may write."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "jieba.cache").write_bytes(b"not marshalled")
    words_of_prose.cache_clear()
    assert read_subject("我在明月下思乡", VOCAB, sense).title == "明月思乡"
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("jieba.cache", b"not marshalled")]


def test_without_a_table_a_subject_stands_as_it_is() -> None:
    assert read_subject("明月 手机", VOCAB, None).title == "明月 手机"
    assert read_subject("明月 手机", VOCAB, Sense("")).note is None


@pytest.fixture(scope="module")
def wishful_poet(ruled_poet: Poet, sense: Sense) -> Poet:
    return Poet(ruled_poet.network, ruled_poet.vocab, prosody=ruled_poet.prosody, sense=sense)


def holding(poet: Poet, characters: str, **wishes: object) -> int:
    request = Request(**{"form": "五绝", "sampling": Sampling(1.5, seed=3), **wishes})  # type: ignore[arg-type]
    return sum(bool(set(poem.text) & set(characters)) for poem in poet.stream(request, 40))


def test_poems_carry_a_word_of_their_subject(wishful_poet: Poet) -> None:
    plain, carried = (
        holding(wishful_poet, "梅雪", about="梅花", ranking=Ranking(subject=nats)) for nats in (0.0, 1000.0)
    )
    assert carried > plain


def test_the_words_of_an_author_are_favoured(wishful_poet: Poet) -> None:
    assert holding(wishful_poet, "云", author="崔颢") > holding(wishful_poet, "云", author="李白")
    poem = wishful_poet.write(author="崔颢", about="手机", form="五绝")
    assert str(poem.note).startswith("not known as a word of verse: 手机; choose words")
    assert "; the model does not know the name 崔颢" in str(poem.note)
    assert wishful_poet.authors == ("李白", "杜甫", "崔颢")


def test_a_damaged_table_of_subjects_is_refused(tmp_path: Path) -> None:
    (tmp_path / "subjects.tsv").write_text("subjects\t1\n春\t5\n", encoding="utf-8")
    with pytest.raises(CheckpointError, match="is not a table of subjects"):
        Subjects.load(tmp_path)
    assert Sense("", directory=tmp_path / FACING_FILE).subjects is None


def test_frequencies_are_those_of_jieba() -> None:
    import jieba

    lines = "中国人民 7 n\n中国 5 ns\n人民 0 n\n中国人 3 n\n𠮷野 2 nz\n中国 6 ns\n".encode().splitlines(keepends=True)
    theirs, total = jieba.Tokenizer().gen_pfdict(io.BytesIO(b"".join(lines)))
    ours = Frequencies(lines)
    assert ours.total == total
    assert set(ours) == {"中国人民", "中国", "人民", "中国人", "𠮷野"}
    for begin in (*theirs, "国", "中国人民银", "龘", "一"):
        assert ours.get(begin) == theirs.get(begin)


def test_prose_is_cut_as_jieba_cuts_it() -> None:
    import jieba

    theirs = jieba.Tokenizer()
    theirs.FREQ, theirs.total = theirs.gen_pfdict(theirs.get_dict_file())
    theirs.initialized = True
    for text in ("关于人工智能的未来", "一首写给母亲的诗", "他来到了网易杭研大厦", "奥利给冲鸭", "AI时代", "春"):
        assert list(words_of_prose().cut(text)) == list(theirs.cut(text))
