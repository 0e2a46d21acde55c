"""Documents brought up to date: what is an example, what counts as the same, and what is written."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
from update_docs import Terminal, agrees, examples, renewed, run_document, update  # noqa: E402

DOCUMENT = """\
Text with `$ code` in it.

```console
$ cat poem.txt
白日依山尽
$ cat poem.txt | wc -l
7
```

```bash
rm -rf everything
```

```python
name = "诗"
```

A sentence between the two, so that this is no output:

```text
as it is
```

```python
print(name, 1 + 1)
```

```text
诗 3
```
"""


def test_examples_are_commands_and_snippets_with_outputs() -> None:
    found = examples(DOCUMENT)
    assert [example.source for example in found] == ["cat poem.txt", "cat poem.txt | wc -l", "print(name, 1 + 1)"]
    assert [example.shown for example in found] == [("白日依山尽",), ("7",), ("诗 3",)]
    lines = DOCUMENT.splitlines()
    assert all(tuple(lines[example.start : example.end]) == example.shown for example in found)


def test_outputs_are_written_where_they_were_wrong(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(DOCUMENT.replace('```python\nname = "诗"\n```\n\n', "").replace("print(name", 'print("诗"'))
    text, changes = update(path)
    assert text == path.read_text().replace("\n7\n", "\n1\n").replace("诗 3", "诗 2")
    assert len(changes) == 2
    path.write_text(text)
    assert update(path) == (text, [])
    assert not (tmp_path / "poem.txt").exists()


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        (["a", "b"], ["a", "b"], True),
        (["a"], ["a", "b"], False),
        (["a", "b"], ["a"], False),
        (["a", "..."], ["a", "b", "c"], True),
        (["a", "..."], ["a"], True),
        (["a", "...", "d"], ["a", "b", "c", "d"], True),
        (["a", "...", "d"], ["a", "b", "c"], False),
        (["[1, ..., 9]"], ["[1, 2, 3, 9]"], True),
        (["[1, ..., 9]"], ["[1, 2, 3", "9]"], False),
        (["1.5"], ["1x5"], False),
        ([], [], True),
        ([], ["a"], False),
    ],
)
def test_what_is_left_out_may_be_anything(shown: list[str], printed: list[str], same: bool) -> None:
    assert agrees(shown, printed) is same


@pytest.mark.parametrize(
    ("shown", "printed", "new"),
    [
        (["a", "..."], ["a", "b"], ["a", "..."]),
        (["a", "..."], ["x", "y", "z"], ["x", "..."]),
        (["a", "...", "c"], ["x", "y", "z"], ["x", "...", "z"]),
        (["a", "...", "c"], ["x", "y"], ["x", "y"]),
        (["a"], [], []),
    ],
)
def test_as_much_is_left_out_as_before(shown: list[str], printed: list[str], new: list[str]) -> None:
    assert renewed(shown, printed) == new


def test_commands_of_zhseq_run_in_pipes_with_settings_and_files() -> None:
    here = Path.cwd()
    with Terminal() as terminal:
        run = {
            command: terminal.run(examples(f"```console\n$ {command}\n```\n")[0])
            for command in (
                "zhseq --version | tr z Z",
                "zhseq peom",
                "ZHSEQ_LANG=zh zhseq peom",
                "zhseq --version > version.txt && cat version.txt",
                "python -m zhseq.poem --num 0",
                "echo 'a | b && c' | cat",
                "cat nothing/there",
            )
        }
        assert Path("version.txt").exists()
    assert run["zhseq --version | tr z Z"][0].startswith("Zhseq ")
    assert run["zhseq peom"] == ["zhseq: there is no command 'peom'; expected poem"]
    assert run["ZHSEQ_LANG=zh zhseq peom"] != run["zhseq peom"]
    assert run["zhseq --version > version.txt && cat version.txt"][0].startswith("zhseq ")
    assert run["python -m zhseq.poem --num 0"] == ["zhseq: --num must be at least 1, but is 0"]
    assert run["echo 'a | b && c' | cat"] == ["a | b && c"]
    assert "nothing/there" in run["cat nothing/there"][0]
    assert Path.cwd() == here


def test_chinese_documents_speak_chinese(tmp_path: Path) -> None:
    printed = []
    for name in ("page.md", "page.zh.md"):
        (tmp_path / name).write_text("```console\n$ zhseq peom\n```\n")
        printed += [lines for _, lines in run_document(tmp_path / name)]
    assert printed[0] != printed[1]
    assert os.environ["ZHSEQ_LANG"] == "en"
