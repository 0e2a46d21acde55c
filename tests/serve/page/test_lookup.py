"""Looking verse up on the page: by typing, by link, from a poem; with the keyboard alone."""

import json

import pytest

from tests.serve.page.conftest import choose, write_poem

pytestmark = pytest.mark.browser


def seek(page, what, text, title=None):
    """Look something up through the form."""
    choose(page, "what", what)
    page.fill("#sought", text)
    page.click("#seek")
    wait(page, title or text)


def wait(page, title):
    page.wait_for_selector(f"#entry h2:has-text('{title}')")
    page.wait_for_selector("#lookup-waiting", state="hidden")


def entry(page):
    return page.inner_text("#entry")


def answered(body):
    return {"status": 200, "content_type": "application/json", "body": json.dumps(body)}


def test_a_character_a_rhyme_a_tune_and_what_faces_a_word(visit, shot):
    page = visit(path="/#lookup")
    seek(page, "character", "勝", "胜")
    for text in ("去", "平", "shèng", "下平十蒸 (僧)", "不胜", "韵脚"):
        assert text in entry(page)
    assert page.url.endswith("#lookup?character=%E5%8B%9D")
    shot(page, "lookup-character")
    page.click("#entry a:has-text('下平十蒸')")
    wait(page, "下平十蒸 (僧)")
    assert page.is_checked("input[name=what][value=rhymes]")
    assert page.input_value("#sought") == "僧"
    assert page.locator("#entry tbody tr").count() == 60
    page.click("#entry button:has-text('再多些')")
    page.wait_for_selector("#entry tbody tr:nth-child(61)")
    assert page.locator("#entry tbody tr").count() == 79
    shot(page, "lookup-rhymes")
    choose(page, "what", "tune")
    page.fill("#sought-tune", "百字令")
    page.keyboard.press("Enter")
    wait(page, "念奴娇")
    assert "又名" in entry(page)
    assert set(page.inner_text("#entry .drawn >> nth=0")) <= set("○●◎△▲，。、；？！[]\n")
    assert "平" in page.get_attribute("#entry .drawn >> nth=0", "aria-label")
    shot(page, "lookup-tune")
    seek(page, "facing", "明月")
    assert "白云" in page.inner_text("#entry li >> nth=0")
    page.go_back()
    wait(page, "念奴娇")
    assert page.input_value("#sought-tune") == "百字令"


def test_an_example_is_written_and_a_tune_leads_to_the_studio(visit):
    page = visit(path="/#lookup?tune=%E5%A6%82%E6%A2%A6%E4%BB%A4")
    wait(page, "如梦令")
    assert "[○●]" in entry(page)
    page.click("#entry button:has-text('写一首为例')")
    page.wait_for_selector("#entry .example")
    assert len([each for each in page.inner_text("#entry .example") if "一" <= each <= "鿿"]) == 33
    page.click("#entry a:has-text('到诗坊填此调')")
    page.wait_for_selector("#studio:visible")
    page.wait_for_selector("#verse[aria-busy=false] .line")
    assert page.input_value("#tune") == "如梦令"


def test_lines_are_found_and_marked(visit):
    page = visit(path="/#lookup", refused=True)
    place = {"author": "<b>甲</b>", "dynasty": "唐", "title": "登楼", "line": 1, "text": "白日依山尽，黄河入海流。"}
    found = {"text": "黄河", "poems": 21, "places": [place] * 20}
    page.route("**/v1/verse/find", lambda route: route.fulfill(**answered(found)))
    seek(page, "find", "黄河")
    assert page.inner_text("#entry mark >> nth=0") == "黄河"
    assert "唐·<b>甲</b>《登楼》" in entry(page)  # as text
    assert page.locator("#entry button:has-text('再多些')").count() == 1
    page.unroute("**/v1/verse/find")


def test_a_refusal_leaves_no_entry_of_something_else(visit):
    page = visit(path="/#lookup", refused=True)
    seek(page, "facing", "春")
    choose(page, "what", "rhymes")
    page.fill("#sought", "行")
    page.click("#seek")
    page.wait_for_selector("#lookup-notice:visible")
    assert "几个韵部" in page.inner_text("#lookup-notice")
    assert page.is_hidden("#entry")
    page.fill("#sought", " ")
    page.click("#seek")
    assert page.inner_text("#lookup-notice") == "请先写下所查。"


def test_the_last_question_is_answered(visit):
    """An answer that comes late does not cover one that was asked for later; waiting can be seen."""
    page = visit(path="/#lookup")
    waiting = []
    page.route("**/v1/verse/character", lambda route: waiting.append(route))
    page.fill("#sought", "春")
    page.click("#seek")
    page.wait_for_selector("#lookup-waiting:visible")
    seek(page, "facing", "秋")
    for route in waiting:
        route.abort()
    page.unroute("**/v1/verse/character")
    assert page.inner_text("#entry h2") == "秋"
    assert page.is_hidden("#lookup-waiting")


def test_a_character_of_a_poem_is_looked_up_with_the_keyboard(visit):
    page = visit()
    choose(page, "form", "五绝")
    lines = write_poem(page, seed="3", **{"best-of": "1"})
    page.focus(".char[data-line='0'][data-place='0']")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_selector(".characters button")
    page.focus("#bench a")
    assert page.inner_text("#bench a") == f"查「{lines[0][1]}」"
    page.keyboard.press("Enter")
    wait(page, lines[0][1])
    assert page.evaluate("document.activeElement.tagName") == "H2"
    page.go_back()
    page.wait_for_selector("#studio:visible")
    assert page.is_hidden("#lookup")


def test_a_character_of_a_couplet_is_looked_up(visit):
    page = visit()
    choose(page, "whose", "couplet")
    page.fill("#upper", "明月松间照")
    page.click("#answer")
    page.wait_for_selector(".versions button")
    page.click(".char[data-line='0'][data-place='2']")
    page.click("#bench a:has-text('查「松」')")
    wait(page, "松")


def test_everything_can_be_asked_with_the_keyboard_in_english_too(visit):
    page = visit(locale="en-GB", path="/#lookup")
    page.focus("#sought")
    page.keyboard.type("看")
    page.keyboard.press("Enter")
    wait(page, "看")
    assert "Rhymes of verse" in entry(page)
    page.click("#language")
    assert "诗韵" in entry(page)


@pytest.mark.parametrize(
    "hash", ["#lookup?nothing=1", "#lookup?character=", "#lookup?rhymes=%F0%9F%98%80&book=x", "#lookup?"]
)
def test_odd_links_do_no_harm(visit, hash):
    page = visit(path=f"/{hash}", refused=True)
    page.wait_for_selector("#lookup:visible")
    page.wait_for_selector("#lookup-waiting", state="hidden")
    seek(page, "character", "春")


@pytest.mark.parametrize("width", [320, 1280])
def test_entries_fit(visit, width):
    page = visit(width=width, path="/#lookup?tune=%E8%8E%BA%E5%95%BC%E5%BA%8F")  # the longest tune
    wait(page, "莺啼序")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    seek(page, "character", "行")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
