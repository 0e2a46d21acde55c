"""Requests made up from the service's own OpenAPI document: no answer may break what it says.

`FUZZ_SECONDS` is the time box of each endpoint, with good and with bad requests (default: 5).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings

from tests.serve.fakes import serving

schemathesis = pytest.importorskip("schemathesis")
checks = pytest.importorskip("schemathesis.checks")

pytestmark = [pytest.mark.fuzz, pytest.mark.filterwarnings("ignore")]

_BODIES = ("tag", "poems", "poems/check", "poems/suggest", "poems/rewrite")
_ROUND = 20  # requests until the clock is looked at
SECONDS = float(os.environ.get("FUZZ_SECONDS", "5"))


@pytest.fixture(scope="module")
def api() -> Iterator[Any]:
    with serving(timeout=10.0) as address:
        yield schemathesis.openapi.from_url(f"{address}/openapi.json")


@pytest.mark.parametrize(
    ("path", "mode"),
    [
        *((f"/v1/{name}", mode) for name in _BODIES for mode in ("positive", "negative")),
        # There is nothing to get wrong.
        *((path, "positive") for path in ("/v1/options", "/health", "/ready", "/metrics")),
    ],
)
def test_answers_are_as_documented(api: Any, path: str, mode: str) -> None:
    operation = next(iter(api[path].values()))

    @given(operation.as_strategy(generation_mode=schemathesis.GenerationMode(mode)))
    @settings(max_examples=_ROUND, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    def run(case: Any) -> None:
        case.call_and_validate(excluded_checks=[checks.positive_data_acceptance])  # a tune, say, may be unknown

    end = time.monotonic() + SECONDS
    for number in count():
        seed(number)(run)()
        if time.monotonic() > end:
            break
