import json
import sys
from pathlib import Path
from typing import Any

import pytest

from zhseq.errors import ConfigError, InputError
from zhseq.training.plot import plot_run

ENTRY = {"step": 4, "epoch": 0, "seconds": 1.5, "loss": 2.5, "rate": 0.1, "score": -3.0}


def write(run: Path, *entries: dict[str, Any]) -> None:
    (run / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that are saved."""
    figure = pytest.importorskip("matplotlib.figure")
    figures: list[Any] = []
    save = figure.Figure.savefig
    monkeypatch.setattr(figure.Figure, "savefig", lambda self, *a, **k: (figures.append(self), save(self, *a, **k))[1])
    return figures


def test_curves_show_what_the_log_says(tmp_path: Path, drawn: list[Any]) -> None:
    steps, losses, bits, f1 = [4, 8, 12], [3.0, 2.5, 2.0], [8.0, 7.0, 7.5], [0.1, 0.3, 0.2]
    rows = zip(steps, losses, bits, f1, strict=True)
    write(tmp_path, *({**ENTRY, "step": s, "loss": x, "score": -b, "bits_per_han": b, "f1": f} for s, x, b, f in rows))
    output = tmp_path / "deep" / "curves.png"
    assert plot_run(tmp_path, output) == output
    assert output.read_bytes().startswith(b"\x89PNG")
    loss, dev, rate = drawn[0].axes
    assert loss.lines[0].get_xydata().tolist() == [list(pair) for pair in zip(steps, losses, strict=True)]
    assert rate.lines[0].get_ydata().tolist() == [0.1] * 3
    curves = {line.get_label(): line.get_ydata().tolist() for line in dev.lines if len(line.get_xdata()) == 3}
    assert curves == {"bits per han": bits, "f1": f1}
    assert dev.get_title(loc="left") == "Dev set (best at step 8)"
    assert {text.get_text() for text in dev.texts} == {"7", "0.3"}


def test_a_run_with_one_evaluation_and_no_details_can_be_drawn(tmp_path: Path, drawn: list[Any]) -> None:
    write(tmp_path, ENTRY)
    plot_run(tmp_path, tmp_path / "curves.png")
    assert [line.get_label() for line in drawn[0].axes[1].lines if line.get_label() == "score"] == ["score"]


def test_a_broken_log_is_refused_and_nothing_drawn(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text(json.dumps(ENTRY) + "\n{")
    with pytest.raises(InputError, match=r"log\.jsonl, line 2"):
        plot_run(tmp_path, tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()


def test_without_matplotlib_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write(tmp_path, ENTRY)
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match=r"pip install 'zhseq\[plot\]'"):
        plot_run(tmp_path, tmp_path / "curves.png")
