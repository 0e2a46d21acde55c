"""Of several drafts of a poem the one is kept that readers may like best; which one does not depend on other poems."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from scripts.learn_rater import Rated, by_poem, lines_of
from zhseq.errors import InputError
from zhseq.poetry.coherence import Wholes
from zhseq.poetry.poet import Poem, Poet
from zhseq.poetry.request import DRAFTS, DRAFTS_OF_SEVERAL, Ranking, Request, Sampling
from zhseq.poetry.writer import BETWEEN_DRAFTS
from zhseq.text.normalize import normalize


@pytest.fixture(scope="module")
def poet() -> Poet:
    return Poet.load()


def drafts_of(poet: Poet, request: Request, number: int, count: int) -> list[Poem]:
    """Write the drafts of a poem by themselves."""
    return [list(poet.lines(request, number + draft * BETWEEN_DRAFTS))[-1] for draft in range(count)]


def worth_of(poet: Poet, poems: Sequence[Poem]) -> list[float]:
    """Return what readers may give poems, which are read once more for it."""
    rater = poet._writer._rater
    assert rater is not None
    assert rater.whole is not None
    assert poet.usage is not None
    assert poet.critic is not None
    rated = [Rated(poem.form, poem.lines, (0,) * len(poem.lines), 1) for poem in poems]
    points, lift = by_poem(rater.line, lines_of(rated, poet.network, poet.vocab, poet.usage, poet.critic))
    worn = poet._writer.worn
    assert worn is not None
    ids = np.stack([[poet.vocab.encode(normalize(line)) for line in poem.lines] for poem in poems])
    less = worn(ids) / np.float32(ids.shape[2] * Ranking().rating)
    return list(map(float, rater.whole(np.stack(points) - less, np.stack(lift))))


@pytest.mark.parametrize("wishes", [{"form": "七绝"}, {"start": "春", "form": "五律"}, {"acrostic": "山高水长"}])
def test_the_draft_is_kept_that_readers_may_like_best(poet: Poet, wishes: dict[str, str]) -> None:
    one = Request(**wishes, drafts=1, sampling=Sampling(seed=7))  # type: ignore[arg-type]
    several = Request(**wishes, drafts=3, sampling=Sampling(seed=7))  # type: ignore[arg-type]
    kept = list(poet.stream(several, 4))
    for number, poem in enumerate(kept):
        drafts = drafts_of(poet, one, number, 3)
        assert len(set(drafts)) == 3
        assert poem == drafts[int(np.argmax(worth_of(poet, drafts)))]
    assert list(poet.stream(one, 2)) == [drafts_of(poet, one, number, 1)[0] for number in range(2)]
    assert list(poet.stream(several, 2)) == kept[:2]
    assert list(poet.lines(several, 2))[-1] == kept[2]


def test_drafts_do_not_depend_on_how_many_are_written_at_once(poet: Poet) -> None:
    wishes = {"form": "五绝", "seed": 3, "best_of": 40}  # three drafts of the twelve at a time
    assert poet.write(**wishes, drafts=12) == poet.write_many(2, **wishes, drafts=12)[0]  # type: ignore[arg-type]


def test_one_poem_is_chosen_among_more_drafts_than_several_are(poet: Poet) -> None:
    found = Request().drafts_of(1), Request().drafts_of(2), Request(drafts=3).drafts_of(2)
    assert found == (DRAFTS, DRAFTS_OF_SEVERAL, 3)
    wishes = {"form": "七绝", "seed": 6}
    alone, many = poet.write(**wishes), poet.write_many(2, **wishes)  # type: ignore[arg-type]
    assert alone == poet.write(**wishes, drafts=DRAFTS)  # type: ignore[arg-type]
    assert alone == poet.write_many(2, **wishes, drafts=DRAFTS)[0]  # type: ignore[arg-type]
    assert many[0] == poet.write(**wishes, drafts=DRAFTS_OF_SEVERAL)  # type: ignore[arg-type]
    assert many[0] != alone


def test_lines_that_are_shown_as_they_come_wait_for_the_choice(poet: Poet) -> None:
    request = Request(start="江上", form="七绝", sampling=Sampling(seed=2))
    grown = list(poet.growing(request))
    poems = [poem for poem in grown if poem is not None]
    assert [len(poem.lines) for poem in poems] == [1, 2, 3, 4]
    assert grown[-4:] == poems
    assert poems[-1] == poet.write(start="江上", form="七绝", seed=2)
    assert all(poem.lines == poems[-1].lines[: len(poem.lines)] for poem in poems)


@pytest.mark.parametrize("wishes", [{"tune": "如梦令"}, {"form": "七绝", "rhyme": "none"}, {"form": "五言排律"}])
def test_verse_of_which_nothing_was_rated_has_one_draft(poet: Poet, wishes: dict[str, str]) -> None:
    assert poet.write(**wishes, drafts=4) == poet.write(**wishes, drafts=1)  # type: ignore[arg-type]


def test_a_model_without_ratings_has_one_draft(ruled_poet: Poet) -> None:
    assert ruled_poet.write(form="五绝", drafts=4) == ruled_poet.write(form="五绝", drafts=1)


def test_whole_poems_are_rated_only_if_drafts_are_compared(poet: Poet, monkeypatch: pytest.MonkeyPatch) -> None:
    rated: list[tuple[int, int]] = []

    def counted(self: Wholes, points: Any, lift: Any) -> Any:
        rated.append(points.shape)
        return rate(self, points, lift)

    rate = Wholes.__call__
    monkeypatch.setattr(Wholes, "__call__", counted)
    request = Request(form="七绝", drafts=1, sampling=Sampling(seed=7))
    poems = list(poet.stream(request, 2))
    poem = [*poet.lines(request, 0)][-1]
    assert poet.rewrite(poem.lines, 2, num=2, form="七绝")
    assert rated == []
    assert poem == poems[0]
    chosen = poet.write(form="七绝", drafts=3, seed=7)
    assert rated == [(3, 4)]  # the lines of the three drafts
    assert chosen in drafts_of(poet, request, 0, 3)

    write = poet._writer.write
    monkeypatch.setattr(poet._writer, "write", lambda plan, numbers, **_: write(plan, numbers, rate_wholes=True))
    assert list(poet.stream(request, 2)) == poems


def test_drafts_keep_the_rules(poet: Poet) -> None:
    request = Request(form="七律", drafts=4, sampling=Sampling(seed=1))
    assert not any(poet.check(poem.text).faults for poem in poet.stream(request, 10))


@pytest.mark.parametrize("drafts", [0, -1, 17])
def test_drafts_out_of_range_are_refused(poet: Poet, drafts: int) -> None:
    with pytest.raises(InputError, match=rf"drafts= must lie in 1 to 16, but is {drafts}") as caught:
        poet.write(drafts=drafts)
    assert caught.value.message.code == "bad_drafts"


@pytest.mark.parametrize("drafts", ["4", 2.0, True])
def test_drafts_are_a_number(drafts: object) -> None:
    with pytest.raises(TypeError, match="drafts"):
        Request(drafts=drafts)  # type: ignore[arg-type]


def test_the_guess_of_wholes_is_linear() -> None:
    found = Wholes(("五绝",), mean=2, last=0.5, lift=3)(np.float32([[-4, 8], [1, 1]]), np.float32([[0, 0.5], [0, 0]]))
    np.testing.assert_allclose(found, [2 * 2 + 0.5 * 8 + 3 * 0.25, 2 + 0.5])
