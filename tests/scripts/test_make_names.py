import re

from scripts import make_names as script


def test_the_page_knows_the_sound_of_all_names_that_are_shipped():
    text = script.TARGET.read_text(encoding="utf-8")
    sounds, forms = text.split("export const FORMS")
    heard = set("".join(re.findall(r"[a-z]+:(\w+)", sounds)))
    names = script.names(script.MODEL)
    assert "浣溪沙" in names
    assert "苏轼" in names
    assert "百字令" in names
    unheard = {character for character in "".join(names) if character not in heard and character.isalpha()}
    assert all(ord(character) >= 0x20000 for character in unheard), unheard
    assert "huan:" in sounds
    assert "红:紅" in forms


def test_rows_are_set_side_by_side():
    lines = script.packed(f"a{number}:b" for number in range(100))
    assert max(map(len, lines)) <= script.WIDTH
    assert sum(line.count(":") for line in lines) == 100
