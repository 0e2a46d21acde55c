"""What can be asked for: forms, tunes, authors, and the tags with their names in Chinese and English."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zhseq.formats import PKU_TO_UPOS, UPOS
from zhseq.serve.tag_names import ENTITY_NAMES, POS_NAMES
from zhseq.verse import FORMS

if TYPE_CHECKING:
    from zhseq.poet import Poet
    from zhseq.tagger import Tagger

_FORM_NAMES = {
    "五绝": "quatrain, five characters a line",
    "七绝": "quatrain, seven characters a line",
    "五律": "eight lines of five characters",
    "七律": "eight lines of seven characters",
}
_RHYMES = ["auto", "classical", "modern", "none"]


def options_of(tagger: Tagger, poet: Poet) -> dict[str, Any]:
    """Return what this tagger and this poet know."""
    prosody = poet.prosody
    tunes = {} if prosody is None else prosody.tunes
    return {
        "forms": [
            {"name": form.name, "english": _FORM_NAMES[form.name], "lines": list(form.line_lengths)}
            for form in FORMS.values()
        ],
        "tunes": [
            {
                "name": name,
                "poems": tunes[name].total,
                "lines": len(tunes[name].line_lengths),
                "characters": sum(tunes[name].line_lengths),
            }
            for name in poet.tunes
        ],
        "authors": list(poet.authors),
        "dynasties": list(poet.dynasties),
        "rhymes": _RHYMES if prosody is not None else ["none"],
        "tags": {
            "pos": [
                {**row, "upos": row["tag"] if row["tag"] in UPOS else PKU_TO_UPOS.get(row["tag"], "X")}
                for row in _named(tagger, "pos", POS_NAMES)
            ],
            "ner": _named(tagger, "ner", ENTITY_NAMES),
        },
    }


def _named(tagger: Tagger, task: str, names: dict[str, tuple[str, str]]) -> list[dict[str, str]]:
    """Return the labels of a task with their names, in the order of the names."""
    labels = {tag.partition("-")[2] for tag in tagger.model.config.heads.get(task, ())} - {""}
    order = [label for label in names if label in labels] + sorted(labels - set(names))
    rows = [(label, *names.get(label, (label, label))) for label in order]
    return [{"tag": label, "chinese": chinese, "english": english} for label, chinese, english in rows]
