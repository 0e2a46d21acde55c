from scripts import learn_spelling as script

LINES = {"万里乾坤": 30, "乾元": 25, "乾杯": 5, "阑干": 50, "干坤": 2, "问竺乾": 25}
LINES |= {"深沈": 9, "深沉": 8, "沈约": 30, "沉吟": 30, "巘": 3}
TEXT = "\n".join(line for line, times in LINES.items() for _ in range(times))


def test_words_that_go_against_the_rule_are_found_each_by_itself():
    found = dict(script.rows(TEXT))
    assert found["干坤"] == "乾坤"
    assert found["干元"] == "乾元"
    assert found["竺干"] == "竺乾"
    assert "里干" not in found  # that is 乾坤 again
    assert "干杯" not in found
    assert "阑干" not in found
    assert found["沈"] == "沉"
    assert found["沈约"] == "沈约"
    assert "深沈" not in found
    assert found["隠"] == "隐"
    assert found["\U0002aa58"] == "巘"
