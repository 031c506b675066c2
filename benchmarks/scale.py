"""What an index costs and how fast it is at up to a million passages, on a corpus that is made up.

    python benchmarks/scale.py [--sizes 5000 10000 100000 1000000] [--folder DIR]

`benchmarks/synthetic.py` makes documents, speakers, vectors and questions; they are written and searched by the
project's own code, only that no text is embedded. A question is embedded by the real model where time is measured, and
then searched for with the vector that was made for it, since vectors of real questions lie apart from made-up ones.
Each part runs in a process of its own. Cold means that the page cache holds nothing of the index. Prints Markdown.
A million passages take 8 GB in DIR (by default a temporary folder) and a quarter of an hour.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from synthetic import DIMENSION, SHARES, Corpus, Query

from app import quoting
from index import build, segment
from index.build import ingest
from index.changes import Changes, Report
from index.embed import Matrix, OnnxEmbedder, unit
from index.lexical import terms
from index.local import LocalStore
from index.search import CANDIDATES, Index
from index.snapshot import new_snapshot, writer_lock
from index.store import Scope
from ingest.limits import Limits
from ingest.model import Document

ALL = "all"
TARGETS = {5_000: 1.3, 100_000: 1.5, 1_000_000: 2.0}
"""Most that a search may take, in times of the model's forward pass, up to so many passages."""
SEARCHES, FILTERED, COLD, JUDGED, BLOCK = 1000, 300, 100, 100, 50
ROOT = Path(__file__).parent.parent


class StandIn(OnnxEmbedder):
    """The real model, run for each question; the vectors are made up."""

    def __init__(self, vectors: dict[str, Matrix]) -> None:
        super().__init__()
        self._vectors = vectors
        self._random = np.random.default_rng(1)

    def embed(self, texts: Sequence[str]) -> Matrix:
        super().embed(texts)
        return np.stack([self._vectors[text] for text in texts])

    def embed_passage(self, text: str, ranges: Sequence[tuple[int, int]]) -> tuple[Matrix, Matrix]:
        rows = unit(self._random.standard_normal((1 + len(ranges), DIMENSION)).astype(np.float32))
        return rows[0], rows[1:]


def apart(function: Callable[..., Any], *args: Any) -> Any:
    """What a function gives in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


@dataclass(frozen=True, slots=True)
class Built:
    """Seconds and bytes by part, and the most memory that was in use."""

    seconds: dict[str, float]
    sizes: dict[str, int]
    peak_mb: int


def make(folder: Path, passages: int) -> Built:
    """A snapshot of one segment."""
    seconds: Counter[str] = Counter()

    def timed(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                seconds[part] += time.perf_counter() - began

        return run

    segment.write_vectors = timed("vectors", segment.write_vectors)
    segment.write_graph = timed("graph", segment.write_graph)
    build.write_words = timed("words", build.write_words)
    build.publish = timed("checksums, and safely on the disk", build.publish)
    sources = Corpus(passages).sources()
    began = time.perf_counter()
    with writer_lock(folder), new_snapshot(folder) as new:
        anew = build._Build(new, None, Changes((), (), ()), StandIn({}), Report(), lambda done, total: None)
        with anew._new_segment() as (name, writer):
            while source := timed("", lambda: next(sources, None))():
                anew._namings[source.prepared.record.source.id] = source.prepared.record.naming
                anew._place(name, writer, source)
        anew.publish()
    rest = time.perf_counter() - began - sum(seconds.values())
    del seconds[""]  # making the corpus up
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return Built({"turns, passages, sentences' vectors": rest, **seconds}, sizes_of(folder), peak)


def sizes_of(folder: Path) -> dict[str, int]:
    parts = {"vectors.faiss": "vectors", "graph.faiss": "graph", "sentences.npy": "sentences' vectors"}
    sizes: Counter[str] = Counter()
    for path in files_of(folder):
        part = "words" if path.parent.name == "lexical" else parts.get(path.name, "turns, passages, catalogue")
        sizes[part] += path.stat().st_size
    return dict(sizes)


def files_of(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def forget(folder: Path) -> None:
    """Takes the files out of the page cache."""
    os.sync()
    for path in files_of(folder):
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def memory_mb(pid: int | str = "self") -> tuple[float, float]:
    """Memory of a process: its own, and what it has mapped of files, which the system may take back."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(fields["RssAnon"].split()[0]) / 1024, int(fields["RssFile"].split()[0]) / 1024


def scopes(corpus: Corpus) -> dict[str, tuple[str, ...]]:
    """What a search may be limited to: names of speakers."""
    return {ALL: (), **{f"{share:.1%}": (name,) for share, name in zip(SHARES, corpus.frequent, strict=True)}}


def times_ms(action: Callable[[Any], object], on: Iterable[Any]) -> list[float]:
    times: list[float] = []
    for each in on:
        began = time.perf_counter()
        action(each)
        times.append((time.perf_counter() - began) * 1000)
    return times


def search_ms(index: Index, queries: Iterable[Query], speakers: Sequence[str]) -> list[float]:
    """What searches take when the questions are embedded already."""
    return times_ms(lambda query: index.search(query.text, query.vector, speakers=speakers), queries)


def p50_p99(times: Sequence[float]) -> str:
    ordered = sorted(times)
    return f"{ordered[len(ordered) // 2]:.2f} / {ordered[int(len(ordered) * 0.99)]:.2f}"


@dataclass(frozen=True, slots=True)
class Opened:
    """Seconds until an index is open, the memory that takes, and milliseconds of the first searches."""

    seconds: float
    memory_mb: tuple[float, float]
    searches_ms: list[float]


def open_cold(folder: Path, passages: int, scope: str) -> Opened:
    corpus = Corpus(passages)
    queries = corpus.queries(COLD)
    embedder = StandIn({})
    forget(folder)
    before = memory_mb()
    began = time.perf_counter()
    index = Index.open(folder, embedder)
    seconds = time.perf_counter() - began
    after = memory_mb()
    times = search_ms(index, queries, scopes(corpus)[scope])
    return Opened(seconds, (after[0] - before[0], after[1] - before[1]), times)


@dataclass(frozen=True, slots=True)
class Warm:
    """Medians with the model and of the model alone, searches without the model by scope, and memory after them."""

    opened_seconds: float
    forward_ms: float
    whole_ms: float
    searches_ms: dict[str, list[float]]
    memory_mb: tuple[float, float]


def search_warm(folder: Path, passages: int) -> Warm:
    corpus = Corpus(passages)
    queries = corpus.queries(2 * SEARCHES)
    embedder = StandIn({query.text: query.vector for query in queries})
    for path in files_of(folder):
        with path.open("rb") as file:
            while file.read(1 << 24):
                pass
    before = memory_mb()
    began = time.perf_counter()
    index = Index.open(folder, embedder)
    opened = time.perf_counter() - began
    first, second = queries[:SEARCHES], queries[SEARCHES:]
    search_ms(index, first, ())
    after = memory_mb()
    times = {scope: search_ms(index, second[:FILTERED], names) for scope, names in scopes(corpus).items()}
    forward: list[float] = []
    whole: list[float] = []
    for block in range(0, SEARCHES, BLOCK):  # by turns, since the machine is not always equally fast
        texts = [query.text for query in second[block : block + BLOCK]]
        forward += times_ms(lambda text: OnnxEmbedder.embed(embedder, [text]), texts)
        whole += times_ms(lambda text: quoting.search(index, text), texts)
    memory = after[0] - before[0], after[1] - before[1]
    return Warm(opened, statistics.median(forward), statistics.median(whole), times, memory)


def recall(folder: Path, passages: int) -> dict[str, float]:
    """Of the ten nearest by numpy, those among the ten nearest by the index, by scope."""
    corpus = Corpus(passages)
    queries = corpus.queries(JUDGED)
    index = Index.open(folder, StandIn({}))
    store = index.store
    assert isinstance(store, LocalStore)
    asked = np.stack([query.vector for query in queries])
    shares: dict[str, float] = {}
    for scope, names in scopes(corpus).items():
        rows = store.rows(Scope(speakers=names))
        parts = np.array_split(rows, 1 + len(rows) // 50_000)
        cosines = np.hstack([asked @ store.dense.vectors(part).T for part in parts])
        nearest = rows[np.argsort(-cosines, axis=1)[:, :10]]
        common = 0
        for query, expected in zip(queries, nearest, strict=True):
            found = store.find(terms(query.text), query.vector, CANDIDATES, Scope(speakers=names), ())
            common += len(np.intersect1d(found.dense[0][:10], expected))
        shares[scope] = common / nearest.size
    return shares


@dataclass(frozen=True, slots=True)
class Served:
    """Seconds from the start of a server until it is ready, and its memory then."""

    seconds: float
    memory_mb: tuple[float, float]


def serve(folder: Path) -> Served:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    began = time.perf_counter()
    command = [sys.executable, "-m", "app", "serve", "--index", str(folder), "--port", str(port)]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not ready(f"http://127.0.0.1:{port}/readyz"):
            time.sleep(0.01)
        return Served(time.perf_counter() - began, memory_mb(server.pid))
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()


def ready(url: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(url) as response:
        return response.status == 200
    return False


@dataclass(frozen=True, slots=True)
class Changed:
    """Seconds of an ingest of one document more, of one less, and for a server to open what was made of it."""

    added: float
    removed: float
    followed: float
    passages: int


def change(folder: Path, passages: int) -> Changed:
    embedder = StandIn({})
    document = Corpus(passages).document(75)
    index = Index.open(folder, embedder)
    graphs = {path.stat().st_ino for path in files_of(folder) if path.name == "graph.faiss"}
    with tempfile.TemporaryDirectory() as more:
        Path(more, "one-more.json").write_text(as_json(document))
        added = ingest([Path(more)], folder, embedder, Limits())
        began = time.perf_counter()
        newer = index.newer()
        followed = time.perf_counter() - began
        assert len(newer) == len(index) + added.embedded
        Path(more, "one-more.json").unlink()
        removed = ingest([Path(more)], folder, embedder, Limits())
    assert graphs >= {path.stat().st_ino for path in files_of(folder) if path.name == "graph.faiss"}
    return Changed(added.seconds, removed.seconds, followed, added.embedded)


def as_json(document: Document) -> str:
    """As a Podcasting 2.0 transcript."""
    segments = [
        {"speaker": turn.speaker, "startTime": turn.start, "endTime": turn.end, "body": turn.text}
        for turn in document.turns
    ]
    return json.dumps({"version": "1.0.0", "segments": segments})


@dataclass(frozen=True, slots=True)
class Measured:
    """Of one size."""

    built: Built
    cold: dict[str, Opened]
    warm: Warm
    recall: dict[str, float]
    ready_seconds: tuple[float, float]
    server_mb: tuple[float, float]
    changed: Changed


def measure(folder: Path, passages: int) -> Measured:
    built = apart(make, folder, passages)
    cold = {scope: apart(open_cold, folder, passages, scope) for scope in scopes(Corpus(passages))}
    forget(folder)
    first, second = serve(folder), serve(folder)
    warm = apart(search_warm, folder, passages)
    found = apart(recall, folder, passages)
    changed = apart(change, folder, passages)
    return Measured(built, cold, warm, found, (first.seconds, second.seconds), second.memory_mb, changed)


def mb(memory: tuple[float, float]) -> str:
    return f"{memory[0]:.0f} + {memory[1]:.0f}"


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    print(f"\n| {' | '.join(headings)} |\n|{' --- |' * len(headings)}")
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |")


def print_parts(what: str, parts: dict[int, dict[str, float]]) -> None:
    names = list(dict.fromkeys(name for each in parts.values() for name in each))
    rows = (
        [size, *(f"{each.get(name, 0):.1f}" for name in names), f"{sum(each.values()):.1f}"]
        for size, each in parts.items()
    )
    print_table([f"passages: {what}", *names, "all"], rows)


def print_tables(measured: dict[int, Measured]) -> None:
    of_all = measured.items()
    targets = {size: next((times for most, times in TARGETS.items() if size <= most), "") for size in measured}
    print_table(
        ["passages", "forward ms", "search, embedding included, ms", "times the forward", "target"],
        (
            [n, f"{w.forward_ms:.2f}", f"{w.whole_ms:.2f}", f"{w.whole_ms / w.forward_ms:.2f}", targets[n]]
            for n, w in ((n, m.warm) for n, m in of_all)
        ),
    )
    print_table(
        ["passages", "those of a speaker of", "recall@10", "warm p50 / p99 ms", "cold p50 / p99 ms", "first, cold, ms"],
        (
            [n, scope, f"{found:.3f}", p50_p99(m.warm.searches_ms[scope]), p50_p99(cold), f"{cold[0]:.0f}"]
            for n, m in of_all
            for scope, found in m.recall.items()
            for cold in [m.cold[scope].searches_ms]
        ),
    )
    print_table(
        ["passages", "opened, cold s", "warm s", "server ready, cold s", "warm s"],
        (
            [n, *(f"{opened:.2f}" for opened in (m.cold[ALL].seconds, m.warm.opened_seconds, *m.ready_seconds))]
            for n, m in of_all
        ),
    )
    print_table(
        ["passages: own + mapped MB", "of the index, opened", "after 1,000 searches", "of a server, ready"],
        ([n, mb(m.cold[ALL].memory_mb), mb(m.warm.memory_mb), mb(m.server_mb)] for n, m in of_all),
    )
    print_parts("seconds to write", {n: m.built.seconds for n, m in of_all})
    print_parts("MB on the disk", {n: {part: size / 1e6 for part, size in m.built.sizes.items()} for n, m in of_all})
    print_table(
        ["passages", "most memory while writing, MB", "a document added, s", "taken out, s", "a server follows, s"],
        (
            [n, m.built.peak_mb, f"{c.added:.2f} ({c.passages} passages)", f"{c.removed:.2f}", f"{c.followed:.2f}"]
            for n, m in of_all
            for c in [m.changed]
        ),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[5_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    measured: dict[int, Measured] = {}
    for size in args.sizes:
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            measured[size] = measure(Path(folder), size)
        print_tables(measured if size == args.sizes[-1] else {size: measured[size]})


if __name__ == "__main__":
    main()
