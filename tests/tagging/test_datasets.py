"""A tagger as it stands in `datasets.Dataset.map`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pytest

from tests.tagging.tiny_tagger import tiny_features, tiny_model
from zhseq.tagging.model import TorchNetwork
from zhseq.tagging.tagger import Tagger

TEXTS = ["中国人民在北京大学学习。", "", "上海来的和北京的", "abc 123"] * 5


class Tag:
    """What a user writes: a function of a batch that holds a tagger."""

    def __init__(self, tagger: Tagger) -> None:
        self.tagger = tagger

    def __call__(self, batch: dict[str, list[str]]) -> dict[str, list[Any]]:
        documents = list(self.tagger.stream(batch["text"]))
        return {"words": [[word.text for word in document.words] for document in documents]}


@pytest.mark.parametrize("processes", [None, 2])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_tagger_maps_over_a_dataset(processes: int | None, tmp_path: Path) -> None:
    tagger = Tagger(TorchNetwork(tiny_model(), tiny_features()))
    dataset = datasets.Dataset.from_dict({"text": TEXTS, "id": list(range(len(TEXTS)))})
    mapped = dataset.map(Tag(tagger), batched=True, batch_size=4, num_proc=processes)
    assert mapped["id"] == list(range(len(TEXTS)))
    assert list(mapped["words"]) == [[word.text for word in tagger(text).words] for text in TEXTS]


def test_a_tagger_has_a_fingerprint() -> None:
    first, second = (Tag(Tagger(TorchNetwork(tiny_model(), tiny_features()))) for _ in range(2))
    other = Tag(Tagger(TorchNetwork(tiny_model(seed=1), tiny_features())))
    prints = [datasets.fingerprint.Hasher.hash(tag) for tag in (first, second, other)]
    assert prints[0] == prints[1] != prints[2]
