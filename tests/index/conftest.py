"""The embedder that most tests of the index use."""

from __future__ import annotations

import pytest

from tests.hashing import HashingEmbedder


@pytest.fixture
def hashing() -> HashingEmbedder:
    return HashingEmbedder()


@pytest.fixture(scope="session")
def hashing_type() -> type[HashingEmbedder]:
    return HashingEmbedder
