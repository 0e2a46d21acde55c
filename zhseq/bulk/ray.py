"""Tag on a cluster with Ray Data, with one model per actor.

`tag` adds columns to a dataset. `execute` implements `zhseq tag --engine ray`: the machines of the cluster read the
inputs, which must have the same paths on all of them, and the calling process writes the outputs.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zhseq.bulk.inputs import Source, groups
from zhseq.bulk.records import DEFAULT_COLUMN, Chunk, Reading, Segment, read_group
from zhseq.bulk.run import Run, Sent, SentJob, TaggingJob, compare_input, progress_bar
from zhseq.cli import note
from zhseq.errors import ConfigError, InputError, Message, ZhseqError, command_line

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # disable telemetry
try:
    import ray
    import ray.data
except ImportError as error:
    raise ConfigError("no_ray", "Ray Data is not installed: pip install 'zhseq[ray]'") from error

if TYPE_CHECKING:
    import pyarrow as pa

    from zhseq.tagging.formats import Document

_BLOCK = 2**18, 2**20  # minimum and maximum bytes of a block of chunks; each block has some overhead in Ray
_BLOCKS_OF_ACTOR = 32  # blocks per actor for small inputs, to distribute the work evenly
_STORE = 2**28  # bytes of shared memory of a cluster that is started for one run
_NO_CPU = 0.0  # reading tasks reserve no CPU, because actors may have reserved all of them
_SETTINGS = {
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # suppress Ray's log messages
    "RAY_worker_niceness": "0",  # else actors have lower priority than other programs
    # Monitoring is useless for a cluster that exists for one run.
    "RAY_enable_metrics_collection": "0",
    "RAY_enable_open_telemetry": "0",
    "RAY_event_stats": "0",
    "RAY_task_events_report_interval_ms": "0",
}
"""Environment variables of a cluster that is started for one run; existing values are not changed."""


def tag(
    dataset: ray.data.Dataset,
    column: str = DEFAULT_COLUMN,
    *,
    job: TaggingJob | None = None,
    concurrency: int | tuple[int, int] = 1,
    batch_size: int = 1024,
) -> ray.data.Dataset:
    """Tag a column of a dataset.

    Args:
        dataset: Dataset with a column of strings.
        column: Name of the column.
        job: Settings of the tagging; `format` and `nbest` are not used.
        concurrency: Number of actors, each with a model and one CPU; or minimum and maximum.
        batch_size: Number of rows that are tagged together.

    Returns:
        The dataset with the columns `words` and `entities` (as far as the tasks include them), lists of records as in
        the JSON output of `zhseq tag`. It is evaluated lazily.
    """
    least, most = (concurrency, concurrency) if isinstance(concurrency, int) else concurrency
    return dataset.map_batches(
        _ColumnTagger,
        fn_constructor_args=(column, job or TaggingJob()),
        compute=ray.data.ActorPoolStrategy(min_size=least, max_size=most),
        batch_size=batch_size,
        batch_format="pyarrow",
        num_cpus=1,
    )


class _ColumnTagger:
    """Actor that adds columns with the results to a table."""

    def __init__(self, column: str, job: TaggingJob) -> None:
        from zhseq.tagging.tagger import Tagger

        self._column, self._job = column, job
        self._tagger = Tagger.load(
            job.model,
            backend=job.backend,
            device=job.device,
            threads=job.threads,
            dictionary=job.dictionary,
            patterns=job.patterns,
        )
        self._tasks = job.tasks or self._tagger.tasks

    def __call__(self, table: pa.Table) -> pa.Table:
        if self._column not in table.column_names:
            raise InputError(
                "no_column_in_dataset",
                "expected a column {column!r}, found {fields}; name one",
                column=self._column,
                fields=", ".join(map(repr, table.column_names)),
            )
        texts = ["" if text is None else text for text in table.column(self._column).to_pylist()]
        wrong = next((text for text in texts if not isinstance(text, str)), None)
        if wrong is not None:
            raise InputError(
                "no_strings_in_dataset",
                "expected strings in the column {column!r}, found {found!r}",
                column=self._column,
                found=wrong,
            )
        documents = list(self._tagger.stream(texts, tasks=self._tasks, scores=self._job.scores))
        for task, name, label in (("pos", "words", "pos"), ("ner", "entities", "label")):
            if task in self._tasks:
                table = table.append_column(name, _spans(documents, name, label, scores=self._job.scores))
        return table


def _spans(documents: Sequence[Document], name: str, label: str, *, scores: bool) -> pa.Array:
    """Return the words or entities of each document as a column."""
    import pyarrow as pa

    from zhseq.tagging.formats import fields_of

    kinds = {"text": pa.string(), "start": pa.int64(), "end": pa.int64(), label: pa.string()}
    if scores:
        kinds["score"] = pa.float64()
    columns: list[list[Any]] = [[] for _ in range(5)]
    bounds = [0]
    for document in documents:
        for column, values in zip(columns, zip(*fields_of(document, name), strict=True), strict=False):
            column += values
        bounds.append(len(columns[0]))
    arrays = [pa.array(column, kind) for column, kind in zip(columns, kinds.values(), strict=False)]
    return pa.ListArray.from_arrays(pa.array(bounds, pa.int32()), pa.StructArray.from_arrays(arrays, list(kinds)))


def execute(run: Run) -> None:
    """Execute a run on a cluster: the connected one, the one at RAY_ADDRESS, or a new one on this machine.

    The outputs are the same, byte for byte, as those of `Run.execute`.

    Raises:
        ZhseqError: As `Run.execute`; or the cluster is too small.
    """
    run.note_dictionary()
    with run.open_folder() as output, cluster(run.workers), progress_bar(run.inputs.sources) as moved:
        summary = hashlib.blake2b(digest_size=16)
        rows = list(_rows(run, output.progress.chunks, output.progress.digest, summary))
        if rows:
            for row in _dataset(rows, run).iter_rows():
                for sentence in row["notes"].splitlines():
                    note(Message("from_cluster", "{sentence}", {"sentence": sentence}))
                if row["error"]:
                    raise InputError("from_cluster", "{sentence}", sentence=row["error"])
                summary.update(row["digest"])
                sent = Sent(list(zip(row["sources"], row["results"], strict=True)), row["packed"])
                output.write(sent.unpacked(), summary.hexdigest())
                moved(row["moved"])
        output.finish()


def _dataset(rows: list[dict[str, Any]], run: Run) -> ray.data.Dataset:
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    least, most = _BLOCK
    size = sum(source.size for source in run.inputs.sources)
    context.target_max_block_size = min(max(least, size // (run.workers * _BLOCKS_OF_ACTOR)), most)
    context.enable_progress_bars = False
    return (
        ray.data.from_items(rows, override_num_blocks=len(rows))
        .map_batches(_read, fn_kwargs={"reading": run.reading}, batch_size=1, batch_format="pyarrow", num_cpus=_NO_CPU)
        .map_batches(
            _ChunkTagger,
            fn_constructor_args=(run.job,),
            compute=ray.data.ActorPoolStrategy(size=run.workers),
            batch_size=1,
            batch_format="pyarrow",
            num_cpus=1,
        )
    )


def _rows(run: Run, done: int, digest: str, summary: Any) -> Iterator[dict[str, Any]]:
    """Yield the groups of sources to read, the first from the position at which the interrupted run stopped."""
    for first, sources in groups(run.inputs.sources):
        skip = 0
        if done:
            for chunk in read_group(first, sources, run.reading, notify=note):
                summary.update(chunk.digest())
                skip, done = skip + 1, done - 1
                if not done:
                    compare_input(summary.hexdigest(), digest)
                    break
            else:
                continue
        shown = json.dumps([{**asdict(source), "path": str(source.path)} for source in sources])
        yield {"first": first, "skip": skip, "sources": shown}
    if done:
        compare_input("", digest)


def _read(table: pa.Table, reading: Reading) -> Iterator[pa.Table]:
    """Read groups of sources; an error becomes a row, so that it is raised once, and in order."""
    moved: list[int] = []
    notes: list[Message] = []

    def row(chunk: bytes = b"", error: str = "") -> pa.Table:
        made = _table(chunk=chunk, error=error, moved=sum(moved), notes="\n".join(map(_shown, notes)))
        moved.clear()
        notes.clear()
        return made

    for task in table.to_pylist():
        sources = [Source(**{**fields, "path": Path(fields["path"])}) for fields in json.loads(task["sources"])]
        try:
            chunks = read_group(task["first"], sources, reading, notify=notes.append, moved=moved.append)
            for chunk in islice(chunks, task["skip"], None):
                yield row(json.dumps(asdict(chunk)).encode())
        except ZhseqError as error:
            yield row(error=_shown(error.message))


def _shown(message: Message) -> str:
    return message.render(command_line)


class _ChunkTagger:
    """Actor that tags chunks."""

    def __init__(self, job: TaggingJob) -> None:
        self._error = ""
        try:
            self._work = SentJob(job).start()
        except ZhseqError as error:
            self._error = _shown(error.message)

    def __call__(self, table: pa.Table) -> pa.Table:
        (row,) = table.to_pylist()
        error = self._error or row["error"]
        sent, digest = Sent([], False), b""
        if not error:
            fields = json.loads(row["chunk"])
            chunk = Chunk([Segment(**segment) for segment in fields["segments"]], fields["lines"], fields["characters"])
            sent, digest = self._work(chunk), chunk.digest()
        return _table(
            sources=[source for source, _ in sent.parts],
            results=[data for _, data in sent.parts],
            packed=sent.packed,
            digest=digest,
            moved=row["moved"],
            notes=row["notes"],
            error=error,
        )


def _table(**fields: object) -> pa.Table:
    """Return a table of one row with explicit types, because Ray infers other types for bytes and empty lists."""
    import pyarrow as pa

    kinds = {
        "chunk": pa.large_binary(),
        "digest": pa.binary(),
        "error": pa.string(),
        "moved": pa.int64(),
        "notes": pa.string(),
        "packed": pa.bool_(),
        "results": pa.list_(pa.large_binary()),
        "sources": pa.list_(pa.int64()),
    }
    return pa.table({name: pa.array([value], kinds[name]) for name, value in fields.items()})


@contextmanager
def cluster(workers: int) -> Iterator[None]:
    """Connect to the cluster at RAY_ADDRESS unless connected, or start one on this machine and stop it afterwards.

    Args:
        workers: Number of CPUs that it must have; a new cluster gets one more, for everything except tagging.

    Raises:
        ConfigError: It cannot be reached or started, or is too small.
    """
    started = not ray.is_initialized()
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    if started:
        address = os.environ.get("RAY_ADDRESS")
        if not address:
            for name, value in _SETTINGS.items():
                os.environ.setdefault(name, value)
        # One CPU more than actors: Ray Data waits forever if none is left for other tasks.
        local = {} if address else {"num_cpus": workers + 1, "object_store_memory": _STORE, "include_dashboard": False}
        try:
            ray.init(address=address or "local", logging_level=logging.ERROR, log_to_driver=False, **local)
        except Exception as error:  # Ray also raises bare exceptions
            reason = str(error).strip().partition("\n")[0]
            raise ConfigError(
                "no_cluster",
                "expected a Ray cluster at {address}, found none: {reason}",
                address=address or Message("this_machine", "this machine"),
                reason=reason,
            ) from error
    try:
        processors = int(ray.cluster_resources().get("CPU", 0))
        if processors < workers:
            raise ConfigError(
                "small_cluster",
                "expected a cluster with {workers} processors, found {processors}; use fewer <workers>",
                workers=workers,
                processors=processors,
            )
        yield
    finally:
        if started:
            ray.shutdown()
