"""The page keeps what it has: failures, stops, reloads and changes of mind lose nothing."""

import json
import re

import pytest

from tests.serve.page.conftest import choose, lines_of, write_poem
from zhseq.poetry.request import DRAFTS_OF_SEVERAL

pytestmark = pytest.mark.browser

QUICK = {"best-of": "1", "seed": "7"}
BUSY = {
    "code": "busy",
    "message": "busy",
    "values": {},
    "templates": {"en": "The service is busy.", "zh": "服务正忙。"},
}
WANG = "白日依山尽，黄河入海流。\n欲穷千里目，更上一层楼。"
VISIT = {"permissions": ["clipboard-read", "clipboard-write"], "refused": True}


def write_quatrain(page, **fields):
    choose(page, "form", "五绝")
    return write_poem(page, **{**QUICK, **fields})


def fail(page, path, **answer):
    """Let a path of the service fail: a status with a sentence, or no answer at all."""
    page.route(path, lambda route: route.fulfill(**answer) if answer else route.abort())


def hold(page, path):
    """Hold back requests to a path; returns the list of those that wait."""
    waiting = []
    page.route(path, lambda route: waiting.append(route))
    return waiting


def until(page, condition):
    for _ in range(600):
        if condition():
            return
        page.wait_for_timeout(100)
    raise AssertionError("it did not come about")


def linesplit(verse):
    return [line for line in re.split("[，。、；\n]+", verse) if line]


def copied(page):
    page.click("#copy")
    page.wait_for_selector("#copy:has-text('已复制')")
    return page.evaluate("navigator.clipboard.readText()")


@pytest.mark.parametrize(
    "answer", [{"status": 503, "json": {"error": BUSY}}, {"status": 422, "json": {"error": BUSY}}, {}]
)
def test_a_wish_that_fails_leaves_the_old_poem_usable(visit, answer):
    page = visit(**VISIT)
    lines = write_quatrain(page)
    fail(page, "**/v1/poems", **answer)
    page.click("#write")
    page.wait_for_selector("#studio-notice:visible")
    assert page.inner_text("#write") == "落笔"
    assert lines_of(page) == lines
    assert "种子 7" in page.inner_text("#caption")
    assert copied(page) == f"{lines[0]}，{lines[1]}。\n{lines[2]}，{lines[3]}。"
    with page.expect_download() as caught:
        page.click("#picture")
    assert caught.value.suggested_filename == f"{lines[0]}.png"
    page.click("#check")
    page.wait_for_selector("#bench h2:has-text('合律')")
    page.click(".char[data-line='0'][data-place='0']")
    page.wait_for_selector(".characters button")


def test_what_failed_at_the_desk_leaves_no_waiting_behind(visit):
    page = visit(**VISIT)
    write_quatrain(page)
    fail(page, "**/v1/poems/suggest")
    page.click(".char[data-line='0'][data-place='0']")
    page.wait_for_selector("#studio-notice:has-text('连不上服务')")
    assert page.locator("#bench *").count() == 0


def test_stopping_leaves_lines_that_can_be_copied(visit):
    page = visit(**VISIT)
    old = write_quatrain(page)
    choose(page, "form", "tune")
    page.fill("#tune", "莺啼序")
    page.keyboard.press("Escape")
    page.fill("#best-of", "32")
    page.click("#write")
    page.wait_for_selector(".heading:has-text('莺啼序')")
    page.wait_for_selector(".line >> nth=1")
    page.click("#write")
    page.wait_for_selector("#verse[aria-busy=false]")
    lines = lines_of(page)
    assert 2 <= len(lines) < 50
    assert lines != old
    assert "未完" in page.inner_text("#caption")
    heading, verse = copied(page).split("\n", 1)
    assert heading == "莺啼序"
    assert linesplit(verse) == lines  # each with its mark behind it
    assert page.is_disabled("#check")
    assert page.is_visible("#go-on")
    page.click("#undo")
    assert lines_of(page) == old


def test_lines_that_stand_when_the_writing_fails_are_kept_and_can_be_gone_on_with(visit):
    page = visit(**VISIT)
    whole = write_quatrain(page)
    lines = [{"poem": 0, "line": number, "text": whole[number], "mark": "，。"[number]} for number in range(2)]
    events = [*lines, {"error": BUSY}]
    body = "".join(json.dumps(event) + "\n" for event in events)
    fail(page, "**/v1/poems", status=200, body=body, content_type="application/x-ndjson")
    page.click("#write")
    page.wait_for_selector("#studio-notice:has-text('服务正忙')")
    assert lines_of(page) == whole[:2]
    assert copied(page) == f"{whole[0]}，{whole[1]}。"
    page.unroute("**/v1/poems")
    page.click("#go-on")
    page.wait_for_selector(".line >> nth=3")
    page.wait_for_selector("#verse[aria-busy=false]")
    assert lines_of(page)[:2] == whole[:2]
    assert page.is_hidden("#go-on")


def test_a_verdict_never_stands_beside_a_text_it_is_not_about(visit):
    page = visit(**VISIT)
    choose(page, "whose", "own")
    page.fill("#own", WANG.replace("河", "月"))
    page.click("#check-own")
    page.wait_for_selector(".faults li")
    page.focus("#own")
    page.keyboard.press("End")
    page.keyboard.type("春")  # another text than was judged
    assert page.locator("#bench *").count() == 0
    assert page.locator(".char.fault").count() == 0
    waiting = hold(page, "**/v1/poems/check")
    page.fill("#own", WANG)
    page.click("#check-own")
    page.wait_for_selector("#bench .waiting")
    until(page, lambda: waiting)
    page.fill("#own", WANG.replace("尽", "月"))
    waiting.pop().fallback()  # the answer is about the text before
    page.wait_for_selector("#bench .waiting", state="detached")
    assert lines_of(page)[1] == "黄月入海流"
    assert page.locator("#bench *").count() == 0


def test_what_comes_too_late_for_its_poem_is_dropped(visit):
    page = visit(**VISIT)
    first = write_quatrain(page)
    second = write_quatrain(page, seed="8")
    assert first != second
    waiting = hold(page, "**/v1/poems/suggest")
    page.click(".char[data-line='1'][data-place='1']")
    until(page, lambda: waiting)
    page.click("#undo")
    assert lines_of(page) == first
    waiting.pop().fallback()
    page.wait_for_timeout(1500)
    assert page.locator("#bench *").count() == 0
    page.unroute("**/v1/poems/suggest")
    page.click("#check")
    page.wait_for_selector("#bench h2")
    page.click("#redo")
    assert page.locator("#bench *").count() == 0


def test_a_line_that_is_exchanged_is_judged_anew_and_its_seed_is_not_claimed(visit):
    page = visit(**VISIT)
    lines = write_quatrain(page)
    page.click(".char[data-line='1'][data-place='1']")
    page.wait_for_selector(".characters button")
    new = page.inner_text(".characters button >> nth=1")
    page.click(".characters button >> nth=1")
    assert page.inner_text("#bench h2") == f"第 2 句第 2 字「{new}」"
    assert page.inner_text(".characters button[aria-pressed=true]") == new
    assert "有改动" in page.inner_text("#caption")
    page.click("#undo")
    assert lines_of(page) == lines
    assert "有改动" not in page.inner_text("#caption")


def test_undo_and_redo_with_buttons_and_keys(visit):
    page = visit(**VISIT)
    first = write_quatrain(page)
    assert page.is_disabled("#undo")
    second = write_quatrain(page, seed="8")
    page.click("#undo")
    assert lines_of(page) == first
    assert page.is_disabled("#undo")
    page.click("#redo")
    assert lines_of(page) == second
    page.focus(".char[data-line='0'][data-place='0']")
    page.keyboard.press("Control+z")
    assert lines_of(page) == first
    page.keyboard.press("Control+Shift+z")
    assert lines_of(page) == second
    page.focus("#start")
    page.keyboard.press("Control+z")  # a field's own undo
    assert lines_of(page) == second
    page.click("#undo")
    third = write_quatrain(page, seed="9")
    assert page.is_disabled("#redo")
    page.click("#undo")
    assert lines_of(page) == first
    page.click("#redo")
    assert lines_of(page) == third


def test_the_sheet_survives_a_reload(visit):
    page = visit(**VISIT)
    first = write_quatrain(page)
    write_quatrain(page, seed="8", about="明月")
    page.click(".char[data-line='0'][data-place='0']")
    page.wait_for_selector(".characters button")
    page.click(".characters button >> nth=1")
    edited = lines_of(page)
    page.reload()
    page.wait_for_selector("#rhyme option", state="attached")
    assert lines_of(page) == edited
    assert page.inner_text(".heading") == "明月"
    assert page.input_value("#about") == "明月"
    assert "有改动" in page.inner_text("#caption")
    page.click("#check")
    page.wait_for_selector("#bench h2:has-text('合律')")
    page.click("#undo")
    page.click("#undo")
    assert lines_of(page) == first
    choose(page, "whose", "own")
    page.fill("#own", "半首")
    page.reload()
    page.wait_for_selector("#rhyme option", state="attached")
    assert page.is_visible("#own-form")
    assert page.input_value("#own") == "半首"


@pytest.mark.parametrize(
    "stored", ["{", "[]", '{"all": [{"rows": []}], "place": 0}', '{"all": [null], "place": 0}', '"x"']
)
def test_what_others_left_for_the_sheet_does_no_harm(visit, stored):
    page = visit()
    for key in ("drafts", "fields"):
        page.evaluate("([key, stored]) => sessionStorage.setItem(`zhseq.${key}`, stored)", [key, stored])
    page.reload()
    page.wait_for_selector("#rhyme option", state="attached")
    assert page.is_visible("#empty")
    assert page.is_disabled("#copy")


def link_of(page):
    page.click("#link")
    page.wait_for_selector("#link:has-text('已复制')")
    return page.evaluate("navigator.clipboard.readText()").split("/", 3)[3]


def test_a_link_brings_the_poem_back(visit):
    page = visit(**VISIT)
    lines = write_quatrain(page, start="春", about="明月", temperature="0.7")
    link = link_of(page)
    assert link.startswith("#studio?")  # what stands behind # is never sent
    other = visit(path=f"/{link}", **VISIT)
    other.wait_for_selector(".line >> nth=3")
    other.wait_for_selector("#verse[aria-busy=false]")
    assert lines_of(other) == lines
    assert other.input_value("#start") == "春"
    assert other.evaluate("location.hash") == "#studio"
    page.click(".char[data-line='0'][data-place='3']")
    page.wait_for_selector(".characters button")
    page.click(".characters button >> nth=1")
    edited = lines_of(page)
    third = visit(path=f"/{link_of(page)}", **VISIT)
    third.wait_for_selector("#bench h2")
    assert lines_of(third) == edited


def test_a_link_to_one_of_several_poems_keeps_the_number_of_drafts(visit):
    page = visit(**VISIT)
    module = "/static/link.js"
    link = """async ([module, number, of, wishes]) => {
      const { linkTo, readLink } = await import(module);
      return readLink(new URL(linkTo({ rows: [], wishes, seed: 5, number, of })).hash);
    }"""
    assert page.evaluate(link, [module, 1, 1, {}]) == {"seed": 5}
    assert page.evaluate(link, [module, 1, 2, {}]) == {"seed": 5, "drafts": DRAFTS_OF_SEVERAL}
    assert page.evaluate(link, [module, 2, 2, {"drafts": 3}]) == {"seed": 5, "num": 2, "drafts": 3}


def test_a_link_to_a_poem_that_was_changed_keeps_its_title(visit):
    page = visit(**VISIT)
    write_quatrain(page, about="明月")
    page.click(".char[data-line='0'][data-place='1']")
    page.click(".characters button[aria-pressed=false] >> nth=0")
    page.wait_for_selector("#caption:has-text('有改动')")
    lines = lines_of(page)
    page.click("#link")
    page.wait_for_selector("#link:has-text('已复制')")
    address = page.evaluate("navigator.clipboard.readText()")
    other = visit(path=address[address.index("/#") :])
    other.wait_for_selector(".line >> nth=3")
    assert lines_of(other) == lines
    assert other.inner_text(".heading") == "明月"


def test_lines_are_gone_on_with_and_a_link_keeps_them(visit):
    page = visit(permissions=["clipboard-read", "clipboard-write"])
    page.eval_on_selector("#more", "e => e.open = true")
    page.fill("#lines", "空山新雨后，天气晚来秋。明月松间照")
    lines = write_poem(page, seed="5", **{"best-of": "1"})
    assert lines[:3] == ["空山新雨后", "天气晚来秋", "明月松间照"]
    assert len(lines) in (4, 8)
    page.click("#link")
    page.wait_for_selector("#link:has-text('已复制')")
    other = visit()
    other.goto(page.evaluate("navigator.clipboard.readText()"))
    other.wait_for_selector("#copy:enabled")
    other.wait_for_selector("#verse[aria-busy=false]")
    assert lines_of(other) == lines


def test_scripts_in_a_link_are_text(visit):
    hack = "%3Cimg src=x onerror=window.hacked=1%3E"
    for query in (f"text={hack}", f"start={hack}", f"tune={hack}", f"upper=a&lower={hack}", "seed=1e9&num=99&form=x"):
        page = visit(path=f"/#studio?{query}", **VISIT)
        page.wait_for_selector("#studio-notice:visible, .line")
        assert page.evaluate("window.hacked") is None
        assert page.locator("img").count() == 0


def test_waiting_is_visible_and_says_how_long(visit):
    page = visit(**VISIT)
    waiting = hold(page, "**/v1/poems")
    page.click("#write")
    page.wait_for_selector("#waiting:has-text('正在构思')")
    page.wait_for_selector("#waiting .seconds:has-text('秒')")
    assert page.inner_text("#write") == "搁笔"
    until(page, lambda: waiting)
    waiting.pop().fallback()
    page.wait_for_selector("#verse[aria-busy=false]")
    assert page.is_hidden("#waiting")
    page.unroute("**/v1/poems")
    waiting = hold(page, "**/v1/tag")
    page.click("#to-tagger")
    page.fill("#text", "今天天气很好。")
    page.click("#tag")
    page.wait_for_selector("#tag-waiting:has-text('正在标注')")
    assert page.inner_text("#tag") == "停止"
    page.click("#tag")
    page.wait_for_selector("#tag-waiting", state="hidden")
    assert page.inner_text("#tag") == "标注"


def test_waiting_says_what_is_being_done(visit):
    page = visit(**VISIT)
    write_quatrain(page)
    for path, press, words in (
        ("check", "#check", "正在检查"),
        ("suggest", ".char >> nth=3", "正在找合适的字"),
        ("rewrite", ".rewrite", "正在写"),
    ):
        waiting = hold(page, f"**/v1/poems/{path}")
        page.click(press)
        page.wait_for_selector(f"#bench .waiting:has-text('{words}')")
        until(page, lambda held=waiting: held)
        waiting.pop().fallback()
        page.wait_for_selector("#bench .waiting", state="detached")
        page.unroute(f"**/v1/poems/{path}")
    waiting = hold(page, "**/v1/poems/check")
    page.click("#show-surprise")
    page.wait_for_selector("#annotating:has-text('正在标注')")
    until(page, lambda: waiting)
    waiting.pop().fallback()
    page.wait_for_selector(".char[data-bits]")
    assert page.is_hidden("#annotating")


def test_an_answer_that_comes_after_a_later_question_does_not_cover_it(visit):
    page = visit(**VISIT)
    waiting = hold(page, "**/v1/poems/couplet")
    choose(page, "whose", "couplet")
    page.fill("#upper", "明月松间照")
    page.click("#answer")
    page.wait_for_selector("#answer:has-text('搁笔')")
    choose(page, "whose", "own")
    page.fill("#own", "白日依山尽，黄月入海流。\n欲穷千里目，更上一层楼。")
    page.click("#check-own")
    page.wait_for_selector(".faults li")
    page.wait_for_selector("#answer:not(:has-text('搁笔'))", state="attached")
    assert len(waiting) == 1
    assert lines_of(page)[1] == "黄月入海流"
    assert page.locator(".faults li").count() == 1
