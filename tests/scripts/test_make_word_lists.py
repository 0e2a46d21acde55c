from pathlib import Path

import pytest

from scripts import make_word_lists
from scripts.make_word_lists import occurrences, words

PLACES = "word\tlevel\tcode\n宜春市\tcity\t1\n新源县\tcounty\t2\n石棉县某某某某某镇\ttownship\t3\n"
LEXICON = {
    "thuocl.tsv": "白帝城\tdiming\t9\n登幽州台歌\tpoem\t3\n糖醋鱼\tfood\t2\n",
    "places_admin_china.tsv": PLACES,
    "company_short_names.txt": "鲸鱼座\nABC\n",
    "names_person_foreign_translit.txt": "列特尔\n",
    "names_person_japanese.txt": "三浦雅\n",
    "words_ik_main.txt": "白帝城\n",
    "wikipedia_titles_zh.txt": "鲸鱼座\n白帝城\n",
}


@pytest.fixture
def corpora(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "lexicon").mkdir()
    (tmp_path / "raw").mkdir()
    for name, text in LEXICON.items():
        (tmp_path / "lexicon" / name).write_text(text, encoding="utf-8")
    (tmp_path / "raw" / "a.txt").write_text("白帝城下白帝城，鲸鱼座\n宜春\n", encoding="utf-8")
    (tmp_path / "raw" / "b.txt").write_text("看白帝\n城，宜春市的鲸鱼座。\n", encoding="utf-8")
    monkeypatch.setenv("ZHSEQ_CORPORA", str(tmp_path))
    return tmp_path


def test_words_come_with_the_lists_they_stand_in(corpora: Path) -> None:
    found: dict[str, set[str]] = {}
    for word, name in words():
        found.setdefault(word, set()).add(name)
    assert {"place", "word", "title"} <= found["白帝城"]
    assert "food" in found["糖醋鱼"]
    assert {"company", "title"} <= found["鲸鱼座"]
    assert "place" in found["宜春市"]
    assert "division" in found["宜春"]
    assert not {"ABC", "登幽州台歌"} & set(found)  # in no Chinese characters, too long
    assert max(map(len, found)) == 4


def test_occurrences_are_those_within_lines(corpora: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {"白帝城": 2, "鲸鱼座": 2, "宜春": 2, "宜春市": 1, "糖醋鱼": 0}
    assert occurrences(list(expected)) == expected
    monkeypatch.setattr(make_word_lists, "_BLOCK", 5)  # a file in many blocks, each a whole number of lines
    assert occurrences(list(expected)) == expected
