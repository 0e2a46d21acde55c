import json
import random
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tagging.tiny_tagger import NER, tiny_features, tiny_model
from zhseq.errors import CheckpointError, ConfigError, InputError
from zhseq.tagging.blocks import PIECE
from zhseq.tagging.dictionary import UserDictionary
from zhseq.tagging.formats import Document
from zhseq.tagging.model import TorchNetwork, save
from zhseq.tagging.tagger import SECTION_MARGIN, Tagger

TAGGER = Tagger(TorchNetwork(tiny_model(), tiny_features()))
ANY_TEXT = st.text(
    st.one_of(st.characters(), st.sampled_from("中国人民 北京\n\u3000\ud800𠮷。,1a\u200d\u0301")), max_size=60
)


def check(document: Document) -> None:
    """The law of offsets: parts are slices, in order, and words cover everything but blanks."""
    for parts in (document.words, document.entities):
        ends = [0, *(part.end for part in parts)]
        assert all(end <= part.start < part.end for end, part in zip(ends, parts, strict=False))
        assert all(part.text == document.text[part.start : part.end] for part in parts)
    covered = {place for word in document.words for place in range(word.start, word.end)}
    assert covered == {place for place, character in enumerate(document.text) if not character.isspace()}


@given(st.lists(ANY_TEXT, max_size=5))
@settings(max_examples=80, deadline=None)
def test_offsets_of_any_text(lines: list[str]) -> None:
    documents = list(TAGGER.stream(lines))
    assert [document.text for document in documents] == lines
    for document in documents:
        check(document)


@given(ANY_TEXT)
@settings(max_examples=25, deadline=None)
def test_scores_and_readings_of_any_text(text: str) -> None:
    document = TAGGER(text, scores=True, nbest=3)
    assert document.alternatives[0].words == document.words
    assert len(set(document.alternatives)) == len(document.alternatives) <= 3
    for reading in document.alternatives:
        check(reading)
        assert all(part.score is not None and 0 <= part.score <= 1.001 for part in reading.words + reading.entities)


# Without marks and without a period: in a run of equal characters many readings are equally good but for rounding.
UNMARKED = "".join(random.Random(0).choices("中国人民在学习北京", k=50))
SENTENCES = st.lists(
    st.sampled_from(
        ["中国人民在学习。", "北京，", "中国 人民\n", "看 http://a.cn/?b=c;d 吧", UNMARKED, "？！", UNMARKED[:20]]
    ),
    min_size=1,
    max_size=60,
)


@given(SENTENCES, st.integers(200, 900))
@settings(max_examples=200, deadline=None)
def test_sections_of_a_long_text_are_tagged_as_in_the_whole(parts: list[str], most: int) -> None:
    text = "".join(parts)
    dictionary = UserDictionary()
    dictionary.add("习。北京", pos="n", mode="force")
    start, words, entities = 0, [], []
    while start < len(text):
        end = TAGGER.section_end(text, start, most, dictionary=dictionary)
        assert start < end <= min(len(text), start + most + SECTION_MARGIN)
        (found,) = TAGGER.stream([text[start:end]], dictionary=dictionary)
        words += [word._replace(start=start + word.start, end=start + word.end) for word in found.words]
        entities += [name._replace(start=start + name.start, end=start + name.end) for name in found.entities]
        start = end
    whole = TAGGER(text, dictionary=dictionary)
    unmarked = rf"[^。？！，]{{{PIECE // 2}}}|[^。？！]{{{most // 2}}}"
    if not re.search(unmarked, re.sub(r"\s", "", text)):  # no piece has to be cut between marks
        assert tuple(words) == whole.words
        assert tuple(entities) == whole.entities


@pytest.mark.parametrize("text", ["中" * 5_000, " " * 5_000, "中" + " " * 5_000, "\ud800\x00" * 2_000])
def test_a_text_without_marks_has_sections_too(text: str) -> None:
    start = 0
    while start < len(text):
        end = TAGGER.section_end(text, start, 700)
        assert start < end <= start + 700 + SECTION_MARGIN
        start = end


def test_traditional_text_gets_the_same_tags() -> None:
    simple, traditional = TAGGER("中国人民在学习"), TAGGER("中國人民在學習")
    assert traditional.text == "中國人民在學習"
    assert [(w.start, w.end, w.pos) for w in simple.words] == [(w.start, w.end, w.pos) for w in traditional.words]
    assert [(e.start, e.end, e.label) for e in simple.entities] == [
        (e.start, e.end, e.label) for e in traditional.entities
    ]


def test_a_line_is_tagged_the_same_in_any_company() -> None:
    lines = [("中国人民在北京大学学习。" * (index % 4))[index % 7 :] for index in range(1200)]
    assert list(TAGGER.stream(lines)) == [TAGGER(line) for line in lines[:28]] * 42 + [
        TAGGER(line) for line in lines[1176:]
    ]


@pytest.mark.parametrize("scores", [False, True])
def test_rows_that_only_fill_a_batch_are_not_seen(scores: bool) -> None:
    lines = ["中国人民" * 3 + "北京上海"[: n % 5] for n in range(61)]
    together = list(TAGGER.stream(lines, scores=scores))
    assert len(together) == 61
    for line, document in zip(lines, together, strict=True):
        alone = TAGGER(line, scores=scores)
        assert [word[:4] for word in document.words] == [word[:4] for word in alone.words]
        assert [word.score for word in document.words] == pytest.approx([word.score for word in alone.words])


def test_long_lines() -> None:
    for text in ("中国人民" * 5000, "北京。" * 3000, "a" * 5000, "中国 " * 2000):
        check(TAGGER(text))


def test_tasks() -> None:
    words_only = next(TAGGER.stream(["中国人民"], tasks=["pos"]))
    assert words_only == Document("中国人民", TAGGER("中国人民").words, ())
    ner = Tagger(TorchNetwork(tiny_model({"ner": NER}), tiny_features()))
    assert ner.tasks == ("ner",)
    assert ner("中国人民").words == ()
    with pytest.raises(InputError, match="this model supports ner, but pos was requested"):
        next(ner.stream(["中国"], tasks=("pos",)))
    with pytest.raises(InputError, match="at least 1, but is 0"):
        TAGGER("中国", nbest=0)


@pytest.mark.parametrize("wrong", [None, b"\xe4\xb8\xad", 5, ["中", 5], ["中国"]])
def test_what_is_no_text_is_a_type_error(wrong: object) -> None:
    with pytest.raises(TypeError, match=f"expected a text of type str, but got {type(wrong).__name__}"):
        TAGGER(wrong)  # type: ignore[arg-type]


def test_what_are_no_texts_is_a_type_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in ("中国", b"\xe4", None, 5):
        with pytest.raises(TypeError, match=f"expected several texts, each a str, but got {type(wrong).__name__}"):
            next(TAGGER.stream(wrong))  # type: ignore[arg-type]
    documents = TAGGER.stream(["中国", None])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="expected a text of type str, but got NoneType") as caught:
        list(documents)
    monkeypatch.setenv("ZHSEQ_LANG", "zh")
    assert str(caught.value) == "应为 str 类型的文本，现为 NoneType"


def test_a_tagger_says_what_it_is(tmp_path: Path) -> None:
    assert TAGGER.labels == {"pos": ("n", "v", "w"), "ner": ("LOC", "PER")}
    assert repr(TAGGER) == "<Tagger without a name (pos: 3 labels, ner: 2 labels) by torch on cpu>"
    save(tmp_path / "names", tiny_model({"ner": NER}), tiny_features(), {})
    loaded = Tagger.load(tmp_path / "names", backend="torch")
    assert repr(loaded) == f"<Tagger {tmp_path / 'names'} (ner: 2 labels) by torch on cpu>"
    assert loaded.labels == {"ner": ("LOC", "PER")}


def test_stream_is_lazy_and_flat() -> None:
    taken = 0

    def endless():  # type: ignore[no-untyped-def]
        nonlocal taken
        while True:
            taken += 1
            yield "中国人民"

    documents = TAGGER.stream(endless())
    for _ in range(1000):
        next(documents)
    assert taken < 3000


def test_several_threads_get_the_same() -> None:
    lines = ["中国人民在北京大学学习。", "上海", "来自上海和北京"] * 20
    expected = list(TAGGER.stream(lines))
    results: list[list[Document]] = []
    threads = [threading.Thread(target=lambda: results.append(list(TAGGER.stream(lines)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 4


def test_saved_and_loaded(tmp_path: Path) -> None:
    save(tmp_path / "model", tiny_model(), tiny_features(), {"seed": 1})
    again = Tagger.load(tmp_path / "model")
    assert again.tasks == ("pos", "ner")
    assert [w.text for w in again("中国人民").words] == [w.text for w in TAGGER("中国人民").words]
    files = {path.name for path in (tmp_path / "model").iterdir()}
    assert files == {"config.json", "model.safetensors", "vocab.txt", "bigrams.txt", "words.txt", "lists.txt"}


def test_lists_of_an_older_checkpoint_do_not_stay(tmp_path: Path) -> None:
    model, features = tiny_model(), tiny_features()
    (tmp_path / "lists.txt").write_text("place\t2\t上海来自\n", encoding="utf-8")
    save(tmp_path, model, features, {})
    assert Tagger.load(tmp_path)("来自上海").words


def test_a_checkpoint_of_another_kind(tmp_path: Path, tiny_model_dir: Path) -> None:
    with pytest.raises(CheckpointError, match="poem-language-model"):
        Tagger.load(tiny_model_dir)
    with pytest.raises(CheckpointError):
        Tagger.load(tmp_path)
    with pytest.raises(ConfigError, match="threads must lie in 1 to 1024, but is 0"):
        Tagger.load(tiny_model_dir, threads=0)


def test_files_of_different_models_are_told_apart(tmp_path: Path) -> None:
    save(tmp_path, tiny_model(), tiny_features(), {})
    (tmp_path / "bigrams.txt").write_text("中国\n", encoding="utf-8")
    with pytest.raises(CheckpointError, match="the files belong to different models"):
        Tagger.load(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    config["model"]["wings"] = 2
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(CheckpointError, match="unknown setting 'wings'"):
        Tagger.load(tmp_path)


def test_importing_the_tagger_imports_no_model() -> None:
    code = "import sys, zhseq; zhseq.Tagger; assert not {'torch', 'onnxruntime'} & {*sys.modules}"
    result = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
