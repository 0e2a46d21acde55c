import pytest

from zhseq.training import loop
from zhseq.training.loop import Reporter


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds, which stands still unless a test moves it."""
    now = [1000.0]
    monkeypatch.setattr(loop.time, "monotonic", lambda: now[0])
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
    monkeypatch.setattr(loop.sys.stderr, "isatty", lambda: True)
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
