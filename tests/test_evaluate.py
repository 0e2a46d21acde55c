import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tagging.fake_tagger import Tagger
from zhseq import evaluate
from zhseq.errors import CorpusError, InputError


def main(arguments: list[str]) -> int:
    return evaluate.main(arguments, load=Tagger.load)  # type: ignore[arg-type]


def write(folder: Path, content: str, name: str = "gold.txt") -> str:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return str(path)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    assert main([*arguments, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert isinstance(report, dict)
    return report


def test_words_and_parts_of_speech(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # The tagger says 天气/n 很好/n 北京/n 。/w.
    report = run(capsys, "--gold", write(tmp_path, "天气/n 很/d 好/a\n北京/ns 。/w\n"))
    assert report["texts"] == 2
    assert report["characters"] == 7
    words, joint = report["words"], report["joint"]
    assert words == {"precision": 3 / 4, "recall": 3 / 5, "f1": pytest.approx(6 / 9), "gold": 5, "predicted": 4}
    assert joint["f1"] == pytest.approx(4 / 9)  # type: ignore[index]
    assert joint["by_label"]["n"]["precision"] == pytest.approx(1 / 3)  # type: ignore[index]
    assert report["cuts"] == [{"gold": "很 好", "predicted": "很好", "count": 1}]
    assert report["pos_confusions"] == [{"gold": "ns", "predicted": "n", "count": 1}]
    assert "entities" not in report


def test_every_text_of_a_long_file_is_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = run(capsys, "--gold", write(tmp_path, "天气  很好\n" * 2500))
    assert report["texts"] == 2500
    assert report["words"]["gold"] == report["words"]["predicted"] == 5000  # type: ignore[index]


def test_segmentation_has_no_joint_score(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = run(capsys, "--gold", write(tmp_path, "天气  很好\n北京  。\n"))
    assert report["words"]["f1"] == 1.0  # type: ignore[index]
    assert "joint" not in report


def test_entities(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # The tagger says 北京/LOC 1998/ORG.
    report = run(capsys, "--gold", write(tmp_path, "北 B-LOC\n京 I-LOC\n1 B-NUM\n9 I-NUM\n\n江 B-PER\n"))
    entities = report["entities"]
    assert entities["f1"] == pytest.approx(2 * 1 / (2 + 3))  # type: ignore[index]
    assert {label: row["f1"] for label, row in entities["by_label"].items()} == {  # type: ignore[index]
        "LOC": 1.0,
        "NUM": 0.0,
        "PER": 0.0,
        "ORG": 0.0,
    }
    assert {"gold": "NUM", "predicted": "ORG", "count": 1} in report["entity_confusions"]  # type: ignore[operator]
    assert "words" not in report


WEIBO = "北 B-GPE.NAM\n京 I-GPE.NAM\n人 B-PER.NOM\n1 B-ORG.NAM\n9 I-ORG.NAM\n"


def test_labels_that_the_model_does_not_know_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gold = write(tmp_path, WEIBO)
    assert main(["--gold", gold, "--json"]) == 0
    shown = capsys.readouterr()
    report = json.loads(shown.out)
    assert report["unknown_labels"] == {"ner": {"GPE.NAM": 1, "PER.NOM": 1, "ORG.NAM": 1}}
    assert report["entities"]["f1"] == 0
    assert report["untyped"]["f1"] == pytest.approx(2 * 2 / (3 + 2))
    assert (
        "the model does not have the gold labels GPE.NAM (1), PER.NOM (1), ORG.NAM (1); its labels are LOC, ORG"
        in shown.err
    )
    assert "--map" in shown.err
    assert main(["--gold", gold]) == 0
    assert "entities, untyped" in capsys.readouterr().out


def test_labels_are_renamed_and_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gold = write(tmp_path, WEIBO)
    chosen = run(capsys, "--gold", gold, "--labels", "*.NAM", "--map", "GPE.NAM=LOC,ORG.NAM=ORG")
    assert chosen["entities"]["f1"] == 1  # type: ignore[index]
    assert chosen["entities"]["by_label"].keys() == {"LOC", "ORG"}  # type: ignore[index]
    assert "unknown_labels" not in chosen
    # The names of the model are renamed and chosen, too.
    one = run(capsys, "--gold", write(tmp_path, "北 B-place\n京 I-place\n1 B-x\n"), "--map", "LOC=place,x=ORG")
    assert one["entities"]["f1"] == 1  # type: ignore[index]
    places = run(capsys, "--gold", write(tmp_path, "北 B-LOC\n京 I-LOC\n人 O\n1 B-ORG\n"), "--labels", "L?C")
    assert places["entities"]["gold"] == places["entities"]["predicted"] == 1  # type: ignore[index]
    words = run(capsys, "--gold", write(tmp_path, "天气/noun\n"), "--map", "noun=n")
    assert words["joint"]["f1"] == 1  # type: ignore[index]


def test_a_choice_of_labels_that_fits_nothing_is_refused(tmp_path: Path) -> None:
    gold = write(tmp_path, WEIBO)
    with pytest.raises(InputError, match=r"<map>|map= takes OLD=NEW"):
        main(["--gold", gold, "--map", "PER"])
    with pytest.raises(InputError, match=r"neither the gold nor the model has; the gold has GPE.NAM, ORG.NAM, PER.NOM"):
        main(["--gold", gold, "--map", "name=PER"])
    with pytest.raises(InputError, match=r"\*.NAME matches none of GPE.NAM, ORG.NAM, PER.NOM"):
        main(["--gold", gold, "--labels", "*.NAME"])


def test_gold_without_any_entity_scores_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = run(capsys, "--gold", write(tmp_path, "江 O\n河 O\n"), "--format", "columns")
    assert report["entities"]["f1"] == 0.0  # type: ignore[index]


def test_several_models_give_mean_and_spread(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gold = write(tmp_path, "天气/n 很/d 好/a\n")
    report = run(capsys, "--gold", gold, "--model", "a", "b")
    assert len(report["models"]) == 2  # type: ignore[arg-type]
    assert report["mean"]["words"] == pytest.approx(2 / 5)  # type: ignore[index]
    assert report["spread"]["words"] == 0.0  # type: ignore[index]
    assert main(["--gold", gold, "--model", "a", "b"]) == 0
    assert "mean F1 of 2 models" in capsys.readouterr().out


def test_the_table_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gold = write(tmp_path, '{"text": "北京好", "words": [{"start": 0, "end": 3, "pos": "n"}], "entities": []}\n')
    assert main(["--gold", gold]) == 0
    shown = capsys.readouterr()
    rows = {line.split()[0]: line.split()[1:] for line in shown.out.splitlines() if line}
    assert rows["words"] == ["0.00", "0.00", "0.00", "1", "2"]
    assert rows["entities"] == ["0.00", "0.00", "0.00", "0", "1"]
    assert rows["n"] == ["0.00", "0.00", "0.00", "1", "1"]
    assert "北京好 > 北京 好" in shown.out
    assert shown.err == f"{gold}: 1 texts, 3 characters\n"


def test_task_chooses_what_is_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gold = write(tmp_path, '{"text": "北京", "words": [{"start": 0, "end": 2, "pos": "n"}], "entities": []}\n')
    assert "entities" not in run(capsys, "--gold", gold, "--task", "pos")
    assert "words" not in run(capsys, "--gold", gold, "--task", "ner")


def test_what_cannot_be_scored_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CorpusError, match="expected a file, or one of the corpora"):
        main(["--gold", str(tmp_path / "no.txt")])
    with pytest.raises(CorpusError, match="line 2: expected a character and its tag"):
        main(["--gold", write(tmp_path, "北 B-LOC\n京\n"), "--format", "columns"])
    monkeypatch.setattr(Tagger, "tasks", ("pos",))
    with pytest.raises(InputError, match=r"a task of the model \(pos\), found annotation for ner"):
        main(["--gold", write(tmp_path, "北 B-LOC\n京 I-LOC\n")])


def test_without_another_loader_the_model_is_that_of_zhseq(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "zhseq.evaluate",
        "--gold",
        write(tmp_path, "我们/r 在/p 北京/ns 。/w\n"),
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["words"]["f1"] == 1.0
