"""docs/failures.md says what happens: every code that it names comes from what stands beside it."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tagging import fake_tagger
from tests.tagging.tiny_tagger import tiny_features, tiny_model
from zhseq import poem, tag, train
from zhseq.corpus.tagging import read_tagged
from zhseq.errors import Message, ZhseqError
from zhseq.messages import CHINESE
from zhseq.poetry.poet import Poet
from zhseq.tagging.dictionary_file import read_entries
from zhseq.tagging.model import save
from zhseq.tagging.tagger import Tagger

TEXT = (Path(__file__).resolve().parent.parent / "docs" / "failures.md").read_text(encoding="utf-8")
ROWS = [line.strip("| ").split(" | ") for line in TEXT.splitlines() if line.startswith("| ")][1:]
GB = "我们在城市北边的学校学习经济和中文，天气很好。\n"


def named(where: str) -> set[str]:
    """Codes in the rows of a place."""
    rows = [row[2] for row in ROWS if row[0] == where]
    return {code for row in rows for code in re.findall(r"`([a-z][a-z0-9_]+)`", row) if code in CHINESE}


def test_all_codes_are_there() -> None:
    found = {code for row in ROWS for code in re.findall(r"`([a-z][a-z0-9]*(?:_[a-z0-9]+)+)`", row[2])}
    assert found - CHINESE.keys() == {"zhseq_dropped_log_lines"}  # a counter
    assert {row[0] for row in ROWS} >= {"command line", "library", "training", "checkpoint", "dictionary", "service"}


def file(folder: Path, content: str | bytes, name: str = "a.txt") -> str:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    return str(path)


def tagged(*arguments: str) -> None:
    tag.main(list(arguments), load=fake_tagger.Tagger.load)  # type: ignore[arg-type]


def codes(message: Message) -> set[str]:
    inner = [value for value in message.values.values() if isinstance(value, Message)]
    return {message.code}.union(*map(codes, inner))


def said(call: Callable[[], object]) -> set[str]:
    """Codes of the error that comes, with those of the messages inside of it."""
    with pytest.raises(ZhseqError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return codes(caught.value.message)


COMMANDS: dict[str, Callable[[Path], object]] = {
    "unreadable_file": lambda folder: tagged(str(folder / "none.txt")),
    "folder_without_text": lambda folder: tagged(str(folder)),
    "empty_pattern": lambda folder: tagged(str(folder / "*.none")),
    "output_is_input": lambda folder: tagged(file(folder, "好\n"), "--output", str(folder / "a.txt")),
    "unwritable_folder": lambda folder: tagged(file(folder, "好\n"), "--output", file(folder, "", "f") + "/x/y"),
    "table_without_column": lambda folder: tagged(file(folder, "id,text\n1,好\n", "a.csv")),
    "no_such_column": lambda folder: tagged(file(folder, "id,text\n1,好\n", "a.csv"), "--column", "body"),
    "mixed_encodings": lambda folder: tagged(file(folder, (GB * 3).encode("gbk") + GB.encode())),
    "utf16_text": lambda folder: tagged(file(folder, GB.encode("utf-16"))),
    "replaceable_bytes": lambda folder: tagged(file(folder, GB.encode() + b"\xff\n")),
    "broken_json": lambda folder: tagged(file(folder, "{\n", "a.jsonl"), "--column", "text"),
    "no_such_field": lambda folder: tagged(file(folder, '{"body": "好"}\n', "a.jsonl"), "--column", "text"),
    "cut_short": lambda folder: tagged(file(folder, gzip.compress(GB.encode() * 99)[:-9], "a.txt.gz")),
    "nbest_out_of_range": lambda folder: tagged(file(folder, "好\n"), "--nbest", "1000000"),
    "number_of_threads": lambda folder: Tagger.load(threads=10**20),
}
WISHES = {
    "unknown_tune": ["--tune", "没有这个"],
    "unknown_form": ["--form", "六言"],
    "start_too_long": ["--start", "春" * 30, "--form", "五绝"],
}


@pytest.mark.parametrize("code", COMMANDS)
def test_what_a_command_refuses(tmp_path: Path, code: str) -> None:
    assert code in named("command line")
    assert code in said(lambda: COMMANDS[code](tmp_path))


@pytest.mark.parametrize("code", WISHES)
def test_wishes_that_cannot_be(code: str) -> None:
    assert code in named("command line")
    assert code in said(lambda: poem.main(WISHES[code]))


def test_notes_of_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    file(tmp_path / "in", (GB * 3).encode("gbk"))
    file(tmp_path / "in", bytes(range(256)) * 9, "b.txt")
    tagged(str(tmp_path / "in"), "--output", str(tmp_path / "out"))
    errors = capsys.readouterr().err
    assert "read as GB18030" in errors
    assert "skipped, it contains binary data" in errors
    file(tmp_path, "喜".encode("gbk"))
    tagged(str(tmp_path / "a.txt"))
    assert "as GB18030 it would be '喜'" in capsys.readouterr().err
    assert {"not_utf8", "doubtful_input", "doubtful_encoding", "binary_file"} <= named("command line")


COLUMNS = "历 B-LOC\n博 I-LOC\n、 O\n\n"
TRAININGS: dict[str, Callable[[Path], object]] = {
    "unknown_setting": lambda folder: begin(folder, "model.no_such=1"),
    "setting_of_wrong_type": lambda folder: begin(folder, "model.embedding_dim=much"),
    "seed_too_large": lambda folder: begin(folder, "training.seed=99999999999999999999"),
    "layer_too_large": lambda folder: begin(folder, "model.hidden_size=99999999"),
    "no_file_or_corpus": lambda folder: read_tagged(folder / "none"),
    "empty_texts": lambda folder: read_tagged(file(folder, "\n")),
    "no_known_format": lambda folder: read_tagged(file(folder, "人 O B-X\n今天 天气 很 好\n" * 2)),
    "broken_line": lambda folder: read_tagged(file(folder, COLUMNS * 9 + "博\n")),
    "broken_array": lambda folder: read_tagged(file(folder, '[{"text": "人", "entities": []}, {')),
    "strange_label": lambda folder: read_tagged(file(folder, COLUMNS.replace("LOC", "\x1b[31m"))),
    "mixed_schemes": lambda folder: read_tagged(file(folder, COLUMNS + "历 B-LOC\n博 M-LOC\n")),
}


def begin(folder: Path, setting: str) -> object:
    texts = file(folder, COLUMNS * 20)
    arguments = ["tagger", "--train", texts, "--task", "ner", "--output", str(folder / "run"), "--set", setting]
    return train.main(arguments)


@pytest.mark.parametrize("code", TRAININGS)
def test_what_a_training_refuses(tmp_path: Path, code: str) -> None:
    assert code in named("training")
    assert code in said(lambda: TRAININGS[code](tmp_path))


def test_a_training_is_not_begun_where_one_is_nor_gone_on_with_where_none_is(tmp_path: Path) -> None:
    (tmp_path / "run" / "best").mkdir(parents=True)
    assert {"run_exists", "weights_missing"} <= named("training")
    texts = file(tmp_path, "".join(f"{chr(0x4E00 + number)} O\n" + COLUMNS for number in range(60)))
    arguments = ["tagger", "--train", texts, "--task", "ner", "--scratch", "--output"]
    assert said(lambda: train.main([*arguments, str(tmp_path / "run")])) == {"run_exists"}
    assert "weights_missing" in said(lambda: train.main([*arguments, str(tmp_path / "new"), "--resume"]))


@pytest.mark.parametrize(
    ("code", "content"),
    [
        ("records_without_labels", '{"text": "人", "entities": []}\n' * 20 + '{"text": "人"}\n'),
        ("names_of_columns", "char label\n" + COLUMNS),
        ("other_columns", COLUMNS + "人 x O\n"),
        ("long_texts", "人 O\n" * 2001),
        ("empty_column", "1\t人\t人\t_\tn\t_\t0\troot\t_\t_\n\n"),
    ],
)
def test_notes_of_a_training(tmp_path: Path, code: str, content: str) -> None:
    assert code in named("training")
    assert [note.code for note in read_tagged(file(tmp_path, content)).notes] == [code]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("whole") / "tagger"
    save(directory, tiny_model(), tiny_features(), {})
    return directory


def changed(place: Path, **values: object) -> None:
    config = json.loads((place / "config.json").read_text(encoding="utf-8"))
    (place / "config.json").write_text(json.dumps({**config, **values}), encoding="utf-8")


def heads(place: Path, **values: object) -> None:
    model = json.loads((place / "config.json").read_text(encoding="utf-8"))["model"]
    changed(place, model={**model, "heads": values})


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def endless(path: Path) -> None:
    with path.open("wb") as table:
        table.truncate(65 << 20)


CHECKPOINTS: dict[str, Callable[[Path], object]] = {
    "not_a_model_directory": lambda place: shutil.rmtree(place),
    "no_model_config": lambda place: (place / "config.json").unlink(),
    "model_of_another_kind": lambda place: changed(place, kind="poem"),
    "model_config_unreadable": lambda place: (place / "config.json").write_text("[" * 100_000),
    "model_of_another_version": lambda place: changed(place, version=99),
    "too_many_tags": lambda place: heads(place, pos=[f"B-{number}" for number in range(9999)]),
    "name_not_printable": lambda place: heads(place, pos=["S-\x1b[31m"]),
    "weights_damaged": lambda place: (place / "model.safetensors").write_bytes(b"no weights"),
    "not_a_regular_file": lambda place: pipe(place / "vocab.txt"),
    "table_too_large": lambda place: endless(place / "vocab.txt"),
}


@pytest.mark.parametrize("code", CHECKPOINTS)
def test_what_a_checkpoint_may_not_be(model: Path, tmp_path: Path, code: str) -> None:
    assert code in named("checkpoint")
    place = tmp_path / "copy"
    shutil.copytree(model, place)
    CHECKPOINTS[code](place)
    assert code in said(lambda: Tagger.load(str(place)))


@pytest.mark.parametrize(
    ("code", "name", "content"),
    [
        ("unreadable_prosody", "prosody.json", "[" * 100_000),
        ("damaged_prosody", "prosody.json", '{"kind": "prosody", "version": VERSION}'),
        ("unreadable_sense", "sense.json", "{"),
        ("no_rater_file", "rater.json", "{}"),
    ],
)
def test_tables_of_verse(tiny_model_dir: Path, tmp_path: Path, code: str, name: str, content: str) -> None:
    from zhseq.poetry.prosody import prosody

    assert code in named("checkpoint")
    shutil.copytree(tiny_model_dir, tmp_path / "copy")
    (tmp_path / "copy" / name).write_text(content.replace("VERSION", str(prosody._VERSION)), encoding="utf-8")
    assert code in said(lambda: Poet.load(str(tmp_path / "copy")).write(start="春", best_of=1))


DICTIONARIES = {
    "empty_dictionary": "\n",
    "dictionary_with_marks": "好;5\n",
    "frequency_after_pos": "好 n 5\n",
    "frequency_or_force": "好\tviel\n",
    "json_in_dictionary": '{"好": 5}\n',
    "control_character": "好\x07\n",
    "long_word": "好" * 129,
    "broken_pattern": "re:[a-\n",
    "tagged_text_as_dictionary": "历 B-LOC\n博 I-LOC\n" * 5,
    "two_words_a_line": "北京 上海\n" * 6,
}


@pytest.mark.parametrize("code", [*DICTIONARIES, "unreadable_dictionary"])
def test_what_no_dictionary_is(tmp_path: Path, code: str) -> None:
    assert code in named("dictionary")
    path = Path(file(tmp_path, DICTIONARIES[code])) if code in DICTIONARIES else tmp_path / "none"
    assert code in said(lambda: read_entries(path))


def test_a_dictionary_behind_a_pipe_is_named(tmp_path: Path) -> None:
    words, text = tmp_path / "words", file(tmp_path, "好\n")
    os.mkfifo(words)
    assert "dictionary_no_file" in named("dictionary")
    for path in (words, tmp_path):
        assert "dictionary_no_file" in said(lambda path=path: tagged(text, "--dict", str(path)))  # type: ignore[misc]


@pytest.mark.parametrize(
    ("code", "content"),
    [
        ("comments", "# 词\n好\n"),
        ("names_of_columns", "word freq pos\n好\n"),
        ("word_with_blank", "北京 上海\n"),
        ("more_than_a_word", "1. 好\n"),
    ],
)
def test_notes_of_a_dictionary(tmp_path: Path, code: str, content: str) -> None:
    notes: list[Message] = []
    read_entries(Path(file(tmp_path, content)), notes.append)
    assert code in named("dictionary")
    assert [note.code for note in notes] == [code]


ELSEWHERE = {  # codes that other tests have
    "command line": {
        *("closed_input", "deadly_piece", "disk_full", "empty_cells", "input_changed", "other_settings"),
        *("not_utf8", "doubtful_input", "doubtful_encoding", "binary_file"),
    },
    "training": {
        *(
            "run_exists",
            "weights_missing",
            "numbers_without_names",
            "rare_label",
            "loss_not_finite",
            "state_does_not_fit",
        ),
        *("state_not_saved", "corpus_missing", "corpus_changed"),
        *("records_without_labels", "names_of_columns", "other_columns", "empty_column", "long_texts"),
    },
    "checkpoint": {
        *("model_not_fetched", "larger_than_weights", "more_layers_than_tensors", "weights_do_not_fit"),
        *("weights_not_finite", "unreadable_prosody", "damaged_prosody", "unreadable_sense", "no_rater_file"),
    },
    "dictionary": {"dictionary_line", "comments", "names_of_columns", "word_with_blank", "more_than_a_word"},
}


@pytest.mark.parametrize(
    ("where", "here"),
    [
        ("command line", COMMANDS.keys() | WISHES.keys()),
        ("training", TRAININGS.keys()),
        ("checkpoint", CHECKPOINTS.keys()),
        ("dictionary", DICTIONARIES.keys() | {"unreadable_dictionary", "dictionary_no_file"}),
    ],
)
def test_no_row_is_forgotten(where: str, here: set[str]) -> None:
    assert named(where) == here | ELSEWHERE[where]
