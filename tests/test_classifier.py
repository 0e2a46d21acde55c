"""The classifier: how it reads texts, tables of labels that are no use, training, scores, and the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from zhseq import classify, train
from zhseq.classifier import Classifier, ClassifierConfig, TextClassifier, encode, pad, probabilities, save
from zhseq.errors import CheckpointError, ConfigError, InputError
from zhseq.recipes.classifier import Labelled, as_text, hold_out, read_labelled, score
from zhseq.text.vocab import LINE, SPECIALS, Vocab

VOCAB = Vocab([*SPECIALS, LINE, *"春花秋月冬雪,。"])
CONFIG = ClassifierConfig(embedding_dim=6, hidden_sizes=(5, 7), vocab_size=len(VOCAB), labels=("乙", "甲"))


def symbols(text: str, *, verse: bool = False, limit: int = 100) -> list[str]:
    return [VOCAB.symbol(index) for index in encode(text, VOCAB, verse=verse, limit=limit).tolist()]


def test_prose_keeps_its_punctuation_and_verse_does_not() -> None:
    assert symbols(" 春花，秋\r\n\n月。") == ["<bos>", "春", "花", ",", "秋", LINE, "月", "。"]
    assert symbols("春花，\n秋月。", verse=True) == ["<bos>", "春", "花", LINE, "秋", "月"]
    assert symbols("《秋月》春「花」", verse=True) == ["秋", "月", "<bos>", "春", "花"]
    assert symbols("《秋月春", verse=True) == ["<bos>", "秋", "月", "春"]
    assert symbols("《秋月》春花雪", verse=True, limit=2) == ["秋", "月", "<bos>", "春", "花"]
    assert symbols("，。", verse=True) == ["<bos>"]


def test_what_stands_beside_a_text_in_a_batch_does_not_change_it() -> None:
    torch.manual_seed(0)
    model = TextClassifier(CONFIG).eval()
    texts = [encode(text, VOCAB, verse=False, limit=100) for text in ("春花", "秋月冬雪春花秋月", "雪")]
    together = probabilities(model, texts)
    alone = np.concatenate([probabilities(model, [text]) for text in texts])
    assert np.allclose(together, alone, atol=1e-6)
    assert np.allclose(together.sum(axis=1), 1)
    assert model.loss(pad(texts, np.array([0, 1, 1])).to("cpu")).item() > 0


def test_the_order_of_characters_and_each_of_them_count() -> None:
    torch.manual_seed(0)
    model = TextClassifier(CONFIG).eval()
    found = probabilities(model, [encode(text, VOCAB, verse=False, limit=100) for text in ("春花秋", "花春秋")])
    assert not np.allclose(found[0], found[1])


@pytest.mark.parametrize("labels", [("甲",), ("甲", "甲"), ()])
def test_labels_are_two_different_ones_at_least(labels: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="two or more different labels"):
        ClassifierConfig(vocab_size=10, labels=labels)


def written(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", '春花,甲\n"秋，月\n雪",乙\n'),
        ("a.csv", 'label,id,text\n甲,1,春花\n乙,2,"秋，月\n雪"\n'),
        ("a.csv", '\ufeff文本,标签\n春花,甲\n"秋，月\n雪",乙\n'),
        ("a.csv", '春花,甲,,\n"秋，月\n雪",乙,\n'),
    ],
)
def test_a_table_is_read_with_names_of_columns_or_without(tmp_path: Path, name: str, content: str) -> None:
    assert read_labelled(written(tmp_path / name, content)) == Labelled(("春花", "秋，月\n雪"), ("甲", "乙"))


def test_a_tab_makes_a_tsv_whose_quotation_marks_mean_nothing(tmp_path: Path) -> None:
    expected = Labelled(('"春,花', "秋"), ("甲", "乙"))
    for name in ("a.tsv", "a.txt"):
        assert read_labelled(written(tmp_path / name, '"春,花\t甲\n秋\t乙\n')) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("春花,甲\n秋月\n", r"a\.csv, line 2: expected a text and its label, found 1 columns"),
        ("春花\n秋月\n", r"a\.csv, line 1: expected a text and its label"),
        ("春花,甲\n\n秋月,乙\n", r"a\.csv, line 2: expected a text and its label, found 0 columns"),
        ("春花,甲\n ,乙\n", r"a\.csv, line 2: the text is empty"),
        ('"春\n花",甲\n秋月, \n', r"a\.csv, line 3: the label is empty"),
        ("春花,甲\n秋月,甲\n", r"a\.csv: expected two or more labels, but all 2 texts have '甲'"),
        ("", r"a\.csv: expected texts and labels, found none"),
        ("text,label\n", r"a\.csv: expected texts and labels, found none"),
        ('春花,甲\n"秋"月,乙\n', r"a\.csv, line 2: invalid CSV"),
        ("1,春花,甲\n2,秋月,乙\n", r"a\.csv, line 1: expected 2 columns, found 3; put texts with commas into"),
        ("text,label\n春,花,甲\n秋月,乙\n", r"a\.csv, line 2: expected 2 columns, found 3"),
    ],
)
def test_a_table_that_is_no_use_is_refused_by_line(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_labelled(written(tmp_path / "a.csv", content))


def test_a_table_that_cannot_be_read_is_refused_with_a_code(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.csv", tmp_path):
        with pytest.raises(InputError, match="the file cannot be read") as caught:
            read_labelled(path)
        assert caught.value.code == "unreadable_file"


def test_some_of_each_label_are_held_out_and_equal_texts_stay_together() -> None:
    texts = tuple(f"文{number // 2}" for number in range(40))
    whole = Labelled(texts, tuple("甲" if number < 30 else "乙" for number in range(40)))
    train_part, dev = hold_out(whole, 0.2, seed=3)
    assert not set(train_part.texts) & set(dev.texts)
    assert sorted(train_part.texts + dev.texts) == sorted(texts)
    assert (dev.labels.count("甲"), dev.labels.count("乙")) == (6, 2)
    with pytest.raises(InputError, match="label '乙' has only one text"):
        hold_out(Labelled(("a", "b", "c"), ("甲", "甲", "乙")), 0.5, seed=0)
    with pytest.raises(InputError, match="a label has no text left to train on"):
        hold_out(Labelled(("a", "a", "b", "b", "c", "c"), ("甲", "乙") * 3), 0.7, seed=1)


class Fixed:
    """Takes every text for what it is told."""

    labels = ("甲", "乙")

    def __init__(self, found: str) -> None:
        self.found = found

    def classify(self, texts: tuple[str, ...]) -> list[object]:
        return [type("Found", (), {"label": label}) for label in self.found]


def test_scores_are_those_of_the_textbook() -> None:
    report = score(Fixed("甲甲乙甲"), Labelled(("a", "b", "c", "d"), ("甲", "乙", "乙", "丙")))  # type: ignore[arg-type]
    assert report["accuracy"] == 0.5
    assert report["by_label"]["甲"] == {"precision": 1 / 3, "recall": 1.0, "f1": 0.5, "texts": 1}
    assert report["by_label"]["乙"] == {"precision": 1.0, "recall": 0.5, "f1": 2 / 3, "texts": 2}
    assert report["by_label"]["丙"]["f1"] == 0
    assert report["f1"] == pytest.approx((0.5 + 2 / 3) / 3)
    rows = dict(zip(report["labels"], report["confusions"], strict=True))
    assert rows["丙"][report["labels"].index("甲")] == 1
    assert "50.0%" in as_text(report)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    rows = ["text\tlabel"]
    for number in range(240):
        label = "春" if number % 2 else "秋"
        characters = ["花莺" if label == "春" else "雁霜", "山水风云日"]
        rows.append("".join(rng.choice(list(characters[n % 2])) for n in range(8)) + f"\t{label}")
    return written(tmp_path_factory.mktemp("table") / "seasons.tsv", "\n".join(rows) + "\n")


SMALL = ["--set", "model.hidden_sizes=12,12", "--set", "data.tokens_per_batch=200", "--set", "training.warmup_steps=5"]


@pytest.fixture(scope="module")
def run(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "classifier"
    arguments = ["classifier", "--train", str(table), "--output", str(out), "--threads", "1", *SMALL]
    assert train.main([*arguments, "--set", "training.learning_rate=1e-2"]) == 0
    return out


def test_what_two_labels_differ_by_is_learned(run: Path) -> None:
    classifier = Classifier.load(run / "best")
    spring, autumn = classifier.classify(["花山莺水", "霜山雁水"])
    assert (spring.label, autumn.label) == ("春", "秋")
    assert spring.probabilities["春"] > 0.6
    assert list(spring.probabilities) == ["春", "秋"]
    assert repr(classifier) == "<Classifier best (春、秋)>"
    assert (run / "confusions.png").read_bytes().startswith(b"\x89PNG")
    assert "240" not in (run / "best" / "README.md").read_text(encoding="utf-8")  # some were held out
    assert "216 texts: 春 108, 秋 108" in (run / "best" / "README.md").read_text(encoding="utf-8")
    assert classifier.classify([]) == []
    with pytest.raises(InputError, match="text 2 is empty"):
        classifier.classify(["花", " "])
    with pytest.raises(TypeError, match="several texts"):
        classifier.classify("花")


def test_lines_are_classified_and_empty_ones_stay_in_place(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, lines = str(run / "best"), written(tmp_path / "lines.txt", "花莺花莺\n\n雁霜雁霜")
    assert classify.main([str(lines), "--model", model]) == 0
    first, empty, last = capsys.readouterr().out.split("\n")[:3]
    assert (first[0], empty, last[0]) == ("春", "", "秋")
    assert classify.main([str(lines), "--model", model, "--json", "--top", "2"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["label"] for each in found] == ["春", None, "秋"]
    assert sum(found[0]["probabilities"].values()) == pytest.approx(1)


def test_every_line_of_a_long_file_is_classified(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """More than two blocks, of which empty lines are no part."""
    count = 2 * classify._AT_ONCE + 3
    lines = written(tmp_path / "lines.txt", "花莺花莺\n\n雁霜雁霜\n" * count)
    assert classify.main([str(lines), "--model", str(run / "best")]) == 0
    assert [line[:1] for line in capsys.readouterr().out.splitlines()] == ["春", "", "秋"] * count


def test_a_table_is_scored_and_drawn(
    run: Path, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "table.png"
    arguments = ["--model", str(run / "best"), "--gold", str(table), "--picture", str(picture), "--json"]
    assert classify.main(arguments) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["accuracy"] > 0.95
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("arguments", [["a.txt", "--gold", "b.tsv"], ["a.txt", "--picture", "b.png"]])
def test_options_that_contradict_each_other_are_refused(arguments: list[str]) -> None:
    with pytest.raises(InputError, match="gold="):
        classify.main(arguments)


def test_it_starts_from_a_poem_model_or_a_tagger(table: Path, tmp_path: Path, tiny_model_dir: Path) -> None:
    for number, (init, verse) in enumerate(((tiny_model_dir, True), ("tagger", False))):
        out = tmp_path / str(number)
        arguments = ["classifier", "--train", str(table), "--output", str(out), "--init", str(init), "--threads", "1"]
        assert train.main([*arguments, *SMALL, "--set", "training.max_steps=2"]) == 0
        assert Classifier.load(out / "best").model.config.verse is verse


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path, run: Path) -> None:
    save(tmp_path / "one", TextClassifier(CONFIG), VOCAB, {})
    other = (run / "best" / "vocab.txt").read_bytes()
    (tmp_path / "one" / "vocab.txt").write_bytes(other)
    with pytest.raises(CheckpointError, match="belong to different models"):
        Classifier.load(tmp_path / "one")
