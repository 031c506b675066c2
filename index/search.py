"""A snapshot, opened: query -> hits, and everything else that answers are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from index.dense import Rows
from index.embed import Embedder, Matrix
from index.errors import SnapshotError
from index.fuse import fuse, smooth
from index.lexical import terms
from index.query_vectors import QueryVectors
from index.rerank import RERANK_DEPTH, Reranker
from index.snapshot import REBUILD
from index.store import Holdings, Scope, Store
from index.where import Where, open_store
from ingest.model import Passage, Source, Turn
from ingest.passages import speaker_label

CANDIDATES = 300
"""Passages taken from each ranking before they are fused: with 300 the open recall is .511 on the development set, with
200 .504, with 150 .499."""


VIEWS = 16
"""What so many sets of groups may read is kept ready."""

FAVOUR = 0.75
"""How much a passage gains that is all a favoured speaker's words."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage found. `rank` counts from 1; `score` falls with it and compares within one query only.

    `similarity` is the cosine of query and passage. `turns` holds the turns of the passage by their index.
    """

    rank: int
    score: float
    similarity: float
    passage: Passage
    source: Source
    turns: dict[int, Turn]
    sentence_vectors: NDArray[np.int8]

    @property
    def start(self) -> float | None:
        """Seconds at which the passage begins."""
        first = self.passage.spans[0]
        return self.turns[first.turn].cue_at(first.begin).start

    @property
    def end(self) -> float | None:
        """Seconds at which the last of its words end."""
        ends = (self.turns[span.turn].end_at(span.begin, span.end) for span in self.passage.spans)
        return max((end for end in ends if end is not None), default=None)

    def speakers(self) -> list[str]:
        """Those who speak in the passage, in order of appearance."""
        return list(dict.fromkeys(name for s in self.passage.spans if (name := self.turns[s.turn].speaker)))

    def similarities(self, query: Matrix) -> list[float]:
        """Cosine of the query with each sentence of the passage, in order."""
        rows = self.sentence_vectors.astype(np.float32)
        return (rows @ query / np.maximum(np.linalg.norm(rows, axis=1), 1e-12)).tolist()


class Index:
    """A store and the model that its vectors were made with. Safe to search from several threads at once.

    Everything in the store is found: who answers somebody else asks `readable` first. `groups` are those for whose
    members it is then, null for whoever owns it.
    """

    def __init__(self, store: Store, embedder: Embedder, reranker: Reranker | None = None) -> None:
        self.store = store
        self.embedder = embedder
        self.reranker = reranker
        self.groups: frozenset[str] | None = None
        self._query_vectors = QueryVectors(embedder)
        self._views: dict[frozenset[str], Index] = {}
        self._lock = Lock()

    def readable(self, groups: frozenset[str] | None) -> Index:
        """What members of these groups may read of it, as the store has it; all of it for whoever owns it (null).

        The views asked for last are kept.
        """
        if groups is None:
            return self
        known = groups & self.store.groups
        with self._lock:
            view = self._views.pop(known, None) or self._view(known)
            self._views[known] = view
            if len(self._views) > VIEWS:
                del self._views[next(iter(self._views))]
        return view

    def _view(self, groups: frozenset[str]) -> Index:
        view = Index(self.store.readable(groups), self.embedder, self.reranker)
        view.groups = groups
        view._query_vectors = self._query_vectors  # a query's vector tells nothing of what it finds
        return view

    @classmethod
    def open(cls, where: Where, embedder: Embedder, reranker: Reranker | None = None) -> Index:
        """The index as it is now.

        Raises NoSnapshotError, SnapshotError where it is damaged or was built with another model, or StoreError where
        its server cannot be reached.
        """
        return cls._of(open_store(where), embedder, reranker)

    @classmethod
    def _of(cls, store: Store, embedder: Embedder, reranker: Reranker | None) -> Index:
        if reason := foreign_model(store.holdings, embedder):
            store.close()
            raise SnapshotError(reason)
        return cls(store, embedder, reranker)

    def newer(self) -> Index:
        """The index as it is now; this one stays as it is, and open. Raises as `open` does.

        It has the views that this one has, so that no reader has to wait for them.
        """
        newer = self._of(self.store.newer(), self.embedder, self.reranker)
        with self._lock:
            known = list(self._views)
        for groups in known:
            newer.readable(groups)
        return newer

    @property
    def holdings(self) -> Holdings:
        """What the index says of itself."""
        return self.store.holdings

    def close(self) -> None:
        """Lets the store go."""
        self.store.close()

    def __len__(self) -> int:
        return self.holdings.counts["passages"]

    def count(self, source_id: str | None = None) -> int:
        """Passages in the index, or in one source."""
        return len(self) if source_id is None else self.store.source_counts().get(source_id, (0, 0))[1]

    def vector(self, text: str) -> Matrix:
        """The vector of a query; of one asked a moment ago it is known."""
        return self._query_vectors.vector(text)

    def search(
        self,
        query: str,
        vector: Matrix,
        top_k: int = 8,
        *,
        speakers: Sequence[str] = (),
        source_id: str | None = None,
        favoured: Sequence[str] = (),
    ) -> list[Hit]:
        """Up to `top_k` passages, best first, for a query and its vector.

        `speakers` (canonical names, any of whom speaks) and `source_id` are filters that hold inside both engines, so
        that they never leave fewer hits than there are. The words of `favoured` speakers count for more.
        The reranker, where there is one, has the last word on the order of the first RERANK_DEPTH.
        """
        found = self.store.find(terms(query), vector, CANDIDATES, Scope(source_id, speakers), favoured)
        rows = found.rows
        scores = smooth(rows, fuse(rows, found.lexical, found.dense), found.sources, found.middles)
        if favoured:
            scores *= 1 + FAVOUR * found.shares
        depth = top_k if self.reranker is None else max(top_k, RERANK_DEPTH)
        best = np.argsort(-scores, kind="stable")[:depth]
        hits = self._hits(rows[best], scores[best].tolist(), vector)
        return hits if self.reranker is None else rerank(self.reranker, query, hits)[:top_k]

    def _hits(self, rows: Rows, scores: Sequence[float], vector: Matrix) -> list[Hit]:
        found = {stored.row: stored for stored in self.store.passages(rows, vector)}
        ranked = ((score, found[row]) for row, score in zip(rows.tolist(), scores, strict=True) if row in found)
        return [
            Hit(rank, score, s.similarity, s.passage, s.source, s.turns, s.sentence_vectors)
            for rank, (score, s) in enumerate(ranked, start=1)
        ]


def foreign_model(holdings: Holdings, embedder: Embedder) -> str | None:
    """Why the vectors of an index cannot be compared with those of the embedder, where they cannot."""
    if (holdings.model, holdings.dimension) == (embedder.fingerprint, embedder.dimension):
        return None
    return f"the index was built with the model {holdings.model}, and {embedder.fingerprint} is asked for; {REBUILD}"


def rerank(reranker: Reranker, query: str, hits: Sequence[Hit]) -> list[Hit]:
    """The hits, the first RERANK_DEPTH of them in the reranker's order; ties keep theirs.

    A score stays with its rank, not with its passage: what is weighed against scores knows no model's own scale.
    """
    judged = reranker.rerank(query, [_judged_text(hit) for hit in hits[:RERANK_DEPTH]])
    order = sorted(range(len(judged)), key=lambda i: -judged[i])
    moved = [replace(hits[i], rank=place.rank, score=place.score) for i, place in zip(order, hits, strict=False)]
    return [*moved, *hits[RERANK_DEPTH:]]


def _judged_text(hit: Hit) -> str:
    """The words of a passage as they are indexed: under their speakers' names, with what helps to find them."""
    spans = ((span, hit.turns[span.turn]) for span in hit.passage.spans)
    return "\n".join(f"{speaker_label(turn)}{turn.text[s.begin : s.end]} {turn.context}".rstrip() for s, turn in spans)
