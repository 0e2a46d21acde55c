"""Every message has a code and one English sentence, and a Chinese one with the same gaps."""

from __future__ import annotations

import ast
import pickle
import re
import string
from pathlib import Path

import pytest

from zhseq import errors
from zhseq.errors import InputError, Message, command_line, library, service
from zhseq.messages import CHINESE

PACKAGE = Path(__file__).resolve().parent.parent / "zhseq"
EVERY = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in PACKAGE.rglob("*.py")}
UNITS = sorted(EVERY - {"errors"})  # which makes them of what it is given
MAKERS = re.compile(r"^(Message|(Input|Corpus|Checkpoint|Config|Training|Worker)Error)$")


def gaps(template: str) -> set[str]:
    """Names of the values that a sentence shows."""
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


def calls(unit: str) -> list[tuple[str, ast.Call]]:
    """Where a unit makes messages: `file:line` and the call."""
    root = PACKAGE / unit
    files = [root.with_suffix(".py")] if root.with_suffix(".py").exists() else sorted(root.rglob("*.py"))
    assert files
    return [
        (f"{path.relative_to(PACKAGE)}:{node.lineno}", node)
        for path in files
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and MAKERS.match(node.func.id)
    ]


@pytest.mark.parametrize("unit", UNITS)
def test_messages_are_data(unit: str) -> None:
    for place, call in calls(unit):
        assert len(call.args) >= 2, f"{place}: expected a code and a sentence"
        code, template = call.args[:2]
        assert isinstance(code, ast.Constant), f"{place}: the code is not written out"
        assert isinstance(template, ast.Constant), f"{place}: the sentence is not written out, with gaps for its values"
        assert re.fullmatch("[a-z][a-z0-9_]*", code.value), place
        if len(call.args) == 2 and not any(keyword.arg is None for keyword in call.keywords):
            assert gaps(template.value) == {keyword.arg for keyword in call.keywords}, place


def test_each_code_has_one_sentence_in_each_language() -> None:
    english: dict[str, str] = {}
    for unit in UNITS:
        for place, call in calls(unit):
            code, template = (ast.literal_eval(argument) for argument in call.args[:2])
            assert english.setdefault(code, template) == template, f"{place}: {code} says something else elsewhere"
            assert code in CHINESE, f"{place}: {code} is not in zhseq/messages.py"
            assert gaps(CHINESE[code]) <= gaps(template), f"{place}: {code} shows other values in Chinese"


def test_messages_and_help_name_commands_in_one_form() -> None:
    assert [code for code, template in CHINESE.items() if "python -m zhseq" in template] == []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                for value in (*node.args, *(keyword.value for keyword in node.keywords)):
                    named = isinstance(value, ast.Constant) and "python -m zhseq" in str(value.value)
                    assert not named, f"{path}:{value.lineno}: expected `zhseq COMMAND`"


def test_a_message_is_said_at_each_door_in_its_way() -> None:
    values = {"what": "{tune} <form>", "form": "七{绝}"}
    message = Message("some_code", "a {what} needs <rhyme=none> or <form={form}>, not <best_of>", values)
    assert message.render(library) == "a {tune} <form> needs rhyme='none' or form='七{绝}', not best_of="
    assert message.render(command_line) == "a {tune} <form> needs --rhyme none or --form 七{绝}, not --best-of"
    assert message.render(service) == 'a {tune} <form> needs "rhyme": "none" or "form": "七{绝}", not "best_of"'


def test_a_message_within_a_message_speaks_the_same_language(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CHINESE, "outer", "不可：{reason}")
    monkeypatch.setitem(CHINESE, "inner", "须用 <form>")
    error = InputError("outer", "no: {reason}", reason=Message("inner", "use <form>"))
    assert str(error) == "no: use form="
    monkeypatch.setenv("ZHSEQ_LANG", "zh")
    assert str(error) == "不可：须用 form="
    assert error.message.render(command_line, "en") == "no: use --form"


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "en_US.UTF-8", "ZHSEQ_LANG": "zh"}, "zh"),
        ({"LANG": "zh_TW", "ZHSEQ_LANG": "en"}, "en"),
        ({"LANG": "zh_TW", "ZHSEQ_LANG": ""}, "zh"),
    ],
)
def test_the_language_is_that_of_the_user(
    environment: dict[str, str], language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ZHSEQ_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert errors.user_language() == language


def test_an_error_crosses_the_border_of_a_process() -> None:
    error = pickle.loads(pickle.dumps(InputError("some_code", "there is no {what}", what="{tune}")))
    assert (error.code, str(error)) == ("some_code", "there is no {tune}")
