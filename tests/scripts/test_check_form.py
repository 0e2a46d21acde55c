from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "check_form.py"
QUATRAIN = "春山一路花，流水到人家。\n日暮闻啼鸟，东风满树霞。"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_form", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_there_are_a_thousand_poems_to_write(script: ModuleType) -> None:
    tasks = list(script.tasks())
    assert len(tasks) == len({(task.start, task.form) for task in tasks}) == 1000
    assert len({task.start for task in tasks if task.kind == "rare"}) == 20
    assert all(script.is_chinese(task.start) for task in tasks)


def test_a_good_poem_has_no_fault(script: ModuleType) -> None:
    for form in ("五绝", "auto"):
        assert script.faults(QUATRAIN, script.Task("春山", "common", form, 0), "五绝") == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("啼鸟", "啼"), "punctuation or length of a line"),
        (("啼鸟", "啼鸟雀"), "punctuation or length of a line"),
        (("鸟，", "鸟。"), "punctuation or length of a line"),
        (("霞。", "霞"), "no end"),
        (("\n", ""), "number of couplets"),
        (("霞。", "霞。\n"), "number of couplets"),
        (("啼", "A"), "a line with something else than Chinese characters"),
        (("啼", "□"), "a line with something else than Chinese characters"),
        (("日暮闻啼鸟", "春山一路花"), "a line twice"),
        (("春山", "春江"), "another start than the one given"),
    ],
)
def test_faults_are_found(script: ModuleType, change: tuple[str, str], expected: str) -> None:
    text = QUATRAIN.replace(*change)
    assert text != QUATRAIN
    assert expected in script.faults(text, script.Task("春山", "common", "五绝", 0), "五绝")


def test_another_form_than_the_one_asked_for_is_a_fault(script: ModuleType) -> None:
    assert script.faults(QUATRAIN, script.Task("春", "common", "七绝", 0), "五绝") == [
        "another form than the one asked for"
    ]
    assert script.faults(QUATRAIN, script.Task("春", "common", "七绝", 0), "七绝")
