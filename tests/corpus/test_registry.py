from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from zhseq.corpus.poetry import POETRY_SOURCES
from zhseq.corpus.registry import KINDS, corpora_root, corpus_folder, find_corpora, manifest, tree_checksum
from zhseq.errors import ConfigError, CorpusError


def test_every_entry_of_the_manifest_is_complete() -> None:
    corpora = manifest()
    assert set(POETRY_SOURCES) == {corpus.name for corpus in corpora.values() if corpus.kind == "poetry"}
    for corpus in corpora.values():
        assert corpus.kind in KINDS
        assert corpus.purpose
        assert corpus.licence
        assert corpus.files > 0
        assert corpus.size > 0
        assert re.fullmatch("[0-9a-f]{64}", corpus.tree_sha256)
        assert corpus.archives
        for archive in corpus.archives:
            assert re.fullmatch("[0-9a-f]{64}", archive.sha256)
            assert archive.size > 0
            assert archive.file.endswith(".xz")
        for place in corpus.upstream:
            assert re.fullmatch(r"[\w.-]+/[\w.-]+", place.repository)
            assert re.fullmatch(r"[0-9a-f]{40}|r2\.5", place.ref)
            assert place.paths
            assert all(path.startswith(place.source) for path in place.paths)


def test_no_test_part_is_asked_for() -> None:
    paths = [path for corpus in manifest().values() for place in corpus.upstream for path in place.paths]
    assert paths
    assert not [path for path in paths if "test" in path]


def test_find_corpora_takes_names_and_kinds_once() -> None:
    names = [corpus.name for corpus in find_corpora(["werneror-poetry", "poetry", "msra_ner"])]
    assert names == ["werneror-poetry", "chinese-poetry", "poetry-source", "msra_ner"]


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"found 'no'; choose from chinese-poetry, .*tagging"):
        find_corpora(["no"])


def test_corpora_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ZHSEQ_CORPORA", str(tmp_path))
    assert corpora_root() == tmp_path
    monkeypatch.delenv("ZHSEQ_CORPORA")
    assert corpora_root().name == "corpora"


def test_corpus_folder_says_how_to_get_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    assert corpus_folder("here", tmp_path) == tmp_path / "here"
    with pytest.raises(CorpusError, match=r"run `zhseq corpus get gone`"):
        corpus_folder("gone", tmp_path)


def test_tree_checksum_is_that_of_the_sorted_list(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x").write_bytes(b"1")
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    one, none = hashlib.sha256(b"1").hexdigest(), hashlib.sha256(b"").hexdigest()
    assert tree_checksum(tmp_path) == hashlib.sha256(f"{none}  a\n{one}  b/x\n".encode()).hexdigest()
