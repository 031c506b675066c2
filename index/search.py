"""A snapshot, opened: query -> hits, and everything else that answers are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from index.dense import DenseIndex, Rows
from index.embed import Embedder, Matrix
from index.errors import SnapshotError
from index.fuse import fuse, smooth
from index.lexical import LexicalIndex
from index.records import Records
from index.rerank import RERANK_DEPTH, Reranker
from index.snapshot import REBUILD, HeldSnapshot, Manifest, hold_current
from ingest.model import Passage, Source, Turn
from ingest.passages import speaker_label

RECORDS, VECTORS, SENTENCES, LEXICAL = "records.sqlite", "vectors.faiss", "sentences.npy", "lexical"

CANDIDATES = 300
"""Passages taken from each ranking before they are fused; 100 to 1,000 gave the same on the development set."""


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
    """One snapshot, held until `close`. Safe to search from several threads at once."""

    def __init__(self, held: HeldSnapshot, embedder: Embedder, reranker: Reranker | None) -> None:
        self._held = held
        self.embedder = embedder
        self.reranker = reranker
        self.manifest: Manifest = held.manifest
        self.records = Records(held.folder / RECORDS)
        self.dense = DenseIndex(held.folder / VECTORS)
        self.lexical = LexicalIndex(held.folder / LEXICAL)
        self.sentences: NDArray[np.int8] = np.load(held.folder / SENTENCES, mmap_mode="r")
        # Positions run on from source to source, since only the distances within one are looked at.
        self._middles: NDArray[np.float64] = np.cumsum(self.records.words) - self.records.words / 2

    @classmethod
    def open(cls, index_dir: Path, embedder: Embedder, reranker: Reranker | None = None) -> Index:
        """The live snapshot, its checksums verified.

        Raises NoSnapshotError, or SnapshotError where it is damaged or was built with another model.
        """
        held = hold_current(index_dir)
        try:
            if held.manifest.model != embedder.fingerprint or held.manifest.dimension != embedder.dimension:
                raise SnapshotError(
                    f"{held.folder} was built with the model {held.manifest.model}, "
                    f"and {embedder.fingerprint} is asked for; {REBUILD}"
                )
            if damaged := held.damaged_files():
                raise SnapshotError(f"{held.folder} is damaged ({damaged[0]}); {REBUILD}")
            return cls(held, embedder, reranker)
        except Exception:
            held.close()
            raise

    def close(self) -> None:
        """Lets the snapshot go."""
        self.records.close()
        self._held.close()

    def __len__(self) -> int:
        return len(self.dense)

    def count(self, source_id: str | None = None) -> int:
        """Passages in the index, or in one source."""
        return len(self) if source_id is None else len(self.records.rows(source_id))

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
        allowed = self.records.rows(source_id, speakers) if speakers or source_id is not None else None
        lexical = self.lexical.search(query, CANDIDATES, source_id=source_id, speakers=speakers)
        rows, evidence = fuse(lexical, self.dense.search(vector, CANDIDATES, allowed))
        scores = smooth(rows, evidence, self.records.source_numbers[rows], self._middles[rows])
        if favoured:
            scores *= 1 + FAVOUR * self.records.shares(favoured, rows)
        depth = top_k if self.reranker is None else max(top_k, RERANK_DEPTH)
        best = np.argsort(-scores, kind="stable")[:depth]
        hits = self._hits(rows[best], scores[best].tolist(), vector)
        return hits if self.reranker is None else rerank(self.reranker, query, hits)[:top_k]

    def _hits(self, rows: Rows, scores: Sequence[float], vector: Matrix) -> list[Hit]:
        hits: list[Hit] = []
        if not len(rows):
            return hits
        similarities = (self.dense.vectors(rows) @ vector).tolist()
        found = zip(self.records.passages(rows.tolist()), scores, similarities, strict=True)
        for rank, (record, score, similarity) in enumerate(found, start=1):
            passage = record.passage
            source = self.records.source(passage.source_id)
            if source is None:
                raise SnapshotError(f"passage {passage.id} belongs to no source; {REBUILD}")
            first, last = min(s.turn for s in passage.sentences), max(s.turn for s in passage.sentences)
            turns = dict(enumerate(self.records.turns(source.id, first, last), start=first))
            vectors = self.sentences[record.first_sentence : record.first_sentence + len(passage.sentences)]
            hits.append(Hit(rank, score, similarity, passage, source, turns, vectors))
        return hits


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


def verify(index_dir: Path) -> list[str]:
    """Every flaw of the live snapshot, a sentence each: checksums, counts, and references between its files.

    Raises NoSnapshotError where there is none.
    """
    held = hold_current(index_dir)
    try:
        flaws = held.damaged_files()
        if flaws:
            return flaws
        records = Records(held.folder / RECORDS)
        counted = {
            "passages": (
                len(records.words),
                len(DenseIndex(held.folder / VECTORS)),
                len(LexicalIndex(held.folder / LEXICAL)),
            ),
            "sentences": (
                sum(len(record.passage.sentences) for record in records.passages()),
                len(np.load(held.folder / SENTENCES, mmap_mode="r")),
            ),
            "sources": (len(records.sources()),),
            "speakers": (len(records.speakers()),),
            "turns": (sum(turns for turns, _ in records.source_counts().values()),),
        }
        for name, found in counted.items():
            if any(count != held.manifest.counts[name] for count in found):
                flaws.append(
                    f"{held.manifest.counts[name]} {name} in the manifest, {' and '.join(map(str, found))} found"
                )
        flaws += records.flaws()
        records.close()
        return flaws
    finally:
        held.close()
