"""The vectors of queries asked a moment ago (TEMPORARY: being written)."""

from __future__ import annotations

from index.embed import Embedder, Matrix


class QueryVectors:
    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def vector(self, text: str) -> Matrix:
        return self._embedder.embed([text])[0]
