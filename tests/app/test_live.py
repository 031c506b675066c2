from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import index.local
from app.live import LiveIndex
from index.build import ingest
from index.embed import Embedder
from index.errors import NoSnapshotError
from index.snapshot import CURRENT, current_folder
from ingest.limits import Limits

Put = Callable[..., str]


@pytest.fixture
def index_dir(tmp_path: Path) -> Path:
    return tmp_path / "snapshots"


@pytest.fixture
def put(tmp_path: Path, index_dir: Path, embedder: Embedder) -> Put:
    """Writes transcripts into a corpus, ingests it, and gives the snapshot's id."""

    def put(**said: str) -> str:
        corpus = tmp_path / "corpus"
        corpus.mkdir(exist_ok=True)
        for name, words in said.items():
            (corpus / f"{name}.txt").write_text(f"Ann Lee (00:00:01):\n{words}\n\nBob Ray (00:00:09):\nI see.\n")
        return ingest([corpus], index_dir, embedder, Limits()).snapshot

    return put


def served(live: LiveIndex) -> list[str]:
    with live.use(None) as index:
        return [turn.text for source in index.store.sources() for turn in index.store.turns(source.id)]


def test_an_index_appears_and_is_replaced(put: Put, index_dir: Path, embedder: Embedder) -> None:
    live = LiveIndex(index_dir, embedder)
    live.refresh()
    with pytest.raises(NoSnapshotError, match=r"no index in .* yet: run `onrecord ingest` first"), live.use(None):
        pass
    put(talk="Ships are built of oak.")
    live.refresh()
    assert served(live) == ["Ships are built of oak.", "I see."]
    put(talk="Ships are built of steel.")
    assert served(live) == ["Ships are built of oak.", "I see."]
    live.refresh()
    assert served(live) == ["Ships are built of steel.", "I see."]
    live.close()
    with pytest.raises(NoSnapshotError), live.use(None):
        pass


def test_a_request_under_way_keeps_the_index_it_began_with(put: Put, index_dir: Path, embedder: Embedder) -> None:
    live = LiveIndex(index_dir, embedder)
    put(talk="Ships are built of oak.")
    live.refresh()
    with live.use(None) as index:
        put(talk="Ships are built of steel.")
        live.refresh()
        put(talk="Ships are built of glass.")
        live.refresh()
        assert served(live)[0] == "Ships are built of glass."
        assert index.store.turns("talk")[0].text == "Ships are built of oak."
        held = index_dir / index.holdings.id
        assert held.is_dir()
    put(talk="Ships are built of straw.")
    assert not held.exists(), "nobody reads it any more, so the next ingest clears it away"
    live.close()


def test_a_damaged_newer_index_leaves_the_older_in_use(
    put: Put, index_dir: Path, embedder: Embedder, capsys: pytest.CaptureFixture[str]
) -> None:
    live = LiveIndex(index_dir, embedder)
    put(talk="Ships are built of oak.")
    live.refresh()
    put(talk="Ships are built of steel.")
    vectors = next(current_folder(index_dir).rglob("vectors.faiss"))
    vectors.write_bytes(vectors.read_bytes()[:-1] + b"\0\0")
    live.refresh()
    live.refresh()
    assert served(live)[0] == "Ships are built of oak."
    logged = "".join(capsys.readouterr())
    assert logged.count("vectors.faiss: its checksum") == 1, "logged once, not every second"
    put(talk="Ships are built of glass.")
    live.refresh()
    assert served(live)[0] == "Ships are built of glass."
    live.close()


def test_what_a_large_snapshot_s_opening_passes_over_is_looked_at_afterwards(
    put: Put, index_dir: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(index.local, "VERIFIED_BYTES", 1000)  # so that a snapshot of one document is large
    put(talk="Ships are built of oak.")
    live = LiveIndex(index_dir, embedder)
    live.refresh()
    live.check()
    assert served(live)[0] == "Ships are built of oak."
    put(talk="Ships are built of steel.")
    records = next(current_folder(index_dir).rglob("records.sqlite"))
    data = bytearray(records.read_bytes())
    data[data.index(b"steel")] ^= 1
    records.write_bytes(data)
    live.refresh()
    assert served(live)[0] == "Ships are built of rteel."
    live.check()
    for _ in range(2):
        damaged = r"is damaged \(segments/.*records\.sqlite: its checksum"
        with pytest.raises(NoSnapshotError, match=damaged), live.use(None):
            pass
        live.refresh()
    assert "".join(capsys.readouterr()).count("is damaged") == 1
    put(talk="Ships are built of glass.")
    live.refresh()
    live.check()
    assert served(live)[0] == "Ships are built of glass."
    live.close()


def test_an_index_that_vanishes_stays_in_use(put: Put, index_dir: Path, embedder: Embedder) -> None:
    live = LiveIndex(index_dir, embedder)
    put(talk="Ships are built of oak.")
    live.refresh()
    (index_dir / CURRENT).unlink()
    live.refresh()
    assert served(live)[0] == "Ships are built of oak."
    live.close()


def test_no_request_fails_while_snapshots_change(put: Put, index_dir: Path, embedder: Embedder) -> None:
    live = LiveIndex(index_dir, embedder)
    put(talk="Ships are built of oak, number 0.")
    live.refresh()
    done = threading.Event()

    def ask() -> set[str]:
        seen: set[str] = set()
        while not done.is_set():
            with live.use(None) as index:
                vector = index.embedder.embed(["ships"])[0]
                hits = index.search("ships", vector)
                seen.add(hits[0].turns[0].text)
        return seen

    with ThreadPoolExecutor(4) as pool:
        askers = [pool.submit(ask) for _ in range(4)]
        try:
            for number in range(1, 6):
                put(talk=f"Ships are built of oak, number {number}.")
                live.refresh()
        finally:
            done.set()
        seen = set[str]().union(*(asker.result() for asker in askers))
    assert len(seen) > 1
    assert seen <= {f"Ships are built of oak, number {number}." for number in range(6)}
    assert served(live)[0].endswith("number 5.")
    live.close()
    assert len([path for path in index_dir.iterdir() if path.is_dir()]) <= 2


class Backwards:
    """A reranker to which the last is the best."""

    def rerank(self, query: str, texts: Sequence[str]) -> list[float]:
        return [float(number) for number in range(len(texts))]


def test_the_reranker_is_handed_from_index_to_index(put: Put, index_dir: Path, embedder: Embedder) -> None:
    reranker = Backwards()
    live = LiveIndex(index_dir, embedder, reranker)
    for material in ("oak", "steel"):
        put(talk=f"Ships are built of {material}.")
        live.refresh()
        with live.use(None) as index:
            assert index.reranker is reranker
    live.close()
