"""Corpora: manifest, download, readers of upstream formats, merging and statistics. Does not import torch."""

from zhseq.corpus.poems import SPLITS, DropReport, drop_report, load_poems, select_split
from zhseq.corpus.poetry import POETRY_SOURCES
from zhseq.corpus.registry import corpora_root, corpus_folder

__all__ = [
    "POETRY_SOURCES",
    "SPLITS",
    "DropReport",
    "corpora_root",
    "corpus_folder",
    "drop_report",
    "load_poems",
    "select_split",
]
