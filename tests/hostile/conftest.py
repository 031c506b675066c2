"""An index of the sample corpus that costs nothing to ask, and an app over it."""

from __future__ import annotations

from pathlib import Path

import pytest

from index.build import ingest
from ingest.limits import Limits
from tests.hashing import HashingEmbedder

CORPUS = Path(__file__).parents[2] / "corpus"


@pytest.fixture(scope="session")
def hashed_index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an index over the sample corpus, whose vectors count words; only for reading."""
    folder = tmp_path_factory.mktemp("hostile") / "snapshots"
    assert not ingest([CORPUS], folder, HashingEmbedder(), Limits()).errors
    return folder
