import pytest

from zhseq import explain
from zhseq.errors import InputError
from zhseq.tagging.formats import PKU_TO_UPOS, UPOS


def test_tags_are_explained_in_both_languages(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (explain("nr"), explain("PROPN"), explain("PER")) == ("name of a person", "proper noun", "person")
    assert (explain("nr", "zh"), explain("B-nr", "zh"), explain("E-ORG", "zh")) == ("人名", "人名", "机构名")
    monkeypatch.setenv("ZHSEQ_LANG", "zh")
    assert explain("v") == "动词"
    assert explain("v", "en") == "verb"


def test_all_tags_that_formats_know_are_explained() -> None:
    for tag in {*PKU_TO_UPOS, *UPOS}:
        assert explain(tag) != explain(tag, "zh") != ""


def test_an_unknown_tag_is_refused() -> None:
    with pytest.raises(InputError, match=r"no explanation of 'nrr', only of PER, LOC, .*nr, "):
        explain("nrr")
    with pytest.raises(TypeError, match="expected a tag of type str, but got NoneType"):
        explain(None)  # type: ignore[arg-type]
