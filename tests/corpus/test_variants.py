from __future__ import annotations

from importlib import resources

from zhseq.text.normalize import codepoints, is_han, normalize


def _rows() -> list[list[str]]:
    text = resources.files("zhseq.text").joinpath("variants.tsv").read_text(encoding="utf-8")
    return [line.split("\t") for line in text.splitlines() if not line.startswith("#")]


def test_every_row_folds_one_character_into_one() -> None:
    rows = _rows()
    assert len(rows) > 500
    assert {tuple(map(len, row)) for row in rows} == {(1, 1)}
    assert is_han(codepoints("".join(variant + canonical for variant, canonical in rows))).all()


def test_no_variant_stands_twice_or_is_a_canonical_form() -> None:
    variants = [variant for variant, _ in _rows()]
    assert len(variants) == len(set(variants))
    assert not set(variants) & {canonical for _, canonical in _rows()}


def test_normalising_gives_the_canonical_form_and_leaves_it_alone() -> None:
    variants = "".join(variant for variant, _ in _rows())
    canonical = "".join(canonical for _, canonical in _rows())
    assert normalize(variants) == canonical == normalize(canonical)
