import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from zhseq.checkpoint import read_tensors
from zhseq.config import override
from zhseq.errors import ConfigError, CorpusError
from zhseq.recipes.tagged_texts import EncodedTexts, Source, Sources, TaggerBatches, encode_pieces, read_sources
from zhseq.recipes.tagger import RECIPES, Start, TaggerRecipe, build, find_recipe, head_tags, span_scores, train_tagger
from zhseq.recipes.vectors import save_vectors
from zhseq.tagging.model import load_parts, save
from zhseq.tagging.tagger import Tagger
from zhseq.text.normalize import blanks, from_codepoints
from zhseq.text.tags import Span, TagTable, spans_from_ids
from zhseq.train import main
from zhseq.training.loop import Evaluation

NAMES = {"PER": ["王小明", "李四", "赵云"], "LOC": ["北京", "上海市", "长安"]}
SMALL = (
    "model.embedding_dim=16",
    "model.bigram_dim=8",
    "model.word_dim=8",
    "model.hidden_size=24",
    "model.channels=16",
    "model.input_dropout=0.1",
    "model.output_dropout=0.1",
    "data.tokens_per_batch=256",
    "data.max_words=200",
    "data.max_bigrams=100",
    "training.warmup_steps=5",
    "training.learning_rate=0.01",
    "training.precision=float32",
    "training.device=cpu",
)


def sentences(count: int, seed: int) -> list[str]:
    """Lines of JSON: somebody goes somewhere, in words with parts of speech, names marked."""
    draw = random.Random(seed)
    lines = []
    for _ in range(count):
        person, place = draw.choice(NAMES["PER"]), draw.choice(NAMES["LOC"])
        parts = [(person, "nr"), ("去", "v"), (place, "ns"), (draw.choice(["学习", "旅行"]), "v"), ("。", "w")]
        if draw.random() < 0.5:
            parts.insert(0, (draw.choice(["昨天", "今年"]), "t"))
        words, position = [], 0
        for word, pos in parts:
            words.append({"start": position, "end": position + len(word), "pos": pos})
            position += len(word)
        labels = {"nr": "PER", "ns": "LOC"}
        entities = [{**word, "label": labels[word["pos"]]} for word in words if word["pos"] in labels]  # type: ignore[index]
        text = "".join(word for word, _ in parts)
        lines.append(json.dumps({"text": text, "words": words, "entities": entities}, ensure_ascii=False))
    return lines


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tagged") / "train.jsonl"
    path.write_text("\n".join(sentences(150, seed=1)) + "\n", encoding="utf-8")
    return path


def command(corpus: Path, out: Path, *more: str, task: str = "both", epochs: int = 4) -> list[str]:
    start = [] if "--init" in more else ["--scratch"]
    changes = [item for assignment in (*SMALL, f"training.epochs={epochs}") for item in ("--set", assignment)]
    data = ["--task", task, "--train", str(corpus), *start, "--set", "data.dev_share=0.2"]
    return ["tagger", "--out", str(out), *data, *changes, *more]


@pytest.fixture(scope="module")
def trained(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    assert main(command(corpus, out, epochs=12)) == 0
    return out


def test_a_small_tagger_learns_both_tasks(trained: Path) -> None:
    tagger = Tagger.load(trained / "best")
    document = tagger("昨天王小明去上海市旅行。")
    assert [(w.text, w.pos) for w in document.words] == [
        ("昨天", "t"),
        ("王小明", "nr"),
        ("去", "v"),
        ("上海市", "ns"),
        ("旅行", "v"),
        ("。", "w"),
    ]
    assert [(e.text, e.label) for e in document.entities] == [("王小明", "PER"), ("上海市", "LOC")]
    assert tagger("李四去長安學習").words[2].text == "長安"
    config = json.loads((trained / "best" / "config.json").read_text(encoding="utf-8"))
    assert config["training"]["evaluation"]["words_f1"] > 0.95
    assert "B-v" in config["model"]["heads"]["pos"]
    assert "M-v" not in config["model"]["heads"]["pos"]  # no verb of three characters occurs


def test_killed_and_resumed_equals_uninterrupted(corpus: Path, tmp_path: Path) -> None:
    for name, steps in (("whole", (6,)), ("parts", (3, 6))):
        for index, stop in enumerate(steps):
            options = ["--set", f"training.max_steps={stop}", "--set", "training.evaluate_every=3"]
            rate = ["--set", "training.final_rate=1.0"]  # the same rates, whatever the number of steps
            resume = ["--resume"] if index else []
            assert main(command(corpus, tmp_path / name, *options, *rate, *resume)) == 0
    whole, parts = (read_tensors(tmp_path / name / "resume.safetensors") for name in ("whole", "parts"))
    for name in whole:
        if name.startswith("model."):
            assert torch.equal(whole[name], parts[name]), name


def test_a_tagger_goes_on_with_new_labels(trained: Path, tmp_path: Path) -> None:
    lines = [line.replace('"LOC"', '"CITY"') for line in sentences(150, seed=2)]
    new = tmp_path / "new.jsonl"
    new.write_text("\n".join(lines), encoding="utf-8")
    assert main(command(new, tmp_path / "run", "--init", str(trained / "best"), task="ner", epochs=6)) == 0
    tagger = Tagger.load(tmp_path / "run" / "best")
    assert tagger.tasks == ("ner",)
    assert [(e.text, e.label) for e in tagger("李四去上海市学习。").entities] == [("李四", "PER"), ("上海市", "CITY")]


def test_what_a_tagger_knows_of_a_label_is_kept(trained: Path, corpus: Path) -> None:
    texts = {"ner": read_sources({"ner": (Source(str(corpus)),)}, TaggerRecipe().data)["ner"][0].train}
    model, features, _ = build(texts, TaggerRecipe(), Start(init=str(trained / "best")))
    old, _ = load_parts(trained / "best")
    batch = features.batch(["李四去上海市学习。"]).to("cpu")
    tags = model.config.heads["ner"]
    assert set(tags) == set(old.config.heads["ner"])
    order = [old.config.heads["ner"].index(tag) for tag in tags]
    with torch.no_grad():
        ours = model.eval().emissions(batch)["ner"]
        theirs = old.eval().emissions(batch)["ner"]
    assert torch.allclose(ours, theirs[..., order], atol=1e-5)
    assert torch.equal(model.crf("ner").transitions, old.crf("ner").transitions[order][:, order])


def test_pieces_without_blanks_and_their_spans() -> None:
    texts = [
        ("中国 人民。", [Span(0, 2, "ns"), Span(3, 5, "n"), Span(5, 6, "w")]),
        ("　", []),
        ("AB", [Span(0, 1, "n")]),
    ]
    encoded = encode_pieces(texts, 100, covered=True)
    assert from_codepoints(encoded.points) == "中国人民。"  # the last text has a character of no word
    assert encoded.spans == ((Span(0, 2, "ns"), Span(2, 4, "n"), Span(4, 5, "w")),)
    assert len(encode_pieces(texts, 100, covered=False)) == 2
    cut = encode_pieces([("一二三四五六七八", [Span(0, 2, "x"), Span(3, 5, "y"), Span(6, 8, "x")])], 4, covered=False)
    assert len(cut) == 0  # the cut goes through a span, on both sides of it
    assert not blanks(cut.points).any()


def test_head_tags_are_those_that_occur() -> None:
    encoded = encode_pieces([("北京去", [Span(0, 2, "ns"), Span(2, 3, "v")])], 9, covered=True)
    assert head_tags("pos", encoded) == ["B-ns", "E-ns", "S-v"]
    assert head_tags("ner", encoded) == ["O", "B-ns", "E-ns", "S-v"]


def test_batches_hold_every_piece_once_and_may_drop_its_mark() -> None:
    texts = [
        ("去。" * (1 + index % 5), [Span(i, i + 1, "vw"[i % 2]) for i in range(2 + 2 * (index % 5))])
        for index in range(50)
    ]
    encoded = encode_pieces(texts, 99, covered=True)
    table = TagTable.build(head_tags("pos", encoded))
    tagged = {"pos": encoded.with_tags(table)}
    _, features, _ = build({"pos": encoded}, override(TaggerRecipe(), SMALL), Start())
    for drop, ends in ((0.0, {"w"}), (1.0, {"v"})):
        batches = TaggerBatches(tagged, features, 40, drop_mark=drop, seed=(1, 0))
        assert sum(len(batch) for batch in batches) == 50
        for batch in batches:
            assert batch.head == "pos"
            assert batch.targets is not None
            last = np.take_along_axis(batch.targets, batch.lengths[:, None] - 1, axis=1)
            assert {table.tags[tag][-1] for tag in last[:, 0].tolist()} == ends


def test_pieces_come_as_often_as_their_weight_says() -> None:
    encoded = encode_pieces([("去" * size, [Span(0, size, "v")]) for size in range(1, 41)], 99, covered=True)
    _, features, tables = build({"pos": encoded}, override(TaggerRecipe(), SMALL), Start())
    tagged = {"pos": encoded.with_tags(tables["pos"])}
    weights = {"pos": np.repeat([3.0, 0.5], [20, 20])}
    counts = np.zeros((50, 41), dtype=np.int64)
    for epoch in range(50):
        for batch in TaggerBatches(tagged, features, 40, drop_mark=0.0, seed=(1, epoch), weights=weights):
            for length in batch.lengths.tolist():
                counts[epoch, length] += 1
    assert (counts[:, 1:21] == 3).all()
    assert set(np.unique(counts[:, 21:])) == {0, 1}
    assert counts[:, 21:].mean() == pytest.approx(0.5, abs=0.05)


def test_several_sources_teach_one_head_and_others_only_the_encoder(corpus: Path, tmp_path: Path) -> None:
    modern, words = tmp_path / "modern.jsonl", tmp_path / "words.txt"
    modern.write_text("\n".join(sentences(60, seed=9)), encoding="utf-8")
    words.write_text("李四 去 上海市 旅行\n" * 8 + "赵云 今年 学习\n", encoding="utf-8")
    sources: Sources = {
        "pos": (Source(str(corpus)), Source(str(modern), weight=2)),
        "ner": (Source(str(corpus)),),
        "pos-words": (Source(str(words), None),),
    }
    recipe = override(TaggerRecipe(), [*SMALL, "training.epochs=2", "data.dev_share=0.2"])
    best = train_tagger(recipe, sources, tmp_path / "run")
    names = {"train:pos_f1", "train:words_f1", "modern:pos_f1", "modern:words_f1", "ner_f1"}
    assert set(best.details) == names
    judged = [best.details[name] for name in ("train:pos_f1", "modern:pos_f1", "ner_f1")]
    assert best.score == pytest.approx(sum(judged) / 3)
    tagger = Tagger.load(tmp_path / "run" / "best")
    assert set(tagger.tasks) == {"pos", "ner"}
    tensors = read_tensors(tmp_path / "run" / "best" / "model.safetensors")
    assert not [name for name in tensors if "pos-words" in name]
    kept = json.loads((tmp_path / "run" / "best" / "config.json").read_text(encoding="utf-8"))["training"]["sources"]
    assert kept["pos"][1] == {"train": str(modern), "dev": "", "weight": 2}


def test_what_one_head_is_evaluated_on_none_is_trained_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    lines = sentences(40, seed=3)
    first.write_text("\n".join(lines), encoding="utf-8")
    second.write_text("\n".join(sentences(40, seed=4)[:20] + lines[:20]), encoding="utf-8")
    parts = read_sources(
        {"pos": (Source(str(second), None),), "ner": (Source(str(second), str(first)),)}, TaggerRecipe().data
    )
    held_out = {
        from_codepoints(piece) for piece in np.split(parts["ner"][0].dev.points, parts["ner"][0].dev.offsets[1:-1])
    }  # type: ignore[union-attr]
    trained = parts["pos"][0].train
    assert held_out
    assert not held_out & {from_codepoints(piece) for piece in np.split(trained.points, trained.offsets[1:-1])}


def test_a_mark_that_is_part_of_a_span_stays() -> None:
    encoded = encode_pieces([("去……", [Span(0, 1, "v"), Span(1, 3, "w")])], 99, covered=True)
    _, features, tables = build({"pos": encoded}, override(TaggerRecipe(), SMALL), Start())
    tagged = {"pos": encoded.with_tags(tables["pos"])}
    assert TaggerBatches(tagged, features, 40, drop_mark=1.0, seed=(1, 0))[0].lengths.tolist() == [3]


def test_scores_of_spans_count_labels_that_training_lacks() -> None:
    encoded = encode_pieces([("李四去上海。", [Span(0, 2, "PER"), Span(3, 5, "LOC")])], 99, covered=False)
    model, features, _ = build({"ner": encoded}, override(TaggerRecipe(), SMALL), Start())
    model.eval()
    batch = features.assemble(encoded.points, encoded.lengths).to("cpu")
    tags = model.crf("ner").decode(model.emissions(batch)["ner"], batch.mask)[0].numpy()
    table = TagTable.build(model.config.heads["ner"])
    found = [
        Span(start, end, table.labels[label])
        for start, end, label in zip(*(column.tolist() for column in spans_from_ids(tags, table)), strict=True)
    ]
    gold = (*found, Span(5, 6, "NEW")) if not found or found[-1].end < 6 else (*found[:-1], Span(5, 6, "NEW"))
    hit = len(set(found) & set(gold))
    again = EncodedTexts(encoded.points, encoded.offsets, (gold,), np.zeros(0, dtype=np.int64))
    expected = 2 * hit / (len(found) + len(gold))
    assert span_scores(model, features, "ner", again, "float32")["ner_f1"] == pytest.approx(expected)


def test_vectors_are_where_a_training_starts(corpus: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    units = {"char": ["北", "京", "龘"], "bigram": ["北京", "去学"], "word": ["北京", "学习", "不在词典里"]}
    tables = {
        unit: (symbols, rng.normal(size=(len(symbols), 24)).astype(np.float32)) for unit, symbols in units.items()
    }
    save_vectors(tmp_path, tables)
    texts = {"pos": read_sources({"pos": (Source(str(corpus)),)}, TaggerRecipe().data)["pos"][0].train}
    model, features, _ = build(texts, override(TaggerRecipe(), SMALL), Start(vectors=tmp_path))
    assert "龘" in features.vocab
    assert features.lexicon.words == ("北京", "学习")
    weights = {
        "char": model.embedding.characters.weight[[features.vocab.id(char) for char in units["char"]]],
        "word": model.embedding.words.weight[[1, 2]],  # type: ignore[union-attr]
    }
    for unit, rows in weights.items():  # a turn into fewer dimensions keeps the angles of so few vectors
        given = tables[unit][1][: len(rows)]
        wanted = given @ given.T
        ratio = (rows @ rows.T).detach().numpy() / wanted
        assert ratio == pytest.approx(np.full_like(ratio, ratio[0, 0]), rel=0.05)


def test_own_words_are_looked_for(corpus: Path, tmp_path: Path) -> None:
    path = tmp_path / "own.txt"
    path.write_text("李四去\n云计算 5\n", encoding="utf-8")
    texts = {"pos": read_sources({"pos": (Source(str(corpus)),)}, TaggerRecipe().data)["pos"][0].train}
    _, features, _ = build(texts, override(TaggerRecipe(), SMALL), Start(words=path))
    assert features.lexicon.words[:2] == ("李四去", "云计算")
    assert len(features.lexicon) == 200


def test_what_a_tagger_knows_of_a_list_is_kept(corpus: Path, tmp_path: Path) -> None:
    texts = {"pos": read_sources({"pos": (Source(str(corpus)),)}, TaggerRecipe().data)["pos"][0].train}
    for folder, names in (("first", "甲乙\n丙丁\n"), ("second", "戊己庚\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "place.txt").write_text(names, encoding="utf-8")
    (tmp_path / "second" / "company.txt").write_text("辛壬\n", encoding="utf-8")
    model, features, _ = build(texts, override(TaggerRecipe(), SMALL), Start(lists=tmp_path / "first"))
    assert model.embedding.words is not None
    old = model.embedding.words.weight.detach().half().float()  # as a checkpoint keeps it
    assert len(old) == 1 + len(features.lexicon) == 2 + len(features.lexicon.words)
    save(tmp_path / "model", model, features, {})
    start = Start(init=str(tmp_path / "model"))
    same, again, _ = build(texts, override(TaggerRecipe(), SMALL), start)
    assert list(again.lexicon.lists) == ["place"]
    assert same.embedding.words is not None
    assert torch.equal(same.embedding.words.weight, old)
    start = Start(init=str(tmp_path / "model"), lists=tmp_path / "second")
    changed, features, _ = build(texts, override(TaggerRecipe(), SMALL), start)
    assert list(features.lexicon.lists) == ["company", "place"]
    assert changed.embedding.words is not None
    table = changed.embedding.words.weight
    assert torch.equal(table[: len(old) - 1], old[:-1])
    assert torch.equal(table[-1], old[-1])
    assert not torch.equal(table[-2], old[-1])


def test_settings_fit_the_size_of_own_texts(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[TaggerRecipe] = []

    def pretend(recipe: TaggerRecipe, *_: object, **options: object) -> Evaluation:
        made.append(recipe)
        return Evaluation(0.0)

    monkeypatch.setattr("zhseq.recipes.tagger.train_tagger", pretend)
    own = ["tagger", "--out", str(tmp_path), "--task", "ner", "--train", str(corpus), "--scratch"]
    assert main(own) == 0
    assert main([*own, "--recipe", "default"]) == 0
    assert [recipe.training.epochs for recipe in made] == [40, TaggerRecipe().training.epochs]
    assert made[0].data.tokens_per_batch < 256


def test_commands_that_cannot_be(corpus: Path, tmp_path: Path) -> None:
    out = ["tagger", "--out", str(tmp_path)]
    with pytest.raises(ConfigError, match="train= requires task="):
        main([*out, "--train", str(corpus)])
    with pytest.raises(ConfigError, match="task= and dev= require train="):
        main([*out, "--task", "pos"])
    with pytest.raises(ConfigError, match="valid here are"):
        main([*out, "--set", "model.wings=2"])
    with pytest.raises(CorpusError):
        main([*out, "--task", "pos", "--train", str(tmp_path / "missing.jsonl")])


def test_a_recipe_of_ones_own_is_read_from_a_file(corpus: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    sources = {"ner": [{"train": str(corpus), "weight": 2}, {"train": str(corpus), "dev": None}]}
    path.write_text(json.dumps({"sources": sources, "settings": ["training.epochs=3"]}), encoding="utf-8")
    found = find_recipe(str(path))
    assert found.sources == {"ner": (Source(str(corpus), weight=2), Source(str(corpus), None))}
    assert (found.settings, found.transfer) == (("training.epochs=3",), False)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "cannot be read"),
        ("[]", "sources"),
        ('{"sources": {}}', "sources"),
        ('{"sources": {"ner": []}}', "sources"),
        ('{"sources": {"wings": [{"train": "a"}]}}', "wings"),
        ('{"sources": {"ner": [{"train": "a", "wait": 2}]}}', "wait"),
        ('{"sources": {"ner": [{"dev": "a"}]}}', "missing"),
        ('{"sources": {"ner": [{"train": "a", "weight": 0}]}}', "greater than 0"),
        ('{"sources": {"ner": [{"train": "a"}]}, "settings": 3}', "settings"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(content: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        find_recipe(str(path))


def test_an_unknown_recipe_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ner-weibo"):
        main(["tagger", "--recipe", "ner-msr", "--output", str(tmp_path / "run")])


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_have_settings_that_exist(name: str) -> None:
    recipe = override(TaggerRecipe(), RECIPES[name].settings)
    assert recipe.training.epochs > 0
    assert {head.partition("-")[0] for head in RECIPES[name].sources} <= {"pos", "ner"}
