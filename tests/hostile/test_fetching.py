"""Nothing that a document or a sidecar says makes the server fetch anything, or read another file."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from app.quoting import quote
from app.settings import Settings
from index.build import ingest
from index.search import Index
from ingest.limits import Limits
from tests.hashing import HashingEmbedder
from tests.hostile.documents import WORDS, documents


@pytest.mark.enable_socket
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_no_address_is_looked_up(tmp_path: Path) -> None:
    """It is a real server that nobody calls: converters are processes of their own, and not all of them in Python."""
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        files = documents(f"http://127.0.0.1:{server.getsockname()[1]}")
        for name, content in files.items():
            (corpus / name).write_bytes(content)
        report = ingest([corpus], tmp_path / "snapshots", HashingEmbedder(), Limits())
        index = Index.open(tmp_path / "snapshots", HashingEmbedder())
        said = {turn.text for source in index.store.sources() for turn in index.store.turns(source.id, 0, None)}
        given = quote(index, Settings(min_confidence=0.0), "what happened to the manuals?")
        index.close()
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert not report.errors
    assert report.added == len([name for name in files if not name.endswith(".yaml")])
    assert sum(WORDS in text for text in said)
    assert given.citations
    assert not [text for text in said if "root:" in text]
