"""The studio in a browser: write, look, mend, check, take away."""

from pathlib import Path

import pytest

from tests.serve.page.conftest import choose, lines_of, write_poem

pytestmark = pytest.mark.browser

HACK = '<img src=x onerror="window.hacked=1"></script><script>window.hacked=1</script>'
FIRST_LINE = """async () => {
  const shown = new Promise((resolve) => {
    const watch = new MutationObserver(() => {
      if (!document.querySelector(".line")) return;
      watch.disconnect();
      requestAnimationFrame(() => setTimeout(() => resolve(performance.now()))); // after it was painted
    });
    watch.observe(document.getElementById("verse"), {childList: true, subtree: true});
  });
  const begin = performance.now();
  document.getElementById("write").click();
  return (await shown) - begin;
}"""
ARRIVALS = """() => {
  window.arrivals = [];
  new MutationObserver(() => {
    const count = document.querySelectorAll(".line").length;
    const lines = window.arrivals;
    if (count && (!lines.length || lines.at(-1)[0] < count)) lines.push([count, performance.now()]);
  }).observe(document.getElementById("verse"), {childList: true, subtree: true});
}"""


def test_a_poem_begins_as_asked_and_looks_like_one(visit, shot):
    page = visit()
    lines = write_poem(page, start="春", about="明月", seed="7")
    assert [len(line) for line in lines] == [7] * 4
    assert lines[0].startswith("春")
    assert page.inner_text(".heading") == "明月"
    assert "七绝" in page.inner_text("#caption")
    assert "种子 7" in page.inner_text("#caption")
    assert page.inner_text("#heard").startswith(lines[0] + "，" + lines[1] + "。")
    shot(page, "studio-across")
    choose(page, "layout", "down")
    assert page.eval_on_selector("#verse", "e => getComputedStyle(e).writingMode") == "vertical-rl"
    shot(page, "studio-down")
    assert write_poem(page) == lines  # the seed is kept in its field
    assert write_poem(page, seed="8") != lines


def test_each_line_is_shown_as_soon_as_it_is_written(visit):
    page = visit()
    choose(page, "form", "七律")
    write_poem(page, drafts="1")  # so that everything is warm; of several drafts no line is known before the choice
    page.evaluate(ARRIVALS)
    write_poem(page, seed="2")
    arrivals = page.evaluate("window.arrivals")
    assert [count for count, _ in arrivals][:8] == list(range(1, 9))
    assert arrivals[0][1] + 20 < arrivals[7][1]  # milliseconds


def test_the_first_line_is_there_in_half_a_second(visit, capsys):
    page = visit()
    write_poem(page)
    times = []
    while len(times) < 7 or (min(times) > 500 and len(times) < 40):  # the machine may be busy with something else
        times.append(page.evaluate(FIRST_LINE))
        page.wait_for_selector("#copy:enabled")
        page.wait_for_selector("#verse[aria-busy=false]")
    with capsys.disabled():
        print(f"\nfirst line after the click: best {min(times):.0f} ms, median {sorted(times)[len(times) // 2]:.0f} ms")
    assert min(times) <= 500


def test_a_tune_is_found_by_typing(visit, shot):
    page = visit()
    choose(page, "form", "tune")
    page.click("#write")
    assert "词牌" in page.inner_text("#studio-notice")
    page.fill("#tune", "浣溪")
    page.wait_for_selector("#tune-list li")
    assert "2300 首" in page.inner_text("#tune-list li >> nth=0")
    shot(page, "tunes")
    page.keyboard.press("ArrowDown")
    assert page.get_attribute("#tune", "aria-activedescendant") == "tune-list-0"
    page.keyboard.press("Enter")
    assert page.input_value("#tune") == "浣溪沙"
    assert not page.is_visible("#tune-list")
    lines = write_poem(page, about="落花")
    assert [len(line) for line in lines] == [7] * 6
    assert page.locator(".row").count() == 2
    page.fill("#tune", "没有这个")
    assert page.inner_text("#tune-list") == "没有相符的"


def test_tones_and_rhymes_are_shown_on_demand(visit, shot):
    page = visit()
    choose(page, "form", "五绝")
    write_poem(page, seed="3")
    assert page.locator(".char[data-tone]").count() == 0
    page.click("#show-tones")
    page.wait_for_selector(".char[data-tone]")
    tones = page.eval_on_selector_all(".char", "all => all.map(c => c.dataset.tone).join('')")
    assert len(tones) == 20
    assert set(tones) <= set("平仄中")
    assert page.eval_on_selector(".char", "e => getComputedStyle(e, '::after').content") == f'"{tones[0]}"'
    page.click("#show-rhymes")
    assert page.locator(".char.rhyme").count() >= 2
    assert "韵" in page.inner_text("#caption")
    shot(page, "studio-tones")
    page.reload()  # the wish is remembered
    page.wait_for_selector("#rhyme option", state="attached")
    write_poem(page)
    page.wait_for_selector(".char[data-tone]")


def test_a_line_is_written_anew_and_a_character_exchanged(visit, shot):
    page = visit()
    lines = write_poem(page, acrostic="春夏秋冬", seed="1")
    page.click(".char[data-line='1'][data-place='3']")
    page.wait_for_selector(".characters button")
    assert page.inner_text("#bench h2") == f"第 2 句第 4 字「{lines[1][3]}」"
    new = page.inner_text(".characters button >> nth=1")
    page.click(".characters button >> nth=1")
    assert lines_of(page)[1] == lines[1][:3] + new + lines[1][4:]
    page.click("#bench .rewrite")
    page.wait_for_selector(".versions button")
    shot(page, "studio-versions")
    versions = [text.split("\n")[0] for text in page.locator(".versions button").all_inner_texts()]
    assert len(versions) == 6
    assert all(version[0] == "夏" and len(version) == 7 for version in versions)
    page.click(".versions button >> nth=0")
    assert lines_of(page) == [lines[0], versions[0], *lines[2:]]
    page.click("#check")
    page.wait_for_selector("#bench h2:has-text('合律')")
    assert page.locator(".char.fault").count() == 0


def test_a_poem_of_ones_own_is_checked_and_mended(visit, shot):
    page = visit(refused=True)
    choose(page, "whose", "own")
    page.click("#check-own")
    assert page.inner_text("#studio-notice") == "请先写下诗稿。"
    page.fill("#own", "白日依山尽，黃月入海流。\n欲窮千里目，更上一層樓。")
    page.click("#check-own")
    page.wait_for_selector(".faults li")
    assert lines_of(page)[1] == "黃月入海流"  # as it was written
    assert page.locator(".char.fault").all_inner_texts() == ["月"]
    assert "第 2 句第 2 字" in page.inner_text(".faults")
    assert "此字仄声，此处当用平声" in page.inner_text(".faults")
    shot(page, "studio-faults")
    page.fill("#own", "白日依山尽，黄河入海？。\n欲穷千里目，更上一层楼。")
    page.click("#suggest-own")
    page.wait_for_selector(".characters button")
    proposed = page.locator(".characters button").all_inner_texts()
    assert "流" in proposed
    page.click(".characters button:has-text('流')")
    assert page.input_value("#own") == "白日依山尽，黄河入海流。\n欲穷千里目，更上一层楼。"
    page.fill("#own", "床前")
    page.click("#check-own")
    page.wait_for_selector("#studio-notice:has-text('当是近体诗')")


def test_old_style_verse_is_named_and_can_be_held_to_the_rules(visit, shot):
    page = visit()
    choose(page, "whose", "own")
    page.fill("#own", "床前明月光，疑是地上霜。\n举头望明月，低头思故乡。")
    page.click("#check-own")
    page.wait_for_selector("#bench h2:has-text('没有不合之处')")
    assert "读来是古体：平仄不合任何近体格式；若作五绝，则有" in page.inner_text("#bench .hint")
    assert "可用「体裁 五绝」列出" in page.inner_text("#bench .hint")
    assert page.locator(".char.fault").count() == 0
    shot(page, "studio-old-style")
    page.click("#bench .hint button")
    page.wait_for_selector(".faults li")
    assert page.locator(".char.fault").count() > 0
    assert page.locator("#bench .hint").count() == 0
    page.click("#check")  # the wish stays with the poem
    page.wait_for_selector(".faults li")
    page.click("#check-own")  # and goes with the next
    page.wait_for_selector("#bench .hint")
    page.click("#language")
    assert "reads as old-style verse" in page.inner_text("#bench .hint")
    assert "which “Form 五绝” lists" in page.inner_text("#bench .hint")


def test_copy_and_picture(visit, tmp_path):
    page = visit(permissions=["clipboard-read", "clipboard-write"])
    lines = write_poem(page, start="春", seed="7")
    page.click("#copy")
    text = f"{lines[0]}，{lines[1]}。\n{lines[2]}，{lines[3]}。"
    page.wait_for_selector("#copy:has-text('已复制')")
    assert page.evaluate("navigator.clipboard.readText()") == text
    sizes = []
    for layout in ("across", "down"):
        choose(page, "layout", layout)
        with page.expect_download() as caught:
            page.click("#picture")
        assert caught.value.suggested_filename == f"{lines[0]}.png"
        data = Path(caught.value.path()).read_bytes()
        assert data.startswith(b"\x89PNG\r\n\x1a\n")
        assert len(data) > 10_000  # an empty sheet is far smaller
        sizes.append((int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")))
    assert sizes[0][0] > sizes[0][1]
    assert sizes[1][0] < sizes[0][0]


def test_pinyin_stands_over_the_characters(visit, shot):
    page = visit()
    choose(page, "whose", "own")
    page.fill("#own", "远上寒山石径斜，白云生处有人家。停车坐爱枫林晚，霜叶红于二月花。")
    page.click("#check-own")
    page.wait_for_selector("#verse[data-form='七绝'] .line")
    page.click("#show-pinyin")
    page.wait_for_selector(".char[data-pinyin]")
    last = page.locator(".char[data-line='0'][data-place='6']")
    assert last.get_attribute("data-pinyin") == "xiá"  # as it rhymes
    assert "xiá" in last.get_attribute("aria-label")
    assert last.evaluate("e => getComputedStyle(e, '::before').content") == '"xiá"'
    shot(page, "studio-pinyin")
    page.click("#show-surprise")
    page.wait_for_selector(".char[data-bits]")
    assert "xiá" in last.evaluate("e => getComputedStyle(e, '::before').content")
    choose(page, "layout", "down")
    shot(page, "studio-pinyin-down")
    page.click("#show-surprise")
    page.reload()  # the wish is remembered
    page.wait_for_selector(".char[data-pinyin]")
    page.click("#show-pinyin")
    assert last.evaluate("e => getComputedStyle(e, '::before').content") == "none"


VOICE = """voices => {
  window.spoken = [];
  window.SpeechSynthesisUtterance = class { constructor(text) { this.text = text; } };
  const speech = {
    getVoices: () => voices.map(lang => ({ lang })),
    speak: line => { window.spoken.push(line); if (window.spoken.length === 1) line.onstart(); },
    cancel: () => window.spoken.splice(0).forEach(line => line.onerror({ error: "canceled" })),
  };
  Object.defineProperty(window, "speechSynthesis", { value: speech });
}"""


def test_a_poem_is_read_aloud_with_a_voice_of_the_browser(visit):
    page = visit()
    assert page.is_disabled("#read")
    choose(page, "form", "五绝")
    lines = write_poem(page, seed="3", **{"best-of": "1"})
    page.evaluate(VOICE, ["en-GB", "zh-TW"])
    page.click("#read")
    said = page.evaluate("spoken.map(line => [line.text, line.lang])")
    assert said == [[line + mark, "zh-TW"] for line, mark in zip(lines, "，。，。", strict=True)]
    assert page.locator(".spoken").all_text_contents() == [lines[0] + "，"]
    assert page.inner_text("#read") == "停"
    page.click("#read")
    assert page.evaluate("spoken.length") == 0
    assert page.locator(".spoken").count() == 0
    assert page.inner_text("#read") == "朗读"
    page.click("#read")
    page.evaluate("spoken[1].onstart()")
    assert page.locator(".spoken").all_text_contents() == [lines[1] + "。"]
    page.evaluate("spoken.at(-1).onend()")
    assert page.inner_text("#read") == "朗读"
    page.click("#read")
    write_poem(page, seed="4")  # another poem is not read on
    assert page.inner_text("#read") == "朗读"
    assert page.is_hidden("#studio-notice")


def test_a_browser_without_a_chinese_voice_says_so(visit):
    page = visit()
    choose(page, "form", "五绝")
    write_poem(page, seed="3", **{"best-of": "1"})
    page.evaluate(VOICE, ["en-GB"])
    page.click("#read")
    assert page.inner_text("#studio-notice") == "浏览器没有中文的声音，请在系统里添加。"
    page.evaluate("speechSynthesis.getVoices = () => []")
    page.click("#read")
    assert page.is_hidden("#studio-notice")
    page.evaluate("spoken[0].onerror({ error: 'language-unavailable' })")
    assert "没有中文的声音" in page.inner_text("#studio-notice")
    assert page.inner_text("#read") == "朗读"


@pytest.mark.parametrize("field", ["start", "acrostic", "about", "author"])
def test_scripts_in_wishes_are_text(visit, field):
    page = visit(refused=True)
    page.click("summary")
    page.fill(f"#{field}", HACK)
    page.click("#write")
    page.wait_for_selector("#studio-notice:visible, #copy:enabled")
    assert page.evaluate("window.hacked") is None
    assert page.locator("img").count() == 0


def test_scripts_in_a_poem_are_text(visit):
    page = visit(refused=True)
    choose(page, "whose", "own")
    page.fill("#own", HACK)
    page.click("#check-own")
    page.wait_for_selector("#studio-notice:has-text('诗由汉字写成，而所给文字中')")
    assert page.evaluate("window.hacked") is None
    assert page.locator("img").count() == 0


@pytest.mark.parametrize(
    ("fields", "chinese", "english"),
    [
        ({"start": "abc"}, "诗由汉字写成，而起句中有", "remove it"),
        ({"acrostic": "春b"}, "而所藏的字中有", "remove it"),
        ({"acrostic": "春夏秋冬" * 10 + "春"}, "请少写几字", "41 characters"),
        ({"start": "春", "acrostic": "夏"}, "请改其一", "line 1"),
        ({"author": "李无名"}, "相近的有：李", "李"),
        ({"rhyme-group": "望"}, "请改用其一", "one of them"),
        ({"rhyme-group": "秋", "rhyme": "none"}, "「用韵 不拘」", "“Rhyme None”"),
        ({"about": "春" * 2001}, "至多 2000 个字符", "2000 characters at most"),
    ],
)
def test_refusals_are_in_the_language_of_the_page(visit, fields, chinese, english):
    page = visit(refused=True)
    page.eval_on_selector("#more", "e => e.open = true")
    for name, value in fields.items():
        (page.select_option if name == "rhyme" else page.fill)(f"#{name}", value)
    page.click("#write")
    page.wait_for_selector(f"#studio-notice:has-text('{chinese}')")
    page.click("#language")
    page.click("#write")
    page.wait_for_selector(f"#studio-notice:has-text('{english}')")


def test_a_start_against_all_patterns_is_named(visit):
    page = visit()
    choose(page, "form", "五绝")
    assert write_poem(page, start="春春春春春")[0] == "春春春春春"
    page.wait_for_selector("#studio-notice:has-text('没有一种格式容得下所给的字')")
    write_poem(page, start="春")
    assert page.is_hidden("#studio-notice")


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("seed", "x1", "种子是至多 15 位的整数"),
        ("seed", "1234567890123456", "种子是至多 15 位的整数"),
        ("num", "1.5", "「首数」须是 1 至 8 的整数"),
        ("temperature", "11", "「放胆（温度）」须在 0 与 10 之间"),
    ],
)
def test_a_number_that_cannot_be_is_named(visit, field, value, words):
    page = visit()
    page.fill("#start", "秋")
    page.eval_on_selector("#more", "e => e.open = true")
    page.fill(f"#{field}", value)
    page.click("#write")
    page.wait_for_selector(f"#studio-notice:has-text('{words}')")


def test_each_answer_to_an_upper_line_is_offered_once(visit):
    page = visit()
    lower = ["清风竹外鸣", "清风竹外生", "清风竹外鸣"]
    page.route("**/v1/poems/couplet", lambda route: route.fulfill(json={"lower": lower}))
    choose(page, "whose", "couplet")
    page.fill("#upper", "明月松间照")
    page.click("#answer")
    page.wait_for_selector(".versions button")
    assert page.locator(".versions button").all_inner_texts() == lower[:2]


def test_a_refusal_without_a_name_is_said_as_it_is(visit):
    page = visit(refused=True)
    odd = {"error": {"code": "unheard_of", "message": "It is <b>so</b>."}}
    page.route("**/v1/poems", lambda route: route.fulfill(status=422, json=odd))
    page.click("#write")
    page.wait_for_selector("#studio-notice:visible")
    assert page.inner_text("#studio-notice") == "办不到：It is <b>so</b>."


def test_errors_say_what_to_do(visit):
    page = visit(refused=True)
    choose(page, "form", "tune")
    page.fill("#tune", "没有这个")
    page.click("#write")
    page.wait_for_selector("#studio-notice:has-text('相近的有：浣溪沙')")
    assert page.inner_text("#write") == "落笔"
    choose(page, "form", "auto")
    templates = {
        "en": "The service is busy; try again in {seconds} seconds.",
        "zh": "服务正忙，请过 {seconds} 秒再试。",
    }
    said = {"code": "busy", "message": "busy", "values": {"seconds": 3}, "templates": templates}
    busy = {"error": said}
    page.route("**/v1/poems", lambda route: route.fulfill(status=503, json=busy, headers={"Retry-After": "3"}))
    page.click("#write")
    page.wait_for_selector("#studio-notice:has-text('请过 3 秒再试')")
    page.unroute("**/v1/poems")
    page.click("#studio-notice button")
    page.wait_for_selector(".line")
    page.wait_for_selector("#verse[aria-busy=false]")
    assert not page.is_visible("#studio-notice")
    page.route("**/v1/poems", lambda route: route.abort())
    page.click("#write")
    page.wait_for_selector("#studio-notice:has-text('连不上服务')")


def test_a_key_is_asked_for_and_sent(visit):
    page = visit(refused=True)
    missing = {"error": {"code": "unauthorized", "message": "Expected the key."}}

    def guard(route):
        if route.request.headers.get("authorization") == "Bearer geheim":
            route.fallback()
        else:
            route.fulfill(status=401, json=missing)

    page.route("**/v1/**", guard)
    page.reload()
    page.wait_for_selector("#key-form:visible")
    page.fill("#key", "geheim")
    page.click("#key-form button")
    page.wait_for_selector("#rhyme option", state="attached")
    assert not page.is_visible("#key-form")
    assert len(write_poem(page)) == 4
