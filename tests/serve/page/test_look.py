"""How the page looks and is operated: phone, keyboard, themes, languages, contrast, motion."""

import pytest

from tests.serve.page.conftest import choose, lines_of, write_poem

pytestmark = pytest.mark.browser

# Contrast of each visible text with what lies behind it, after WCAG 2.2; those below its level AA.
FAINT = """() => {
  const read = (colour) => {
    const [r, g, b, a = 1] = colour.match(/[\\d.]+/g).map(Number);
    return {r, g, b, a};
  };
  const over = (top, under) => Object.fromEntries(
    ["r", "g", "b"].map((c) => [c, top[c] * top.a + under[c] * (1 - top.a)]).concat([["a", 1]]));
  const behind = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) layers.push(read(getComputedStyle(e).backgroundColor));
    return layers.reverse().reduce((under, top) => over(top, under), {r: 255, g: 255, b: 255, a: 1});
  };
  const light = (c) => {
    const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = [c.r, c.g, c.b].map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const faint = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const hidden = !element.checkVisibility() || element.closest(".sr-only, :disabled, [hidden]");
    if (hidden || !walker.currentNode.textContent.trim()) continue;
    const style = getComputedStyle(element);
    const ground = behind(element);
    const [a, b] = [light(over(read(style.color), ground)), light(ground)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const large = parseFloat(style.fontSize) >= 24;
    if (ratio < (large ? 3 : 4.5)) faint.push([walker.currentNode.textContent.trim().slice(0, 20), ratio]);
  }
  return faint;
}"""
WIDTH = "() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]"


def brightness(page):
    colour = page.eval_on_selector("body", "e => getComputedStyle(e).backgroundColor")
    return sum(map(int, colour[4:-1].split(","))) / 3


def fill_everything(page):
    """Show as much of the page as can be shown."""
    choose(page, "form", "tune")
    page.fill("#tune", "浣溪沙")
    page.keyboard.press("Escape")
    write_poem(page, about="赤壁", seed="1")
    for button in ("tones", "rhymes"):
        if page.get_attribute(f"#show-{button}", "aria-pressed") == "false":
            page.click(f"#show-{button}")
    page.wait_for_selector(".char[data-tone]")
    page.click(".char[data-line='1'][data-place='1']")
    page.wait_for_selector("#bench .rewrite")


def fill_tagger(page):
    page.click("#to-tagger")
    page.fill("#text", "江泽民主席在北京大学会见了外宾，" * 4 + "\n" + "A" * 200)
    page.fill("#word", "会" * 60)
    page.click("#add-word")
    page.click("#tag")
    page.wait_for_selector("#result .word")


@pytest.mark.parametrize(
    ("locale", "width", "scheme"),
    [
        ("zh-CN", 320, "dark"),
        ("en-US", 320, "light"),
        ("en-US", 768, "dark"),
        ("zh-CN", 1280, "light"),
        ("en-US", 1280, "dark"),
    ],
)
def test_it_fits_and_can_be_read(visit, shot, scheme, locale, width):
    page = visit(width, 720, color_scheme=scheme, locale=locale)
    fill_everything(page)
    for view in ("studio", "tagger"):
        if view == "tagger":
            fill_tagger(page)
        page.wait_for_timeout(700)  # lines fade in
        scrolled, seen = page.evaluate(WIDTH)
        assert scrolled <= seen, "the page scrolls sideways"
        assert page.evaluate(FAINT) == []
        shot(page, f"{view}-{width}-{locale[:2]}-{scheme}")
    page.click("#to-studio")
    choose(page, "layout", "down")
    scrolled, seen = page.evaluate(WIDTH)
    assert scrolled <= seen
    shot(page, f"studio-down-{width}-{locale[:2]}-{scheme}")


@pytest.mark.parametrize("locale", ["zh-CN", "en-US"])
def test_no_tool_stands_alone_in_a_row(visit, locale):
    """The tools wrap in their two groups where both still fit below each other."""
    page = visit(locale=locale)
    rows = """() => [...document.querySelectorAll(".tool-group")].map(
      (group) => [new Set([...group.children].map((e) => e.offsetTop)).size, group.offsetTop])"""
    for width in range(700, 1500, 50):
        page.set_viewport_size({"width": width, "height": 900})
        assert [count for count, _ in page.evaluate(rows)] == [1, 1], f"{width} pixels wide"


def test_a_note_of_waiting_does_not_cover_the_title(visit):
    page = visit(390, 844, refused=True)
    write_poem(page, **{"best-of": "1", "seed": "7", "about": "明月"})
    page.evaluate("document.getElementById('waiting').hidden = false")
    page.evaluate("document.getElementById('waiting').textContent = '正在写'")
    bottom = page.eval_on_selector("#waiting", "e => e.getBoundingClientRect().bottom")
    assert bottom <= page.eval_on_selector(".heading", "e => e.getBoundingClientRect().top")


def test_buttons_are_large_enough_for_a_finger(visit):
    page = visit(320, 640, has_touch=True, is_mobile=True)
    fill_everything(page)
    small = page.eval_on_selector_all(
        "button, select, input:not([type=radio], [type=checkbox]), .choice label, .forms label, .check",
        """all => all.filter(e => e.checkVisibility() && e.getBoundingClientRect().width)
                      .filter(e => Math.min(e.offsetWidth, e.offsetHeight) < 24).map(e => e.outerHTML)""",
    )
    assert small == []  # WCAG 2.2, 2.5.8


def test_light_and_dark_follow_the_system_until_one_is_chosen(visit):
    page = visit(color_scheme="dark")
    assert brightness(page) < 60
    page.click("#theme")
    assert brightness(page) > 200
    assert page.inner_text("#theme") == "明"
    page.reload()
    page.wait_for_selector("#rhyme option", state="attached")
    assert brightness(page) > 200
    page.click("#theme")
    assert brightness(page) < 60
    page.click("#theme")
    page.emulate_media(color_scheme="light")
    assert brightness(page) > 200


def test_the_language_is_that_of_the_browser_until_one_is_chosen(visit):
    page = visit(locale="en-GB")
    assert page.get_attribute("html", "lang") == "en"
    assert page.inner_text("#write") == "Write"
    assert page.title() == "Studio · zhseq"
    page.click("#language")
    assert page.get_attribute("html", "lang") == "zh-Hans"
    assert page.inner_text("#write") == "落笔"
    assert page.get_attribute("#start", "lang") == "zh"
    page.reload()
    page.wait_for_selector("#rhyme option", state="attached")
    assert page.inner_text("#write") == "落笔"
    page.evaluate("window.scrollTo(0, 0)")
    assert page.eval_on_selector_all("[data-i18n]", "all => all.filter(e => !e.textContent).length") == 0


def test_everything_can_be_done_with_the_keyboard(visit):
    page = visit()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.name"))
        outline = page.evaluate(
            "() => { const e = document.activeElement; const shown = e.type === 'radio' ? e.nextElementSibling : e;"
            " return getComputedStyle(shown).outlineStyle; }"
        )
        assert outline == "solid", f"the focus cannot be seen on {reached[-1]}"
        if reached[-1] == "form":
            page.keyboard.press("ArrowRight")
        if reached[-1] == "start":
            page.keyboard.type("月")
            break
    assert reached == ["whose", "form", "start"]
    page.keyboard.press("Enter")
    page.wait_for_selector(".line")
    page.wait_for_selector("#verse[aria-busy=false]")
    lines = lines_of(page)
    assert lines[0].startswith("月")
    assert len(lines[0]) == 5  # 五绝, chosen with an arrow
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.classList.contains('char')"):
            break
    assert page.evaluate("document.activeElement.textContent") == "月"
    for key, line, place in (
        ("ArrowRight", 0, 1),
        ("ArrowDown", 1, 1),
        ("End", 3, 4),
        ("ArrowLeft", 3, 3),
        ("Home", 0, 0),
    ):
        page.keyboard.press(key)
        assert page.evaluate("document.activeElement.textContent") == lines[line][place]
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_selector("#bench .rewrite")
    for _ in range(14):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.className") == "rewrite":
            break
    page.keyboard.press("Enter")
    page.wait_for_selector(".versions button")
    assert page.evaluate("document.activeElement.closest('#bench') !== null"), "the focus was lost"
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert lines_of(page)[1] != lines[1]
    choose(page, "layout", "down")
    page.focus(".char[data-line='0'][data-place='0']")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.dataset.line") == "1"


def test_the_description_of_the_api_comes_from_the_service_alone(visit):
    """Nothing of it is asked of another host, so that it can be read without the net."""
    page = visit(refused=True, path="/docs")  # `visit` looks at the hosts
    page.wait_for_selector(".operation")
    for path in ("/v1/tag", "/v1/poems", "/v1/verse/character"):
        assert page.locator("h2", has_text=f"POST {path}").count() > 0
    assert "Words with this reading" in page.inner_text("#schemas")  # in the words of the library
    page.set_viewport_size({"width": 320, "height": 640})
    scrolled, seen = page.evaluate(WIDTH)
    assert scrolled <= seen, "the page scrolls sideways"


def test_nothing_moves_for_those_who_do_not_want_it(visit):
    page = visit(reduced_motion="reduce")
    page.click("#write")
    page.wait_for_selector(".line")
    assert page.eval_on_selector(".line", "e => getComputedStyle(e).animationName") == "none"


def test_everything_has_a_name_for_those_who_hear_the_page(visit):
    page = visit(locale="en-US")
    write_poem(page)
    nameless = page.eval_on_selector_all(
        "input, select, textarea, button, [role=button]",
        """all => all.filter(e => !e.labels?.length && !e.getAttribute("aria-label") && !e.textContent.trim())
                      .map(e => e.outerHTML)""",
    )
    assert nameless == []
    assert "line 1, character 1" in (page.get_attribute(".char", "aria-label") or "")
    ids = page.eval_on_selector_all("[id]", "all => all.map(e => e.id)")
    assert len(ids) == len(set(ids))
