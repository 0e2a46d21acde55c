"""The files of the page hold together; what they do is tested in a browser."""

import re
from pathlib import Path

import pytest

import zhseq.serve

PAGE = Path(zhseq.serve.__file__).parent / "page"
FILES = sorted(PAGE.iterdir())
SCRIPTS = [path for path in FILES if path.suffix == ".js"]
HTML = "".join((PAGE / f"{name}.html").read_text(encoding="utf-8") for name in ("index", "docs"))
KEYS = set(re.findall(r"^  (\w+): \[", (PAGE / "strings.js").read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_files_are_short_and_ask_nobody_else(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 300
    assert not re.findall(r"(?:https?:)?//[\w-]+\.\w", text.replace("http://www.w3.org/2000/svg", ""))
    for forbidden in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
        assert forbidden not in text


def test_nothing_is_inline_since_the_policy_forbids_it():
    assert not re.findall(r"\sstyle=|\son\w+=|<style|javascript:", HTML)
    assert not re.findall(r"<script(?![^>]*\ssrc=)", HTML)


def test_what_is_named_is_there():
    for name in re.findall(r"static/([\w.-]+)", HTML):
        assert (PAGE / name).is_file(), name
    for path in SCRIPTS:
        text = path.read_text(encoding="utf-8")
        for names, module in re.findall(r"import \{([^}]*)\} from \"\./([\w.]+)\"", text):
            exported = set(
                re.findall(
                    r"^export (?:async )?(?:function\*? |class |const )([$\w]+)",
                    (PAGE / module).read_text(encoding="utf-8"),
                    re.MULTILINE,
                )
            )
            for name in names.replace("\n", " ").split(","):
                assert not name.strip() or name.strip() in exported, f"{path.name} imports {name.strip()} from {module}"
    used = {id for path in SCRIPTS for id in re.findall(r"\$\(\"([\w-]+)\"\)", path.read_text(encoding="utf-8"))}
    assert used <= set(re.findall(r"id=\"([\w-]+)\"", HTML))


def test_each_text_has_both_languages_and_is_used():
    strings = (PAGE / "strings.js").read_text(encoding="utf-8")
    assert len(re.findall(r"^  \w+: \[\"[^\"]+\", \"[^\"]*\"\],$", strings, re.MULTILINE)) == len(KEYS)
    code = "".join(path.read_text(encoding="utf-8") for path in SCRIPTS if path.name != "strings.js")
    in_html = set(re.findall(r"data-i18n(?:-label|-placeholder)?=\"(\w+)\"", HTML))
    in_code = set(re.findall(r"\bt\(\"(\w+)\"", code))
    assert in_html | in_code <= KEYS
    computed = {key for key in KEYS if key.startswith(("rhyme_", "theme")) or f'"{key}"' in code}
    assert in_html | in_code | computed == KEYS
