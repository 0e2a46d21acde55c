"""A real browser before a real service with the models that are shipped.

Chromium is `$ZHSEQ_CHROMIUM`, /usr/bin/chromium or what is found as `chromium`; without one these tests fail.
Screenshots go to `$ZHSEQ_SCREENSHOTS` if it is set, else to a temporary folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

ARGUMENTS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")
Visit = Callable[..., Any]


@pytest.fixture(scope="session")
def service() -> Iterator[str]:
    """The address of a service on a free port."""
    command = [sys.executable, "-m", "zhseq.serve", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("zhseq: http://"), "the service did not start"
    yield line.split()[1]
    process.terminate()
    process.stdout.close()
    assert process.wait(30) == 0


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    named = os.environ.get("ZHSEQ_CHROMIUM", "/usr/bin/chromium")
    path = named if Path(named).exists() else shutil.which("chromium")
    assert path, "these tests need a browser: install Debian's chromium or set ZHSEQ_CHROMIUM"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Any, service: str) -> Iterator[Visit]:
    """Opens the page. At the end no page may have logged an error or asked another host for anything."""
    contexts: list[Any] = []
    errors: list[str] = []
    hosts: set[str] = set()

    def open_page(
        width: int = 1280, height: int = 900, *, refused: bool = False, path: str = "/", **options: Any
    ) -> Any:
        """Open it in a window of its own; with `refused` answers of 4xx and 5xx, or none, are expected."""
        options = {"locale": "zh-CN", "color_scheme": "light", **options}
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)  # the machine may have much else to do
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: note(message, refused))
        page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
        page.goto(service + path)
        page.wait_for_selector("html[lang]")
        if not refused:
            page.wait_for_selector("#rhyme option", state="attached")
        return page

    def note(message: Any, refused: bool) -> None:
        expected = refused and message.text.startswith("Failed to load resource:")
        if message.type in ("error", "warning") and not expected:
            errors.append(message.text)

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []
    assert hosts - {""} <= {urlsplit(service).netloc}


@pytest.fixture
def shot(tmp_path: Path) -> Callable[[Any, str], None]:
    """Keeps a picture of a page."""
    folder = Path(os.environ.get("ZHSEQ_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return lambda page, name: page.screenshot(path=folder / f"{name}.png", full_page=True)


def write_poem(page: Any, **fields: str) -> list[str]:
    """Fill in the form of wishes, write, wait for the end, and return the lines."""
    page.eval_on_selector("#more", "e => e.open = true")
    for name, value in fields.items():
        page.fill(f"#{name}", value)
    page.click("#write")
    page.wait_for_selector("#copy:enabled")
    page.wait_for_selector("#verse[aria-busy=false]")
    return lines_of(page)


def lines_of(page: Any) -> list[str]:
    """Return the lines on the sheet, without marks."""
    found = page.eval_on_selector_all(
        ".line", "lines => lines.map(l => [...l.querySelectorAll('.char')].map(c => c.textContent).join(''))"
    )
    assert isinstance(found, list)
    return found


def choose(page: Any, name: str, value: str) -> None:
    """Choose one of several; the radio button lies unseen over its words."""
    page.check(f"input[name={name}][value={value}]")
