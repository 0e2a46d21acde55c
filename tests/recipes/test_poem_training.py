"""The training of the poem model, from a corpus in an upstream format to a checkpoint, through the front door."""

from __future__ import annotations

import json
import resource
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import zhseq.train
from tests.corpus.conftest import shi, write_chinese_poetry, write_json
from tests.recipes.conftest import verses
from tests.training.toy import log
from zhseq.cli import run_main
from zhseq.corpus import load_poems, select_split
from zhseq.poetry.model import load_model
from zhseq.poetry.poet import Poet
from zhseq.recipes.poem import PoemBatches, PoemDataConfig, build_vocab, encode, select_dev
from zhseq.text.vocab import Vocab

Train = Callable[..., tuple[int, str, str]]
SMALL = (
    "model.embedding_dim=8",
    "model.hidden_sizes=(12,10)",
    "data.tokens_per_batch=512",
    "training.max_steps=12",
    "training.warmup_steps=2",
    "training.learning_rate=0.02",
    "training.evaluate_every=4",
    "training.precision=float32",
    "training.device=cpu",
)


@pytest.fixture
def front_door(corpora: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Train:
    """Run `python -m zhseq.train poem` inside this process and return exit status, output and messages."""
    monkeypatch.setenv("ZHSEQ_CORPORA", str(corpora))

    def run(directory: Path, *options: str, settings: tuple[str, ...] = SMALL) -> tuple[int, str, str]:
        sets = [word for setting in settings for word in ("--set", setting)]
        monkeypatch.setattr(sys, "argv", ["zhseq.train", "poem", "--out", str(directory), *sets, *options])
        with pytest.raises(SystemExit) as exit_:
            run_main(zhseq.train.main)
        output, messages = capsys.readouterr()
        assert isinstance(exit_.value.code, int)
        return exit_.value.code, output, messages

    return run


def sentence(messages: str) -> str:
    """What the command line said went wrong, one line without a traceback."""
    assert messages.count("\n") == 1
    assert messages.startswith("zhseq: ")
    return messages


def state(directory: Path) -> dict[str, bytes]:
    """The files from which a run goes on and poems are written."""
    told = {"log.jsonl", "commands.txt", "README.md"}  # what speaks of the run
    return {path.name: path.read_bytes() for path in directory.rglob("*") if path.is_file() and path.name not in told}


def test_a_corpus_becomes_a_model_that_writes(front_door: Train, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    status, output, messages = front_door(directory)
    assert status == 0, messages
    entries = log(directory)
    assert [entry["step"] for entry in entries] == [4, 8, 12]
    assert entries[-1]["bits_per_han"] < entries[0]["bits_per_han"] - 0.3
    best = min(entry["bits_per_han"] for entry in entries)
    assert output == f"best: {best:.4f} bits per Han character on dev; model in {directory / 'best'}\n"
    assert sorted(path.name for path in (directory / "best").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "vocab.txt",
    ]
    card = (directory / "best" / "README.md").read_text(encoding="utf-8")
    assert f"python -m zhseq.train poem --out {directory} " in card
    assert "\n* poems of chinese-poetry\n" in card
    assert f"\n| bits_per_han | {best:.4f} |\n" in card
    made = json.loads((directory / "best" / "config.json").read_text(encoding="utf-8"))["training"]
    assert made["recipe"]["model"]["hidden_sizes"] == [12, 10]
    assert made["evaluation"] == {"bits_per_han": best}
    poet = Poet.load(directory / "best")
    assert poet.write(start="春", form="五绝", author="甲生", seed=1).text.startswith("春")


def test_bits_on_dev_are_those_of_the_saved_model(front_door: Train, corpora: Path, tmp_path: Path) -> None:
    front_door(tmp_path / "run")
    poet = Poet.load(tmp_path / "run" / "best")
    dev = select_dev(select_split(load_poems(corpora), "dev"), 2000)
    scores = poet.score(list(dev["lines"]), list(dev["form"]))
    bits = sum(score.bits for score in scores) / sum(score.han for score in scores)
    best = min(entry["bits_per_han"] for entry in log(tmp_path / "run"))
    assert bits == pytest.approx(best, abs=2e-3)  # float16 on disk


def test_a_training_goes_on_from_another_model(front_door: Train, tmp_path: Path) -> None:
    front_door(tmp_path / "first")
    first = log(tmp_path / "first")
    gentle = tuple("training.learning_rate=1e-9" if "learning_rate" in setting else setting for setting in SMALL)
    status, _, messages = front_door(tmp_path / "on", "--init", str(tmp_path / "first" / "best"), settings=gentle)
    assert status == 0, messages
    best = min(entry["bits_per_han"] for entry in first)
    assert log(tmp_path / "on")[0]["bits_per_han"] == pytest.approx(best, abs=2e-3)  # float16 on disk
    assert best < first[0]["bits_per_han"] - 0.3


@pytest.fixture
def own_corpora(front_door: Train, corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the corpora to which a test may add."""
    root = tmp_path / "corpora"
    shutil.copytree(corpora, root)
    monkeypatch.setenv("ZHSEQ_CORPORA", str(root))
    return root


def write_written(corpora: Path, *rows: str) -> Path:
    """Write a corpus of poems that were written for this project, and return its file."""
    path = corpora / "verse_written" / "verse_written.tsv"
    path.parent.mkdir()
    path.write_text("".join(row + "\n" for row in rows), encoding="utf-8")
    return path


def test_written_poems_get_a_dynasty_of_their_own(front_door: Train, own_corpora: Path, tmp_path: Path) -> None:
    front_door(tmp_path / "first")
    before = Vocab.load(tmp_path / "first" / "best" / "vocab.txt")
    write_written(
        own_corpora, *(f"五绝\t题{number}\t" + "炉火红如豆 窗风冷似刀 老亲犹未睡 灯下补儿袍" for number in range(21))
    )
    more = (*SMALL, "data.poems=4", "data.written=3")
    status, _, messages = front_door(tmp_path / "on", "--init", str(tmp_path / "first" / "best"), settings=more)
    assert status == 0, messages
    after = Vocab.load(tmp_path / "on" / "best" / "vocab.txt")
    assert after.symbols == (*before.symbols[:-1], "<dynasty:今>")
    bits = [entry["bits_per_symbol_of_written_verse"] for entry in log(tmp_path / "on")]
    assert bits[-1] < bits[0] - 0.1
    poet = Poet.load(tmp_path / "on" / "best")
    assert poet.write(form="五绝", dynasty="今", seed=1).lines


def test_an_epoch_draws_poems_and_repeats_written_ones(corpora: Path) -> None:
    poems = select_split(load_poems(corpora), "train")
    config = PoemDataConfig(tokens_per_batch=64, poems=4, written=3, drop_dynasty=1.0)
    vocab, _ = build_vocab(poems, config)
    encoded = encode(poems, vocab, config.max_symbols)
    written = len(poems) - 2
    batches = PoemBatches(encoded, config, vocab.bos_id, seed=1, epoch=0, written=written)
    rows = [row for bucket in batches.buckets for row in bucket.tolist()]
    counts = Counter(row for row in rows if row >= written)
    assert counts == {written: 3, written + 1: 3}
    others = {row for row in rows if row < written}
    assert len(rows) == 6 + len(others) == 10
    dynasties = batches.controls[:, 1]
    assert not dynasties[:written].any()
    assert dynasties[written:].tolist() == encoded.controls[written:, 1].tolist() != [0, 0]
    again = PoemBatches(encoded, config, vocab.bos_id, seed=1, epoch=1, written=written)
    assert {row for bucket in again.buckets for row in bucket.tolist() if row < written} != others


@pytest.mark.parametrize("row", ["", "五绝\t题", "五绝\t题\t炉火红如豆", "五言\t题\t炉火红如豆 窗风冷似刀", "词\t\t"])
def test_a_broken_written_poem_is_named_by_its_line(
    front_door: Train, own_corpora: Path, tmp_path: Path, row: str
) -> None:
    path = write_written(own_corpora, "五绝\t题\t炉火红如豆 窗风冷似刀 老亲犹未睡 灯下补儿袍", row)
    status, _, messages = front_door(tmp_path / "run", settings=(*SMALL, "data.written=1"))
    assert status == 2
    assert f"{path}, line 2: " in sentence(messages)


def test_missing_written_poems_are_named_with_the_command_that_gets_them(
    front_door: Train, own_corpora: Path, tmp_path: Path
) -> None:
    status, _, messages = front_door(tmp_path / "run", settings=(*SMALL, "data.written=1"))
    assert status == 2
    assert "zhseq corpus get verse_written" in sentence(messages)


def test_a_start_that_is_no_model_is_refused(front_door: Train, tmp_path: Path) -> None:
    status, output, messages = front_door(tmp_path / "run", "--init", str(tmp_path))
    assert (status, output) == (2, "")
    assert str(tmp_path) in sentence(messages)


@pytest.fixture
def cut_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Send this process the signal of Ctrl-C when the batch of a certain number is asked for."""
    made = PoemBatches.__getitem__

    def prepare(number: int) -> None:
        asked = iter(range(10**6))

        def interrupting(batches: PoemBatches, index: int) -> object:
            if next(asked) == number:
                signal.raise_signal(signal.SIGINT)
            return made(batches, index)

        monkeypatch.setattr(PoemBatches, "__getitem__", interrupting)

    yield prepare
    monkeypatch.undo()


def test_interrupted_and_resumed_is_uninterrupted(
    front_door: Train, cut_at: Callable[[int], None], tmp_path: Path
) -> None:
    front_door(tmp_path / "whole")
    cut_at(9)
    status, output, messages = front_door(tmp_path / "cut")
    assert (status, output, messages) == (130, "", "zhseq: interrupted\n")
    assert [entry["step"] for entry in log(tmp_path / "cut")] == [4, 8]
    assert Poet.load(tmp_path / "cut" / "best").write(start="风").text.startswith("风")
    status, _, messages = front_door(tmp_path / "cut", "--resume")
    assert status == 0, messages
    assert log(tmp_path / "cut") == log(tmp_path / "whole")
    whole, cut = state(tmp_path / "whole"), state(tmp_path / "cut")
    assert cut.keys() == whole.keys()
    assert cut["model.safetensors"] == whole["model.safetensors"]
    assert cut["config.json"] == whole["config.json"]


def test_a_full_disk_leaves_the_run_as_it_was(front_door: Train, cut_at: Callable[[int], None], tmp_path: Path) -> None:
    front_door(tmp_path / "whole")
    cut_at(9)
    front_door(tmp_path / "cut")
    before = state(tmp_path / "cut")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1200, hard))  # the operating system refuses larger files
    try:
        status, _, messages = front_door(tmp_path / "cut", "--resume")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert status == 2
    assert "the previous state is intact" in sentence(messages)
    assert state(tmp_path / "cut") == before
    status, _, messages = front_door(tmp_path / "cut", "--resume")
    assert status == 0, messages
    assert log(tmp_path / "cut") == log(tmp_path / "whole")


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("training.learning_rat=1e-3", "'learning_rat'; valid here are epochs, max_steps, learning_rate"),
        ("modle.hidden_sizes=(8,8)", "'modle'; valid here are data, model, training"),
        ("model.hidden_sizes=wide", "must be of type int"),
        ("model.hidden_sizes=()", "hidden_sizes"),
        ("model=8", "set one of its parts: embedding_dim, hidden_sizes"),
        ("training.max_steps", "not of the form key=value"),
        ("training.max_steps=-1", "must not be negative, but is -1"),
        ("data.drop_form=1.5", "must lie in 0 to 1, but is 1.5"),
        ("data.vocab_size=7", "must be at least 8, but is 7"),
        ("data.max_authors=-1", "must not be negative, but is -1"),
        ("model.input_dropout=2", "must lie in [0, 1), but is 2.0"),
        ("training.device=abacus", "device 'abacus' is not available"),
    ],
)
def test_a_setting_that_cannot_be_is_one_sentence(
    front_door: Train, tmp_path: Path, setting: str, expected: str
) -> None:
    status, output, messages = front_door(tmp_path / "run", settings=(*SMALL, setting))
    assert (status, output) == (2, "")
    assert expected in sentence(messages)
    assert not (tmp_path / "run" / "best").exists()


@pytest.mark.parametrize("below", ["", "run"])
def test_a_run_is_not_kept_in_a_file(front_door: Train, tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("mine")
    status, _, messages = front_door(tmp_path / "file" / below)
    assert status == 2
    assert f"{tmp_path / 'file'} is a file; give another --out" in sentence(messages)
    assert (tmp_path / "file").read_text() == "mine"


def test_there_must_be_a_run_to_resume(front_door: Train, tmp_path: Path) -> None:
    status, _, messages = front_door(tmp_path / "run", "--resume")
    assert status == 2
    assert "resume.safetensors is missing" in sentence(messages)


def test_a_run_of_another_shape_is_not_resumed(front_door: Train, tmp_path: Path) -> None:
    front_door(tmp_path / "run")
    before = state(tmp_path / "run")
    status, _, messages = front_door(tmp_path / "run", "--resume", settings=(*SMALL, "model.hidden_sizes=(9,10)"))
    assert status == 2
    assert "does not fit this model and its settings" in sentence(messages)
    assert state(tmp_path / "run") == before


def test_a_loss_that_is_not_finite_is_one_sentence(front_door: Train, tmp_path: Path) -> None:
    settings = (*SMALL, "training.learning_rate=1e30", "training.warmup_steps=0")
    status, _, messages = front_door(tmp_path / "run", settings=settings)
    assert status == 2
    assert "not finite" in sentence(messages)


def test_missing_corpora_are_named_with_the_command_that_gets_them(
    front_door: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZHSEQ_CORPORA", str(tmp_path / "none"))
    status, _, messages = front_door(tmp_path / "run")
    assert status == 2
    assert "zhseq corpus get" in sentence(messages)


def test_a_broken_record_is_named_by_file(front_door: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "corpora"
    broken = shi("tang-1", ["山水花月云，风雨雪江河。"])
    del broken["paragraphs"]
    write_chinese_poetry(root / "chinese-poetry", [*verses(1), broken], [])
    write_json(root / "poetry-source/source/诗/唐/poetry.唐.0000.base.json", [])
    (root / "werneror-poetry").mkdir()
    monkeypatch.setenv("ZHSEQ_CORPORA", str(root))
    status, _, messages = front_door(tmp_path / "run")
    assert status == 2
    assert "poet.tang.0.json" in sentence(messages)


def test_attention_can_be_added_to_a_model_that_is_trained(front_door: Train, tmp_path: Path) -> None:
    assert front_door(tmp_path / "first")[0] == 0
    begun = ("--init", str(tmp_path / "first" / "best"))
    assert front_door(tmp_path / "second", *begun, "--set", "model.attention_heads=2")[0] == 0
    first, second = (load_model(tmp_path / run / "best")[0] for run in ("first", "second"))
    assert first.attention is None
    assert second.attention is not None
    assert second.attention.output.weight.abs().sum() > 0  # it has learned
    assert second.config.hidden_sizes == first.config.hidden_sizes
    assert len(Poet.load(tmp_path / "second" / "best").write(form="七绝", seed=1).lines) == 4
