"""Learn prosody from the poetry corpora: `python -m zhseq.train prosody --output DIR`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from zhseq.cli import SettingsParser, add_run_options

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from zhseq.poetry.prosody.learning import LearnedProsody
    from zhseq.poetry.prosody.tunes import Stanzas

_STANZA_SOURCE = "poetry-source"
"""Name of the source that marks the stanzas of ci, as paragraphs."""


def add_parser(commands: _SubParsersAction[SettingsParser]) -> None:
    """Add `prosody` to the commands of `python -m zhseq.train`."""
    parser = commands.add_parser("prosody", help="estimate tones, rhymes and tunes from verse")
    add_run_options(parser, "prosody", None, products=["prosody.json"])
    parser.set_defaults(run=main)


def main(options: argparse.Namespace) -> int:
    """Learn prosody from the training split, write `prosody.json` and print a summary."""
    learned = learn_prosody()
    prosody = learned.prosody
    prosody.save(options.output)
    table = prosody.table
    print(
        f"{len(table.characters):,} characters, {int(table.learned.sum()):,} of them from verse; "
        f"{len(prosody.rhyme_groups)} rhyme groups; {len(prosody.tunes)} tunes; in {options.output}"
    )
    return 0


def learn_prosody() -> LearnedProsody:
    """Learn prosody from the training split of the poetry corpora.

    Raises:
        CorpusError: The corpora are missing or damaged.
        ConfigError: pypinyin is not installed.
    """
    from zhseq.corpus.poems import load_poems, select_split
    from zhseq.poetry.prosody.learning import learn
    from zhseq.poetry.prosody.verse_table import VerseTable

    table = VerseTable.from_dataset(select_split(load_poems(), "train"))
    return learn(table, read_stanzas())


def read_stanzas() -> Stanzas:
    """Return the stanza ends of ci whose source marks stanzas: id -> numbers of characters before each end."""
    from zhseq.corpus.poetry import CI, read_source
    from zhseq.corpus.registry import corpora_root, corpus_folder

    folder = corpus_folder(_STANZA_SOURCE, corpora_root())
    records = [record for record in read_source(_STANZA_SOURCE, folder) if record.kind == CI]
    return {record.id: _stanza_ends(record.text) for record in records}


def _stanza_ends(text: str) -> tuple[int, ...]:
    """Count the characters up to the end of each paragraph except the last; line borders may differ from those here."""
    from zhseq.poetry.reading import split_lines

    ends, total = [], 0
    for paragraph in text.split("\n")[:-1]:
        total += sum(map(len, split_lines(paragraph)))
        ends.append(total)
    return tuple(dict.fromkeys(ends))
