"""axe-core finds nothing wrong in any state of the page: light, dark, in the system's high contrast, on a phone."""

from pathlib import Path

import pytest

from tests.serve.page.conftest import choose, write_poem

pytestmark = pytest.mark.browser

LOOKS = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "forced colours": {"forced_colors": "active"},
    "phone": {"width": 360, "height": 720, "is_mobile": True, "has_touch": True},
}
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


def axe_source():
    import axe_playwright_python

    return (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")


def states(page):
    """Go through the states of the page, yielding the name of each."""
    yield "an empty sheet"
    page.click("#write")
    page.wait_for_selector("#waiting:visible, .line")
    yield "while a poem is written"
    page.wait_for_selector("#verse[aria-busy=false]")
    choose(page, "form", "五绝")
    write_poem(page, about="明月", seed="7", **{"best-of": "1"})
    for name in ("tones", "rhymes", "surprise", "pinyin"):
        page.click(f"#show-{name}")
    page.wait_for_selector(".char[data-bits][data-pinyin]")
    yield "tones, rhymes, surprise and pinyin, all wishes open"
    choose(page, "layout", "down")
    page.click(".char[data-line='1'][data-place='1']")
    page.wait_for_selector(".characters button")
    yield "set down, with characters that fit"
    page.click("#bench .rewrite")
    page.wait_for_selector(".versions button")
    yield "other versions of a line"
    choose(page, "layout", "across")
    choose(page, "form", "tune")
    page.fill("#tune", "xi")
    page.keyboard.press("ArrowDown")
    yield "tunes to choose from"
    page.keyboard.press("Escape")
    page.fill("#tune", "没有这个")
    page.keyboard.press("Escape")
    page.click("#write")
    page.wait_for_selector("#studio-notice:visible")
    yield "a refusal"
    choose(page, "whose", "couplet")
    page.fill("#upper", "明月松间照")
    page.click("#answer")
    page.wait_for_selector("#verse[aria-busy=false]")
    page.wait_for_selector(".versions button")
    yield "a couplet"
    choose(page, "whose", "own")
    page.fill("#own", "白日依山尽，黄月入海流。\n欲穷千里目，更上一层？。")
    page.click("#suggest-own")
    page.wait_for_selector(".faults li, .characters button")
    yield "faults and suggestions"
    page.click("#to-lookup")
    yield "nothing looked up"
    page.fill("#sought", "行")
    page.click("#seek")
    page.wait_for_selector("#entry h2")
    yield "a character looked up"
    page.goto(page.url.split("#")[0] + "#lookup?rhymes=%E7%A7%8B&book=ci")
    page.wait_for_selector("#entry table")
    yield "words that rhyme"
    page.goto(page.url.split("#")[0] + "#lookup?tune=%E5%BF%86%E7%A7%A6%E5%A8%A5")
    page.wait_for_selector("#entry .drawn")
    yield "a tune drawn"
    page.click("#to-tagger")
    yield "an empty tagger"
    page.fill("#text", "江泽民主席在北京大学会见了外宾，他们谈了两个小时。")
    page.fill("#word", "外宾")
    page.click("#add-word")
    page.click("#tag")
    page.wait_for_selector("#result .word")
    page.click("#legend button >> nth=0")
    yield "a tagged text with one tag chosen"
    page.goto(page.url.split("#")[0] + "docs")
    page.wait_for_selector(".operation")
    fields = page.locator(".operation", has_text="POST /v1/tag").locator("tbody th code").all_text_contents()
    assert {"text", "texts", "words"} <= set(fields)  # of both kinds of bodies
    yield "the description of the API"


@pytest.mark.parametrize("look", LOOKS)
def test_axe_finds_nothing(visit, shot, look):
    page = visit(refused=True, **LOOKS[look], reduced_motion="reduce")
    source, found, seen = axe_source(), {}, []
    for state in states(page):
        seen.append(state)
        shot(page, f"axe-{look}-{len(seen)}")
        if page.evaluate("typeof axe") == "undefined":
            page.evaluate(source)
        for each in page.evaluate("rules => axe.run(document, rules)", RULES)["violations"]:
            found[state, each["id"]] = [node["html"] for node in each["nodes"]][:3]
    assert found == {}
    assert len(seen) == 16
