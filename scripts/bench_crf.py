"""Time the CRF against pytorch-crf on one thread: loss (forward and backward) and Viterbi decoding.

Both run in the same process on the same parameters and emissions, in turns, round after round; the table shows the
median of all rounds and the ratio of the medians. Times are processor times, which on an idle machine are those of
the clock and on a busy one leave out the waiting. pytorch-crf knows no forbidden transitions: in the second half of
the table it does the full work, with forbidden scores of -10,000, and finds the same numbers.

    python scripts/bench_crf.py --batch 64 --length 48 --tags 100
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import torch
import torchcrf

from zhseq.cli import run_main
from zhseq.nn.crf import CRF


def bmes_tables(num_tags: int) -> dict[str, torch.Tensor]:
    """Allowed transitions of B, M, E, S x part of speech; the last part of speech lacks tags that do not fit."""
    kind, label = torch.arange(num_tags) % 4, torch.arange(num_tags) // 4
    opens, closes = (kind == 0) | (kind == 3), kind >= 2
    inside = ~closes[:, None] & ~opens & (label[:, None] == label)
    return {"allowed": (closes[:, None] & opens) | inside, "allowed_start": opens, "allowed_end": closes}


def alternating_medians(jobs: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """Median processor seconds of each job over rounds in which all run in turn, after one round of warm-up."""
    seconds: list[list[float]] = [[] for _ in jobs]
    for current in range(rounds + 1):
        for job, measured in zip(jobs, seconds, strict=True):
            begin = time.process_time()
            job()
            if current:
                measured.append(time.process_time() - begin)
    return [statistics.median(measured) for measured in seconds]


def check_equal(crf: CRF, emissions: torch.Tensor, tags: torch.Tensor, mask: torch.Tensor) -> None:
    """Fail unless both give the same loss and the same paths."""
    reference = -torchcrf.CRF.forward(crf, emissions, tags, mask, reduction="mean")
    torch.testing.assert_close(crf.loss(emissions, tags, mask), reference, rtol=1e-5, atol=0.0)
    paths = [[tag for tag in row if tag >= 0] for row in crf.decode(emissions, mask).tolist()]
    if paths != torchcrf.CRF.decode(crf, emissions, mask):
        raise AssertionError("the Viterbi paths differ")


def measure(name: str, crf: CRF, lengths: torch.Tensor, rounds: int) -> None:
    """Print the rows of one CRF."""
    mask = torch.arange(int(lengths.max())) < lengths[:, None]
    emissions = (2 * torch.randn(*mask.shape, crf.num_tags)).requires_grad_()
    tags = crf.decode(torch.randn(emissions.shape), mask).clamp_min(0)
    check_equal(crf, emissions, tags, mask)

    def reference_loss() -> None:
        (-torchcrf.CRF.forward(crf, emissions, tags, mask, reduction="mean")).backward()

    def loss() -> None:
        crf.loss(emissions, tags, mask).backward()

    frozen = emissions.detach()

    @torch.no_grad()
    def reference_decode() -> None:
        torchcrf.CRF.decode(crf, frozen, mask)

    def decode() -> None:
        crf.decode(frozen, mask)

    def decode_one() -> None:
        crf.decode(frozen[:1], mask[:1])

    characters = int(lengths.sum())
    for title, jobs in (("loss, forward + backward", (reference_loss, loss)), ("Viterbi", (reference_decode, decode))):
        slow, fast = alternating_medians(jobs, rounds)
        print_row(name, title, f"{1e3 * slow:.2f}", f"{1e3 * fast:.2f}", f"{slow / fast:.1f}x", characters / fast)
    (single,) = alternating_medians([decode_one], rounds)
    print_row(name, "Viterbi, first sentence", "", f"{1e3 * single:.2f}", "", int(lengths[0]) / single)


def print_row(name: str, job: str, slow: str, fast: str, ratio: str, speed: float) -> None:
    print(f"{name:<24}{job:<26}{slow:>15}{fast:>10}{ratio:>8}{speed:>14,.0f}")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--batch", type=int, default=64, help="sequences")
    parser.add_argument("--length", type=int, default=48, help="characters of the longest sequence")
    parser.add_argument("--tags", type=int, default=100, help="tags")
    parser.add_argument("--ragged", action="store_true", help="lengths from 1 to LENGTH instead of all equal")
    parser.add_argument("--rounds", type=int, default=21, help="alternating rounds per line")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    lengths = torch.full((options.batch,), options.length)
    if options.ragged:
        lengths = torch.linspace(options.length, 1, options.batch).long()
    shape = f"{options.batch} x {options.length} characters, {options.tags} tags, 1 thread"
    print(f"{shape}, medians of {options.rounds} rounds, torch {torch.__version__}")
    print(f"{'transitions':<24}{'job':<26}{'pytorch-crf ms':>15}{'zhseq ms':>10}{'ratio':>8}{'characters/s':>14}")
    for name, tables in (("all allowed", {}), ("BMES x part of speech", bmes_tables(options.tags))):
        crf = CRF(options.tags, **tables)
        with torch.no_grad():
            for parameter in crf.parameters():
                parameter.add_(torch.randn_like(parameter) * (parameter > -1))
        measure(name, crf, lengths, options.rounds)
    return 0


if __name__ == "__main__":
    run_main(main)
