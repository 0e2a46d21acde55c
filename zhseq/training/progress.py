"""Tell a user how a training goes: a bar on a terminal, elsewhere a line a minute."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from tqdm import tqdm

from zhseq.errors import Message

_SECONDS_BETWEEN_LINES = 60.0


class Reporter:
    """Shows steps, loss, dev score and time left on standard error."""

    def __init__(self, total: int, done: int, *, silent: bool = False) -> None:
        """Start to report.

        Args:
            total: Optimizer steps of the run.
            done: Steps that are done already.
            silent: Show nothing, as in all processes but the first of several.
        """
        self.bar = tqdm(total=total, initial=done, unit="step", disable=True if silent else None)
        self.writes_lines = bool(self.bar.disable) and not silent
        self.total, self.first, self.done = total, done, done
        self.loss: float | None = None
        self.score: float | None = None
        self.started = self.last_line = time.monotonic()

    def __enter__(self) -> Reporter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.close()

    def advance(self) -> None:
        """Count one optimizer step."""
        self.done += 1
        self.bar.update()
        if self.writes_lines and self.loss is not None:
            now = time.monotonic()
            if now - self.last_line >= _SECONDS_BETWEEN_LINES:
                self.last_line = now
                print(self.line(now), file=sys.stderr, flush=True)

    def show(self, loss: float, rate: float) -> None:
        """Take note of the mean training loss of the last steps and of the learning rate."""
        self.loss = loss
        shown = {"loss": f"{loss:.4f}", "rate": f"{rate:.1e}"}
        if self.score is not None:
            shown["dev"] = f"{self.score:.4f}"
        self.bar.set_postfix(shown, refresh=False)

    def line(self, now: float) -> Message:
        """Return the line that stands for the bar where there is no terminal."""
        left = (now - self.started) / (self.done - self.first) * (self.total - self.done)
        score = Message("no_score_yet", "none yet") if self.score is None else f"{self.score:.4f}"
        return Message(
            "training_line",
            "step {step:,} of {total:,} ({share:.0%}): loss {loss:.4f}, dev score {score}, time left {left}",
            {
                "step": self.done,
                "total": self.total,
                "share": self.done / self.total,
                "loss": self.loss,
                "score": score,
                "left": tqdm.format_interval(left),
            },
        )
