"""The tagger in a browser: colours, legend, own words, files, texts that try to be more than text."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from zhseq.serve.http import busy, error_body

pytestmark = pytest.mark.browser

TEXT = "小明在北京大学读书。\n\n江泽民主席 在北京会见了𠮷先生。"
HACK = '<img src=x onerror="window.hacked=1"></script><script>window.hacked=1</script>'


def tag(page, text):
    page.fill("#text", text)
    with page.expect_response("**/v1/tag") as caught:
        page.click("#tag")
    page.wait_for_selector("#result[aria-busy=false] p")
    return caught.value


def text_of(page):
    return page.eval_on_selector_all("#result p", "all => all.map(p => p.textContent).join('\\n')")


def test_words_and_names_are_shown_in_colour(visit, shot):
    page = visit(path="/#tagger")
    tag(page, TEXT)
    assert text_of(page) == TEXT
    assert page.inner_text(".name[data-label=ORG]").replace(" ", "") == "北京大学"
    assert page.get_attribute(".word:has-text('读书')", "data-pos") == "v"
    colours = {
        family: page.eval_on_selector(f"#result .word[data-family={family}]", "e => getComputedStyle(e).borderColor")
        for family in ("noun", "verb", "function")
    }
    assert len(set(colours.values())) == 3
    legend = page.inner_text("#legend")
    assert "动词" in legend
    assert "地名" in legend
    assert page.inner_text("#summary").endswith("专名")
    shot(page, "tagger")
    page.click("#legend button[data-tag=v]")
    assert set(page.locator("#result .lit").all_inner_texts()) >= {"读书"}
    page.click("#legend button[data-tag=v]")
    assert page.locator("#result .lit").count() == 0
    page.uncheck("#show-words")
    assert page.eval_on_selector("#result .word", "e => getComputedStyle(e, '::after').content") == "none"
    page.click("#language")
    assert "verb" in page.inner_text("#legend")


def test_a_selected_text_becomes_a_word_of_ones_own(visit, shot):
    page = visit(path="/#tagger")
    text = "他在云栖小镇上班。"
    tag(page, text)
    page.focus("#text")
    page.eval_on_selector("#text", "e => e.setSelectionRange(2, 6)")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowLeft")
    assert page.input_value("#word") == "云栖小镇"
    page.select_option("#word-pos", "ns")
    page.select_option("#word-label", "LOC")
    page.check("#word-force")
    with page.expect_response("**/v1/tag") as caught:
        page.click("#add-word")
    assert caught.value.request.post_data_json["words"] == [
        {"word": "云栖小镇", "pos": "ns", "label": "LOC", "mode": "force"}
    ]
    page.wait_for_selector(".word[data-pos=ns]:has-text('云栖小镇')")
    assert "LOC" in page.inner_text("#word-list")
    shot(page, "tagger-words")
    page.reload()
    page.wait_for_selector("#word-pos option[value=ns]", state="attached")
    tag(page, text)
    assert page.locator(".word[data-pos=ns]:has-text('云栖小镇')").count() == 1
    with page.expect_response("**/v1/tag") as caught:
        page.click("#word-list button")
    assert caught.value.request.post_data_json["words"] == []
    assert page.locator("#word-list li").count() == 0


def test_a_selection_in_the_result_is_without_its_tags(visit):
    page = visit(path="/#tagger")
    tag(page, "小明在北京大学读书。")
    page.evaluate("() => document.getSelection().selectAllChildren(document.querySelector('.name[data-label=ORG]'))")
    page.wait_for_timeout(100)
    assert page.input_value("#word") == "北京大学"


@pytest.mark.parametrize("hack", [HACK, "<b>粗</b>&amp;\u202e逆"])
def test_scripts_in_texts_and_words_are_text(visit, hack):
    page = visit(path="/#tagger")
    page.fill("#word", hack)
    page.click("#add-word")
    tag(page, f"他说{hack}吗？")
    assert text_of(page) == f"他说{hack}吗？"
    assert page.locator("#word-list .entry").inner_text() == hack
    page.reload()  # and read from the storage
    page.wait_for_selector("#word-list .entry", state="attached")
    assert page.evaluate("window.hacked") is None
    assert page.locator("img, #result b, #word-list b").count() == 0


def test_control_characters_make_no_word(visit):
    page = visit(path="/#tagger")
    page.eval_on_selector("#word", "e => e.value = '词\\u0007'")
    page.click("#add-word")
    assert "控制符" in page.inner_text("#tagger-notice")
    assert page.locator("#word-list li").count() == 0
    assert tag(page, "铃\u0007声").status == 200
    assert text_of(page) == "铃\u0007声"


def test_what_others_left_in_the_storage_does_no_harm(visit):
    page = visit(path="/#tagger")
    for stored in ("{", "[1, null, {}]", '[{"word": "词", "pos": {"a": 1}, "mode": "<b>"}]', '"x"'):
        page.evaluate("stored => localStorage.setItem('zhseq.words', stored)", stored)
        page.reload()
        page.wait_for_selector("#word-pos option[value=n]", state="attached")
    page.evaluate('localStorage.setItem(\'zhseq.words\', \'[{"word": "北京", "pos": {"a": 1}, "mode": "b"}]\')')
    page.reload()
    page.wait_for_selector("#word-list li")
    assert tag(page, "北京很大。").status == 200


def test_exports_are_what_the_command_line_writes(visit, tmp_path):
    page = visit(path="/#tagger")
    tag(page, TEXT)
    source = tmp_path / "text.txt"
    source.write_text(TEXT, encoding="utf-8")
    for button, form in (("#jsonl", "jsonl"), ("#conllu", "conllu")):
        with page.expect_download() as caught:
            page.click(button)
        assert caught.value.suggested_filename == f"tagged.{form}"
        found = Path(caught.value.path()).read_text(encoding="utf-8")
        command = [sys.executable, "-m", "zhseq.tag", str(source), "--format", form]
        expected = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        if form == "jsonl":
            assert [json.loads(line) for line in found.splitlines()] == [
                json.loads(line) for line in expected.splitlines()
            ]
        else:
            assert found == expected


def test_errors_and_empty_texts(visit):
    page = visit(path="/#tagger", refused=True)
    page.click("#tag")
    assert page.inner_text("#tagger-notice") == "请先贴入文本。"
    page.fill("#text", "字" * 400_000)
    page.click("#tag")
    page.wait_for_selector("#tagger-notice:has-text('请求的正文至多')")
    full = error_body(busy(2).message)
    page.route("**/v1/tag", lambda route: route.fulfill(status=503, json=full, headers={"Retry-After": "2"}))
    page.fill("#text", "今天天气很好。")
    page.click("#tag")
    page.wait_for_selector("#tagger-notice:has-text('请过 2 秒再试')")
    page.unroute("**/v1/tag")
    page.click("#tagger-notice button")
    page.wait_for_selector("#result .word")
