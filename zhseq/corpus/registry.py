"""Manifest of the corpora: upstream sources, licences, checksums, and local directories."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from zhseq.errors import ConfigError, CorpusError

KINDS = ("poetry", "tagging", "text")
"""Kinds of corpora; `get` accepts the name of a kind for all of its corpora."""


@dataclass(frozen=True)
class Archive:
    """A packed copy of a corpus or of a part of it, as stored on mirrors.

    Attributes:
        file: File name, ending in `.tar.xz` (a directory tree) or `.xz` (one file).
        sha256: Checksum of the archive.
        size: Size of the archive in bytes.
        top: Prefix to remove from the paths in the archive, such as `msra_ner/`, or empty.
    """

    file: str
    sha256: str
    size: int
    top: str = ""


@dataclass(frozen=True)
class Upstream:
    """Files of one upstream repository at one commit.

    Attributes:
        repository: `OWNER/NAME` on GitHub.
        ref: Full commit hash, or the tag of an upstream release.
        paths: Glob patterns of the upstream paths that belong to the corpus.
        source: Prefix to remove from the upstream paths.
        target: Prefix that replaces it.
        zip_bytes: If not 0, `paths` is one zip file; the first `zip_bytes` bytes of its largest member are the file
            `target`, and the rest (a test part) is omitted.
    """

    repository: str
    ref: str
    paths: tuple[str, ...]
    source: str = ""
    target: str = ""
    zip_bytes: int = 0


@dataclass(frozen=True)
class Corpus:
    """One entry of the manifest.

    Attributes:
        name: Name of the corpus and of its directory.
        kind: One of `KINDS`.
        purpose: Purpose, one sentence.
        licence: Licence as stated upstream.
        files: Number of unpacked files.
        size: Total size of the unpacked files in bytes.
        tree_sha256: Checksum of the unpacked tree, see `tree_checksum`.
        archives: Packed copies.
        upstream: Origin of the files; empty if they were compiled from so many places that only the packed copy is
            available.
    """

    name: str
    kind: str
    purpose: str
    licence: str
    files: int
    size: int
    tree_sha256: str
    archives: tuple[Archive, ...]
    upstream: tuple[Upstream, ...]


@lru_cache(maxsize=1)
def manifest() -> dict[str, Corpus]:
    """Return all corpora by name, in the order of the manifest."""
    entries = json.loads(resources.files("zhseq.corpus").joinpath("manifest.json").read_text(encoding="utf-8"))
    return {entry["name"]: corpus_from_entry(entry) for entry in entries}


def corpus_from_entry(entry: dict[str, Any]) -> Corpus:
    """Create a `Corpus` from its JSON object."""
    archives = tuple(Archive(**archive) for archive in entry["archives"])
    upstream = tuple(Upstream(**{**source, "paths": tuple(source["paths"])}) for source in entry["upstream"])
    return Corpus(**{**entry, "archives": archives, "upstream": upstream})


def find_corpora(names: Iterable[str]) -> list[Corpus]:
    """Return corpora by their names or by the name of their kind, without duplicates.

    Raises:
        ConfigError: A name is unknown; the message lists the known ones.
    """
    found: dict[str, Corpus] = {}
    for name in names:
        members = [corpus for corpus in manifest().values() if name in (corpus.name, corpus.kind)]
        if not members:
            raise ConfigError(
                "unknown_corpus",
                "Expected the name of a corpus or of a kind, found {name!r}; choose from {known}.",
                name=name,
                known=", ".join((*manifest(), *KINDS)),
            )
        found.update((corpus.name, corpus) for corpus in members)
    return list(found.values())


def corpora_root() -> Path:
    """Return the directory of the corpora: `$ZHSEQ_CORPORA`, else `corpora/` in the checkout or current directory."""
    if configured := os.environ.get("ZHSEQ_CORPORA"):
        return Path(configured)
    return checkout_corpora() or Path.cwd() / "corpora"


def checkout_corpora() -> Path | None:
    """Return `corpora/` of the checkout that this code belongs to, or None if it is installed."""
    checkout = Path(__file__).resolve().parents[2]
    return checkout / "corpora" if (checkout / "pyproject.toml").exists() else None


def corpus_folder(name: str, root: Path | str | None = None) -> Path:
    """Return the directory of an unpacked corpus; `root` is `corpora_root()` by default.

    Raises:
        CorpusError: The directory does not exist.
    """
    folder = (corpora_root() if root is None else Path(root)) / name
    if not folder.is_dir():
        raise CorpusError(
            "corpus_missing",
            "{folder}: expected the corpus {name} here, found none; run `zhseq corpus get {name}`.",
            folder=folder,
            name=name,
        )
    return folder


def tree_files(folder: Path) -> list[Path]:
    """Return all files below a directory, sorted by their path as UTF-8."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(files, key=lambda path: path.relative_to(folder).as_posix().encode())


def tree_checksum(folder: Path) -> str:
    """Return the SHA-256 of the sorted list of `SHA-256 of the file, two blanks, path, line feed` below a directory.

    It does not depend on how the files were packed, so it can verify downloads whose packed bytes may change.
    """
    digest = hashlib.sha256()
    for path in tree_files(folder):
        digest.update(f"{file_checksum(path)}  {path.relative_to(folder).as_posix()}\n".encode())
    return digest.hexdigest()


def file_checksum(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
