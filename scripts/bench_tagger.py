"""Time the tagger on one thread: its backends and jieba.posseg on many lines, on one sentence alone, and in training.

Lines of 40 characters are tagged by all in the same process, in turns, round after round. Times are processor times,
which on an idle machine are those of the clock and on a busy one leave out the waiting; the table shows medians.

    python scripts/bench_tagger.py --model checkpoints/tagger
"""

from __future__ import annotations

import argparse
import logging
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import jieba.posseg
import torch

from zhseq.cli import run_main
from zhseq.corpus.tagging import read_tagged
from zhseq.device import BACKENDS, autocast, processor, tune_process
from zhseq.tagging.model import load_parts
from zhseq.tagging.tagger import Tagger

if TYPE_CHECKING:
    from zhseq.batching import Array, Batch

LINE = 40
_SINGLE = 50  # lines that are tagged one by one
_BATCHES = 8  # of a head, in one round of training


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


def make_lines(source: str, characters: int) -> list[str]:
    """Cut the text of a corpus into lines of 40 characters."""
    text, size = [], 0
    for tagged in read_tagged(source).texts:
        text.append(tagged.text)
        size += len(tagged.text)
        if size >= characters:
            break
    joined = "".join(text)[:characters]
    return [joined[start : start + LINE] for start in range(0, len(joined), LINE)]


def training_step(directory: Path, lines: list[str]) -> Callable[[], None]:
    """Return a function that trains on some batches of `lines`, tagged by the model itself."""
    model, features = load_parts(directory)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    batches: list[Batch[Array]] = []
    for head in model.config.heads:
        for index in range(_BATCHES):
            texts = lines[index * 75 : (index + 1) * 75]
            batch = features.batch(texts).to("cpu")
            with torch.no_grad():
                paths = model.eval().crf(head).decode(model.emissions(batch, (head,))[head], batch.mask)
            tags = [row[: len(text)].numpy() for row, text in zip(paths, texts, strict=True)]
            batches.append(features.batch(texts, tags, head))
    model.train()

    def step() -> None:
        for batch in batches:
            with autocast(torch.device("cpu"), "auto"):
                loss = model.loss(batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return step


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="directory of the tagger (default: the one that comes with zhseq)")
    parser.add_argument("--backend", nargs="+", default=list(BACKENDS[1:]), choices=BACKENDS[1:], help="default: all")
    parser.add_argument("--text", default="pfr199801", metavar="FILE|CORPUS", help="tagged texts to take lines from")
    parser.add_argument("--characters", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-training", action="store_true", help="leave out the training")
    options = parser.parse_args(arguments)
    jieba.setLogLevel(logging.WARNING)
    taggers = {name: Tagger.load(options.model, backend=name, threads=1) for name in options.backend}
    lines = make_lines(options.text, options.characters)
    jobs: list[Callable[[], object]] = [lambda: [jieba.posseg.lcut(line) for line in lines]]
    for tagger in taggers.values():
        jobs.append(lambda tagger=tagger: list(tagger.stream(lines)))
        jobs.append(lambda tagger=tagger: [tagger(line) for line in lines[:_SINGLE]])
    theirs, *ours = alternating_medians(jobs, options.rounds)
    size = sum(map(len, lines))
    print(f"on {processor()}")
    print(f"jieba.posseg: {size / theirs:,.0f} characters/s")
    for name, batched, single in zip(taggers, ours[::2], ours[1::2], strict=True):
        speed = f"{size / batched:,.0f} characters/s, {theirs / batched:.2f} x jieba.posseg"
        print(f"zhseq, {name}, {' and '.join(taggers[name].tasks)}, batched: {speed}")
        print(f"zhseq, {name}, one line of {LINE} characters, warm: {1000 * single / _SINGLE:.2f} ms")
    if not options.no_training:
        directory = Path(options.model) if options.model else Path("checkpoints/tagger")
        tune_process(torch.device("cpu"))
        step = training_step(directory, lines)
        (seconds,) = alternating_medians([step], options.rounds)
        trained = len(next(iter(taggers.values())).tasks) * _BATCHES * 75 * LINE
        print(f"training: {trained / seconds:,.0f} characters/s")
    return 0


if __name__ == "__main__":
    run_main(main)
