"""A small corpus of poems in an upstream format, for the trainings of these tests."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.conftest import CHARACTERS
from tests.corpus.conftest import shi, write_chinese_poetry, write_json


def verses(count: int) -> list[dict[str, object]]:
    """Random quatrains of few characters, so that there is something to learn."""
    draw = random.Random(3)
    poems = []
    for index in range(count):
        length = 5 + 2 * (index % 2)
        lines = ["".join(draw.choices(CHARACTERS[:24], k=length)) for _ in range(4)]
        paragraphs = [f"{lines[0]}，{lines[1]}。", f"{lines[2]}，{lines[3]}。"]
        poems.append(shi(f"tang-{index}", paragraphs, title=f"{lines[0][:2]}行", author="甲乙丙"[index % 3] + "生"))
    return poems


@pytest.fixture(scope="package")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of poetry corpora that hold 600 random quatrains and a few others."""
    root = tmp_path_factory.mktemp("corpora")
    write_chinese_poetry(root / "chinese-poetry", verses(600), [])
    write_json(root / "poetry-source/source/诗/唐/poetry.唐.0000.base.json", [])
    (root / "werneror-poetry").mkdir()
    (root / "werneror-poetry" / "唐.csv").write_text('"题目","朝代","作者","内容"\n', encoding="utf-8")
    return root
