"""A tiny poem model with random weights, shared by the tests that need some model and not a good one."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from zhseq.poetry.model import LanguageModel
from zhseq.poetry.network import LanguageModelConfig
from zhseq.poetry.poet import Poet
from zhseq.recipes.poem import save
from zhseq.text.vocab import LINE, SPECIALS, Vocab

# A shell that runs the tests in the background has them ignore Ctrl-C, and all programs that they start: but some tests
# press it.
signal.signal(signal.SIGINT, signal.default_int_handler)

CHARACTERS = (
    "春夏秋冬风花雪月山水云雨江河天地日夜人心酒诗梅兰竹菊松柏鸟鱼来去归行坐看听闻知思忆别离愁乐长短高低远近东西南北"
)
CONTROLS = (
    "<form:五绝>",
    "<form:七绝>",
    "<form:五律>",
    "<form:七律>",
    "<dynasty:唐>",
    "<author:李白>",
    "<author:杜甫>",
)


def pytest_configure() -> None:
    """Use one thread, here and in the processes that tests start: for tiny models more only wait for each other."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    settings.register_profile("any machine", deadline=None)  # a busy one takes longer than any test would expect
    settings.load_profile("any machine")
    os.environ["ZHSEQ_LANG"] = "en"  # a developer's locale must not change what the tests read


@pytest.fixture(scope="session")
def tiny_vocab() -> Vocab:
    """About sixty characters, one of them no Chinese character, and some controls."""
    return Vocab([*SPECIALS, LINE, *CHARACTERS, "A", *CONTROLS])


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory: pytest.TempPathFactory, tiny_vocab: Vocab) -> Path:
    """The checkpoint directory of an untrained model."""
    torch.manual_seed(0)
    size = len(tiny_vocab)
    model = LanguageModel(LanguageModelConfig(12, (20, 16), vocab_size=size, output_size=size - len(CONTROLS)))
    directory = tmp_path_factory.mktemp("models") / "tiny"
    save(directory, model, tiny_vocab, {})
    return directory


@pytest.fixture(scope="session")
def tiny_poet(tiny_model_dir: Path) -> Poet:
    """The same model, loaded."""
    return Poet.load(tiny_model_dir)
