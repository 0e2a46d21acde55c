"""Names begin and end where words do: for any text, dictionary and reading, in all formats."""

from __future__ import annotations

import json
import re

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tagging.tiny_tagger import NER, tiny_features, tiny_model
from zhseq.tagging.blocks import PIECE, TextBlock
from zhseq.tagging.decoding import find_spans, tag_table
from zhseq.tagging.dictionary import Entry, UserDictionary
from zhseq.tagging.formats import FORMATS, Document, make_writer
from zhseq.tagging.model import TorchNetwork
from zhseq.tagging.tagger import Tagger
from zhseq.text.tags import scheme_tags

POS = tuple(scheme_tags(["n", "nx", "m", "q", "t", "v", "w"], "BMES", outside=False))
MODEL = tiny_model({"pos": POS, "ner": NER}, seed=3)
TAGGER = Tagger(TorchNetwork(MODEL, tiny_features()))
TEXT = st.text(st.sampled_from("中国人民在北京大学 abA1.,@#\n😀"), max_size=40)
WORDS = st.lists(
    st.builds(
        Entry,
        st.text("中国人民北京 aA1", min_size=1, max_size=4).filter(str.strip),
        st.sampled_from(["", "n", "BRAND"]),
        st.sampled_from(["", "PER", "商标"]),
        st.none(),
        st.sampled_from(["prefer", "force"]),
    ),
    max_size=4,
)


def agrees(document: Document) -> bool:
    starts, ends = {word.start for word in document.words}, {word.end for word in document.words}
    return all(entity.start in starts and entity.end in ends for entity in document.entities)


@given(TEXT, WORDS)
@settings(max_examples=60, deadline=None)
def test_names_begin_and_end_where_words_do(text: str, entries: list[Entry]) -> None:
    dictionary = UserDictionary(entries, weight=20.0)
    plain = TAGGER(text, dictionary=dictionary)
    several = TAGGER(text, nbest=3, dictionary=dictionary)
    scored = TAGGER(text, scores=True, dictionary=dictionary)
    assert all(map(agrees, [plain, several, *several.alternatives, scored]))
    assert (several.words, several.entities) == (plain.words, plain.entities)
    assert [word[:4] for word in scored.words] == [word[:4] for word in plain.words]


def test_names_of_long_lines_agree_where_the_line_is_cut() -> None:
    for before in range(PIECE - 12, PIECE + 4):
        text = "和" * before + "中国人民在北京大学学习上海" * 20
        for document in (TAGGER(text), *TAGGER(text, nbest=2).alternatives):
            assert agrees(document)


def test_tags_that_do_not_mark_ends_agree_too() -> None:
    tagger = Tagger(
        TorchNetwork(tiny_model({"pos": POS, "ner": tuple(scheme_tags(["PER", "LOC"], "BIO"))}), tiny_features())
    )
    for line in ("中国人民在北京大学学习上海", "北京大学的了中国人,和民"):
        assert agrees(tagger(line))
        assert all(map(agrees, tagger(line, nbest=3).alternatives))


@given(TEXT)
@settings(max_examples=30, deadline=None)
def test_every_format_shows_it(text: str) -> None:
    document = TAGGER(text.replace("\n", ""))
    written = {form: make_writer(form, TAGGER.tasks).write(document, "\n") for form in FORMATS}
    record = json.loads(written["jsonl"])
    words, entities = record["words"], record["entities"]
    for edge in ("start", "end"):
        assert {entity[edge] for entity in entities} <= {word[edge] for word in words}
    rows = [line.split("\t") for line in written["bio"].split("\n") if line]
    assert all(row[1][0] in "BS" for row in rows if row[2].startswith("B-"))
    labelled = re.findall(r"(?:^| )\[[^ ].*?/[a-z]+\](?:PER|LOC)(?= |$)", written["text"].rstrip("\n"))
    assert len(labelled) == len(entities)


def test_the_better_of_both_is_taken() -> None:
    """Where words and names do not agree, the pair with the greater score stands, of those found from either side."""
    text = "中国人民在北京大学学习上海"
    block, features = TextBlock.of([text]), tiny_features()
    seen = set()
    for seed in range(30):
        model = tiny_model({"pos": POS, "ner": NER}, seed=seed)
        apart = [find_spans(TorchNetwork(model, features), block, [head])[head][0] for head in ("pos", "ner")]
        words, names = (found[0] for found in find_spans(TorchNetwork(model, features), block, ["pos", "ner"]).values())
        edges = {*apart[0].starts.tolist(), len(text)}
        if {*apart[1].starts.tolist(), *apart[1].ends.tolist()} <= edges:
            assert names.starts.tolist() == apart[1].starts.tolist()
            assert words.starts.tolist() == apart[0].starts.tolist()
            continue
        seen.add("words" if words.starts.tolist() == apart[0].starts.tolist() else "names")
        assert {*names.starts.tolist(), *names.ends.tolist()} <= {*words.starts.tolist(), len(text)}
    assert seen == {"words", "names"}


def test_a_head_alone_is_free() -> None:
    block, features = TextBlock.of(["中国人民在北京大学学习上海"]), tiny_features()
    batch = features.batch(["中国人民在北京大学学习上海"]).to("cpu")
    with torch.inference_mode():
        path = MODEL.crf("ner").decode(MODEL.emissions(batch)["ner"], batch.mask)[0].numpy()
    found = find_spans(TorchNetwork(MODEL, features), block, ["ner"])["ner"][0]
    table = tag_table(NER)
    begins = [position for position, tag in enumerate(path.tolist()) if table.tags[tag][0] in "BS"]
    assert found.starts.tolist() == begins
