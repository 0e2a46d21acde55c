from __future__ import annotations

import errno
import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.corpus.conftest import write_tar
from tests.corpus.server import serving
from zhseq.corpus import fetch
from zhseq.corpus.registry import Archive, Corpus, Upstream, file_checksum, manifest, tree_checksum
from zhseq.errors import CorpusError

FILES = {"a.txt": b"alpha\n", "deep/b.txt": b"beta\n"}
Pack = Callable[..., Corpus]


def visible(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if path.name != ".cache")


def test_get_from_a_directory_searches_below_it(tmp_path: Path, pack: Pack) -> None:
    corpus = pack(FILES, top="sample/")
    assert fetch.get(corpus, tmp_path / "root", from_dir=tmp_path / "shelf")
    folder = tmp_path / "root" / "sample"
    assert {path: (folder / path).read_bytes() for path in FILES} == FILES
    assert tree_checksum(folder) == corpus.tree_sha256
    assert visible(tmp_path / "root") == ["sample"]


def test_get_does_nothing_when_the_corpus_is_there(tmp_path: Path, pack: Pack) -> None:
    corpus = pack(FILES)
    fetch.get(corpus, tmp_path / "root", from_dir=tmp_path / "shelf")
    shutil.rmtree(tmp_path / "shelf")
    assert not fetch.get(corpus, tmp_path / "root", from_dir=tmp_path / "shelf")


def test_get_tells_of_a_corpus_that_was_changed(tmp_path: Path, pack: Pack) -> None:
    corpus = pack(FILES)
    fetch.get(corpus, tmp_path / "root", from_dir=tmp_path / "shelf")
    (tmp_path / "root/sample/a.txt").write_bytes(b"omega\n")
    with pytest.raises(CorpusError, match=r"sample: expected 2 files with tree checksum .* delete .* get it again"):
        fetch.get(corpus, tmp_path / "root", from_dir=tmp_path / "shelf")
    assert (tmp_path / "root/sample/a.txt").read_bytes() == b"omega\n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sha256": "0" * 64}, "expected SHA-256 0000"),
        ({"size": 3}, "expected 3 bytes, found"),
        ({"file": "other.tar.xz"}, "expected other.tar.xz in it or below, found none"),
    ],
)
def test_get_refuses_an_archive_that_is_not_the_one(
    tmp_path: Path, pack: Pack, change: dict[str, object], message: str
) -> None:
    corpus = pack(FILES)
    corpus = replace(corpus, archives=(replace(corpus.archives[0], **change),))
    with pytest.raises(CorpusError, match=message):
        fetch.get(corpus, tmp_path / "root", from_dir=tmp_path / "shelf")
    assert visible(tmp_path / "root") == []


def test_get_refuses_a_tree_that_is_not_the_one(tmp_path: Path, pack: Pack) -> None:
    with pytest.raises(CorpusError, match=r"expected 2 files with tree checksum 1111.*found 2 files with"):
        fetch.get(pack(FILES, tree_sha256="1" * 64), tmp_path / "root", from_dir=tmp_path / "shelf")
    assert visible(tmp_path / "root") == []


def test_get_refuses_a_directory_that_is_not_there(tmp_path: Path, pack: Pack) -> None:
    with pytest.raises(CorpusError, match=r"nowhere: expected a directory .*check --from"):
        fetch.get(pack(FILES), tmp_path / "root", from_dir=tmp_path / "nowhere")


def test_get_tells_of_a_truncated_archive(tmp_path: Path, pack: Pack) -> None:
    corpus = pack({"a.txt": os.urandom(5000)})
    path = next((tmp_path / "shelf").rglob("*.xz"))
    path.write_bytes(path.read_bytes()[:2000])
    archive = Archive(path.name, file_checksum(path), 2000)
    with pytest.raises(CorpusError, match="the archive is damaged"):
        fetch.get(replace(corpus, archives=(archive,)), tmp_path / "root", from_dir=tmp_path / "shelf")
    assert visible(tmp_path / "root") == []


def _member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize(
    "member",
    [
        _member("../evil.txt"),
        _member("deep/../../evil.txt"),
        _member("/tmp/evil.txt"),
        _member("link", tarfile.SYMTYPE, "/etc/passwd"),
        _member("link", tarfile.LNKTYPE, "a.txt"),
        _member("pipe", tarfile.FIFOTYPE),
    ],
    ids=lambda member: f"{member.name}-{member.type.decode()}",
)
def test_get_refuses_paths_and_links_that_lead_out(tmp_path: Path, pack: Pack, member: tarfile.TarInfo) -> None:
    corpus = pack(FILES)
    path = next((tmp_path / "shelf").rglob("*.xz"))
    with tarfile.open(path, "w:xz") as tar:
        tar.addfile(member)
    archive = Archive(path.name, file_checksum(path), path.stat().st_size)
    with pytest.raises(CorpusError, match="expected plain files below one directory"):
        fetch.get(replace(corpus, archives=(archive,)), tmp_path / "root", from_dir=tmp_path / "shelf")
    assert visible(tmp_path / "root") == []
    assert not list(tmp_path.rglob("evil.txt"))


def test_a_full_disk_is_a_sentence_and_leaves_nothing(
    tmp_path: Path, pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = pack(FILES, size=7_000_000)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", full)
        with pytest.raises(CorpusError, match="expected 7 MB of free space to unpack sample, found a full disk"):
            fetch.get(corpus, tmp_path / "root", from_dir=tmp_path / "shelf")
    assert visible(tmp_path / "root") == []
    assert fetch.get(corpus, tmp_path / "root", from_dir=tmp_path / "shelf")


KILLED = """
import sys, time
from pathlib import Path
from zhseq.corpus import fetch
from zhseq.corpus.registry import corpus_from_entry
import json
inner = getattr(fetch, sys.argv[3])
def slow(*arguments):
    inner(*arguments)
    print("now", flush=True)
    time.sleep(60)
setattr(fetch, sys.argv[3], slow)
fetch.get(corpus_from_entry(json.loads(sys.argv[1])), Path(sys.argv[2]) / "root", from_dir=Path(sys.argv[2]) / "shelf")
"""


@pytest.mark.parametrize("moment", ["_extract", "_verify", "_flush"])
def test_a_kill_leaves_nothing_and_the_next_run_clears_up(tmp_path: Path, pack: Pack, moment: str) -> None:
    import json
    from dataclasses import asdict

    corpus = pack(FILES)
    arguments = [sys.executable, "-c", KILLED, json.dumps(asdict(corpus)), str(tmp_path), moment]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "now\n"
        process.send_signal(signal.SIGKILL)
    assert visible(tmp_path / "root") == [".sample.part"]
    assert fetch.get(corpus, tmp_path / "root", from_dir=tmp_path / "shelf")
    assert visible(tmp_path / "root") == ["sample"]


def test_get_from_a_mirror(tmp_path: Path, pack: Pack) -> None:
    corpus = pack(FILES)
    content = next((tmp_path / "shelf").rglob("*.xz")).read_bytes()
    with serving({"/mirror/sample.tar.xz": content}) as server:
        assert fetch.get(corpus, tmp_path / "root", mirror=f"{server.url}/mirror/")
    assert visible(tmp_path / "root") == ["sample"]
    assert list((tmp_path / "root/.cache/downloads").iterdir()) == []


def test_a_wrong_file_from_a_mirror_is_not_kept(tmp_path: Path, pack: Pack) -> None:
    corpus = pack(FILES)
    content = b"x" * corpus.archives[0].size
    with serving({"/sample.tar.xz": content}) as server, pytest.raises(CorpusError, match="expected SHA-256"):
        fetch.get(corpus, tmp_path / "root", mirror=server.url)
    assert visible(tmp_path / "root") == []
    assert list((tmp_path / "root/.cache/downloads").iterdir()) == []


@pytest.fixture
def upstream(tmp_path: Path, pack: Pack) -> tuple[Corpus, bytes]:
    """A corpus of two files of a repository, one renamed and one the head of a zip member, and the repository's tar."""
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("small.txt", "no")
        archive.writestr("big.txt", "train part|test part")
    repository = {
        "repo-abc/data/a.txt": b"alpha\n",
        "repo-abc/data/test.txt": b"test\n",
        "repo-abc/data/more/a.txt": b"other\n",
        "repo-abc/big.zip": zipped.getvalue(),
    }
    path = tmp_path / "repo.tar.gz"
    write_tar(path, repository, "w:gz", _member("repo-abc/data/a-link.txt", tarfile.SYMTYPE, "/etc/passwd"))
    places = (
        Upstream("owner/repo", "abc", ("data/a*.txt",), "data/", "first/"),
        Upstream("owner/repo", "abc", ("big.zip",), target="second.txt", zip_bytes=10),
    )
    return pack({"first/a.txt": b"alpha\n", "second.txt": b"train part"}, upstream=places), path.read_bytes()


def test_get_from_upstream_takes_the_named_files_only(tmp_path: Path, upstream: tuple[Corpus, bytes]) -> None:
    corpus, content = upstream
    with serving({"/owner/repo/tar.gz/abc": content}) as server:
        server.drops = [100]
        assert fetch.get(corpus, tmp_path / "root", github=server.url)
        assert len(server.requests) == 2  # broken and taken up again; the second place needs no second download
    assert (tmp_path / "root/sample/second.txt").read_bytes() == b"train part"
    assert list((tmp_path / "root/.cache/downloads").iterdir()) == []


def test_a_damaged_download_is_thrown_away(tmp_path: Path, upstream: tuple[Corpus, bytes]) -> None:
    corpus, content = upstream
    with serving({"/owner/repo/tar.gz/abc": content[:-200]}) as server:
        with pytest.raises(CorpusError, match="the archive is damaged"):
            fetch.get(corpus, tmp_path / "root", github=server.url)
        server.files["/owner/repo/tar.gz/abc"] = content
        assert fetch.get(corpus, tmp_path / "root", github=server.url)


def test_a_corpus_without_upstream_says_what_to_do(tmp_path: Path, pack: Pack) -> None:
    with pytest.raises(CorpusError, match=r"it was compiled from several sources; .*--from.*--url"):
        fetch.get(pack(FILES), tmp_path / "root")


def test_a_single_file_is_unpacked_under_its_name(tmp_path: Path, pack: Pack) -> None:
    import lzma

    path = tmp_path / "shelf" / "words.txt.xz"
    corpus = pack({"words.txt": b"one\ntwo\n"})
    path.write_bytes(lzma.compress(b"one\ntwo\n"))
    archive = Archive(path.name, file_checksum(path), path.stat().st_size)
    assert fetch.get(replace(corpus, archives=(archive,)), tmp_path / "root", from_dir=tmp_path / "shelf")
    assert (tmp_path / "root/sample/words.txt").read_bytes() == b"one\ntwo\n"


def test_two_runs_at_once_do_not_disturb_each_other(tmp_path: Path, pack: Pack) -> None:
    from concurrent.futures import ThreadPoolExecutor

    corpus = pack({f"{number}.txt": b"x" * 1000 for number in range(50)})
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(fetch.get, corpus, tmp_path / "root", from_dir=tmp_path / "shelf") for _ in range(2)]
        assert sorted(run.result() for run in runs) == [False, True]


def test_what_comes_with_the_repository_needs_no_other_place(
    tmp_path: Path, pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = pack(FILES, top="sample/")
    monkeypatch.setattr(fetch, "checkout_corpora", lambda: tmp_path / "shelf" / "deep")
    assert fetch.get(corpus, tmp_path / "root")
    assert (tmp_path / "root" / "sample" / "a.txt").read_bytes() == FILES["a.txt"]


@pytest.mark.parametrize("name", ["modern_labels", "modern_written", "verse_ratings", "verse_written"])
def test_what_was_made_here_is_in_the_repository(tmp_path: Path, name: str) -> None:
    assert fetch.get(manifest()[name], tmp_path)
