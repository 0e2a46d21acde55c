"""What zhseq says in Chinese: the sentence for each code of a message, with the gaps of the English one."""

from __future__ import annotations

# The English sentences stand where they are raised; `tests/test_messages.py` holds the two together.
_POETRY: dict[str, str] = {}

_TAGGING: dict[str, str] = {}

_CORPORA_AND_TRAINING: dict[str, str] = {}

_BULK: dict[str, str] = {
    "output_is_input": "结果应写入单独的文件，现会覆盖正在读取的文件（{name}）；请用 <output> 另指文件。",
}

_SERVICE: dict[str, str] = {}

CHINESE: dict[str, str] = {**_POETRY, **_TAGGING, **_CORPORA_AND_TRAINING, **_BULK, **_SERVICE}
