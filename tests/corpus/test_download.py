from __future__ import annotations

import resource
from pathlib import Path

import pytest

from tests.corpus.server import serving
from zhseq.corpus.fetch import download
from zhseq.errors import CorpusError

CONTENT = bytes(range(256)) * 400


def test_a_dropped_connection_is_taken_up_where_it_broke(tmp_path: Path) -> None:
    with serving({"/file": CONTENT}) as server:
        server.drops = [30_000, 20_000]
        download(f"{server.url}/file", tmp_path / "file", pause=0.0)
        assert [wanted for _, wanted in server.requests] == [None, "bytes=30000-", "bytes=50000-"]
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_a_later_run_goes_on_from_the_partial_file(tmp_path: Path) -> None:
    with serving({"/file": CONTENT}) as server:
        server.drops = [1000] * 5
        with pytest.raises(CorpusError, match=r"failed 5 times \(5000 of 102400 bytes came\).*run the command again"):
            download(f"{server.url}/file", tmp_path / "file", pause=0.0)
        assert not (tmp_path / "file").exists()
        download(f"{server.url}/file", tmp_path / "file", pause=0.0)
        assert server.requests[-1] == ("/file", "bytes=5000-")
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_server_without_ranges_sends_the_whole_file_again(tmp_path: Path) -> None:
    with serving({"/file": CONTENT}) as server:
        server.ranges = False
        server.drops = [30_000]
        download(f"{server.url}/file", tmp_path / "file", pause=0.0)
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_partial_file_that_is_whole_already_is_kept(tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT)
    with serving({"/file": CONTENT}) as server:
        download(f"{server.url}/file", tmp_path / "file", pause=0.0)
        assert len(server.requests) == 1
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_partial_file_longer_than_the_file_is_started_anew(tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT + b"rest of an older file")
    with serving({"/file": CONTENT}) as server:
        download(f"{server.url}/file", tmp_path / "file", pause=0.0)
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_missing_file_is_refused_at_once_with_a_way_out(tmp_path: Path) -> None:
    with serving({}) as server:
        with pytest.raises(CorpusError, match=r"HTTP status 404; .*--from.*--url"):
            download(f"{server.url}/file", tmp_path / "file", pause=0.0)
        assert len(server.requests) == 1


def test_a_server_out_of_reach_is_a_sentence(tmp_path: Path) -> None:
    with serving({}) as server:
        url = server.url
    with pytest.raises(CorpusError, match="the connection failed 5 times"):
        download(f"{url}/file", tmp_path / "file", pause=0.0)


@pytest.mark.parametrize("url", ["nonsense/file", "ftp://127.0.0.1/file", "file:///etc/hosts", "http:/file", ""])
def test_what_is_no_web_address_is_refused_at_once(tmp_path: Path, url: str) -> None:
    with pytest.raises(CorpusError, match="expected an address that begins with http:// or https://; check --url"):
        download(url, tmp_path / "file", pause=60)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("url", ["http://", "http://:0/file", "http://[::1/file", "http://127.0.0.1:99999/file"])
def test_an_address_that_cannot_be_reached_is_one_sentence(tmp_path: Path, url: str) -> None:
    with pytest.raises(CorpusError):
        download(url, tmp_path / "file", pause=0.0)


def test_a_full_disk_is_not_taken_for_a_broken_connection(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with serving({"/file": CONTENT}) as server:
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))  # the operating system refuses larger files
        try:
            with pytest.raises(OSError, match="File too large"):
                download(f"{server.url}/file", tmp_path / "file", pause=0.0)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert len(server.requests) == 1
        download(f"{server.url}/file", tmp_path / "file", pause=0.0)
    assert (tmp_path / "file").read_bytes() == CONTENT
