"""Time a user's dictionary on one thread: how long it takes to load, what it costs of the tagger's speed, and changes.

The dictionary holds the most frequent words of jieba's, so that nearly every line has matches everywhere: the worst
case. Lines are tagged without it, with all words preferred and with all words forced, in turns, round after round.
Times are processor times, which on an idle machine are those of the clock and on a busy one leave out the waiting; the
table shows medians, and the share of speed that is left as the median of the rounds.

    python scripts/bench_dictionary.py --text corpora/raw/news_misc.txt
"""

from __future__ import annotations

import argparse
import gc
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jieba

from zhseq.cli import run_main
from zhseq.errors import InputError
from zhseq.tagging.dictionary import FORCE, PREFER, UserDictionary
from zhseq.tagging.tagger import Tagger
from zhseq.text.normalize import normalize

_CHANGES = 500


def jieba_file(path: Path, entries: int) -> None:
    """Write the most frequent words of jieba's dictionary as a user's dictionary in jieba's format."""
    with jieba.get_dict_file() as stream:
        rows = [line.split() for line in stream.read().decode("utf-8").splitlines()]
    rows = sorted(rows, key=lambda row: -int(row[1]))[:entries]
    path.write_text("".join(" ".join(row) + "\n" for row in rows), encoding="utf-8")


def make_lines(path: Path, characters: int, length: int) -> list[str]:
    """Read lines of a text; cut all of it into lines of one length unless that is 0.

    Raises:
        InputError: The text cannot be read, or is empty.
    """
    try:
        with path.open(encoding="utf-8", errors="replace") as stream:
            text = stream.read(characters)
    except OSError as error:
        raise InputError(
            "unreadable", "{path}: expected a text that can be read: {reason}.", path=path, reason=error.strerror
        ) from error
    lines = [line for line in text.split("\n") if line.strip()]
    joined = "".join(lines)
    if not lines:
        raise InputError("no_text", "{path}: expected text to tag, found nothing.", path=path)
    return lines if not length else [joined[start : start + length] for start in range(0, len(joined), length)]


def seconds(job: Callable[[], object]) -> float:
    """Processor seconds of one call, which begins with nothing for the garbage collector to do."""
    gc.collect()
    begin = time.process_time()
    job()
    return time.process_time() - begin


def measure_loading(path: Path, rounds: int) -> None:
    """Print the time from a file to the tables that texts are looked up in."""
    normalize("熱")  # the table of characters is made once for a process, with or without a dictionary
    times = [seconds(lambda: UserDictionary.read(path).tables()) for _ in range(rounds)]
    print(f"load {len(UserDictionary.read(path)):,} entries: {statistics.median(times):.2f} s")


def measure_changes(path: Path) -> None:
    """Print the time of single changes, each followed by what the next text to be tagged has to wait for."""
    dictionary = UserDictionary.read(path)
    dictionary.tables()

    def change() -> None:
        for number in range(_CHANGES):
            dictionary.add(f"新词{number}")
            dictionary.tables()
            dictionary.remove(f"新词{number // 2}")
            dictionary.tables()

    print(f"add or remove one word, and use it: {1000 * seconds(change) / (2 * _CHANGES):.2f} ms")


def tagging_seconds(tagger: Tagger, lines: list[str], dictionary: UserDictionary) -> float:
    """Processor seconds of tagging the lines once."""
    return seconds(lambda: list(tagger.stream(lines, dictionary=dictionary)))


def measure_speed(tagger: Tagger, lines: list[str], path: Path, rounds: int) -> None:
    """Print speeds without and with the dictionary."""
    dictionaries = {
        "none": UserDictionary(),
        **{mode: UserDictionary.read(path, mode=mode) for mode in (PREFER, FORCE)},
    }
    times: dict[str, list[float]] = {name: [] for name in dictionaries}
    for current in range(rounds + 1):
        for name, dictionary in dictionaries.items():
            spent = tagging_seconds(tagger, lines, dictionary)
            if current:  # the first round warms up
                times[name].append(spent)
    size = sum(map(len, lines))
    print(f"{'dictionary':<12}{'characters/s':>14}{'speed left':>12}")
    for name, own in times.items():
        left = statistics.median(plain / with_words for plain, with_words in zip(times["none"], own, strict=True))
        print(f"{name:<12}{size / statistics.median(own):>14,.0f}{100 * left:>11.1f}%")


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="directory of the tagger (default: the one that comes with zhseq)")
    parser.add_argument("--text", type=Path, required=True, metavar="FILE", help="UTF-8 text to tag")
    parser.add_argument("--entries", type=int, default=100_000, help="words of the dictionary")
    parser.add_argument("--characters", type=int, default=60_000, help="of the text")
    parser.add_argument("--length", type=int, default=0, help="of a line (default: as they are)")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args(arguments)
    lines = make_lines(options.text, options.characters, options.length)
    tagger = Tagger.load(options.model, threads=1)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "jieba.txt"
        jieba_file(path, options.entries)
        measure_loading(path, options.rounds)
        measure_changes(path)
        measure_speed(tagger, lines, path, options.rounds)
    return 0


if __name__ == "__main__":
    run_main(main)
