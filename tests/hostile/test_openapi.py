"""The API does what its OpenAPI document says, and refuses all else; `python -m benchmarks.fuzz api` asks it more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile.asking_all import ask_all, fuzzed_app

CASES = 12
"""Random requests to each operation."""


@pytest.mark.parametrize("keys", [False, True], ids=["for all", "with keys"])
def test_whatever_is_asked(hashed_index: Path, keys: bool) -> None:
    app = fuzzed_app(hashed_index, keys=keys)
    found = ask_all(app, cases=CASES, seed=1)
    assert not found.faults, "\n\n".join(found.faults.values())
    paths = app.openapi()["paths"].items()
    assert found.asked.keys() >= {f"{method.upper()} {path}" for path, operations in paths for method in operations}
