"""Tune names of ci: found in a field of their own or at the head of a title, cut free of topics and variants."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable

_BRACKETED = re.compile(r"[(\[“‘〔【].*?[)\]”’〕】]")
_UNKNOWN = frozenset({"失调名", "无题", "阙题", ""})
_ORDINAL = re.compile(r"(?:其|之)?[一二三四五六七八九十百\d]+(?:首)?$")
_DOTS = "·・•‧"
_SPLIT = re.compile(f"[{_DOTS}]")
_MIN_HEAD = 3
"""A head before a dot counts as a tune from so many titles on: a rare one may be half of a place name."""
_MAX_TUNE = 7
"""Longest tune name taken on trust from before a dot, in characters (凤凰台上忆吹箫 has seven)."""


def collect_tunes(names: Iterable[str], titles: Iterable[str]) -> frozenset[str]:
    """Gather the tune names that the corpora themselves attest.

    Args:
        names: normalised tune fields (`rhythmic`).
        titles: normalised titles of ci that carry their tune before a dot, as in 浣溪沙·春日.
    """
    known = {canonical_tune(name) for name in names}
    heads = Counter(_SPLIT.split(title)[0].strip() for title in titles if _SPLIT.search(title))
    known.update(head for head, count in heads.items() if count >= _MIN_HEAD and 2 <= len(head) <= _MAX_TUNE)
    return frozenset(known - _UNKNOWN)


def canonical_tune(name: str) -> str:
    """Strip variants and remarks from a normalised tune field; 秦楼月・忆秦娥 (alias, standard name) gives 忆秦娥."""
    tune = _SPLIT.split(_BRACKETED.sub("", name))[-1].strip()
    return "" if tune in _UNKNOWN else tune


def split_title(title: str, tune: str, known: Collection[str]) -> tuple[str, str]:
    """Part the normalised title of a ci into tune and topic.

    Args:
        title: title, with or without the tune at its head.
        tune: canonical tune from a field of its own, or empty.
        known: tune names that may stand at the head of a title.

    Returns:
        Tune (empty when there is none that is known) and topic (empty when the title is only a tune and a number).
    """
    head, *rest = _SPLIT.split(title, maxsplit=1)
    head = _BRACKETED.sub("", head).strip()
    if tune:
        topic = title.removeprefix(tune)
    elif rest and (head in known or 2 <= len(head) <= _MAX_TUNE):
        tune, topic = head, rest[0]
    else:
        lengths = range(min(_MAX_TUNE + 3, len(title)), 1, -1)
        tune = next((title[:length] for length in lengths if title[:length] in known), "")
        topic = title.removeprefix(tune)
    topic = topic.strip(_DOTS + " ")
    return tune, "" if _ORDINAL.match(topic) else topic
