"""Command line `zhseq tag`: tag standard input, files, folders and whole corpora."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zhseq.bulk.inputs import discover
from zhseq.bulk.records import DEFAULT_COLUMN, Reading
from zhseq.bulk.run import Run, TaggingJob, ended_by_sigterm
from zhseq.cli import Parser, add_backend, is_standard_output, note, program, run_main
from zhseq.errors import InputError
from zhseq.tagging.formats import FORMATS, make_writer
from zhseq.text.encoding import ENCODINGS
from zhseq.text.tags import TASKS

if TYPE_CHECKING:
    from zhseq.tagging.tagger import Tagger

ENGINES = ("processes", "ray")
MAX_NBEST = 100
"""Maximum number of readings of a text, to bound memory and time."""
MAX_WORKERS = 1024


def main(arguments: Sequence[str] | None = None, load: Callable[..., Tagger] | None = None) -> int:
    """Tag the inputs of a command line, and return the exit status.

    Args:
        arguments: Command line; by default that of the process.
        load: Function that loads the model; by default `Tagger.load`.
    """
    options = _parser().parse_args(arguments)
    with ended_by_sigterm():
        run = _run(options, load)
        if options.engine == "ray":
            from zhseq.bulk.ray import execute

            execute(run)
        else:
            run.execute()
    return 0


def _run(options: argparse.Namespace, load: Callable[..., Tagger] | None) -> Run:
    """Validate the options, before a model is loaded, and return the run."""
    asked = _tasks(options.task)
    if not 1 <= options.nbest <= MAX_NBEST:
        raise InputError(
            "nbest_out_of_range",
            "expected <nbest> of at least 1 and at most {most}, found {found}.",
            most=MAX_NBEST,
            found=options.nbest,
        )
    if not 1 <= options.workers <= MAX_WORKERS:
        raise InputError(
            "workers_out_of_range",
            "expected <workers> of at least 1 and at most {most}, found {found}.",
            most=MAX_WORKERS,
            found=options.workers,
        )
    make_writer(options.format, asked or TASKS, nbest=options.nbest)
    if options.dict is not None and not options.dict.is_file():
        if options.dict.exists():
            raise InputError(
                "dictionary_no_file",
                "{path}: expected a regular file, found a folder, pipe or device; a dictionary is "
                "read more than once, so save the words in a file.",
                path=options.dict,
            )
        raise InputError("no_dictionary", "{path}: the dictionary does not exist.", path=options.dict)
    added = {"pos": "words", "ner": "entities"}
    reading = Reading(
        encoding=options.encoding,
        errors=options.errors,
        column=DEFAULT_COLUMN if options.column is None else options.column,
        keep_records=options.format == "jsonl",
        added=(*(added[task] for task in asked or TASKS), *(["nbest"] if options.nbest > 1 else [])),
    )
    job = TaggingJob(
        model=options.model,
        backend=options.backend,
        device=options.device,
        threads=options.threads,
        tasks=asked,
        format=options.format,
        scores=options.scores,
        nbest=options.nbest,
        dictionary=options.dict,
        patterns=options.patterns,
        load=load,
    )
    inputs = discover(options.inputs, column=options.column, notify=note)
    output = None if options.output is None or is_standard_output(options.output) else str(options.output)
    return Run(inputs, reading, job, output, options.workers, options.resume)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=program("tag"), description="Segment Chinese text into words, with part-of-speech tags and named entities."
    )
    add = parser.add_argument
    add("inputs", nargs="+", metavar="INPUT", help="text, one per line; - for standard input; JSON Lines, "
        "CSV, TSV, Excel, Parquet; all of them may be .gz or .zst; folders and 'patterns*' of them")  # fmt: skip
    add("--task", metavar="pos,ner", help="pos, ner or both (default: all that the model can do)")
    add("--format", choices=FORMATS, default="text", help="output format (default: text)")
    add("--scores", action="store_true", help="add the probability of each word and entity")
    add("--nbest", type=int, default=1, metavar="N", help="the N best readings (jsonl only)")
    add("--dict", type=Path, metavar="FILE", help="user dictionary: one word per line, jieba's format or tab-separated")
    add("--no-patterns", dest="patterns", action="store_false", help="do not match URLs, numbers and emoji by pattern")
    add(
        "--output",
        "--out",
        metavar="FILE_OR_DIR",
        help="output file, or folder with one file per input (default: standard output)",
    )
    add(
        "--column",
        metavar="NAME",
        help="the field or column with the text, of JSON lines "
        f"and Parquet (default: {DEFAULT_COLUMN}), CSV, TSV and Excel",
    )  # fmt: skip)
    add(
        "--encoding",
        choices=ENCODINGS,
        default=ENCODINGS[0],
        help="encoding of the input (default: auto, detected)",
    )
    add("--errors", choices=("strict", "replace"), default="strict", help="replace: read invalid bytes as U+FFFD")
    add("--workers", type=int, default=1, metavar="N", help="number of tagging processes (default: 1, this one)")
    add("--resume", action="store_true", help="continue an interrupted run of the same command; needs --output")
    add("--engine", choices=ENGINES, default=ENGINES[0], help="ray: on a Ray cluster, with --workers actors")
    add(
        "--model",
        metavar="PATH_OR_HUB_NAME",
        help="checkpoint directory or Hugging Face name (default: the shipped tagger)",
    )
    add_backend(parser)
    add("--device", default="cpu", help="cpu, cuda, mps or auto (default: cpu)")
    add("--threads", type=int, default=1, metavar="N", help="threads of each process (default: 1; see --workers)")
    return parser


def _tasks(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    tasks = tuple(dict.fromkeys(task.strip() for task in text.split(",")))
    if not set(tasks) <= set(TASKS):
        raise InputError("unknown_task", "expected <task> pos, ner or pos,ner, found {found!r}.", found=text)
    return tasks


if __name__ == "__main__":
    run_main(main)
