"""Fixtures that more than one package's tests need."""

from __future__ import annotations

from pathlib import Path

import pytest

from index.build import ingest
from index.embed import Embedder, load_embedder
from ingest.limits import Limits

CORPUS = Path(__file__).parent.parent / "corpus"


@pytest.fixture(scope="session")
def embedder() -> Embedder:
    """The default model, loaded once."""
    return load_embedder()


@pytest.fixture(scope="session")
def sample_index(tmp_path_factory: pytest.TempPathFactory, embedder: Embedder) -> Path:
    """The folder of an index over the sample corpus; only for reading."""
    folder = tmp_path_factory.mktemp("sample") / "snapshots"
    report = ingest([CORPUS], folder, embedder, Limits())
    assert not report.errors
    assert report.added == 3
    return folder
