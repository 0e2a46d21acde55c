"""Each reader of tagged text against small hand-made files."""

import json
from collections.abc import Sequence
from pathlib import Path

import datasets
import pytest

from zhseq.corpus.tagging import TaggedCorpus, TaggedText, read_tagged
from zhseq.corpus.tagging_base import count_labels, label_report, rare_labels
from zhseq.errors import CorpusError
from zhseq.text.tags import NO_BEGIN, Span


def read(folder: Path, content: str, name: str = "a.txt", **options: str) -> TaggedCorpus:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return read_tagged(path, **options)  # type: ignore[arg-type]


def shown(text: TaggedText, spans: Sequence[Span] | None) -> list[str]:
    assert spans is not None
    return [f"{text.text[span.start : span.end]}/{span.label}" for span in spans]


def test_pfr_words_are_those_inside_of_the_brackets(tmp_path: Path) -> None:
    line = "19980102-03-004-005/m  [中央/n  人民/n  广播/vn  电台/n]nt"
    line += "  记者/n  江/nr  泽民/nr  到/v  [香港/ns  特区/n]ns  面试/vvn"
    corpus = read(tmp_path, line + "\n\n" + "19980102-03-005-001/m  上海/ns  《/w  [红/a  旗/n]nz  》/w\n")
    first, second = corpus.texts
    assert first.text == "中央人民广播电台记者江泽民到香港特区面试"
    assert shown(first, first.words)[:4] == ["中央/n", "人民/n", "广播/vn", "电台/n"]
    assert shown(first, first.words)[-1] == "面试/vn"
    assert shown(first, first.entities) == ["中央人民广播电台/ORG", "江泽民/PER", "香港特区/LOC"]
    assert shown(second, second.entities) == ["上海/LOC"]
    assert [text.document for text in corpus.texts] == ["19980102-03-004", "19980102-03-005"]
    assert corpus.repairs == {"misprinted tag": 1}


def test_pfr_without_ids_is_told_by_its_compounds(tmp_path: Path) -> None:
    first, second = read(tmp_path, "江/nr 泽民/nr\n[北京/ns 大学/n]nt\n").texts
    assert shown(first, first.entities) + shown(second, second.entities) == ["江泽民/PER", "北京大学/ORG"]
    assert first.document != second.document


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("江 泽民 李 鹏", ["江泽民", "李鹏"]),
        ("欧阳 海", ["欧阳海"]),
        ("村山 富市", ["村山富市"]),
        ("陈 方 安生", ["陈方安生"]),
        ("克林顿 希拉里", ["克林顿", "希拉里"]),
        ("若愚 肖 荻", ["若愚", "肖荻"]),
        ("余 （申音）", ["余（申音）"]),
        ("老舍", ["老舍"]),
    ],
)
def test_surname_and_given_name_are_one_person(tmp_path: Path, words: str, names: list[str]) -> None:
    tagged = "  ".join(f"{word}/nr" for word in words.split())
    text = read(tmp_path, f"19980101-01-001-001/m  {tagged}  ，/w  王/nr  ，/w\n").texts[0]
    assert shown(text, text.entities) == [*(f"{name}/PER" for name in names), "王/PER"]


def test_slashed_text_may_hold_slashes_and_brackets(tmp_path: Path) -> None:
    corpus = read(
        tmp_path, "[江/nr 泽民/nr]PER 1/2/m [/w ]/w //w [[北京/ns]LOC 大学/n]ORG\n[好/a\n不]PER/d]PER\n", format="text"
    )
    text = corpus.texts[0]
    assert shown(text, text.words) == ["江/nr", "泽民/nr", "1/2/m", "[/w", "]/w", "//w", "北京/ns", "大学/n"]
    assert shown(text, text.entities) == ["江泽民/PER", "北京大学/ORG"]
    assert corpus.repairs == {"bracket without its partner": 2}


def test_slashed_text_without_brackets_says_nothing_of_entities(tmp_path: Path) -> None:
    assert read(tmp_path, "江/nr 泽民/nr\n").texts[0].entities is None


def test_segmented_text_has_words_without_labels(tmp_path: Path) -> None:
    text = read(tmp_path, "\n共同　创造  美好 的\n").texts[0]
    assert text.text == "共同创造美好的"
    assert text.words == (Span(0, 2, ""), Span(2, 4, ""), Span(4, 6, ""), Span(6, 7, ""))
    assert text.document.endswith("a.txt#2")


@pytest.mark.parametrize("separator", [" ", "\t", " _ _ ", "\t-\t"])
def test_columns_of_characters(tmp_path: Path, separator: str) -> None:
    rows = [
        ("高", "B-NAME"),
        ("勇", "E-NAME"),
        ("：", "O"),
        ("", ""),
        ("男", "S-SEX"),
        ("人", "M-X"),
        ("", ""),
        ("", ""),
    ]
    lines = "".join(f"{c}{separator}{tag}\n" if c else "\n" for c, tag in rows)
    corpus = read(tmp_path, lines)
    assert [text.text for text in corpus.texts] == ["高勇：", "男人"]
    assert corpus.texts[0].entities == (Span(0, 2, "NAME"),)
    assert corpus.texts[1].entities == (Span(0, 1, "SEX"), Span(1, 2, "X"))
    assert corpus.texts[0].words is None
    assert corpus.repairs[NO_BEGIN] == 1
    assert corpus.texts[1].document.endswith("#5")


def test_columns_may_hold_blanks_as_characters(tmp_path: Path) -> None:
    text = read(tmp_path, "王\tB-PER\n \tI-PER\n伟\tI-PER\n\u3000\tO\n").texts[0]
    assert (text.text, text.entities) == ("王 伟\u3000", (Span(0, 3, "PER"),))


def test_columns_of_characters_with_their_place_in_the_word(tmp_path: Path) -> None:
    text = read(tmp_path, "科0\tB-ORG\n技1\tI-ORG\n30\tO\n\ufffd\ufffd0\tO\nd13\tO\n").texts[0]
    assert (text.text, text.entities) == ("科技3\ufffd\ufffdd", (Span(0, 2, "ORG"),))


def test_columns_of_joint_tags_are_words(tmp_path: Path) -> None:
    text = read(tmp_path, "江 B-n\n河 E-n\n湖 S-n\n").texts[0]
    assert (text.words, text.entities) == ((Span(0, 2, "n"), Span(2, 3, "n")), None)
    assert read(tmp_path, "江 B\n河 E\n湖 S\n").texts[0].words == (Span(0, 2, ""), Span(2, 3, ""))


def test_columns_of_words_and_parts_of_speech(tmp_path: Path) -> None:
    text = read(tmp_path, "看似\tAUX\nPinus\tX\narmandii\tX\n，\tPUNCT\n\n好\tADJ\n").texts[0]
    assert text.text == "看似Pinus armandii，"
    assert shown(text, text.words) == ["看似/AUX", "Pinus/X", "armandii/X", "，/PUNCT"]


def test_columns_of_words_with_tags_of_entities(tmp_path: Path) -> None:
    text = read(tmp_path, "New B-LOC\nYork I-LOC\n很 O\n美丽 O\n").texts[0]
    assert (text.text, text.entities) == ("New York很美丽", (Span(0, 8, "LOC"),))


def conllu(*rows: str) -> str:
    return "".join("\t".join((row.split() + ["_"] * 10)[:10]) + "\n" for row in rows) + "\n"


def test_conllu_text_is_taken_as_it_stands(tmp_path: Path) -> None:
    block = "# newdoc id = d1\n# text = 在 Game Informer里\n" + conllu(
        "1 在 _ ADP IN _ _ _ _ Entity=ORG:2-15",
        "2 Game _ X FW",
        "2.1 无 _ X X",
        "3-4 Informer里 _ _ _",
        "3 Informer _ X FW",
        "4 里 _ ADP IN",
    )
    text = read(tmp_path, block).texts[0]
    assert text.text == "在 Game Informer里"
    assert shown(text, text.words) == ["在/ADP", "Game/X", "Informer里/"]
    assert shown(text, text.entities) == ["Game Informer/ORG"]
    assert text.document == "d1"
    assert read(tmp_path, block, format="conllu-xpos").texts[0].words[0].label == "IN"  # type: ignore[index]


def test_conllu_without_text_follows_its_blanks(tmp_path: Path) -> None:
    rows = ("1 在 _ ADP IN _ _ _ _ SpaceAfter=No", "2 Game _ X FW _ _ _ _ _", "3 里 _ ADP IN _ _ _ _ _")
    assert read(tmp_path, conllu(*rows)).texts[0].text == "在Game 里"
    bare = conllu("1 在 _ ADP", "2 A _ X", "3 B _ X", "4 里 _ ADP")
    assert read(tmp_path, bare).texts[0].text == "在A B里"
    assert read(tmp_path, bare).texts[0].entities is None


def test_parallel_files(tmp_path: Path) -> None:
    (tmp_path / "dev-label.txt").write_text("O B-PER I-PER\nO\nO O\n", encoding="utf-8")
    corpus = read(tmp_path, "帝 颛 顼\n之\n裔 孙 曰\n", "dev.txt")
    assert [text.text for text in corpus.texts] == ["帝颛顼", "之"]
    assert corpus.texts[0].entities == (Span(1, 3, "PER"),)
    assert corpus.repairs == {"text and tags of different length, left out": 1}
    (tmp_path / "dev-label.txt").write_text("O B-PER PER\nO\nO O\n", encoding="utf-8")
    with pytest.raises(CorpusError, match=r"dev-label.txt, line 1: expected tags like B-PER"):
        read_tagged(tmp_path / "dev.txt")
    (tmp_path / "dev-label.txt").write_text("O B-PER I-PER\n", encoding="utf-8")
    with pytest.raises(CorpusError, match="expected 4 lines"):
        read_tagged(tmp_path / "dev.txt")


def test_overlapping_entities_of_json_leave_the_longest(tmp_path: Path) -> None:
    line = '{"text": "北京大学", "label": {"address": {"北京": [[0, 1]]}, "organization": {"北京大学": [[0, 3]]}}}'
    corpus = read(tmp_path, line + "\n")
    assert corpus.texts[0].entities == (Span(0, 4, "organization"),)
    assert sum(corpus.repairs.values()) == 1


def make_dataset() -> datasets.Dataset:
    tags = datasets.ClassLabel(names=["O", "B-PER", "I-PER"])
    features = datasets.Features(
        {
            "tokens": datasets.Sequence(datasets.Value("string")),
            "ner_tags": datasets.Sequence(tags),
            "upos": datasets.Sequence(datasets.Value("string")),
        }
    )
    rows = {"tokens": [["江", "泽民", "来"]], "ner_tags": [[1, 2, 0]], "upos": [["PROPN", "PROPN", "VERB"]]}
    return datasets.Dataset.from_dict(rows, features=features)


def test_a_saved_data_set(tmp_path: Path) -> None:
    make_dataset().save_to_disk(str(tmp_path / "one"))
    datasets.DatasetDict({"dev": make_dataset()}).save_to_disk(str(tmp_path / "many"))
    for name in ("one", "many:dev"):
        text = read_tagged(str(tmp_path / name)).texts[0]
        assert shown(text, text.entities) == ["江泽民/PER"]
        assert shown(text, text.words) == ["江/PROPN", "泽民/PROPN", "来/VERB"]
    with pytest.raises(CorpusError, match="one of dev, found 'train'"):
        read_tagged(tmp_path / "many")


def test_a_data_set_without_tags_is_refused(tmp_path: Path) -> None:
    make_dataset().remove_columns(["ner_tags", "upos"]).save_to_disk(str(tmp_path / "set"))
    with pytest.raises(CorpusError, match="expected a column of tokens"):
        read_tagged(tmp_path / "set")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match="none could be loaded"):
        read_tagged(tmp_path / "empty")


UNER = """# newdoc id = one
# sent_id = 1
# text = 王小明 2024年在北京 IBM工作。
1\t王\tB-PER\t-\t-
2\t小明\tI-PER\t-\t-
3\t2024\tO\t-\t-
4\t年\tO\t-\t-
5\t在\tO\t-\t-
6\t北京\tB-LOC\t-\t-
7\tIBM\tB-ORG\t-\t-
8\t工作\tB-OTHER\t-\t-
9\t。\tO\t-\t-

# text = 北京上海
1\t北京\tB-LOC\t-\t-
2\t上海\tB-LOC\t-\t-
"""


def test_names_of_universal_ner_stand_in_the_text_as_it_is(tmp_path: Path) -> None:
    corpus = read(tmp_path, UNER, format="uner")
    first, second = corpus.texts
    assert first.text == "王小明 2024年在北京 IBM工作。"
    assert shown(first, first.entities) == ["王小明/PER", "北京/LOC", "IBM/ORG"]
    assert shown(second, second.entities) == ["北京/LOC", "上海/LOC"]
    assert first.words is None
    assert {text.document for text in corpus.texts} == {"one"}
    assert corpus.repairs == {"label beside PER, LOC and ORG, left out": 1}


@pytest.mark.parametrize("line", ["1\t王", "x\t王\tO\t-\t-", "1\t王\tPER!\t-\t-", "1\t李\tO\t-\t-"])
def test_a_broken_line_of_universal_ner_is_named(tmp_path: Path, line: str) -> None:
    with pytest.raises(CorpusError, match=r"line [23]"):
        read(tmp_path, f"# text = 王\n{line}\n", format="uner")


def test_docstart_lines_begin_documents_and_are_no_text(tmp_path: Path) -> None:
    lines = "-DOCSTART- -X- O O\n\n北 B-LOC\n京 I-LOC\n\n好 O\n\n-DOCSTART- -X- O O\n江 B-PER\n"
    corpus = read(tmp_path, lines)
    assert [text.text for text in corpus.texts] == ["北京", "好", "江"]
    first, second, third = (text.document for text in corpus.texts)
    assert first == second != third


def test_columns_may_have_commas_between(tmp_path: Path) -> None:
    corpus = read(tmp_path, "北,B-LOC\n京,I-LOC\n,,O\n好,O\n\n江,B-PER\n")
    assert [text.text for text in corpus.texts] == ["北京,好", "江"]
    assert shown(corpus.texts[0], corpus.texts[0].entities) == ["北京/LOC"]


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
def test_any_line_end_ends_a_line(tmp_path: Path, end: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("北 B-LOC\n京 I-LOC\n\n好 O\n".replace("\n", end).encode())
    assert [text.text for text in read_tagged(path).texts] == ["北京", "好"]


def test_a_json_array_is_read_as_lines_are(tmp_path: Path) -> None:
    records = [
        {"text": "江在北京", "entities": [{"start": 2, "end": 4, "label": "LOC"}]},
        {"text": "好", "entities": []},
    ]
    for indent in (None, 2):
        texts = read(tmp_path, json.dumps(records, ensure_ascii=False, indent=indent), "a.json").texts
        assert [text.text for text in texts] == ["江在北京", "好"]
        assert shown(texts[0], texts[0].entities) == ["北京/LOC"]
    assert [text.text for text in read(tmp_path, "[江/nr 泽民/nr]PER 讲话/v\n").texts] == ["江泽民讲话"]


@pytest.mark.parametrize(
    "record",
    [
        '{"text": "江在北京", "label": [[2, 4, "LOC"], [0, 1, "PER"]], "id": 7}',
        '{"text": "江在北京", "labels": [[0, 1, "PER"], [2, 4, "LOC"]]}',
        '{"text": "江在北京", "entities": [{"id": 1, "label": "LOC", "start_offset": 2, "end_offset": 4},'
        ' {"id": 2, "label": "PER", "start_offset": 0, "end_offset": 1}], "relations": []}',
    ],
)
def test_entities_as_doccano_writes_them(tmp_path: Path, record: str) -> None:
    corpus = read(tmp_path, f'{record}\n{{"text": "好", "label": []}}\n', "a.jsonl")
    first, second = corpus.texts
    assert shown(first, first.entities) == ["江/PER", "北京/LOC"]
    assert second.entities == ()
    with pytest.raises(CorpusError, match='line 1: expected "entities" to contain objects'):
        read(tmp_path, '{"text": "江", "label": [[0, 9, "PER"]]}\n', "a.jsonl")


def test_records_without_labels_are_counted_and_too_many_refused(tmp_path: Path) -> None:
    good, bad = '{"text": "好", "entities": []}\n', '{"text": "好", "tags": ["O"]}\n'
    corpus = read(tmp_path, good * 10 + bad + good * 10, "a.jsonl")
    assert len(corpus.texts) == 20
    assert corpus.report().endswith(
        "a.jsonl: 1 of 21 records have neither words nor entities and are skipped, the first in line 11"
    )
    with pytest.raises(CorpusError, match=r'line 3: expected "words" or "entities" in addition to "text"'):
        read(tmp_path, good * 2 + bad * 2, "a.jsonl")


def test_bilou_is_bioes_by_other_letters(tmp_path: Path) -> None:
    text = read(tmp_path, "江 U-PER\n在 O\n中 B-LOC\n南 I-LOC\n海 L-LOC\n").texts[0]
    assert shown(text, text.entities) == ["江/PER", "中南海/LOC"]
    text = read(tmp_path, "中 B\n南 I\n海 L\n好 U\n").texts[0]
    assert shown(text, text.words) == ["中南海/", "好/"]
    (tmp_path / "x-label.txt").write_text("B-LOC L-LOC U-PER O\n", encoding="utf-8")
    text = read(tmp_path, "北 京 江 好\n", "x.txt").texts[0]
    assert shown(text, text.entities) == ["北京/LOC", "江/PER"]


def test_numbers_without_names_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    datasets.Dataset.from_dict({"tokens": [["北", "京"]], "ner_tags": [[1, 2]]}).save_to_disk(folder)
    with pytest.raises(CorpusError, match=r"column ner_tags: expected tags, or numbers with a ClassLabel .* found 1"):
        read_tagged(folder)


def test_very_long_texts_are_noted(tmp_path: Path) -> None:
    corpus = read(tmp_path, "好 O\n" * 3000 + "\n好 O\n")
    assert "1 of 2 texts are longer than 2000 characters, the longest has 3000" in corpus.report()
    assert "\n" not in read(tmp_path, "好 O\n").report()


def test_labels_are_counted_and_rare_ones_named(tmp_path: Path) -> None:
    texts = read(tmp_path, "鱼 B-DISH\n\n" * 9 + "鸭 B-DISHES\n\n江 B-PER\n\n").texts
    assert count_labels(texts) == {"ner": {"DISH": 9, "DISHES": 1, "PER": 1}}
    assert label_report(texts) == "labels: DISH 9, DISHES 1, PER 1"
    assert [*map(str, rare_labels(texts))] == [
        "the label DISHES occurs only 1 times; is it DISH?",
        "the label PER occurs only 1 times",
    ]
