"""Vectors on disk and nearest neighbours over them; the only file that imports faiss.

The vectors of a segment lie flat, as half floats, and are mapped into memory, not read. Beside those of a large segment
lie links from each to its neighbours (HNSW, arXiv:1603.09320): a search follows them, and leaves the rest alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from index.embed import Matrix
from index.errors import SnapshotError

Rows = NDArray[np.int64]
Scores = NDArray[np.float32]

GRAPH_FROM = 20_000
"""Vectors from which a segment gets a graph: 0.3 ms a search against 0.4 ms flat; at 100,000 it is 0.6 against 2.5."""
LINKS = 32
"""Links of a vector in the upper layers; in the lowest there are twice as many."""
BUILD_BREADTH = 48
"""Neighbours looked for while building. Below 2 * LINKS faiss links them all: recall@300 is .95, with 80 it is .89."""
BREADTH = 300
"""Vectors kept in sight while searching; recall@10 is .991 at 1,000,000."""
STEP = 30
"""A step through the graph (2.9 µs) costs as much as it takes to look at this many vectors here and there."""
SPARSE = 500
"""Where fewer than one in so many are allowed, decoding these (1 µs) is quicker than asking of all (1.5 ns)."""
_AHEAD = 1 << 17
"""Bytes; of what is asked for at once Linux reads no more ahead."""
_CHUNK = 1 << 20
_MAPPED = faiss.IO_FLAG_MMAP_IFC if sys.platform == "linux" else 0  # faiss can map nowhere else but on Windows

_NO_ROWS: Rows = np.empty(0, dtype=np.int64)
_NO_SCORES: Scores = np.empty(0, dtype=np.float32)


def write_vectors(path: Path, vectors: Matrix) -> None:
    """Unit vectors, exact but for being rounded to half floats; they may be mapped from a file."""
    index = faiss.IndexScalarQuantizer(vectors.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors[:0])
    index.add(vectors)
    _write(index, path)


def write_graph(path: Path, vectors: Matrix) -> None:
    """Links between the neighbours among `vectors`, which `write_vectors` stores. Takes all cores: 4 minutes of one
    for each million.
    """
    faiss.omp_set_num_threads(os.cpu_count() or 1)
    fp16 = faiss.ScalarQuantizer.QT_fp16
    index = faiss.IndexHNSWSQ(vectors.shape[1], fp16, LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = BUILD_BREADTH
    index.train(vectors[:0])
    index.add(vectors)  # all at once: faiss then shuffles them, and links from one cluster to another come about early
    _write(index, path, faiss.IO_FLAG_SKIP_STORAGE)


def _write(index: faiss.Index, path: Path, flags: int = 0) -> None:
    """Through a file of Python's: faiss closes its own without asking whether the end of it was written."""
    with path.open("wb") as file:
        faiss.write_index(index, faiss.PyCallbackIOWriter(file.write, _CHUNK), flags)


@dataclass(frozen=True, slots=True)
class VectorFiles:
    """What `write_vectors` and, for a large segment, `write_graph` wrote of one segment."""

    vectors: Path
    graph: Path | None = None


class _Segment:
    """The vectors of one segment; rows count from its first, which is at the position `start`."""

    def __init__(self, files: VectorFiles, start: int, dead: Rows) -> None:
        self.start = start
        self.flat = _read(files.vectors)
        self._graph: faiss.IndexHNSW | None = None
        if files.graph is not None:
            graph = _read(files.graph, whole=True)
            if not isinstance(graph, faiss.IndexHNSW) or (graph.ntotal, graph.d) != (len(self), self.flat.d):
                raise SnapshotError(f"{files.graph} does not belong to {files.vectors}")
            graph.storage, graph.own_fields = self.flat, False
            self._graph = graph
        self.let_die(dead)

    def let_die(self, dead: Rows) -> None:
        """From now on the rows at these ascending positions are found by no search, and no others are dead."""
        self._live: NDArray[np.bool_] | None = None
        if len(dead := self.rows(dead)):
            self._live = np.ones(len(self), dtype=np.bool_)
            self._live[dead] = False

    def __len__(self) -> int:
        return self.flat.ntotal

    def rows(self, positions: Rows) -> Rows:
        """Those of ascending positions that lie in here."""
        first, last = np.searchsorted(positions, (self.start, self.start + len(self)))
        return positions[first:last] - self.start

    def search(self, query: Matrix, limit: int, allowed: Rows | None) -> tuple[Rows, Scores]:
        """Up to `limit` of the allowed that live, and their cosines; in any order."""
        if allowed is not None and len(allowed) * SPARSE < len(self):
            rows = allowed if self._live is None else allowed[self._live[allowed]]
            return _best(rows, np.vecdot(self.flat.reconstruct_batch(rows), query), limit)
        wanted = self._live if allowed is None else self._living(allowed)
        count = len(self) if wanted is None else int(np.count_nonzero(wanted))
        limit = min(limit, count)
        if limit == 0:
            return _NO_ROWS, _NO_SCORES
        # The selector keeps only a pointer to the bitmap, which must live until the search is done.
        bitmap = None if wanted is None else np.packbits(wanted, bitorder="little")
        selector = None if bitmap is None else faiss.IDSelectorBitmap(bitmap.size, faiss.swig_ptr(bitmap))
        # The fewer are wanted, the more the graph must keep in sight to have `limit` of them among it.
        breadth = max(BREADTH, limit) * len(self) // count
        if self._graph is not None and count > STEP * breadth:
            parameters = faiss.SearchParametersHNSW(efSearch=breadth, sel=selector)
            scores, rows = self._graph.search(query.reshape(1, -1), limit, params=parameters)
            if rows[0, -1] >= 0:  # else those wanted lie far from the query
                return rows[0], scores[0]
        parameters = faiss.SearchParameters(sel=selector) if selector else None
        scores, rows = self.flat.search(query.reshape(1, -1), limit, params=parameters)
        return rows[0], scores[0]

    def _living(self, allowed: Rows) -> NDArray[np.bool_]:
        """For each row, whether it is allowed and lives."""
        wanted = np.zeros(len(self), dtype=np.bool_)
        wanted[allowed] = True
        return wanted if self._live is None else wanted & self._live


class DenseIndex:
    """Segments, one after another: a position counts through them all. Safe to search from several threads at once."""

    def __init__(self, segments: Sequence[VectorFiles], dimension: int, dead: Rows = _NO_ROWS) -> None:
        """`dead` are ascending positions that no search finds."""
        self.dimension = dimension
        self._segments: list[_Segment] = []
        for files in segments:
            self._segments.append(_Segment(files, len(self), dead))

    def __len__(self) -> int:
        return self._segments[-1].start + len(self._segments[-1]) if self._segments else 0

    def without(self, dead: Rows) -> DenseIndex:
        """The same vectors, of which other ascending positions are dead."""
        other = copy(self)
        other._segments = [copy(segment) for segment in self._segments]
        for segment in other._segments:
            segment.let_die(dead)
        return other

    def search(self, query: Matrix, limit: int, allowed: Rows | None = None) -> tuple[Rows, Scores]:
        """Up to `limit` positions and their cosines, best first; only `allowed` ones (ascending) where given.

        Equal scores come in order of position. Exact but where a graph is followed: recall@10 is .98 at least, under
        any filter.
        """
        faiss.omp_set_num_threads(1)  # holds for one thread; concurrency comes from requests, two made a query slower
        positions, cosines = [_NO_ROWS], [_NO_SCORES]
        for segment in self._segments:
            rows, scores = segment.search(query, limit, None if allowed is None else segment.rows(allowed))
            positions.append(rows + segment.start)
            cosines.append(scores)
        return _best(np.concatenate(positions), np.concatenate(cosines), limit)

    def vectors(self, positions: Rows) -> Matrix:
        """The stored vectors of some positions, decoded to float32."""
        vectors = np.empty((len(positions), self.dimension), dtype=np.float32)
        for segment in self._segments:
            here = (positions >= segment.start) & (positions < segment.start + len(segment))
            if here.any():
                vectors[here] = segment.flat.reconstruct_batch(positions[here] - segment.start)
        return vectors


def _best(rows: Rows, scores: Scores, limit: int) -> tuple[Rows, Scores]:
    order = np.lexsort((rows, -scores))[:limit]
    return rows[order], scores[order]


def _read(path: Path, *, whole: bool = False) -> faiss.Index:
    """Mapped; `whole` where faiss looks through all of it, as it does for links, to check them."""
    try:
        if whole and sys.platform == "linux":
            # faiss maps for reading here and there: page by page, a million take 7 s from a cold disk, and so 0.5 s.
            with path.open("rb") as file:
                for begin in range(0, path.stat().st_size, _AHEAD):
                    os.posix_fadvise(file.fileno(), begin, _AHEAD, os.POSIX_FADV_WILLNEED)
        return faiss.read_index(str(path), _MAPPED)
    except (RuntimeError, OSError) as error:
        raise SnapshotError(f"{path} is not an index that faiss reads") from error
