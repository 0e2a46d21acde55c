"""Fetch a corpus from upstream, a mirror or a directory into `corpora/`, with verification and atomically.

Interrupted downloads are resumed with HTTP range requests.
"""

from __future__ import annotations

import gzip
import http.client
import lzma
import os
import shutil
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from filelock import FileLock
from tqdm import tqdm

from zhseq.corpus.registry import Archive, Corpus, Upstream, checkout_corpora, file_checksum, tree_checksum, tree_files
from zhseq.errors import FULL_DISK, CorpusError, Message

GITHUB = "https://codeload.github.com"
_BLOCK = 1 << 20
_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, lzma.LZMAError, zlib.error)

_TRY_AGAIN = Message("try_again", "try again or get the archive from another source")
_FROM_ELSEWHERE = Message("archive_from_elsewhere", "get the archive from another source")
_RUN_AGAIN = Message("removed_run_again", "it was removed; run the command again")


def get(
    corpus: Corpus,
    root: Path,
    *,
    from_dir: Path | None = None,
    mirror: str | None = None,
    github: str = GITHUB,
) -> bool:
    """Fetch a corpus to `root/NAME` from a directory, a mirror or else from upstream.

    The files are unpacked next to the target, verified, flushed to disk and then moved into place by one rename, so an
    interrupted run leaves either nothing or everything. The next run removes its temporary files.

    Args:
        corpus: Entry of the manifest.
        root: Directory of the corpora, which is created if missing.
        from_dir: Directory that contains the archives, searched recursively; archives of this repository need none.
        mirror: URL of the directory of the archives.
        github: URL of the tar service of GitHub.

    Returns:
        True if the corpus was fetched, False if it already existed.

    Raises:
        CorpusError: There is no source, a checksum is wrong, an archive has unsafe paths, or the disk is full.
    """
    target = root / corpus.name
    cache = root / ".cache"
    cache.mkdir(parents=True, exist_ok=True)
    # This process holds the lock, so an existing temporary directory was left by a killed run.
    with FileLock(cache / f"{corpus.name}.lock"), _room_for(corpus, root):
        part = root / f".{corpus.name}.part"
        _remove(part)
        if target.exists():
            _verify(corpus, target, Message("delete_and_get", "delete {folder} and get it again", {"folder": target}))
            return False
        try:
            part.mkdir()
            if all(_in_checkout(archive) for archive in corpus.archives):
                _unpack_archives(corpus, part, cache, checkout_corpora(), None)
            elif from_dir is not None or mirror:
                _unpack_archives(corpus, part, cache, from_dir, mirror)
            else:
                _unpack_upstream(corpus, part, cache, github)
            _verify(corpus, part, _TRY_AGAIN)
            _flush(part)
            part.rename(target)
            _flush_directory(root)
        finally:
            _remove(part)
    return True


@contextmanager
def _room_for(corpus: Corpus, root: Path) -> Iterator[None]:
    """Convert the error of a full disk to a `CorpusError`."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL_DISK:
            raise
        raise CorpusError(
            "no_room_for_corpus",
            "{root}: expected {size:.0f} MB of free space to unpack {name}, found a full disk; free "
            "some space and run the command again.",
            root=root,
            size=corpus.size / 1e6,
            name=corpus.name,
        ) from None


def _unpack_archives(corpus: Corpus, part: Path, cache: Path, from_dir: Path | None, mirror: str | None) -> None:
    """Unpack the archives of a corpus, found in a directory or downloaded from a mirror."""
    for archive in corpus.archives:
        if from_dir is not None:
            path = _find(archive, from_dir)
            _check_archive(archive, path, _FROM_ELSEWHERE)
        else:
            path = cache / "downloads" / archive.file
            download(f"{str(mirror).rstrip('/')}/{archive.file}", path)
            try:
                _check_archive(archive, path, _RUN_AGAIN)
            except CorpusError:
                path.unlink()
                raise
        _unpack(archive, path, part)
        if from_dir is None:
            path.unlink()


def _in_checkout(archive: Archive) -> bool:
    """Return whether an archive is part of the repository of this project."""
    folder = checkout_corpora()
    return folder is not None and (folder / archive.file).is_file()


def _find(archive: Archive, folder: Path) -> Path:
    """Find an archive in a directory, recursively."""
    if not folder.is_dir():
        raise CorpusError(
            "no_archive_directory",
            "{folder}: expected a directory that holds {file}, found none; check --from.",
            folder=folder,
            file=archive.file,
        )
    found = sorted(folder.rglob(archive.file))
    if not found:
        raise CorpusError(
            "archive_missing",
            "{folder}: expected {file} in it or below, found none; check --from.",
            folder=folder,
            file=archive.file,
        )
    return found[0]


def _check_archive(archive: Archive, path: Path, remedy: Message) -> None:
    """Compare size and checksum of an archive with the manifest."""
    size = path.stat().st_size
    if size != archive.size:
        raise CorpusError(
            "archive_of_other_size",
            "{path}: expected {expected} bytes, found {found}; {remedy}.",
            path=path,
            expected=archive.size,
            found=size,
            remedy=remedy,
        )
    checksum = file_checksum(path)
    if checksum != archive.sha256:
        raise CorpusError(
            "archive_changed",
            "{path}: expected SHA-256 {expected}, found {found}; {remedy}.",
            path=path,
            expected=archive.sha256,
            found=checksum,
            remedy=remedy,
        )


def _unpack(archive: Archive, path: Path, part: Path) -> None:
    """Unpack one archive into a directory."""
    with _readable(path):
        if archive.file.endswith(".tar.xz"):
            with tarfile.open(path, "r:xz") as tar:
                for member in tqdm(tar, desc=archive.file, unit=" files", disable=None):
                    if member.isdir() or member.name == archive.top.rstrip("/"):
                        continue
                    _extract(tar, member, member.name.removeprefix(archive.top), part, path)
        else:
            with lzma.open(path) as packed, (part / archive.file.removesuffix(".xz")).open("wb") as file:
                shutil.copyfileobj(packed, file, _BLOCK)


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, name: str, part: Path, source: Path) -> None:
    """Extract a regular file of a tar archive to `part`; reject links, devices and paths outside of it."""
    path = PurePosixPath(name)
    if not member.isreg() or path.is_absolute() or ".." in path.parts or not path.parts or "\\" in name:
        raise CorpusError(
            "archive_unsafe",
            "{source}: expected plain files below one directory, found {name!r}; do not use it.",
            source=source,
            name=member.name,
        )
    target = part.joinpath(*path.parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Copy the contents here, because early releases of Python 3.10 and 3.11 lack the filters of `tarfile`.
    content = tar.extractfile(member)
    assert content is not None  # true for regular files
    with content, target.open("wb") as file:
        shutil.copyfileobj(content, file, _BLOCK)


def _unpack_upstream(corpus: Corpus, part: Path, cache: Path, github: str) -> None:
    """Download the upstream repositories of a corpus and extract its files."""
    if not corpus.upstream:
        raise CorpusError(
            "corpus_without_upstream",
            "{name}: cannot be downloaded, because it was compiled from several sources; give the "
            "directory of the packed copy with --from or its address with --url.",
            name=corpus.name,
        )
    for upstream in corpus.upstream:
        path = cache / "downloads" / f"{upstream.repository.replace('/', '-')}-{upstream.ref}.tar.gz"
        download(f"{github}/{upstream.repository}/tar.gz/{upstream.ref}", path)
        try:
            with _readable(path), tarfile.open(path, "r:gz") as tar:
                _take(upstream, tar, part, path)
        except CorpusError:
            path.unlink()  # invalid: the next run must not use it
            raise
    for upstream in corpus.upstream:
        (cache / "downloads" / f"{upstream.repository.replace('/', '-')}-{upstream.ref}.tar.gz").unlink(missing_ok=True)


def _take(upstream: Upstream, tar: tarfile.TarFile, part: Path, source: Path) -> None:
    """Extract the files of a corpus from the tar of an upstream repository, with paths below `REPOSITORY-REF/`."""
    for member in tqdm(tar, desc=upstream.repository, unit=" files", disable=None):
        _, _, path = member.name.partition("/")
        if not member.isreg() or not any(_matches(path, pattern) for pattern in upstream.paths):
            continue
        if upstream.zip_bytes:
            _take_from_zip(upstream, tar, member, part)
        else:
            _extract(tar, member, upstream.target + path.removeprefix(upstream.source), part, source)


def _matches(path: str, pattern: str) -> bool:
    """Return whether a path matches a glob pattern; `*` does not match a slash."""
    return path.count("/") == pattern.count("/") and fnmatchcase(path, pattern)


def _take_from_zip(upstream: Upstream, tar: tarfile.TarFile, member: tarfile.TarInfo, part: Path) -> None:
    """Extract the first bytes of the largest member of a zip file inside a tar archive."""
    packed = tar.extractfile(member)
    assert packed is not None  # a regular file
    with zipfile.ZipFile(packed) as archive:
        largest = max(archive.infolist(), key=lambda info: info.file_size)
        with archive.open(largest) as content:
            (part / upstream.target).write_bytes(content.read(upstream.zip_bytes))


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Convert the errors of a damaged archive to a `CorpusError`."""
    try:
        yield
    except (*_DAMAGE, EOFError, ValueError) as error:
        raise CorpusError(
            "archive_damaged",
            "{path}: the archive is damaged ({reason}); get it again.",
            path=path,
            reason=error,
        ) from None


def _verify(corpus: Corpus, folder: Path, remedy: Message) -> None:
    """Compare number of files and checksum of an unpacked tree with the manifest."""
    checksum = tree_checksum(folder)
    if checksum != corpus.tree_sha256:
        raise CorpusError(
            "corpus_changed",
            "{name}: expected {expected} files with tree checksum {checksum}, "
            "found {found} files with {found_checksum}; {remedy}.",
            name=corpus.name,
            expected=corpus.files,
            checksum=corpus.tree_sha256,
            found=len(tree_files(folder)),
            found_checksum=checksum,
            remedy=remedy,
        )


def _flush(folder: Path) -> None:
    """Flush a tree to disk, so that its contents are stored before the rename."""
    for path in tree_files(folder):
        with path.open("r+b") as file:  # Windows can flush only files that are open for writing
            os.fsync(file.fileno())
    for path in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        _flush_directory(path)


def _flush_directory(path: Path) -> None:
    """Flush the entries of a directory to disk, if the system supports it."""
    if os.name == "posix":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remove(path: Path) -> None:
    """Remove a directory tree if it exists."""
    if path.exists():
        shutil.rmtree(path)


# Downloading.

_ATTEMPTS = 5
_PAUSE = 1.0
"""Seconds before the first retry; the pause doubles with each further retry."""
_TIMEOUT = 30.0
"""Seconds without data after which a connection is considered broken."""
_RECEIVED = 1 << 18
_HEADERS = {"User-Agent": "zhseq", "Accept-Encoding": "identity"}


def download(url: str, target: Path, *, pause: float = _PAUSE) -> None:
    """Download `url` to `target`, which is created only when the download is complete.

    Data is written to `target` + `.part`. A broken download is resumed at its position, up to five times by this call
    and by any later call, unless the server sends the whole file again.

    Args:
        url: URL, http or https.
        target: File to write; if it exists already, nothing is downloaded.
        pause: Seconds before the first retry.

    Raises:
        CorpusError: The URL is invalid, or the server refused the request or is not reachable.
    """
    if target.exists():
        return
    if not url.startswith(("http://", "https://")):
        raise CorpusError(
            "no_web_address", "{url}: expected an address that begins with http:// or https://; check --url.", url=url
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    problem = ""
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(pause * 2 ** (attempt - 1))
        try:
            _continue(url, part)
        except urllib.error.HTTPError as error:
            if error.code < 500:
                raise CorpusError(
                    "download_refused",
                    "{url}: expected a file, found HTTP status {status}; "
                    "take the archive from a directory with --from or from a mirror with --url.",
                    url=url,
                    status=error.code,
                ) from None
            problem = f"HTTP status {error.code}"
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and (error.filename is not None or error.errno in FULL_DISK):
                raise  # the local file, not the connection
            problem = str(getattr(error, "reason", error)) or type(error).__name__
        except ValueError as error:
            raise CorpusError(
                "no_file_address",
                "{url}: expected the address of a file, found none ({reason}); check --url.",
                url=url,
                reason=error,
            ) from None
        else:
            part.replace(target)
            return
    raise CorpusError(
        "download_interrupted",
        "{url}: the connection failed {attempts} times ({problem}); run the command again to "
        "continue the download, or use --from or --url.",
        url=url,
        attempts=_ATTEMPTS,
        problem=problem,
    )


def _continue(url: str, part: Path) -> None:
    """Download the missing rest of a partial file.

    Raises:
        OSError: Or `http.client.HTTPException`, if the connection breaks; the data received before is in the file.
    """
    have = part.stat().st_size if part.exists() else 0
    headers = {**_HEADERS, "Range": f"bytes={have}-"} if have else _HEADERS
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        if error.headers.get("Content-Range") == f"bytes */{have}":
            return  # the connection broke after the last byte
        part.unlink()
        raise ConnectionError("the file on the server has changed") from None
    with response:
        resumed = response.status == http.client.PARTIAL_CONTENT
        if resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            part.unlink()
            raise ConnectionError("the server sent another range than it was asked for")
        have = have if resumed else 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        _copy(response, part, have, total)


def _copy(response: http.client.HTTPResponse, part: Path, have: int, total: int | None) -> None:
    """Append the body of a response to the first `have` bytes of the partial file.

    Raises:
        ConnectionError: Fewer bytes were received than announced.
    """
    name = part.name.removesuffix(".part")
    with (
        part.open("ab" if have else "wb") as file,
        tqdm(desc=name, initial=have, total=total, unit="B", unit_scale=True, disable=None) as bar,
    ):
        while block := response.read(_RECEIVED):
            file.write(block)
            bar.update(len(block))
            have += len(block)
    if total is not None and have < total:
        raise ConnectionError(f"{have} of {total} bytes came")
