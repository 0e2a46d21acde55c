"""Train character, bigram and word vectors on raw text, to initialise the embeddings of a tagger.

All three kinds are skip-gram vectors with negative sampling (Mikolov et al., 2013), trained by gensim on the same lines
of text, which are split into characters, overlapping bigrams, or dictionary words by jieba.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from zhseq.cli import SettingsParser, add_run_options
from zhseq.config import override
from zhseq.errors import CheckpointError, ConfigError, CorpusError
from zhseq.text.normalize import normalize
from zhseq.text.vocab import escape, unescape

if TYPE_CHECKING:
    from argparse import _SubParsersAction

Vectors = npt.NDArray[np.float32]
UNITS = ("char", "bigram", "word")
"""Units with vectors; each has a list `UNIT.txt` and a tensor `UNIT` in `vectors.safetensors`."""
TABLES_FILE = "vectors.safetensors"
_LINES_AT_ONCE = 2000


@dataclass(frozen=True)
class VectorsRecipe:
    """Settings of the training of vectors; the model cards record those of the shipped taggers."""

    characters: int = 20_000_000
    """Characters of text to read, sampled from all files of the corpus; 0: all."""
    news_share: float = 0.5
    """Share of these characters from files whose name begins with `news`, if there are any."""
    char_dim: int = 64
    """Embedding size of characters."""
    bigram_dim: int = 64
    """Embedding size of bigrams."""
    word_dim: int = 50
    """Embedding size of words."""
    char_min_count: int = 5
    """Minimum frequency of a character."""
    bigram_min_count: int = 20
    """Minimum frequency of a bigram."""
    word_min_count: int = 5
    """Minimum frequency of a word."""
    window: int = 5
    """Context window on each side, in characters, bigrams or words."""
    epochs: int = 2
    """Passes over the text."""
    seed: int = 1
    """Random seed of the text sample and of the initial vectors."""
    threads: int = 1
    """CPU threads; with more than one, results are not reproducible."""

    def __post_init__(self) -> None:
        for name in ("char_dim", "bigram_dim", "word_dim", "window", "epochs", "threads"):
            if getattr(self, name) < 1:
                raise ConfigError(
                    "setting_below_minimum",
                    "{name} must be at least {minimum}, but is {value}",
                    name=name,
                    minimum=1,
                    value=getattr(self, name),
                )
        if not 0 <= self.news_share <= 1:
            raise ConfigError(
                "share_out_of_range", "news_share must lie in 0 to 1, but is {value}", value=self.news_share
            )


def add_parser(commands: _SubParsersAction[SettingsParser]) -> None:
    """Add `vectors` to the commands of `python -m zhseq.train`."""
    parser = commands.add_parser("vectors", help="train character, bigram and word embeddings on raw text")
    parser.add_argument(
        "--text", default="raw", metavar="NAME|PATH", help="a corpus, a directory of .txt files or a file"
    )
    add_run_options(parser, "vectors", VectorsRecipe(), products=[TABLES_FILE])
    parser.set_defaults(run=main)


def main(options: argparse.Namespace) -> int:
    """Train vectors with the options of the command line, and return the exit status."""
    recipe = override(VectorsRecipe(), options.set)
    sizes = train_vectors(find_files(options.text), recipe, options.output)
    print(", ".join(f"{size} {unit}s" for unit, size in sizes.items()) + f"; vectors in {options.output}")
    return 0


def find_files(text: str) -> list[Path]:
    """Return the text files of a named corpus or a directory, or the given file itself.

    Raises:
        CorpusError: There are no text files.
    """
    from zhseq.corpus.registry import corpus_folder

    path = Path(text)
    if path.is_file():
        return [path]
    folder = path if path.is_dir() else corpus_folder(text)
    if not (files := sorted(folder.glob("*.txt"))):
        raise CorpusError(
            "no_text_files", "{folder}: expected files named *.txt with one text per line, found none", folder=folder
        )
    return files


def train_vectors(files: list[Path], recipe: VectorsRecipe, directory: Path) -> dict[str, int]:
    """Train all three kinds of vectors and save them.

    Returns:
        The number of vectors of each unit.
    """
    tables: dict[str, tuple[list[str], Vectors]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        lines = Path(scratch) / "lines"
        _write(lines, (line + "\n" for line in sample_lines(files, recipe)))
        segmenters: dict[str, Callable[[Iterable[str]], Iterator[str]]] = {
            "char": lambda texts: (" ".join(_compact(text)) + "\n" for text in texts),
            "bigram": lambda texts: (" ".join(_bigrams(_compact(text))) + "\n" for text in texts),
            "word": _segmented,
        }
        for unit, segment in segmenters.items():
            tokens = Path(scratch) / unit
            with lines.open(encoding="utf-8") as stream:
                _write(tokens, segment(stream))
            dim, least = getattr(recipe, f"{unit}_dim"), getattr(recipe, f"{unit}_min_count")
            tables[unit] = _skip_gram(tokens, dim, least, recipe)
            tokens.unlink()
    save_vectors(directory, tables)
    return {unit: len(symbols) for unit, (symbols, _) in tables.items()}


def sample_lines(files: list[Path], recipe: VectorsRecipe) -> Iterator[str]:
    """Yield a random sample of normalised lines, in random order within each file.

    The total is about `recipe.characters` characters. The share of the news files is divided evenly among them, and the
    rest among the other files; if a file is too small for its part, other files do not compensate for it.
    """
    news = [file for file in files if file.name.startswith("news")]
    share = recipe.news_share if news and len(news) < len(files) else float(bool(news))
    rng = np.random.default_rng(recipe.seed)
    for file in files:
        members, part = (len(news), share) if file in news else (len(files) - len(news), 1 - share)
        wanted = recipe.characters * part / members if recipe.characters else float("inf")
        text = file.read_text(encoding="utf-8", errors="replace")
        keep = wanted / max(1, len(text))
        lines = [line for line in text.split("\n") if len(line) > 1]
        rows = np.flatnonzero(rng.random(len(lines)) < keep)
        rng.shuffle(rows)
        for start in range(0, len(rows), _LINES_AT_ONCE):
            block = "\n".join(lines[row] for row in rows[start : start + _LINES_AT_ONCE].tolist())
            yield from normalize(block).split("\n")


def _compact(text: str) -> str:
    return "".join(text.split())


def _bigrams(text: str) -> list[str]:
    return [text[index : index + 2] for index in range(len(text) - 1)]


def _segmented(texts: Iterable[str]) -> Iterator[str]:
    """Segment with jieba's dictionary only: words guessed by its HMM could not be looked up later."""
    import logging

    import jieba

    jieba.setLogLevel(logging.WARNING)
    for text in texts:
        yield " ".join(" ".join(jieba.cut(text.strip(), HMM=False)).split()) + "\n"


def _write(path: Path, lines: Iterable[str]) -> None:
    with path.open("w", encoding="utf-8") as stream:
        stream.writelines(lines)


def _skip_gram(tokens: Path, dim: int, min_count: int, recipe: VectorsRecipe) -> tuple[list[str], Vectors]:
    """Train vectors; return the units, most frequent first, and their vectors, scaled to a mean norm of 1."""
    try:
        from gensim.models import Word2Vec
    except ImportError as error:
        raise ConfigError("gensim_missing", "training vectors needs gensim: pip install 'zhseq[vectors]'") from error
    settings: dict[str, Any] = {"sg": 1, "negative": 5, "sample": 1e-4, "workers": recipe.threads, "seed": recipe.seed}
    try:
        model = Word2Vec(
            corpus_file=str(tokens),
            vector_size=dim,
            min_count=min_count,
            window=recipe.window,
            epochs=recipe.epochs,
            **settings,
        )
    except RuntimeError as error:
        raise CorpusError(
            "text_too_short", "the text is too short: no unit occurs {count} times; give more text", count=min_count
        ) from error
    vectors = np.asarray(model.wv.vectors, dtype=np.float32)
    vectors = vectors / max(float(np.linalg.norm(vectors, axis=1).mean()), 1e-12)
    return list(model.wv.index_to_key), vectors


def save_vectors(directory: Path, tables: dict[str, tuple[list[str], Vectors]]) -> None:
    """Write the units as plain text and their vectors as float16, see `load_vectors`."""
    import torch

    from zhseq import checkpoint

    with checkpoint.staged(directory) as stage:
        for unit, (symbols, _) in tables.items():
            (stage / f"{unit}.txt").write_text("".join(escape(symbol) + "\n" for symbol in symbols), encoding="utf-8")
        tensors = {unit: torch.from_numpy(vectors) for unit, (_, vectors) in tables.items()}
        checkpoint.write_tensors(stage / TABLES_FILE, tensors, half=True)


def load_vectors(directory: Path) -> dict[str, tuple[list[str], Vectors]]:
    """Read vectors written by `save_vectors`.

    Returns:
        For each unit its symbols, most frequent first, and their vectors, (symbols, dim) float32.

    Raises:
        CheckpointError: A file is missing or damaged.
    """
    from zhseq import checkpoint

    tensors = checkpoint.read_tensors(directory / TABLES_FILE)
    tables = {}
    for unit in UNITS:
        path = directory / f"{unit}.txt"
        try:
            symbols = [unescape(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
            vectors = tensors[unit].float().numpy()
        except (OSError, ValueError, KeyError) as error:
            raise CheckpointError(
                "vectors_unreadable",
                "{path} or its vectors cannot be read ({reason}); train them again",
                path=path,
                reason=error,
            ) from error
        if len(symbols) != len(vectors):
            raise CheckpointError(
                "vectors_of_other_units",
                "{path} holds {units} units for {vectors} vectors; train them again",
                path=path,
                units=len(symbols),
                vectors=len(vectors),
            )
        tables[unit] = (symbols, vectors)
    return tables
