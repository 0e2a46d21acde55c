import json
import shutil
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zhseq.errors import CheckpointError, InputError
from zhseq.poetry.forms import FORMS
from zhseq.poetry.poet import Poet, Request
from zhseq.poetry.request import Sampling
from zhseq.text.normalize import codepoints, is_han


@pytest.mark.parametrize("form", FORMS)
def test_form_is_kept_by_construction(tiny_poet, form):
    for poem in list(tiny_poet.stream(Request(form=form, sampling=Sampling(temperature=2, seed=3)), 50)):
        assert tuple(map(len, poem.lines)) == FORMS[form].line_lengths
        assert is_han(codepoints("".join(poem.lines))).all()
        assert len(set(poem.lines)) == len(poem.lines)
        rows = poem.text.split("\n")
        assert len(rows) == len(poem.lines) // 2
        assert all(row[len(row) // 2 - 1] == "，" and row[-1] == "。" for row in rows)


def test_no_line_stands_twice_even_when_the_model_always_says_the_same(tiny_poet):
    poem = tiny_poet.write(form="五律", temperature=0)
    assert len(set(poem.lines)) == 8


@given(st.lists(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF), min_size=1, max_size=28, unique=True))
@settings(max_examples=30, deadline=None)
def test_a_poem_begins_with_exactly_the_given_characters(tiny_poet, characters):
    start = "".join(characters)
    assert "".join(tiny_poet.write(start=start, form="七绝").lines).startswith(start)


@pytest.mark.parametrize("start", ["𠮷", "髪", "風吹", "〇", "龘靐"])
def test_rare_and_traditional_characters_are_kept_as_given(tiny_poet, start):
    assert tiny_poet.write(start=start).text.startswith(start)
    assert tiny_poet.write(start=start, traditional=True).text.startswith(start)


@pytest.mark.parametrize(
    ("start", "form"),
    [
        ("春", "七绝"),
        ("白日依山尽，", "五绝"),
        ("春" * 7 + "，", "七绝"),
        ("一二三四五六七八九十百千万亿兆东南西北中金木水火土青赤黄白", "七律"),
        ("", "七绝"),
    ],
)
def test_auto_takes_the_first_form_that_fits(tiny_poet, start, form):
    assert tiny_poet.write(start=start).form == form


def test_auto_says_why_nothing_fits(tiny_poet):
    with pytest.raises(InputError, match="300 characters, but a 七律 has 56"):
        tiny_poet.write(start="春" * 300)


def test_same_seed_same_poem_whatever_the_number(tiny_poet):
    request = Request(sampling=Sampling(seed=5))
    few, many = list(tiny_poet.stream(request, 2)), list(tiny_poet.stream(request, 7))
    assert few == many[:2]
    assert tiny_poet.write(seed=6) != few[0]


def test_many_poems_come_in_blocks_and_are_the_same(tiny_poet):
    request = Request(form="五绝", sampling=Sampling(seed=8))
    poems = list(tiny_poet.stream(request, 300))
    assert len(set(poems)) == 300
    assert list(tiny_poet.stream(request, 258)) == poems[:258]


def test_traditional_changes_only_the_script(tiny_poet):
    plain, traditional = (tiny_poet.write(seed=2, traditional=choice) for choice in (False, True))
    assert [len(line) for line in traditional.lines] == [len(line) for line in plain.lines]
    from opencc import OpenCC

    assert OpenCC("t2s").convert(traditional.text) == plain.text


def test_unknown_author_is_refused_and_near_names_are_shown(tiny_poet):
    assert tiny_poet.authors == ("李白", "杜甫")
    tiny_poet.write(author="李白", dynasty="唐", title="春")
    with pytest.raises(InputError, match=r"knows no author '李黑'.*李白"):
        tiny_poet.write(author="李黑")


@pytest.mark.parametrize("wishes", [{"form": "词"}, {"temperature": -1}, {"top_p": 2}, {"seed": -3}])
def test_impossible_wishes_are_one_sentence(tiny_poet, wishes):
    with pytest.raises(InputError) as caught:
        tiny_poet.write(**wishes)
    assert "\n" not in str(caught.value)


def test_one_poet_serves_several_threads(tiny_poet):
    expected = [tiny_poet.write(seed=seed) for seed in range(8)]
    found = [None] * 8

    def work(seed):
        found[seed] = tiny_poet.write(seed=seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == expected


def _damage_config(directory):
    (directory / "config.json").write_text("{", encoding="utf-8")


def _change_kind(directory):
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    (directory / "config.json").write_text(json.dumps(config | {"kind": "sequence-tagger"}), encoding="utf-8")


def _cut_weights(directory):
    weights = (directory / "model.safetensors").read_bytes()
    (directory / "model.safetensors").write_bytes(weights[: len(weights) // 2])


def _cut_vocab(directory):
    lines = (directory / "vocab.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    (directory / "vocab.txt").write_text("".join(lines[:-1]), encoding="utf-8")


def _change_size(directory):
    text = (directory / "config.json").read_text(encoding="utf-8")
    (directory / "config.json").write_text(text.replace('"embedding_dim": 12', '"embedding_dim": 10'), encoding="utf-8")


def _remove_weights(directory):
    (directory / "model.safetensors").unlink()


@pytest.mark.parametrize(
    "damage", [_damage_config, _change_kind, _cut_weights, _cut_vocab, _change_size, _remove_weights]
)
def test_a_damaged_checkpoint_is_refused_in_one_sentence(tiny_model_dir, tmp_path, damage):
    directory = tmp_path / "model"
    shutil.copytree(tiny_model_dir, directory)
    damage(directory)
    with pytest.raises(CheckpointError) as caught:
        Poet.load(directory)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["prosody.json", "sense.json", "rater.json"])
def test_tables_that_are_nested_without_end_are_refused(tiny_model_dir, tmp_path, name):
    place = tmp_path / "model"
    shutil.copytree(tiny_model_dir, place)
    (place / name).write_text("[" * 100_000 + "]" * 100_000, encoding="utf-8")
    with pytest.raises(CheckpointError, match=name):
        Poet.load(place).write(start="春", best_of=1)
