"""Tones, rhymes and patterns of verse, estimated from verse (`python -m zhseq.train prosody`). Needs no torch."""

from zhseq.poetry.prosody.patterns import (
    CI,
    FREE,
    LEVEL,
    OBLIQUE,
    OPPOSITE,
    UNASSIGNED,
    Pattern,
    TunePattern,
    regulated_patterns,
    templates,
)
from zhseq.poetry.prosody.prosody import PROSODY_FILE, Prosody, RhymeGroup, Tone, ToneMasks

__all__ = [
    "CI",
    "FREE",
    "LEVEL",
    "OBLIQUE",
    "OPPOSITE",
    "PROSODY_FILE",
    "UNASSIGNED",
    "Pattern",
    "Prosody",
    "RhymeGroup",
    "Tone",
    "ToneMasks",
    "TunePattern",
    "regulated_patterns",
    "templates",
]
