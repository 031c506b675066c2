"""All that `python -m benchmarks.fuzz files` ever found, and inputs of its kind: read, or refused by the reader's own
error."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.hostile.targets import TARGETS

HERE = Path(__file__).parent
FINDS = sorted(file for file in (HERE / "finds").glob("*/*") if file.is_file())
WORDS = [
    line[1:-1].encode().decode("unicode_escape").encode("latin-1", "replace")
    for line in (HERE / "words.dict").read_text().splitlines()
    if line.startswith('"')
]
"""Such as the formats are made of."""

anything = st.lists(st.sampled_from(WORDS) | st.binary(max_size=8) | st.text(max_size=20).map(str.encode)).map(b"".join)


@pytest.mark.parametrize("find", FINDS, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_what_was_found(find: Path) -> None:
    TARGETS[find.parent.name](find.read_bytes())


@pytest.mark.parametrize("target", TARGETS)
@given(data=anything)
@settings(deadline=None, max_examples=50, suppress_health_check=list(HealthCheck))
def test_whatever_the_bytes(target: str, data: bytes) -> None:
    TARGETS[target](data)
