"""Ask a model which second couplet belongs to a quatrain: `python scripts/foreign_couplets.py [--model DIR]`.

The second couplet of each dev quatrain that keeps the rules is exchanged for one of another poem with the same rhyme
group and the same tones. Bits are those of the whole poem, its form given. `told` is the share of poems that cost
fewer bits with their own couplet; `told both ways` compares both poems as they are with both after the exchange, so
that a couplet that is easy in itself gains nothing. `told by what the first couplet adds` takes from the bits of each
second couplet the mean of those that it costs behind first couplets of other dev poems, drawn at random: the pointwise
mutual information of the two couplets, of which the model has no more without knowing where the foreign one is from.
`told by the critic` asks the critic of whole poems which second couplet follows, and `told by both` adds its nats to
those that the first couplet adds.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zhseq.cli import run_main
from zhseq.corpus import load_poems, select_split
from zhseq.errors import InputError
from zhseq.poetry.poet import Poet
from zhseq.poetry.prosody import LEVEL, OBLIQUE, Prosody, templates

Lines = tuple[str, ...]
Bits = np.ndarray[Any, np.dtype[np.float64]]
QUATRAINS = ("七绝", "五绝")
REFERENCES = 8
"""First couplets of other poems by which it is told how common a second couplet is."""
_SIGNS = {LEVEL: OBLIQUE, OBLIQUE: LEVEL}


@dataclass(frozen=True)
class Exchange:
    """A quatrain, and the other one that lends it a couplet."""

    poem: Lines
    other: Lines
    form: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Score dev quatrains and print one JSON object."""
    parser = argparse.ArgumentParser(description="Ask a model which second couplet belongs to a quatrain.")
    parser.add_argument("--model", default=None, help="model directory (default: the one that comes with zhseq)")
    parser.add_argument("--split", default="dev", help="dev or test (default: dev)")
    parser.add_argument("--num", type=int, default=1000, help="quatrains at most (default: 1000)")
    parser.add_argument(
        "--references",
        type=int,
        default=REFERENCES,
        metavar="N",
        help=f"first couplets that tell how common a second one is; 0: do not ask (default: {REFERENCES})",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the exchange (default: 0)")
    options = parser.parse_args(arguments)
    poet = Poet.load(options.model)
    poems = select_split(load_poems(), options.split)
    found = exchanges(quatrains_of(poems), poet.reviewing(), options.seed)[: options.num]
    report: dict[str, Any] = {
        "split": options.split,
        "seed": options.seed,
        "all": told(poet, found, options.references, options.seed),
    }
    for form in QUATRAINS:
        if own := [each for each in found if each.form == form]:
            report[form] = told(poet, own)
    print(json.dumps(report, ensure_ascii=False, indent=1))
    return 0


def quatrains_of(poems: Any) -> list[tuple[Lines, str]]:
    """Return lines and form of the quatrains among some poems."""
    rows = zip(poems["lines"], poems["form"], strict=True)
    return [(tuple(lines), form) for lines, form in rows if form in QUATRAINS]


def exchanges(quatrains: Sequence[tuple[Lines, str]], prosody: Prosody, seed: int) -> list[Exchange]:
    """Pair each quatrain that keeps the rules with another one of its kind, as far as there is one.

    Args:
        quatrains: Lines and form of each.
        prosody: Tones and rhymes.
        seed: Of the choice.
    """
    alike: dict[tuple[str, int, str], list[int]] = defaultdict(list)
    keys = [kind(lines, form, prosody) for lines, form in quatrains]
    for number, key in enumerate(keys):
        if key is not None:
            alike[key].append(number)
    rng, result = np.random.default_rng(seed), []
    for number, key in enumerate(keys):
        lines, form = quatrains[number]
        ends = {line[-1] for line in lines}
        others = [other for other in alike[key] if not ends & _ends(quatrains[other][0])] if key is not None else []
        if others:
            result.append(Exchange(lines, quatrains[others[rng.integers(len(others))]][0], form))
    return result


def kind(lines: Lines, form: str, prosody: Prosody) -> tuple[str, int, str] | None:
    """Return form, rhyme group and tones of the second couplet, or None for a quatrain that breaks a rule."""
    groups = set(prosody.groups(lines[1][-1])) & set(prosody.groups(lines[3][-1]))
    level = [group for group in sorted(groups) if prosody.rhyme_groups[group].tone.value == LEVEL]
    patterns = [pattern for pattern in templates(form) if _keeps(lines, pattern.tones, prosody)]
    if not level or not patterns or lines[1][-1] == lines[3][-1]:
        return None
    return form, level[0], "|".join(patterns[0].tones[2:])


def _keeps(lines: Lines, tones: Sequence[str], prosody: Prosody) -> bool:
    """Tell whether each line but the first has these tones at its even places; the first may rhyme or not."""
    return all(
        prosody.tone_class(character).value != _SIGNS.get(tone)
        for line, pattern in zip(lines, tones, strict=True)
        for character, tone in zip(line[1:-1:2], pattern[1:-1:2], strict=True)
    )


def _ends(lines: Lines) -> set[str]:
    return {line[-1] for line in lines}


def told(poet: Poet, found: Sequence[Exchange], references: int = 0, seed: int = 0) -> dict[str, Any]:
    """Return how often, and by how many bits, a model prefers poems as they are.

    Args:
        poet: The model.
        found: Poems and those that lend them a couplet.
        references: First couplets by which it is told how common a second one is; 0: this is not asked.
        seed: Of their choice.

    Raises:
        InputError: There is no pair of quatrains to exchange couplets.
    """
    if not found:
        raise InputError("no_quatrains", "there are no two quatrains of one rhyme group and one tone pattern")
    whole = _bits(poet, [(each.poem, each.form) for each in found])
    foreign = _bits(poet, [(each.poem[:2] + each.other[2:], each.form) for each in found])
    other = _bits(poet, [(each.other, each.form) for each in found])
    lent = _bits(poet, [(each.other[:2] + each.poem[2:], each.form) for each in found])
    added: dict[str, Any] = {}
    if references:
        common, common_foreign = commonness(poet, found, references, seed)
        own, other_own = whole - common, foreign - common_foreign
        added = {"told by what the first couplet adds": float((own < other_own).mean()), "references": references}
        if poet.critic is not None:
            mixed = [each.poem[:2] + each.other[2:] for each in found]
            follows = poet.critic.score([each.poem for each in found], poet.vocab) - poet.critic.score(
                mixed, poet.vocab
            )
            both = math.log(2) * (other_own - own) + follows
            added |= {"told by the critic": float((follows > 0).mean()), "told by both": float((both > 0).mean())}
    return {
        "quatrains": len(found),
        "told": float((whole < foreign).mean()),
        **added,
        "told both ways": float((whole + other < foreign + lent).mean()),
        "bits of a poem": float(whole.mean()),
        "bits that a foreign couplet costs": float((foreign - whole).mean()),
    }


def commonness(poet: Poet, found: Sequence[Exchange], references: int, seed: int) -> tuple[Bits, Bits]:
    """Return the mean bits of first couplets of others before the own and before the foreign second one, (quatrains,).

    The two share their first couplets, whose bits fall out of the difference.
    """
    rng = np.random.default_rng([seed, 5])
    first = {form: [each.other[:2] for each in found if each.form == form] for form in {each.form for each in found}}
    totals = np.zeros((2, len(found)))
    for _ in range(references):
        drawn = [first[each.form][rng.integers(len(first[each.form]))] for each in found]
        for row, lines in enumerate(([each.poem[2:] for each in found], [each.other[2:] for each in found])):
            totals[row] += _bits(
                poet, [(one + two, each.form) for one, two, each in zip(drawn, lines, found, strict=True)]
            )
    return totals[0] / references, totals[1] / references


def _bits(poet: Poet, poems: Sequence[tuple[Lines, str]]) -> Bits:
    return np.array([score.bits for score in poet.score([lines for lines, _ in poems], [form for _, form in poems])])


if __name__ == "__main__":
    run_main(main)
