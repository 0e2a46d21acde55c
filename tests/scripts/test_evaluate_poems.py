"""The yardstick beside the network has to write with the n-gram, and not with the network again."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest
from datasets import Dataset

from zhseq import Poet


def test_the_masked_ngram_writes_other_poems_than_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parent.parent.parent / "scripts"))
    from scripts.evaluate_poems import ngram_poems
    from zhseq.poetry.request import Request

    poet = Poet.load()
    train = Dataset.from_dict({"lines": [["白日依山尽", "黄河入海流", "欲穷千里目", "更上一层楼"]] * 20})
    options = argparse.Namespace(limit=None, ngram=2)
    written = ngram_poems(poet, train, options)
    assert len(written) == 2
    assert [poem.text for poem in written] != [poem.text for poem in list(poet.stream(Request(form="七绝"), 2))]
    assert "masked_ngram" in sys.modules
