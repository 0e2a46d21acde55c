"""Rules of verse as arrays: masks over the next character, and statistics to score whole lines.

Masks are additive: 0 if a character is allowed, else minus infinity. A position of a pattern allows characters by tone,
the end of a rhyming line by rhyme group. The first rhyme word determines the group; only words of groups with enough
words for all rhyming lines, and some to spare, are allowed there, so that no later line is without a rhyme word.
Imports no torch.
"""

from __future__ import annotations

import numpy as np

from zhseq.batching import Ints
from zhseq.errors import InputError
from zhseq.poetry.network import Booleans, Floats
from zhseq.poetry.prosody import FREE, LEVEL, OBLIQUE, UNASSIGNED, Pattern, Prosody
from zhseq.poetry.sense import Facing, Sense
from zhseq.text.vocab import Vocab

_DEMANDS = {FREE: 0, LEVEL: 1, OBLIQUE: 2}
_STRICT = 2  # added to a demand: only characters with one certain reading
_SPARE = 8  # rhyme words that a group must have in addition to those that a poem needs


def tone_demands(pattern: Pattern) -> list[list[int]]:
    """Return the requirement of each position: 0 none, 1 level, 2 oblique, 3 and 4 the same with certain readings only.

    Certain readings are required where tones matter most: at the even positions and at the end of a line.
    """
    return [
        [
            _DEMANDS[tone] + (_STRICT if tone != FREE and (position % 2 or position == len(line) - 1) else 0)
            for position, tone in enumerate(line)
        ]
        for line in pattern.tones
    ]


class CharacterMasks:
    """Masks of the characters that a prosody allows, for the characters that the model can generate.

    Attributes:
        by_demand: Additive masks of the characters for each requirement, see `tone_demands`, shape (5, output_size).
        by_group: Additive masks of the certain rhyme words of each group, shape (groups, output_size).
        group_of: Rhyme group of each character, shape (output_size,); `UNASSIGNED` if it has none.
        group_sizes: Number of characters in each mask of `by_group`.
        groups: The rhyme groups.
    """

    def __init__(self, prosody: Prosody, vocab: Vocab, writable: Booleans) -> None:
        """Compute the masks.

        Args:
            prosody: Tones and rhymes.
            vocab: The model's vocabulary.
            writable: Characters that may be generated at all, (output_size,).
        """
        size = len(writable)
        lenient, strict = prosody.masks(vocab), prosody.masks(vocab, strict=True)
        every = np.ones(len(vocab), dtype=bool)
        meeting = np.stack([every, lenient.level, lenient.oblique, strict.level, strict.oblique])[:, :size]
        members = prosody.group_matrix(vocab, strict=True)[:size].T & writable  # (groups, output)
        self.by_demand = _additive(meeting & writable)
        self.by_group = _additive(members)
        self.group_of = np.where(members.any(axis=0), members.argmax(axis=0), UNASSIGNED)
        self.group_sizes = members.sum(axis=1).tolist()
        self.groups = prosody.rhyme_groups

    def first_rhyme_words(self, needed: int, tone: str) -> Floats:
        """Return the words that may be the first of a rhyme, an additive mask (output_size,).

        Args:
            needed: Number of words of the rhyme.
            tone: 平, 仄 or 中.

        Raises:
            InputError: No group has that many words.
        """
        # With a small vocabulary or prosody, accept groups without spare words.
        fitting = self._groups_of(needed + _SPARE, tone) or self._groups_of(needed, tone)
        if not fitting:
            raise InputError(
                "no_large_rhyme_group",
                "no rhyme group has the {needed} words that this pattern needs; use <rhyme=none>",
                needed=needed,
            )
        words: Floats = self.by_group[fitting].max(axis=0)
        return words

    def require(self, group: int, needed: int) -> None:
        """Check that a rhyme group has enough words.

        Raises:
            InputError: It has fewer than `needed`.
        """
        if self.group_sizes[group] < needed:
            raise InputError(
                "small_rhyme_group",
                "the rhyme group '{group}' has {count} words, but this pattern needs {needed}; choose another",
                group=self.groups[group].name,
                count=self.group_sizes[group],
                needed=needed,
            )

    def _groups_of(self, size: int, tone: str) -> list[int]:
        """Return the groups of a tone that have at least `size` words."""
        return [
            group.id for group in self.groups if tone in (FREE, group.tone.value) and self.group_sizes[group.id] >= size
        ]


def _additive(allowed: Booleans) -> Floats:
    return np.where(allowed, np.float32(0), np.float32(-np.inf))


class SenseTables:
    """Seasons, hours and weathers that characters and bigrams indicate, as arrays."""

    def __init__(self, sense: Sense, vocab: Vocab) -> None:
        self.names = list(sense.words)
        size = len(vocab)
        self.doubled = np.zeros(size, dtype=bool)
        self.doubled[_known(vocab, sense.doublings)] = True
        self.told = np.zeros((size, len(self.names)), dtype=bool)  # (vocab, names)
        pairs: dict[int, list[int]] = {}
        for word, owners in sense.owners.items():
            ids, rows = _known(vocab, word), [self.names.index(name) for name in owners]
            if len(ids) < len(word):
                continue
            if len(ids) == 1:
                self.told[ids[0], rows] = True
            else:
                pairs[ids[0] * size + ids[1]] = rows
        self.size = size
        self.pairs = np.array(sorted(pairs) or [-1], dtype=np.int64)
        self.told_by_pair = np.zeros((len(self.pairs) + 1, len(self.names)), dtype=bool)  # last row: unlisted pairs
        for row, key in enumerate(sorted(pairs)):
            self.told_by_pair[row, pairs[key]] = True
        self.apart = np.zeros((len(self.names), len(self.names)), dtype=np.float32)  # (earlier, later)
        for pair, nats in sense.apart.items():
            one, other = map(self.names.index, pair)
            self.apart[one, other] = nats

    def times(self, lines: Ints) -> Booleans:
        """Return the seasons, hours and weathers that lines mention, (..., names).

        Args:
            lines: Character ids, (..., length).
        """
        keys = lines[..., :-1] * self.size + lines[..., 1:]
        index = np.minimum(np.searchsorted(self.pairs, keys), len(self.pairs) - 1)
        index = np.where(self.pairs[index] == keys, index, len(self.pairs))
        found: Booleans = np.asarray(self.told[lines].any(axis=-2) | self.told_by_pair[index].any(axis=-2))
        return found

    def clash(self, before: Booleans, lines: Ints) -> Floats:
        """Return how much rarer than by chance the combination of times is, in nats, (poems, candidates).

        Args:
            before: Seasons, hours and weathers mentioned so far in each poem, (poems, names).
            lines: Candidates for the next line, (poems, candidates, length).
        """
        own = self.times(lines)  # (poems, candidates, names)
        every = own | before[:, None]
        pairs = (every[..., :, None] & own[..., None, :]) * self.apart  # (poems, candidates, names, names)
        nats: Floats = pairs.max(axis=(2, 3), initial=0)
        return nats


class FacingTables:
    """Pointwise mutual information of parallel characters and two-character words in couplets, in nats."""

    def __init__(self, facing: Facing, vocab: Vocab) -> None:
        self.size = len(vocab)
        self.keys, self.lifts = self._listed(facing, vocab, 1)
        self.word_keys, self.word_lifts = self._listed(facing, vocab, 2)
        self.begins = np.searchsorted(self.keys, np.arange(self.size + 1) * self.size)

    def _listed(self, facing: Facing, vocab: Vocab, length: int) -> tuple[Ints, Floats]:
        """Return sorted keys of the pairs of words with this length, whose digits are character ids, and nats."""
        listed = [(one, other) for one, others in facing.counts.items() if len(one) == length for other in others]
        ids = vocab.encode("".join(one + other for one, other in listed)).reshape(-1, 2 * length)
        lifts = np.array([facing.lift(*pair) for pair in listed], dtype=np.float32)
        known = (ids != vocab.unk_id).all(axis=1)
        keys = (ids[known] * self.size ** np.arange(2 * length)[::-1]).sum(axis=1)
        order = np.argsort(keys)
        return keys[order], lifts[known][order]

    def partners(self, character: int) -> tuple[Ints, Floats]:
        """Return the characters parallel to one and their nats, both (partners,)."""
        part = slice(self.begins[character], self.begins[character + 1])
        return self.keys[part] % self.size, self.lifts[part]

    def endings(self, word: Ints, begin: int) -> tuple[Ints, Floats]:
        """Return the second characters of words parallel to another one and their nats, both (endings,).

        Args:
            word: The other word, (2,).
            begin: First character of the parallel word.
        """
        first = ((int(word[0]) * self.size + int(word[1])) * self.size + begin) * self.size
        part = slice(*np.searchsorted(self.word_keys, [first, first + self.size]))
        return self.word_keys[part] % self.size, self.word_lifts[part]

    def lift(self, upper: Ints, lower: Ints) -> Floats:
        """Return the mean nats of the parallel characters of lines, (...); unlisted pairs count 0.

        Args:
            upper: Character ids, (..., length).
            lower: Character ids of the parallel lines, broadcastable.
        """
        mean: Floats = _found(self.keys, self.lifts, upper * self.size + lower).mean(axis=-1)
        return mean

    def word_lift(self, upper: Ints, lower: Ints) -> Floats:
        """Return the total nats of the parallel bigrams of lines, divided by the length of a line, (...).

        Args:
            upper: As for `lift`.
            lower: As for `lift`.
        """
        above, below = (line[..., :-1] * self.size + line[..., 1:] for line in (upper, lower))
        nats: Floats = _found(self.word_keys, self.word_lifts, above * self.size**2 + below).sum(axis=-1)
        return nats / np.float32(lower.shape[-1])


def _found(keys: Ints, values: Floats, wanted: Ints) -> Floats:
    """Return the values for the wanted keys, 0 for keys that are not listed; `keys` must be sorted."""
    if not len(keys):
        return np.zeros(wanted.shape, dtype=np.float32)
    index = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    found: Floats = np.where(keys[index] == wanted, values[index], np.float32(0))
    return found


def _known(vocab: Vocab, characters: str) -> list[int]:
    ids = vocab.encode(characters).tolist()
    return [index for index in ids if index != vocab.unk_id]
