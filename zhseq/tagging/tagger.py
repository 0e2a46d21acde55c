"""Tag Chinese text: `Tagger.load()("江泽民主席访问北京")` returns words, part-of-speech tags and named entities."""

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
from zhseq.tagging.formats import Columns, Document, Entity, Word, lazy_documents
from zhseq.tagging.matching import PATTERN_TAGS, WordTables
from zhseq.text.tags import TASKS

SECTION_MARGIN = 512
"""Characters after the target length of a section that are searched for a place to end it."""
_BLOCK_LINES = 1024  # most lines that are tagged together
_BLOCK_CHARACTERS = 48_000  # most characters of a block, to bound memory whatever the length of a line
_CACHED_SHAPES = 128  # single texts have few shapes, and PyTorch is faster with cached shapes


class Tagger:
    """Segment text into words and tag parts of speech and named entities.

    One tagger may be used from several threads.

    Attributes:
        tasks: Tasks of the model: `pos` (words with their part-of-speech tags), `ner` (named entities) or both.
        labels: Labels of the model for each task, sorted: part-of-speech tags, entity types. `zhseq.explain` describes
            a label. A model that only segments has one label, the empty string.
        patterns: Whether URLs, numbers, codes, emoji and the like are recognised by regular expressions, see
            `zhseq.tagging.matching`. False if the model lacks the part-of-speech tags of these patterns.
        network: Computes the emission scores.
    """

    def __init__(
        self,
        network: Network,
        *,
        dictionary: UserDictionary | None = None,
        patterns: bool = True,
        name: str = "",
    ) -> None:
        """Create a tagger from a network; normally use `Tagger.load`.

        Args:
            network: Computes the emission scores.
            dictionary: User dictionary; by default an empty one.
            patterns: See `Tagger.load`.
            name: Name of the model, shown by `repr`.
        """
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
        """The user dictionary. Changes take effect from the next block of texts on."""
        own: UserDictionary = vars(self).setdefault("_dictionary", UserDictionary())  # setdefault is atomic
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

        With the PyTorch backend on a CPU, this also reduces PyTorch's cache of batch shapes, unless PyTorch has already
        computed something in this process; see `zhseq.device.limit_cached_shapes`.

        Args:
            model: A checkpoint directory or a Hugging Face repository name; by default the model shipped with zhseq.
            backend: `native` (zhseq's compiled code with 8-bit weights, CPU only), `onnx` (onnxruntime, also with 8-bit
                weights on a CPU), `torch`, or `auto`: the first of these that is fast on this machine. For a checkpoint
                with an ONNX graph, `auto` chooses onnxruntime if it is installed.
            device: `cpu`, `cuda`, `mps` or `auto`.
            threads: CPU threads; by default one, unless OMP_NUM_THREADS or `torch.set_num_threads` sets another number.
                With PyTorch the number applies to the whole process, see `zhseq.device.set_threads`.
            dictionary: A user dictionary or the path of a dictionary file, see `UserDictionary`.
            patterns: Recognise URLs, numbers, codes, emoji and the like by regular expressions, see
                `zhseq.tagging.matching`.

        Raises:
            CheckpointError: The checkpoint is missing, damaged, or not that of a tagger.
            ConfigError: The backend or the device is not available, or `threads` is less than 1.
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
            TypeError: The text is not a `str`.
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
        """Tag many texts and yield one document per text, in order.

        Texts are read and tagged in blocks of at most 1,024 texts, so that `lines` may be a generator of any length.

        Args:
            lines: Texts of any length.
            tasks: `pos`, `ner` or both; by default all tasks of the model.
            scores: Add to each word and entity its probability under the model, given the forced words.
            nbest: Number of readings (words and entities together) in `Document.alternatives`; 1 for none.
            dictionary: User dictionary for this call, instead of `Tagger.dictionary`.

        Raises:
            InputError: The model does not have a task, or `nbest` is less than 1; raised by the first `next`.
            TypeError: A text is not a `str`, or `lines` is a single text; raised by `next`, too.
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
                "this model supports {tasks}, but {asked} was requested; use another model",
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
        """Return the end of a section of a long text, so that the sections can be tagged one by one.

        The results are those of the whole text if each section contains the end of a sentence and the text has
        punctuation between clauses at least every half piece (`PIECE` / 2 characters).

        Args:
            text: The text.
            start: Start of the section: 0, or the end of the previous one.
            most: Maximum length of a section in characters; the last one may have `SECTION_MARGIN` more.
            dictionary: As in `stream`.

        Returns:
            The offset in `text` at which the section ends.
        """
        if len(text) <= start + most + SECTION_MARGIN:
            return len(text)
        window = text[start : start + most + SECTION_MARGIN]
        return start + TextBlock.of([window], self._words(dictionary), patterns=self.patterns).split_point(most)

    def _words(self, dictionary: UserDictionary | None) -> WordTables | None:
        """Return the current tables of a dictionary, by default the tagger's own; None if there are none."""
        words: UserDictionary | None = vars(self).get("_dictionary") if dictionary is None else dictionary
        return None if words is None else words.tables()

    def _readings(self, lines: list[str], block: TextBlock, found: dict[str, list[Spans]]) -> list[list[Document]]:
        """Return the documents of the lines for each reading, best reading first."""
        own = () if block.matches is None else block.matches.attributes.names
        readings = []
        for rank in range(len(next(iter(found.values())))):
            words, entities = (
                _columns(kind, found[head][rank], (*self.labels[head], *own), block.lines) if head in found else None
                for head, kind in (("pos", Word), ("ner", Entity))
            )
            readings.append(lazy_documents(lines, words, entities))
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
    """Convert spans of a block to the words or entities of its lines.

    Args:
        kind: `Word` or `Entity`.
        spans: Spans of all lines, in offsets of the concatenated lines.
        labels: Label names by index.
        offsets: Start of each line in the concatenated lines, and the end of the last line, (lines + 1,).
    """
    bounds = np.searchsorted(spans.starts, offsets)
    shift = np.repeat(offsets[:-1], np.diff(bounds))
    return Columns(
        kind, (spans.starts - shift, spans.ends - shift, spans.labels, spans.scores), bounds.tolist(), labels
    )
