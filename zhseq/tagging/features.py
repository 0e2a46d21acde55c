"""Turn texts into what the tagger reads: a padded batch of characters, pairs of characters and dictionary words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from zhseq.batching import IGNORED, Array, Batch
from zhseq.errors import CheckpointError
from zhseq.tagging.lexicon import SEPARATOR, Lexicon, NgramTable, rolling_hashes
from zhseq.text.normalize import CodePoints, codepoints, from_codepoints, normalize
from zhseq.text.vocab import Vocab, escape, unescape

Ints = npt.NDArray[np.int64]

VOCAB_FILE, BIGRAMS_FILE, WORDS_FILE = "vocab.txt", "bigrams.txt", "words.txt"
MAX_WORD_LENGTH = 4
"""Characters of the longest dictionary words that are looked for; longer ones are rare, and made of shorter ones."""


class TaggerFeatures:
    """Turns texts into batches. The same object serves training and use, so that both read the same."""

    def __init__(self, vocab: Vocab, bigrams: Sequence[str], lexicon: Lexicon) -> None:
        """Create from a vocabulary of characters, pairs of characters and dictionary words, all normalised.

        Bigram i (from 0) has row i + 1 of its table of vectors; row 0 stands for every other pair.
        """
        self.vocab = vocab
        self.bigrams = tuple(bigrams)
        self.lexicon = lexicon
        self._bigram_table = NgramTable(self.bigrams, np.arange(1, len(bigrams) + 1)) if bigrams else None

    def batch(self, texts: Sequence[str], targets: Sequence[Ints] | None = None, head: str = "") -> Batch[Array]:
        """Make a batch of texts.

        Args:
            texts: Any texts that are not empty; a blank in them is a character like others.
            targets: Tag ids of each text, each (characters,).
            head: Name of the output that `targets` belong to.
        """
        lengths = np.array([len(text) for text in texts], dtype=np.int64)
        flat = None if targets is None else np.concatenate(list(targets))
        return self.assemble(codepoints(normalize("".join(texts))), lengths, flat, head)

    def assemble(self, points: CodePoints, lengths: Ints, targets: Ints | None = None, head: str = "") -> Batch[Array]:
        """Make a batch of normalised code points, text after text.

        Args:
            points: (characters,) of all texts.
            lengths: Characters of each text, (texts,).
            targets: Tag ids, (characters,).
            head: Name of the output that `targets` belong to.
        """
        rows, total = len(lengths), len(points)
        longest = int(lengths.max())
        text_of = np.repeat(np.arange(rows), lengths)
        # Positions of the characters in the padded batch, and in the texts with a separator after each.
        positions = np.arange(total) + text_of * longest - np.repeat(np.cumsum(lengths) - lengths, lengths)
        apart = np.arange(total) + text_of
        separated = np.full(total + rows, SEPARATOR, dtype=np.uint32)
        separated[apart] = points
        longest_ngram = max(2 if self.bigrams else 1, self.lexicon.max_length if len(self.lexicon) else 1)
        hashes = list(rolling_hashes(separated, longest_ngram))

        def padded(values: npt.NDArray[np.generic], fill: int, kind: type[np.generic]) -> Array:
            table = np.full((rows * longest, *values.shape[1:]), fill, dtype=kind)
            table[positions] = values
            return table.reshape(rows, longest, *values.shape[1:])

        words = weights = bigrams = None
        if len(self.lexicon):
            found, shares = self.lexicon.sets(hashes)
            words, weights = padded(found[apart], 0, np.int64), padded(shares[apart], 0, np.float32)
        if self._bigram_table is not None:
            bigrams = padded(self._bigram_table.find(hashes[1])[apart], 0, np.int64)
        return Batch(
            ids=padded(self.vocab.encode(from_codepoints(points)), self.vocab.pad_id, np.int64),
            mask=np.arange(longest) < lengths[:, None],
            targets=None if targets is None else padded(targets, IGNORED, np.int64),
            bigram_ids=bigrams,
            word_ids=words,
            word_weights=weights,
            head=head,
        )

    def files(self) -> dict[str, str | Callable[[Path], None]]:
        """Return what goes into a checkpoint: plain text by name of the file."""
        return {
            VOCAB_FILE: self.vocab.save,
            BIGRAMS_FILE: "".join(escape(bigram) + "\n" for bigram in self.bigrams),
            WORDS_FILE: self.lexicon.save,
        }

    @classmethod
    def load(cls, directory: Path) -> TaggerFeatures:
        """Read what `files` describes.

        Raises:
            CheckpointError: A file is missing or damaged.
        """
        path = directory / BIGRAMS_FILE
        try:
            bigrams = [unescape(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
            if any(len(bigram) != 2 for bigram in bigrams):
                raise ValueError("a line does not hold two characters")
            lexicon = Lexicon.load(directory / WORDS_FILE, MAX_WORD_LENGTH)
            return cls(Vocab.load(directory / VOCAB_FILE), bigrams, lexicon)
        except (OSError, ValueError) as error:
            raise CheckpointError(
                "no_bigrams",
                "{path} is not a list of bigrams ({error}); fetch the checkpoint again",
                path=path,
                error=error,
            ) from error


def most_frequent_bigrams(texts: Iterable[CodePoints], limit: int) -> list[str]:
    """Return the pairs of neighbouring characters that occur most often in normalised texts."""
    counted = [text[:-1].astype(np.uint64) << np.uint64(32) | text[1:] for text in texts if len(text) > 1]
    if not counted:
        return []
    pairs, counts = np.unique(np.concatenate(counted), return_counts=True)
    chosen = pairs[np.lexsort((pairs, -counts))[:limit]]
    points = np.stack([chosen >> np.uint64(32), chosen & np.uint64(0xFFFFFFFF)], axis=1).astype(np.uint32)
    joined = from_codepoints(points.reshape(-1))
    return [joined[index : index + 2] for index in range(0, len(joined), 2)]
