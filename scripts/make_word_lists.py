"""Make the word lists of the shipped tagger from dictionaries and lists of names.

A word goes into the list of the sources that have it: `place`, or `place+title` where it is a place and the title of an
article. Words that the raw texts do not have are left out, and so are those that the tagger has vectors for. Together
with `zhseq train tagger --lists DIR`, which says what becomes of them. Needs the corpora `lexicon` and `raw`
(`python -m zhseq.corpus get lexicon raw`).
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from zhseq.checkpoint import resolve
from zhseq.corpus.registry import corpus_folder
from zhseq.tagging.features import MAX_WORD_LENGTH, TaggerFeatures
from zhseq.tagging.lexicon import NgramTable, rolling_hashes
from zhseq.text.normalize import codepoints, normalize

CATEGORIES = {
    "diming": "place",
    "lishimingren": "person",
    "chengyu": "idiom",
    "medical": "medicine",
    "animal": "animal",
    "food": "food",
    "law": "law",
    "IT": "technology",
    "car": "car",
}
"""Lists by the categories of THUOCL; the others are of common words and of lines of verse."""
PARTS = {
    "nr": "person",
    "nt": "organization",
    "ns": "place",
    "nz": "proper",
    "n": "noun",
    "v": "verb",
    "a": "adjective",
}
"""Lists by the part of speech in jieba's dictionary, by its beginning, the longer ones first."""
_HAN = re.compile(r"[\u4e00-\u9fff·]{2,4}")
_DIVISION = re.compile(r"(?<=..)(?:自治区|自治州|特别行政区|地区|街道|[省市区县镇乡旗盟])$")
_BLOCK = 8_000_000  # bytes; a block ends with a line


def main() -> int:
    """Write the lists and print how many words each has."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tagger", help="tagger whose words are left out (default: %(default)s)")
    parser.add_argument("--least", type=int, default=3, metavar="N", help="occurrences in the raw texts (default: 3)")
    parser.add_argument("--small", type=int, default=400, metavar="N", help="smallest list of a combination (400)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    options = parser.parse_args()
    own = set(TaggerFeatures.load(resolve(options.model)).lexicon.words)
    sources: dict[str, dict[str, None]] = {}
    for word, source in words():
        if word not in own:
            sources.setdefault(word, {})[source] = None
    print(f"{len(sources):,} words", file=sys.stderr)
    found = {word for word, count in occurrences(list(sources)).items() if count >= options.least}
    names = {word: "+".join(sorted(sources[word])) for word in found}
    sizes = Counter(names.values())
    lists: dict[str, list[str]] = {}
    for word in sorted(found):
        name = names[word]
        if sizes[name] < options.small:  # the rarest of its sources says most
            name = min(sources[word], key=lambda source: (sizes[source], source))
        lists.setdefault(name, []).append(word)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, members in sorted(lists.items(), key=lambda item: -len(item[1])):
        (options.out / f"{name}.txt").write_text("\n".join(members) + "\n", encoding="utf-8")
        print(f"{len(members):7,}  {name:40} {' '.join(members[:: max(1, len(members) // 6)][:6])}")
    print(f"{sum(map(len, lists.values())):,} words in {len(lists)} lists")
    return 0


def words() -> Iterator[tuple[str, str]]:
    """Yield the words of all sources with the name of their list."""
    folder = corpus_folder("lexicon")
    for word, list_name in _entries(folder):
        normalized = normalize(word)
        if _HAN.fullmatch(normalized):
            yield normalized, list_name


def _entries(folder: Path) -> Iterator[tuple[str, str]]:
    import jieba

    with jieba.get_dict_file() as stream:
        for line in stream.read().decode("utf-8").splitlines():
            word, _, part = line.split(" ")[:3]
            name = next((name for start, name in PARTS.items() if part.startswith(start)), "word")
            yield word, "idiom" if part in {"i", "l"} else name
    for word, category, *_ in _rows(folder / "thuocl.tsv"):
        if category in CATEGORIES:
            yield word, CATEGORIES[category]
    for word, *_ in _rows(folder / "places_admin_china.tsv"):
        yield word, "place"
        yield _DIVISION.sub("", word), "division"
    for file, name in (
        ("company_short_names.txt", "company"),
        ("names_person_foreign_translit.txt", "foreign"),
        ("names_person_japanese.txt", "japanese"),
        ("words_ik_main.txt", "word"),
        ("wikipedia_titles_zh.txt", "title"),
    ):
        for word, *_ in _rows(folder / file):
            yield word, name


def _rows(path: Path) -> Iterator[list[str]]:
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            yield line.rstrip("\n").split("\t")


def occurrences(candidates: list[str]) -> dict[str, int]:
    """Count words of two to `MAX_WORD_LENGTH` characters in the raw texts, as they stand there one after the other."""
    by_length = {n: [word for word in candidates if len(word) == n] for n in range(2, MAX_WORD_LENGTH + 1)}
    tables = {
        n: NgramTable(codepoints("".join(own)).reshape(-1, n), np.arange(1, len(own) + 1))
        for n, own in by_length.items()
        if own
    }
    counts = {n: np.zeros(len(own) + 1, dtype=np.int64) for n, own in by_length.items()}
    files = sorted(corpus_folder("raw").glob("*.txt"))
    with tqdm(total=sum(file.stat().st_size for file in files), unit="B", unit_scale=True, disable=None) as bar:
        for file in files:
            with file.open("rb") as stream:
                while block := stream.read(_BLOCK):
                    block += stream.readline()
                    points = codepoints(normalize(block.decode("utf-8")))
                    for n, hashes in enumerate(rolling_hashes(points, MAX_WORD_LENGTH), start=1):
                        if n in tables:
                            counts[n] += np.bincount(tables[n].find(hashes), minlength=len(counts[n]))
                    bar.update(len(block))
    return {
        word: count for n, own in by_length.items() for word, count in zip(own, counts[n][1:].tolist(), strict=True)
    }


if __name__ == "__main__":
    raise SystemExit(main())
