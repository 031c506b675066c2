"""Vectors on disk and nearest neighbours over them; the only file that imports faiss."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from index.embed import Matrix
from index.errors import SnapshotError

Rows = NDArray[np.int64]
Scores = NDArray[np.float32]


def write_vectors(path: Path, vectors: Matrix) -> None:
    """Unit vectors as an exact fp16 index; row numbers are positions in `vectors`."""
    index = faiss.IndexScalarQuantizer(vectors.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    faiss.write_index(index, str(path))


GRAPH_FROM = 1 << 40


@dataclass(frozen=True, slots=True)
class VectorFiles:
    """Of one segment."""

    vectors: Path
    graph: Path | None


def write_graph(path: Path, vectors: Matrix) -> None:
    raise NotImplementedError


class DenseIndex:
    """TEMPORARY multi-segment wrapper, being replaced."""

    def __init__(self, segments, dimension, dead=np.empty(0, np.int64)) -> None:
        self._parts = [_Flat(files.vectors) for files in segments]
        self._offsets = np.cumsum([0, *(len(p) for p in self._parts)])
        self.dimension = dimension
        self._dead = dead

    def __len__(self) -> int:
        return int(self._offsets[-1])

    def search(self, query, limit, allowed=None):
        if len(self._dead) and allowed is None:
            allowed = np.setdiff1d(np.arange(len(self)), self._dead)
        rows, scores = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
        for part, offset in zip(self._parts, self._offsets[:-1], strict=True):
            mine = None if allowed is None else allowed[(allowed >= offset) & (allowed < offset + len(part))] - offset
            r, s = part.search(query, limit, mine)
            rows.append(r + offset)
            scores.append(s)
        r, s = np.concatenate(rows), np.concatenate(scores)
        order = np.argsort(-s, kind="stable")[:limit]
        return r[order], s[order]

    def vectors(self, rows):
        out = np.empty((len(rows), self.dimension), np.float32)
        which = np.searchsorted(self._offsets, rows, side="right") - 1
        for i, part in enumerate(self._parts):
            here = which == i
            if here.any():
                out[here] = part.vectors(rows[here] - self._offsets[i])
        return out


class _Flat:
    """Reads what `write_vectors` wrote. Safe to search from several threads at once."""

    def __init__(self, path: Path) -> None:
        try:
            self._index = faiss.read_index(str(path))
        except RuntimeError as error:
            raise SnapshotError(f"{path} is not an index that faiss reads") from error
        faiss.omp_set_num_threads(1)  # concurrency comes from requests; two threads made one query slower

    def __len__(self) -> int:
        return self._index.ntotal

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._index.d

    def search(self, query: Matrix, limit: int, allowed: Rows | None = None) -> tuple[Rows, Scores]:
        """Up to `limit` rows and their cosines, best first; only `allowed` rows where given, and none is missed."""
        parameters = None
        if allowed is not None:
            bitmap = np.zeros(-(-len(self) // 8), dtype=np.uint8)
            np.bitwise_or.at(bitmap, allowed >> 3, np.left_shift(1, allowed & 7).astype(np.uint8))
            # The selector keeps only a pointer to the bitmap, which must live until the search is done.
            selector = faiss.IDSelectorBitmap(bitmap.size, faiss.swig_ptr(bitmap))
            parameters = faiss.SearchParameters(sel=selector)
        limit = min(limit, len(self) if allowed is None else len(allowed))
        if limit == 0:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
        scores, rows = self._index.search(query.reshape(1, -1), limit, params=parameters)
        found = rows[0] >= 0
        return rows[0][found], scores[0][found]

    def vectors(self, rows: Rows) -> Matrix:
        """The stored vectors of some rows, decoded to float32."""
        return self._index.reconstruct_batch(rows)
