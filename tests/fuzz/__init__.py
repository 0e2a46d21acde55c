"""Inputs that nobody would write: a result, or an error in one sentence, and never anything else.

`pytest -m fuzz` tries a few dozen inputs in each test, the same in each run. `FUZZ_SECONDS` is about the time for a
test (default: 5); if it is set, the inputs are others in each run.
"""
