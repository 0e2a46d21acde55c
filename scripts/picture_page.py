"""Take the picture of the page that README.md shows: a poem with its tones and rhymes, and a place to be mended.

python scripts/picture_page.py --output docs/page.png       # needs the extras serve and dev, and Debian's chromium
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

BROWSER = "/usr/bin/chromium"
WISHES = {"start": "春", "seed": "2"}
WIDTH, HEIGHT = 1200, 800


def take(address: str, target: Path, browser: str) -> None:
    """Write a poem on the page of a service and keep what is seen."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
        page = chromium.new_page(
            viewport={"width": WIDTH, "height": HEIGHT}, locale="zh-CN", color_scheme="light", reduced_motion="reduce"
        )
        page.set_default_timeout(120_000)
        page.goto(address)
        page.wait_for_selector("#rhyme option", state="attached")
        page.eval_on_selector("#more", "element => element.open = true")
        for name, value in WISHES.items():
            page.fill(f"#{name}", value)
        page.click("#write")
        page.wait_for_selector("#copy:enabled")
        page.wait_for_selector("#verse[aria-busy=false]")
        for name in ("#show-tones", "#show-rhymes"):
            page.click(name)
        page.eval_on_selector("#more", "element => element.open = false")
        page.click(".char[data-line='1'][data-place='3']")
        page.wait_for_selector(".characters button")
        page.evaluate("window.scrollTo(0, 0)")
        page.screenshot(path=target)
        chromium.close()


def main() -> int:
    """Start a service, take the picture, and stop the service."""
    parser = argparse.ArgumentParser(description="Take a picture of the page.")
    parser.add_argument("--output", type=Path, default=Path("docs/page.png"), help="PNG file")
    parser.add_argument("--browser", default=BROWSER, help=f"Chromium (default: {BROWSER})")
    options = parser.parse_args()
    command = [sys.executable, "-m", "zhseq.serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as service:
        assert service.stdout is not None
        try:
            take(service.stdout.readline().split()[1], options.output, options.browser)
        finally:
            service.terminate()
    return 0


if __name__ == "__main__":
    sys.exit(main())
