import numpy as np
import pytest

from tests.poetry.prosody.verse import rhyming
from zhseq.errors import CorpusError
from zhseq.poetry.prosody import rhymes
from zhseq.poetry.prosody import rhymes as clusters

GROUPS, WORDS = 8, 12
SIZE = GROUPS * WORDS
SETTINGS = rhymes.ClusterSettings(min_count=20, merge_above=2.0, split_below=0.15, smallest=100)


@pytest.fixture(scope="module")
def segments() -> rhymes.Ids:
    return rhyming(GROUPS, WORDS, 6000, np.random.default_rng(3))


@pytest.fixture(scope="module")
def learned(segments: rhymes.Ids) -> rhymes.Rhymes:
    return rhymes.learn(segments, SIZE, SETTINGS)


def test_meetings_are_counted_by_segment() -> None:
    counts = clusters.cooccurrences(np.array([[0, 1, 2, -1], [0, 1, -1, -1], [1, 1, 0, 5]]), 3)
    np.testing.assert_array_equal(counts, [[0, 4, 1], [4, 0, 1], [1, 1, 0]])


def test_merging_recovers_the_groups(segments: rhymes.Ids) -> None:
    found = clusters.merge(clusters.cooccurrences(segments, SIZE), 2.0)
    assert sorted(map(set, found), key=min) == [set(range(g, g + WORDS)) for g in range(0, SIZE, WORDS)]


def test_splitting_parts_what_was_merged_by_mistake(segments: rhymes.Ids) -> None:
    counts = clusters.cooccurrences(segments, SIZE)
    wrong = [np.arange(2 * WORDS, 4 * WORDS), np.arange(4 * WORDS, 5 * WORDS)]
    found = clusters.split(counts, wrong, 0.15)
    assert sorted(map(set, found), key=min) == [set(range(g * WORDS, (g + 1) * WORDS)) for g in (2, 3, 4)]


def test_every_word_finds_its_group(learned: rhymes.Rhymes) -> None:
    assert learned.members.shape == (SIZE, GROUPS)
    home = learned.counts.argmax(axis=1).reshape(GROUPS, WORDS)
    assert all(len(set(row)) == 1 for row in home[2:].tolist())
    assert len({row[1] for row in home.tolist()}) == GROUPS


def test_second_readings_are_found_and_strays_are_not(learned: rhymes.Rhymes) -> None:
    assert learned.members[0].sum() == 2
    assert not learned.certain[0].any()
    others = np.arange(1, SIZE)
    assert (learned.members[others].sum(axis=1) == 1).all()
    assert learned.certain[others].any(axis=1).mean() > 0.95


def test_rare_words_are_placed_by_the_mixture_but_are_not_certain(segments: rhymes.Ids) -> None:
    rare = segments[:3].copy()
    rare[:, 0] = SIZE
    group = rare[0, 1] // WORDS
    rare[:, 1:] = group * WORDS + np.array([4, 5, 6])
    found = rhymes.learn(np.concatenate([segments, rare]), SIZE + 1, SETTINGS)
    home = int(found.members[SIZE].argmax())
    assert found.members[SIZE].sum() == 1
    assert found.members[group * WORDS + 4, home]
    assert not found.certain[SIZE].any()


def test_words_that_never_rhyme_are_nowhere(segments: rhymes.Ids) -> None:
    found = rhymes.learn(segments, SIZE + 5, SETTINGS)
    assert not found.members[SIZE:].any()


def test_strays_are_measured(learned: rhymes.Rhymes) -> None:
    np.testing.assert_allclose(learned.strays.sum(axis=1), 1, atol=0.1)
    assert (np.diag(learned.strays) > 0.9).all()


def test_too_few_poems() -> None:
    with pytest.raises(CorpusError, match="too few poems"):
        rhymes.learn(np.array([[0, 1, -1, -1]]), 2, SETTINGS)


def test_readings_that_live_at_line_ends_are_found() -> None:
    certain = np.zeros((12, 2), dtype=bool)
    certain[:5, 0] = certain[5:10, 1] = True
    uses = np.full(12, 100)
    guest, slip, odd = 10, 11, 9
    company = np.array([[1, 2, guest, 3]] * 5 + [[slip, 5, 6, 7]] * 4)
    doubtful = np.array([[1, 5, slip, 6]] * 9 + [[1, 2, slip, -1]] * 9 + [[1, guest, odd, 2]] * 9)
    found = rhymes.line_end_readings(np.concatenate([company, doubtful]), certain, uses)
    assert found[guest].tolist() == [True, False]
    assert not found[slip].any(), "too few in certain company; two groups, short and doubtful segments prove nothing"
    uses[guest] = 20_000
    assert not rhymes.line_end_readings(company, certain, uses)[guest].any(), "one use in 4,000 is too few"


def test_words_that_shun_each_other_are_parted_from_a_guess_that_is_partly_wrong() -> None:
    rng = np.random.default_rng(3)
    kinds = np.arange(20) < 10
    drawn = np.where(rng.random((400, 1)) < 0.5, rng.integers(0, 10, (400, 4)), rng.integers(10, 20, (400, 4)))
    both = 19  # meets words of either kind
    drawn[:200, 3] = both
    counts = rhymes.cooccurrences(drawn, 20)
    prior = np.where(kinds, 2.0, -1.0)
    prior[[0, 1, 10]] = -1.0, 0.0, 2.0  # wrong, unknown, wrong
    first, share = rhymes.split_in_two(counts, prior)
    assert (first[:10] > 0.9).all()
    assert (first[10:19] < 0.1).all()
    assert 0.3 < share[both] < 0.7
    assert first[:0].shape == rhymes.split_in_two(counts[:0, :0], prior[:0])[0].shape


def test_kinds_that_poets_mix_are_parted_from_a_few_known_words() -> None:
    """Three kinds of ten words; poems on the first take words of the second now and then, and the other way round."""
    rng = np.random.default_rng(5)
    kind = np.repeat(np.arange(3), 10)
    drawn = rng.integers(3, size=(3_000, 1))
    strays = (rng.random((3_000, 4)) < 0.25) & (drawn < 2)
    segments = np.where(strays, 1 - drawn, drawn) * 10 + rng.integers(10, size=(3_000, 4))
    known = np.full(31, -1)
    known[[0, 1, 10, 11, 20]] = 0, 0, 1, 1, 2
    counts = rhymes.cooccurrences(segments, 31)
    found = rhymes.cluster_by_seeds(counts, known, 3)
    assert found.shape == (31, 3)
    assert (found[:30].argmax(axis=1) == kind).all()
    assert (found[:30].max(axis=1) > 0.9).all()
    assert not found[30].any(), "a word that meets none is of no kind"
    wrong = np.where(known == 2, -1, known)
    assert (rhymes.cluster_by_seeds(counts, wrong, 2)[:20].argmax(axis=1) == kind[:20]).all()
