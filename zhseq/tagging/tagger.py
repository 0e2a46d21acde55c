"""The library of the tagging half: `Tagger.load()("江泽民主席访问北京")` -> words, parts of speech, entities."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from zhseq.checkpoint import resolve, shipped
from zhseq.device import instructions, limit_cached_shapes, pick_backend, set_threads
from zhseq.errors import InputError, Message
from zhseq.graph import GRAPH_FILE
from zhseq.tagging.blocks import TextBlock
from zhseq.tagging.decoding import Network, Spans, find_spans, tag_table
from zhseq.tagging.dictionary import UserDictionary
from zhseq.tagging.features import Ints
from zhseq.tagging.formats import Columns, Document, Entity, Word, unread
from zhseq.tagging.matching import PATTERN_TAGS, WordTables
from zhseq.text.tags import TASKS

SECTION_MARGIN = 512
"""Characters behind a section of a long text that are looked at to find its end."""
_BLOCK_LINES = 1024  # lines that are read ahead and tagged together
_BLOCK_CHARACTERS = 48_000  # or fewer, so that memory stays flat whatever the length of a line
_CACHED_SHAPES = 128  # single texts are of few shapes, and quicker where these are kept


class Tagger:
    """Finds words, parts of speech and named entities. One object may be used from several threads.

    Attributes:
        tasks: What the model does: `pos`, `ner` or both.
        labels: For each task the labels that the model gives, sorted: parts of speech, kinds of entities. What one
            means is told by `zhseq.explain`. A model that only finds words has the one label that is empty.
        patterns: Whether what is a word by its spelling (addresses, numbers, codes, emoji) is one here, see
            `zhseq.tagging.matching`; only where the model has the parts of speech of these.
        network: What scores the tags.
    """

    def __init__(
        self,
        network: Network,
        *,
        dictionary: UserDictionary | None = None,
        patterns: bool = True,
        name: str = "",
    ) -> None:
        """Wrap what scores tags; `Tagger.load` is the usual way to get a tagger. `name` is for people."""
        self.name = name
        self.network = network
        self.tasks = tuple(task for task in TASKS if task in network.heads)
        if dictionary is not None:
            self.dictionary = dictionary
        self.labels = {task: tag_table(network.heads[task]).labels for task in self.tasks}
        self.patterns = patterns and "pos" in self.tasks and set(self.labels["pos"]) >= PATTERN_TAGS

    def __repr__(self) -> str:
        heads = ", ".join(f"{task}: {len(labels)} labels" for task, labels in self.labels.items())
        return f"<Tagger {self.name or 'without a name'} ({heads}) by {self.network}>"

    @property
    def dictionary(self) -> UserDictionary:
        """The user's own words; what is added or removed counts from the next texts on."""
        own: UserDictionary = vars(self).setdefault("_dictionary", UserDictionary())  # at once, whatever threads do
        return own

    @dictionary.setter
    def dictionary(self, dictionary: UserDictionary) -> None:
        self._dictionary = dictionary

    @classmethod
    def load(
        cls,
        model: str | os.PathLike[str] | None = None,
        *,
        backend: str = "auto",
        device: str = "cpu",
        threads: int | None = None,
        dictionary: UserDictionary | str | os.PathLike[str] | None = None,
        patterns: bool = True,
    ) -> Tagger:
        """Load a model.

        With PyTorch, a process that has not computed anything yet will keep less for the shapes of its batches on a CPU
        than PyTorch does by itself, see `zhseq.device.limit_cached_shapes`.

        Args:
            model: A directory, or a Hugging Face repository name; by default the model that comes with zhseq.
            backend: What computes the network: `native` (zhseq's own compiled code, on a processor, with weights of 8
                bits), `onnx` (onnxruntime, likewise), `torch`, or `auto`, the first of these that is quick there; for
                a model that carries a graph, that is onnxruntime where it is installed.
            device: `cpu`, `cuda`, `mps` or `auto`.
            threads: Processor threads. By default one, unless OMP_NUM_THREADS or `torch.set_num_threads` has asked for
                another number; those of PyTorch are of the whole process, see `zhseq.device.set_threads`.
            dictionary: The user's own words, or a file of them; see `UserDictionary`.
            patterns: Take what is a word by its spelling for one, see `zhseq.tagging.matching`.

        Raises:
            CheckpointError: It is missing, damaged, or no tagger.
            ConfigError: The backend or the device is not available, or there are less than 1 threads.
            InputError: The dictionary cannot be read.
        """
        if dictionary is not None and not isinstance(dictionary, UserDictionary):
            dictionary = UserDictionary.read(dictionary)
        directory = shipped("tagger") if model is None else resolve(model)
        network: Network
        carried = (directory / GRAPH_FILE).exists()
        chosen = pick_backend(backend, device, native="" if backend == "torch" else instructions(), carried=carried)
        if chosen == "native":
            from zhseq.tagging.native import NativeNetwork

            network = NativeNetwork.load(directory, threads)
        elif chosen == "onnx":
            from zhseq.tagging.graph import OnnxNetwork

            network = OnnxNetwork.load(directory, threads)
        else:
            from zhseq.tagging.model import load_network

            set_threads(threads)
            limit_cached_shapes(_CACHED_SHAPES)
            network = load_network(directory, device)
        return cls(network, dictionary=dictionary, patterns=patterns, name=str(directory))

    def __call__(
        self, text: str, *, scores: bool = False, nbest: int = 1, dictionary: UserDictionary | None = None
    ) -> Document:
        """Tag one text; see `stream`.

        Raises:
            TypeError: The text is no `str`.
        """
        _check_text(text)
        return next(self.stream([text], scores=scores, nbest=nbest, dictionary=dictionary))

    def stream(
        self,
        lines: Iterable[str],
        *,
        tasks: Sequence[str] | None = None,
        scores: bool = False,
        nbest: int = 1,
        dictionary: UserDictionary | None = None,
    ) -> Iterator[Document]:
        """Tag many texts: one document for each, in order. Up to a thousand are read ahead and tagged together.

        Args:
            lines: Texts of any length.
            tasks: `pos`, `ner` or both; by default all that the model can do.
            scores: Give each word and entity its probability: that of the model, given the words that are forced.
            nbest: Give so many readings in `Document.alternatives`.
            dictionary: Words for this call, in the place of `Tagger.dictionary`.

        Raises:
            InputError: The model cannot do a task, or `nbest` is less than 1; when the first document is asked for.
            TypeError: A text is no `str`, or there is one text instead of several; likewise.
        """
        if isinstance(lines, (str, bytes)) or not isinstance(lines, Iterable):
            raise TypeError(
                Message(
                    "not_texts",
                    "expected several texts, each a str, but got {kind}; for one text, call the tagger itself",
                    {"kind": type(lines).__name__},
                )
            )
        wanted = self.tasks if tasks is None else tuple(dict.fromkeys(tasks))
        if not wanted or not set(wanted) <= set(self.tasks):
            raise InputError(
                "task_beyond_model",
                "this model does {tasks}, but {asked} was asked for; use another model",
                tasks=", ".join(self.tasks),
                asked=", ".join(wanted) or Message("nothing", "nothing"),
            )
        if nbest < 1:
            raise InputError("few_readings", "the number of readings must be at least 1, but is {nbest}", nbest=nbest)
        for batch in _blocks(lines):
            block = TextBlock.of(batch, self._words(dictionary), patterns=self.patterns)
            found = find_spans(self.network, block, wanted, scores=scores, nbest=nbest)
            readings = self._readings(batch, block, found)
            if nbest == 1:
                yield from readings[0]
            else:
                for document, *others in zip(*readings, strict=True):
                    yield replace(document, alternatives=tuple(dict.fromkeys((document, *others))))

    def section_end(self, text: str, start: int, most: int, *, dictionary: UserDictionary | None = None) -> int:
        """Return where a section of a long text ends that begins at `start`.

        Sections are tagged one by one as they are in the whole text, where a sentence ends within `most` characters and
        no stretch of half a piece (`PIECE`) has no mark of a clause.

        Args:
            text: The text.
            start: 0, or the end of the section before.
            most: Characters of a section; the last may have `SECTION_MARGIN` more.
            dictionary: As in `stream`.
        """
        if len(text) <= start + most + SECTION_MARGIN:
            return len(text)
        window = text[start : start + most + SECTION_MARGIN]
        return start + TextBlock.of([window], self._words(dictionary), patterns=self.patterns).seam(most)

    def _words(self, dictionary: UserDictionary | None) -> WordTables | None:
        """Return the words of a dictionary, by default the tagger's own, as they are now; None if there are none."""
        words: UserDictionary | None = vars(self).get("_dictionary") if dictionary is None else dictionary
        return None if words is None else words.tables()

    def _readings(self, lines: list[str], block: TextBlock, found: dict[str, list[Spans]]) -> list[list[Document]]:
        """Return the documents of the lines for each reading, the best first."""
        own = () if block.matches is None else block.matches.attributes.names
        readings = []
        for rank in range(len(next(iter(found.values())))):
            words, entities = (
                _columns(kind, found[head][rank], (*self.labels[head], *own), block.lines) if head in found else None
                for head, kind in (("pos", Word), ("ner", Entity))
            )
            readings.append(unread(lines, words, entities))
        return readings


def _check_text(text: object) -> None:
    if not isinstance(text, str):
        kind = type(text).__name__
        raise TypeError(Message("not_a_text", "expected a text of type str, but got {kind}", {"kind": kind}))


def _blocks(lines: Iterable[str]) -> Iterator[list[str]]:
    block: list[str] = []
    characters = 0
    for line in lines:
        _check_text(line)
        block.append(line)
        characters += len(line)
        if len(block) == _BLOCK_LINES or characters >= _BLOCK_CHARACTERS:
            yield block
            block, characters = [], 0
    if block:
        yield block


def _columns(kind: type[Word] | type[Entity], spans: Spans, labels: Sequence[str], offsets: Ints) -> Columns:
    """Return the words or entities of some lines.

    Args:
        kind: `Word` or `Entity`.
        spans: Of all lines.
        labels: Names of the labels.
        offsets: Where each line begins in the lines laid end to end, and the end of the last, (lines + 1,).
    """
    bounds = np.searchsorted(spans.starts, offsets)
    shift = np.repeat(offsets[:-1], np.diff(bounds))
    return Columns(
        kind, (spans.starts - shift, spans.ends - shift, spans.labels, spans.scores), bounds.tolist(), labels
    )
