import json
import sys
from pathlib import Path
from typing import Any

import pytest

from zhseq.errors import ConfigError, InputError
from zhseq.training import progress
from zhseq.training.progress import Reporter, plot_run


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds, which stands still unless a test moves it."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_without_a_terminal_there_is_a_line_a_minute(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with Reporter(1000, 200) as reporter:
        for step in range(100):
            clock[0] += 1.25
            reporter.advance()
            if step == 1:
                reporter.show(2.5, 0.01)
            if step == 60:
                reporter.score = -5.4321
    first, second = capsys.readouterr().err.splitlines()
    assert first == "step 248 of 1,000 (25%): loss 2.5000, dev score none yet, time left 15:40"
    assert second == "step 296 of 1,000 (30%): loss 2.5000, dev score -5.4321, time left 14:40"


def test_there_is_no_line_before_the_loss_is_known(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with Reporter(10, 0) as reporter:
        clock[0] += 300
        reporter.advance()
        assert capsys.readouterr().err == ""
        reporter.show(1.0, 0.1)
        reporter.advance()
        assert capsys.readouterr().err.startswith("step 2 of 10 (20%): loss 1.0000")


def test_who_is_silent_says_nothing(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with Reporter(10, 0, silent=True) as reporter:
        reporter.show(1.0, 0.1)
        clock[0] += 300
        reporter.advance()
    assert capsys.readouterr().err == ""


def test_on_a_terminal_the_dev_score_stands_on_the_bar(
    monkeypatch: pytest.MonkeyPatch, clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True)
    with Reporter(10, 0) as reporter:
        reporter.show(1.5, 0.1)
        assert "dev" not in reporter.bar.postfix
        reporter.score = 0.875
        reporter.show(1.5, 0.1)
        clock[0] += 300
        reporter.advance()
    shown = capsys.readouterr().err
    assert "loss=1.5000, rate=1.0e-01, dev=0.8750" in shown
    assert "dev score" not in shown


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
