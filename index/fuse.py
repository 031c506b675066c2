"""How the two rankings become one: standardised scores, added, and smoothed over neighbouring passages.

Talk is contiguous: a passage whose neighbours match the question too is far likelier to answer it. Reciprocal rank
fusion, the usual choice, throws the scores away and is too flat to be smoothed; `docs/evaluation.md` has the figures.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from index.dense import Rows, Scores

DENSE_WEIGHT = 0.3
NEIGHBOURS = 12
"""Passages on either side whose evidence counts."""
WIDTH_WORDS = 400.0
"""Distance at which a neighbour's evidence has fallen to exp(-1/2)."""
OWN_WEIGHT = 1.0
"""Extra weight of a passage's own evidence: it keeps questions with one exact place safe."""

Floats = NDArray[np.float64]


def standardise(scores: Scores) -> Floats:
    """Scores less their mean, over their standard deviation; zeros where all are equal."""
    if not len(scores):
        return np.zeros(0)
    # Sums, not mean() and std(), which take longer to begin than to add up some hundred numbers.
    centred = scores.astype(np.float64)
    centred -= centred.sum() / len(centred)
    deviation = np.sqrt(np.square(centred).sum() / len(centred))
    return centred / deviation if deviation > 0 else centred


def union(lexical: tuple[Rows, Scores], dense: tuple[Rows, Scores]) -> Rows:
    """All rows of two rankings, ascending, each once."""
    rows = np.concatenate([lexical[0], dense[0]])
    rows.sort()
    first = np.ones(len(rows), np.bool_)
    np.not_equal(rows[1:], rows[:-1], out=first[1:])
    return rows[first]


def fuse(rows: Rows, lexical: tuple[Rows, Scores], dense: tuple[Rows, Scores]) -> Floats:
    """The evidence of `rows`, the union of two rankings: exp of the weighted sum of standardised scores.

    Each column is standardised over the passages found, so that not the size of the corpus sets the scale. A row that
    the words did not find scores 0 there; one that the vectors did not find takes their lowest score.
    """
    words, vectors = np.zeros(len(rows), np.float32), np.full(len(rows), dense[1].min(initial=1.0), np.float32)
    words[np.searchsorted(rows, lexical[0])] = lexical[1]
    vectors[np.searchsorted(rows, dense[0])] = dense[1]
    return np.exp((1 - DENSE_WEIGHT) * standardise(words) + DENSE_WEIGHT * standardise(vectors))


def smooth(rows: Rows, evidence: Floats, sources: Rows, middles: Floats) -> Floats:
    """Evidence of each row and, with a Gaussian weight by distance in words, of its neighbours in the same source.

    `rows` ascend; passages of a source have consecutive rows. `sources` and `middles` are, for each row, a number of
    its source and the position of the passage's middle word in it.
    """
    places = np.arange(len(rows))
    # Rows ascend, so the neighbours of a row are those next to it, up to some place.
    counts = np.searchsorted(rows, rows + NEIGHBOURS, side="right") - places - 1
    here = np.repeat(places, counts)
    there = np.arange(1, len(here) + 1) + np.repeat(places - np.cumsum(counts) + counts, counts)
    weight = np.exp(-0.5 * np.square((middles[there] - middles[here]) / WIDTH_WORDS))
    weight *= sources[there] == sources[here]
    total = (1 + OWN_WEIGHT) * evidence
    total += np.bincount(here, weight * evidence[there], len(rows))
    total += np.bincount(there, weight * evidence[here], len(rows))
    return total
