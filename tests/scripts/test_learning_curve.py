from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def curve(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parent.parent.parent / "scripts"))
    from scripts import learning_curve

    return learning_curve


def figures(f1: float) -> dict[str, float]:
    return {"pos_f1": f1, "words_f1": f1 + 0.1, "ner_f1": f1 - 0.1}


RESULTS = {
    ("nothing", 500): [figures(0.5)],
    ("encoder", 500): [figures(0.6), figures(0.62)],
    ("nothing", 250): [figures(0.4)],
    ("encoder", 250): [figures(0.55)],
}


def test_the_table_goes_from_few_sentences_to_many_and_shows_the_spread(curve: ModuleType) -> None:
    assert curve.table(RESULTS).splitlines()[2:] == [
        "| 250 | encoder | 55.00 | 65.00 | 45.00 |",
        "| 250 | nothing | 40.00 | 50.00 | 30.00 |",
        "| 500 | encoder | 61.00 ± 1.41 | 71.00 ± 1.41 | 51.00 ± 1.41 |",
        "| 500 | nothing | 50.00 | 60.00 | 40.00 |",
    ]


def test_the_plot_is_a_picture(curve: ModuleType, tmp_path: Path) -> None:
    curve.plot(RESULTS, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
