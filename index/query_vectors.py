"""The vectors of the queries asked last, so that each is embedded once, whatever asks for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from threading import Lock

from index.embed import Embedder, Matrix

KEPT = 1024
"""Queries whose vectors are kept: 1.5 MiB of the default model's."""


@dataclass(slots=True)
class _Place:
    """Of one query: whoever holds the lock embeds it, and the others wait for that."""

    lock: Lock = field(default_factory=Lock)
    vector: Matrix | None = None


class QueryVectors:
    """The last `KEPT` queries' vectors, of one model. Safe to use from several threads at once."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._lock = Lock()

        @lru_cache(KEPT)
        def place(text: str) -> _Place:
            return _Place()

        self._place = place

    def vector(self, text: str) -> Matrix:
        """The vector of a query, `(dimension,)`, read-only; asked for by several at once, it is made once."""
        with self._lock:
            place = self._place(text)
        with place.lock:
            vector = place.vector
            if vector is None:
                vector = place.vector = self._embedder.embed([text])[0]
                vector.setflags(write=False)
        return vector
