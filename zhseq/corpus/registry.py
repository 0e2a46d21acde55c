"""Which corpora there are, and where they are put."""

from __future__ import annotations

import os
from pathlib import Path

from zhseq.errors import CorpusError


def corpora_root() -> Path:
    """Return where corpora live: `$ZHSEQ_CORPORA`, else `corpora/` of the source checkout, else of the current directory."""
    if configured := os.environ.get("ZHSEQ_CORPORA"):
        return Path(configured)
    package = Path(__file__).resolve().parents[1]
    checkout = package.parent
    return (checkout if (checkout / "pyproject.toml").exists() else Path.cwd()) / "corpora"


def corpus_folder(name: str, root: Path) -> Path:
    """Return the directory of an unpacked corpus.

    Raises:
        CorpusError: it is not there.
    """
    folder = root / name
    if not folder.is_dir():
        raise CorpusError(f"{folder}: expected the corpus {name} here, found none; run `python -m zhseq.corpus get {name}`.")
    return folder
