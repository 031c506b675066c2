"""BM25 over posting lists that lie in the database as bytes, three for each passage and term.

The lists of a query's terms are read whole and scored here: PostgreSQL hands over bytes ten times faster than it adds
numbers up, and readers are many. `docs/decisions.md` has the figures.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index.dense import Rows, Scores

K1, B = 1.2, 0.75
BLOCK = 8
"""Bits of a row that stand in an entry; above them stands its block."""
_MOST = 255  # times that a term counts in a passage


def _lengths() -> NDArray[np.int64]:
    """The 256 lengths that are told apart, as Lucene and tantivy do it: exact to 40, then to four leading bits."""
    floats = [((8 | i & 7) << (i >> 3) - 1) if i >> 3 else i for i in range(232)]
    return np.asarray([*range(24), *(24 + value for value in floats)], np.int64)


LENGTHS = _lengths()


def pack(first_row: int, passages: Iterable[Counter[str]]) -> Iterator[tuple[str, int, bytes]]:
    """Term, block and entries of consecutive passages, given how often each has its terms."""
    lists: defaultdict[tuple[str, int], bytearray] = defaultdict(bytearray)
    for row, counts in enumerate(passages, start=first_row):
        length = int(np.searchsorted(LENGTHS, counts.total(), side="right")) - 1
        for term, count in counts.items():
            lists[term, row >> BLOCK] += bytes((row & (1 << BLOCK) - 1, min(count, _MOST), length))
    for (term, block), entries in sorted(lists.items()):
        yield term, block, bytes(entries)


def idf(passages: int, having: int) -> float:
    """ln(1 + (N - n + 0.5)/(n + 0.5)), where n of N passages have the term (Robertson & Zaragoza 2009)."""
    return float(np.log1p((passages - having + 0.5) / (having + 0.5)))


@dataclass(frozen=True, slots=True)
class PostingList:
    """Of a term, how many passages of all have it, and its blocks (int64), their lengths (int32) and entries.

    The numbers are in network byte order, as PostgreSQL's `int8send` and `int4send` write them.
    """

    having: int
    blocks: bytes
    lengths: bytes
    entries: bytes


def bm25(
    lists: Sequence[PostingList], passages: int, tokens: int, limit: int, allowed: Rows | None = None
) -> tuple[Rows, Scores]:
    """Up to `limit` rows that have a term and their BM25, best first; only `allowed` rows, ascending, where given.

    `passages` and `tokens` count those of the whole store. Equal scores come in row order.
    """
    lists = [each for each in lists if each.entries]
    if not lists:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    entries = np.frombuffer(b"".join(each.entries for each in lists), np.uint8).reshape(-1, 3)
    listed = np.frombuffer(b"".join(each.blocks for each in lists), ">i8").astype(np.int64)
    lengths = np.frombuffer(b"".join(each.lengths for each in lists), ">i4") // 3
    blocks, at = np.unique(listed, return_inverse=True)
    places = np.repeat(at << BLOCK, lengths) + entries[:, 0]
    norms = K1 * (1 - B + B * LENGTHS * (passages / max(tokens, 1)))
    weights = np.asarray([idf(passages, each.having) * (1 + K1) for each in lists])
    counts = entries[:, 1].astype(np.float64)
    parts = np.repeat(weights, [len(each.entries) // 3 for each in lists]) * counts / (counts + norms[entries[:, 2]])
    totals = np.bincount(places, parts)
    found = np.flatnonzero(totals)
    rows = (blocks[found >> BLOCK] << BLOCK) | (found & (1 << BLOCK) - 1)
    scores = totals[found]
    if allowed is not None:
        inside = np.isin(rows, allowed)
        rows, scores = rows[inside], scores[inside]
    return best(rows, scores.astype(np.float32), limit)


def best(rows: Rows, scores: Scores, limit: int) -> tuple[Rows, Scores]:
    """The `limit` highest scores, best first; equal ones in the order given."""
    if 0 < limit < len(scores):
        kept = np.flatnonzero(scores >= np.partition(scores, -limit)[-limit])
        rows, scores = rows[kept], scores[kept]
    order = np.argsort(-scores, kind="stable")[:limit]
    return rows[order], scores[order]
