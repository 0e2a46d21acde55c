"""The server for language models, asked by the client of the protocol's own SDK."""

import asyncio
import subprocess
import sys

import pytest

from zhseq.cli import run_main
from zhseq.errors import ConfigError
from zhseq.mcp import Models, create_server, main

TOOLS = {
    *("write_poem", "check_poem", "suggest_characters", "answer_couplet"),
    *("look_up_character", "look_up_rhyme", "look_up_tune", "facing_words", "find_line", "tag_text"),
}
CRANE = "登鹳雀楼\n白日依山尽，黄河入海流。\n欲穷千里目，更上一层楼。"


def ask(*calls):
    """Return the structured answers of tools, or the text of an error, in one session."""
    pytest.importorskip("mcp.server.mcpserver")
    from mcp import Client

    async def session():
        found = []
        async with Client(create_server(Models())) as client:
            listed = {tool.name for tool in (await client.list_tools()).tools}
            for name, arguments in calls:
                result = await client.call_tool(name, arguments)
                found.append(result.content[0].text if result.is_error else result.structured_content)
        return listed, found

    return asyncio.run(session())


def test_the_client_finds_and_calls_the_tools():
    listed, (poem, good, bad, rhyme, character, tune, facing) = ask(
        ("write_poem", {"start": "春", "form": "五绝", "seed": 1}),
        ("check_poem", {"text": CRANE}),
        ("check_poem", {"text": CRANE.replace("楼。", "山。")}),
        ("look_up_rhyme", {"word": "秋", "num": 3}),
        ("look_up_character", {"character": "看"}),
        ("look_up_tune", {"name": "如梦令"}),
        ("facing_words", {"word": "春", "num": 2}),
    )
    assert listed == TOOLS
    assert poem["poems"][0]["text"].startswith("春")
    assert (good["form"], good["faults"]) == ("五绝", [])
    assert [(fault["line"], fault["kind"]) for fault in bad["faults"]] == [(4, "rhyme")]
    assert [word["character"] for word in rhyme["words"]] == ["秋", "流", "游"]
    assert {reading["tone"] for reading in character["readings"]} == {"平", "仄"}
    assert tune["patterns"][0]["characters"] == 33
    assert len(facing["facing"]) == 2


def test_the_client_mends_and_tags():
    _, (places, tagged) = ask(
        ("suggest_characters", {"text": CRANE.replace("流", "？"), "num": 3}),
        ("tag_text", {"text": "他在北京大学学习"}),
    )
    assert [(place["line"], place["place"], len(place["characters"])) for place in places["places"]] == [(2, 5, 3)]
    assert "".join(word["text"] for word in tagged["words"]) == "他在北京大学学习"


def test_what_cannot_be_done_is_said_to_the_client():
    _, (form, character, tune) = ask(
        ("write_poem", {"form": "十四行"}), ("look_up_character", {"character": "A"}), ("look_up_tune", {"name": "x"})
    )
    assert "no form '十四行'" in form
    assert "'A' (U+0041)" in character
    assert "no tune 'x'" in tune


def test_without_the_sdk_there_is_one_sentence(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "mcp.server.mcpserver", None)
    with pytest.raises(ConfigError, match=r"pip install 'zhseq\[mcp\]'"):
        create_server(Models())
    monkeypatch.setattr(sys, "argv", ["zhseq mcp"])
    with pytest.raises(SystemExit) as exit_:
        run_main(main)
    assert exit_.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_closed_and_full_streams_are_one_sentence():
    pytest.importorskip("mcp.server.mcpserver")
    ping = '{"jsonrpc": "2.0", "id": 1, "method": "ping"}'
    for redirection, words in (("<&-", "standard input is closed"), ("> /dev/full", "No space left on device")):
        shell = f"echo '{ping}' | {sys.executable} -m zhseq mcp {redirection}"
        done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert words in done.stderr
        assert done.stderr.count("\n") == 1
