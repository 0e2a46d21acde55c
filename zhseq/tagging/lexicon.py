"""SoftLexicon features: find the dictionary words around each character, for whole batches of text at once.

Every n-gram of a text gets a 64-bit rolling hash (one multiplication and one addition per character and length). A
bitmap excludes most hashes that are not in the dictionary. The others are looked up in a sorted table, from an index
given by their first bits. The probability of a false match is about 1e-14 per look-up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from zhseq.device import Packed
from zhseq.errors import CheckpointError, InputError
from zhseq.text.normalize import CodePoints, codepoints, from_codepoints, normalize
from zhseq.text.vocab import escape, unescape

Hashes = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int32]
Weights = npt.NDArray[np.float32]

SEPARATOR = 0x0A
"""Line feed, between concatenated texts; not part of any word."""
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_INVERSE = np.uint64(pow(int(_MULTIPLIER), -1, 1 << 64))
_FILTER_SLOTS = 16  # bits of the bitmap per n-gram: one unknown hash in 16 passes it
_LAST_HASH = np.uint64(0xFFFFFFFFFFFFFFFF)  # sentinel at the end of the table


def rolling_hashes(points: CodePoints, longest: int) -> Iterator[Hashes]:
    """Yield the hashes of all n-grams for n = 1, 2, ..., `longest`.

    Args:
        points: Code points, (characters,), with `SEPARATOR` between texts.
        longest: Largest n.

    Yields:
        Hashes of the n-grams by first character, (characters - n + 1,) uint64.
    """
    mixed = _mix(points)
    hashes = mixed
    yield hashes
    for length in range(2, min(longest, len(points)) + 1):
        hashes = hashes[:-1] * _MULTIPLIER + mixed[length - 1 :]
        yield hashes


class TextHashes:
    """Hashes of the n-grams of a text for any n, at a cost independent of n; equal to those of `rolling_hashes`.

    The hash is a polynomial, so that of an n-gram is the difference of two prefix sums times a power of the multiplier,
    which is odd and so has an inverse modulo 2**64.
    """

    def __init__(self, points: CodePoints) -> None:
        """Compute the prefix sums of a text, given by its code points, (characters,)."""
        powers = np.full(len(points), _MULTIPLIER, dtype=np.uint64)
        inverse = np.full(len(points), _INVERSE, dtype=np.uint64)
        powers[:1] = inverse[:1] = 1
        self._powers = np.multiply.accumulate(powers)
        self._sums = np.zeros(len(points) + 1, dtype=np.uint64)
        np.cumsum(_mix(points) * np.multiply.accumulate(inverse), out=self._sums[1:])

    def of_length(self, length: int) -> Hashes:
        """Return the hashes of all n-grams of a length, by first character, (characters - length + 1,) uint64."""
        return (self._sums[length:] - self._sums[:-length]) * self._powers[length - 1 :]


class NgramTable:
    """A map from n-grams of one length to rows of a table, by their hashes."""

    def __init__(self, ngrams: CodePoints, rows: npt.ArrayLike) -> None:
        """Create from the code points of n-grams, (n-grams, n), and the row of each, (n-grams,).

        Raises:
            ValueError: An n-gram occurs twice, or two share a hash.
        """
        hashes = _hash_all(ngrams)
        order = np.argsort(hashes)
        hashes = hashes[order]
        if bool((hashes[1:] == hashes[:-1]).any()):
            raise ValueError("the n-grams of a table must differ from each other, and their hashes too")
        self._hashes = np.append(hashes, _LAST_HASH)
        self._rows = np.append(np.asarray(rows, dtype=np.int32)[order], np.int32(0))
        filter_bits = max(8, int(np.ceil(np.log2(_FILTER_SLOTS * len(ngrams)))))
        self._filter = np.zeros(1 << filter_bits, dtype=np.bool_)
        self._filter_shift = np.uint64(64 - filter_bits)
        self._filter[hashes >> self._filter_shift] = True
        bits = filter_bits - 4  # about one hash per value of the first bits
        self._shift = np.uint64(64 - bits)
        counts = np.bincount((hashes >> self._shift).astype(np.int64), minlength=1 << bits)
        self._first = (np.cumsum(counts) - counts).astype(np.int32)  # index of the first hash with these bits or more

    @property
    def packed(self) -> Packed:
        """The table in the memory layout of `ngrams_t` of the C code."""
        possible = np.packbits(self._filter, bitorder="little")
        return Packed(self._hashes, self._rows, possible, self._first, int(self._filter_shift), int(self._shift))

    def find(self, hashes: Hashes, missing: int = 0) -> Rows:
        """Return the row of each hash, `missing` for unknown n-grams; shape as given, int32."""
        rows = np.full(hashes.shape, missing, dtype=np.int32)
        maybe = self._filter.take((hashes >> self._filter_shift).view(np.int64)).nonzero()[0]
        wanted = hashes.take(maybe)
        entry = self._first.take((wanted >> self._shift).view(np.int64))
        behind = (self._hashes.take(entry) < wanted).nonzero()[0]
        while len(behind):
            entry[behind] += 1
            behind = behind[self._hashes.take(entry[behind]) < wanted[behind]]
        hit = (self._hashes.take(entry) == wanted).nonzero()[0]
        rows[maybe[hit]] = self._rows.take(entry[hit])
        return rows


def _mix(points: CodePoints) -> Hashes:
    """Spread the bits of code points; shape as given."""
    mixed = points.astype(np.uint64)
    mixed += np.uint64(1)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(32)
    return mixed


def _hash_all(points: CodePoints) -> Hashes:
    """Hash n-grams, (n-grams, n), as `rolling_hashes` does."""
    hashes = _mix(points[:, 0])
    for column in points.T[1:]:
        hashes = hashes * _MULTIPLIER + _mix(column)
    return hashes


LIST_FREQUENCY = 200.0
"""Frequency that is assumed for every word of a list."""

WordLists = dict[str, dict[int, CodePoints]]
"""Code points of the words that share the embedding of a list, (words, length), by list and length."""


class Lexicon:
    """Words with frequencies; word i (from 1) has row i of the embedding table, row 0 is for no word.

    Words of lists (places, companies, ...) share the row of their list; these rows follow those of the words. So what
    is learned from some names of a list applies to names that do not occur in the training data.

    The four sets of a character are the words that begin at it, contain it inside, end at it, and equal it. There is at
    most one word of each length at each offset from a character, so a set has a fixed number of columns,
    `slots_per_set(max_length)`.

    Source: SoftLexicon, Ma et al. (2020), "Simplify the Usage of Lexicon in Chinese NER", section 3.
    Differs: a word is weighted by the logarithm of its frequency, because with the frequency itself the most common
    words leave the others no weight; words longer than `max_length` are ignored; an empty set is a zero vector.
    """

    def __init__(
        self, words: Sequence[str], frequencies: Sequence[float], max_length: int, lists: WordLists | None = None
    ) -> None:
        """Create from distinct normalised words.

        Args:
            words: Words with an embedding of their own.
            frequencies: Frequency of each word.
            max_length: Maximum length of a word in characters.
            lists: Words that share the embedding of their list; no word may be in two lists or in `words`.

        Raises:
            ValueError: A word is empty, longer than `max_length`, or occurs twice.
        """
        self.words = tuple(words)
        self.frequencies = np.asarray(frequencies, dtype=np.float64)
        self.max_length = max_length
        self.lists = lists or {}
        counts = np.concatenate([[0.0], np.maximum(self.frequencies, 1.0), [LIST_FREQUENCY] * len(self.lists)])
        self.weights: Weights = np.log1p(counts).astype(np.float32)
        """Weight of each row, row 0 included."""
        lengths = np.array([len(word) for word in words], dtype=np.int64)
        sizes = {*lengths.tolist(), *(length for by_length in self.lists.values() for length in by_length)}
        if sizes and not 1 <= min(sizes) <= max(sizes) <= max_length:
            raise ValueError(f"words must have 1 to {max_length} characters")
        parts: dict[int, list[tuple[CodePoints, Rows]]] = {}
        for length in np.flatnonzero(np.bincount(lengths)).tolist():
            rows = np.flatnonzero(lengths == length)
            points = codepoints("".join(words[row] for row in rows.tolist())).reshape(-1, length)
            parts[length] = [(points, (rows + 1).astype(np.int32))]
        for row, by_length in enumerate(self.lists.values(), start=len(words) + 1):
            for length, points in by_length.items():
                parts.setdefault(length, []).append((points, np.full(len(points), row, dtype=np.int32)))
        self._tables = {
            length: NgramTable(*map(np.concatenate, zip(*parts[length], strict=True))) for length in sorted(parts)
        }

    @property
    def slots(self) -> int:
        """Number of columns of each set, see `slots_per_set`."""
        return slots_per_set(self.max_length)

    @property
    def packed(self) -> dict[int, Packed]:
        """The words of each length in the memory layout of the C code."""
        return {length: table.packed for length, table in self._tables.items()}

    def __len__(self) -> int:
        """Return the number of rows: words and lists."""
        return len(self.words) + len(self.lists)

    def sets(self, hashes: Sequence[Hashes]) -> tuple[Rows, Weights]:
        """Find the four sets of each character.

        Args:
            hashes: Hashes of the n-grams of the lengths 1 to `max_length`, see `rolling_hashes`.

        Returns:
            rows: Rows of the words, (characters, 4 * slots) int32: the sets begin, inside, end, single one after the
                other; 0 in empty columns.
            weights: Weights of the words, same shape, float32, 0 in empty columns. The weights of a character sum to
                4, or to 0 if it has no words.
        """
        size = self.slots
        rows = np.zeros((4 * size, len(hashes[0])), dtype=np.int32)  # by slot, so that each is contiguous
        inside = size
        for length, table in self._tables.items():
            if length > len(hashes):
                continue
            found = table.find(hashes[length - 1])
            if length == 1:
                rows[3 * size] = found
                continue
            rows[length - 2, : len(found)] = found
            rows[2 * size + length - 2, length - 1 :] = found
            for offset in range(1, length - 1):
                rows[inside, offset : offset + len(found)] = found
                inside += 1
        weights = self.weights[rows]
        total = weights.sum(axis=0)
        weights *= np.float32(4.0) / np.maximum(total, np.float32(1e-6))
        return np.ascontiguousarray(rows.T), np.ascontiguousarray(weights.T)

    def save(self, path: Path) -> None:
        """Write one word and its frequency per line."""
        pairs = zip(self.words, self.frequencies.tolist(), strict=True)
        path.write_text("".join(f"{escape(word)}\t{frequency:g}\n" for word, frequency in pairs), encoding="utf-8")

    def save_lists(self, path: Path) -> None:
        """Write a line for each list and length: name of the list, length, and all its words concatenated."""
        rows = [
            f"{escape(name)}\t{length}\t{escape(from_codepoints(points.ravel()))}\n"
            for name, by_length in self.lists.items()
            for length, points in sorted(by_length.items())
        ]
        path.write_text("".join(rows), encoding="utf-8")

    @classmethod
    def load(cls, path: Path, max_length: int, lists: Path | None = None) -> Lexicon:
        """Read the file written by `save` and, if given, the one written by `save_lists`.

        Raises:
            CheckpointError: A file is missing or damaged.
        """
        try:
            lines = [line.split("\t") for line in path.read_text(encoding="utf-8").split("\n") if line]
            words = [unescape(word) for word, _ in lines]
            frequencies = [float(frequency) for _, frequency in lines]
            path = lists or path  # the file that an error message from here on names
            return cls(words, frequencies, max_length, _read_lists(lists) if lists else None)
        except (OSError, ValueError) as error:
            raise CheckpointError(
                "no_word_list",
                "{path} is not a word list ({error}); fetch the checkpoint again",
                path=path,
                error=error,
            ) from error


def _read_lists(path: Path) -> WordLists:
    """Read the file written by `Lexicon.save_lists`.

    Raises:
        OSError: The file cannot be read.
        ValueError: A line is invalid.
    """
    lists: WordLists = {}
    for line in path.read_text(encoding="utf-8").split("\n"):
        if line:
            name, length, joined = line.split("\t")
            lists.setdefault(unescape(name), {})[int(length)] = codepoints(unescape(joined)).reshape(-1, int(length))
    return lists


def slots_per_set(max_length: int) -> int:
    """Return the number of columns of each of the four sets: that of the largest set."""
    return max(max_length - 1, (max_length - 1) * (max_length - 2) // 2, 1)


def jieba_frequencies() -> dict[str, float]:
    """Return the frequencies of jieba's dictionary by normalised word."""
    import jieba

    frequencies: dict[str, float] = {}
    with jieba.get_dict_file() as stream:
        rows = [line.split() for line in stream.read().decode("utf-8").splitlines()]
    words = normalize("\n".join(row[0] for row in rows)).split("\n")
    for word, row in zip(words, rows, strict=True):
        frequencies[word] = frequencies.get(word, 0.0) + float(row[1])
    return frequencies


def _read_text(path: Path) -> str:
    """Read a UTF-8 file.

    Raises:
        InputError: It cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            "unreadable_words",
            "{path}: expected words in UTF-8, one per line, but the file cannot be read: {error}",
            path=path,
            error=error,
        ) from error


def read_word_list(path: Path) -> dict[str, float]:
    """Read a word list: one word per line, optionally with a frequency after a blank or tab (default 1000).

    Raises:
        InputError: The file cannot be read, or a frequency is not a positive number.
    """
    lines = _read_text(path).splitlines()
    words: dict[str, float] = {}
    for number, line in enumerate(lines, start=1):
        word, *rest = line.split()[:2] or [""]
        try:
            frequency = float(rest[0]) if rest else 1000.0
        except ValueError:
            frequency = 0.0
        if word and not 0 < frequency < float("inf"):
            raise InputError(
                "word_frequency",
                "{path}, line {line}: expected a positive frequency after the word, found '{found}'",
                path=path,
                line=number,
                found=rest[0][:40],
            )
        if word:
            words[normalize(word)] = frequency
    return words


def read_word_lists(directory: Path, words: Iterable[str], max_length: int) -> WordLists:
    """Read the word lists of a directory: UTF-8 files `NAME.txt`, one word per line.

    Args:
        directory: Directory of the lists, which are read in the order of their names.
        words: Words with an embedding of their own, which are removed from the lists.
        max_length: Maximum length of a word in characters; longer ones are ignored.

    Raises:
        InputError: There is no list, or one cannot be read.
    """
    seen = set(words)
    lists: WordLists = {}
    for path in sorted(directory.glob("*.txt")):
        lines = normalize(_read_text(path)).split("\n")
        by_length: dict[int, list[str]] = {}
        for word in map(str.strip, lines):
            if 1 <= len(word) <= max_length and word not in seen:
                seen.add(word)
                by_length.setdefault(len(word), []).append(word)
        if by_length:
            joined = {length: codepoints("".join(own)).reshape(-1, length) for length, own in by_length.items()}
            lists[path.stem] = joined
    if not lists:
        raise InputError(
            "no_word_lists",
            "{path}: expected word lists named NAME.txt, with one word per line, found no word",
            path=directory,
        )
    return lists


def choose_words(
    frequencies: Mapping[str, float], limit: int, max_length: int, *, own: Mapping[str, float], known: Iterable[str]
) -> tuple[list[str], list[float]]:
    """Choose the words of a lexicon: the user's own, and the most frequent dictionary words with pretrained vectors.

    Args:
        frequencies: Frequencies of the dictionary by word.
        limit: Maximum number of words; the user's own words are always included.
        max_length: Maximum length of a word in characters; longer ones are ignored.
        own: Frequencies of the user's own words by word.
        known: Words with pretrained vectors, most frequent in raw text first; if empty, rank by `frequencies`.

    Returns:
        Words and their frequencies, the user's own first, then by rank.
    """
    ranked = [word for word in known if word in frequencies]
    if not ranked:
        ranked = sorted(frequencies, key=lambda word: (-frequencies[word], word))
    chosen = dict(own)
    for word in ranked:
        if len(chosen) >= limit:
            break
        chosen.setdefault(word, frequencies[word])
    fitting = {word: frequency for word, frequency in chosen.items() if 1 <= len(word) <= max_length}
    return list(fitting), list(fitting.values())
