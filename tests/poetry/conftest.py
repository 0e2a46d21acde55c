"""A hand-made prosody over the characters of the tiny vocabulary, and a poet who has it."""

from __future__ import annotations

import numpy as np
import pytest

from tests.conftest import CHARACTERS
from zhseq.poetry.poet import Poet
from zhseq.poetry.prosody import Prosody, RhymeGroup, Tone, TunePattern
from zhseq.poetry.prosody.prosody import ToneTable

LEVEL_GROUPS = ("春人心云秋", "风冬松东花", "山兰天竹梅来诗鱼")
OBLIQUE_GROUPS = ("雪月日夜夏", "水雨地酒柏鸟")
EITHER = "看思听"
OBLIQUE = "".join(OBLIQUE_GROUPS) + "去坐望忆别乐短近北是"


def make_prosody() -> Prosody:
    """Tones: as in the lists above, 看思听 either, all others level; some rhyme groups; one tune."""
    classes = "".join("中" if c in EITHER else "仄" if c in OBLIQUE else "平" for c in CHARACTERS)
    level = np.array([{"平": 1.0, "仄": 0.0, "中": 0.5}[sign] for sign in classes], dtype=np.float32)
    table = ToneTable(CHARACTERS, level, classes, np.ones(len(CHARACTERS), dtype=bool))
    groups = [
        RhymeGroup(number, members[0], tone, members + "听" * (number == 0), members)
        for number, (members, tone) in enumerate(
            [(g, Tone.LEVEL) for g in LEVEL_GROUPS] + [(g, Tone.OBLIQUE) for g in OBLIQUE_GROUPS]
        )
    ]
    tune = TunePattern(
        line_lengths=(3, 5, 4, 3),
        tones=("中平平", "中仄中平平", "中平中仄", "平仄仄"),
        rhymes=(1, 1, 2, 2),
        marks="，。，。",
        breaks=(2,),
        count=30,
        name="小令",
        total=40,
    )
    return Prosody(table, groups, {"小令": tune})


@pytest.fixture(scope="session")
def small_prosody() -> Prosody:
    return make_prosody()


@pytest.fixture(scope="session")
def ruled_poet(tiny_poet: Poet, small_prosody: Prosody) -> Poet:
    """The untrained model with rules: whatever is right about its poems is right by construction."""
    return Poet(tiny_poet.network, tiny_poet.vocab, prosody=small_prosody)
