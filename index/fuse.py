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
    centred = scores.astype(np.float64) - scores.mean(dtype=np.float64)
    deviation = centred.std()
    return centred / deviation if deviation > 0 else centred


def fuse(lexical: tuple[Rows, Scores], dense: tuple[Rows, Scores]) -> tuple[Rows, Floats]:
    """The union of two rankings, as ascending rows and their evidence, exp of the weighted sum of standardised scores.

    Each column is standardised over the passages found, so that not the size of the corpus sets the scale. A row that
    the words did not find scores 0 there; one that the vectors did not find takes their lowest score.
    """
    rows = np.union1d(lexical[0], dense[0])
    words, vectors = np.zeros(len(rows), np.float32), np.full(len(rows), dense[1].min(initial=1.0), np.float32)
    words[np.searchsorted(rows, lexical[0])] = lexical[1]
    vectors[np.searchsorted(rows, dense[0])] = dense[1]
    return rows, np.exp((1 - DENSE_WEIGHT) * standardise(words) + DENSE_WEIGHT * standardise(vectors))


def smooth(rows: Rows, evidence: Floats, sources: Rows, middles: Floats) -> Floats:
    """Evidence of each row and, with a Gaussian weight by distance in words, of its neighbours in the same source.

    `rows` ascend; passages of a source have consecutive rows. `sources` and `middles` are, for each row, a number of
    its source and the position of the passage's middle word in it.
    """
    total = (1 + OWN_WEIGHT) * evidence
    for step in range(1, min(NEIGHBOURS + 1, len(rows))):
        # Rows ascend, so the neighbours of a row are among those next to it.
        here = np.flatnonzero((rows[step:] - rows[:-step] <= NEIGHBOURS) & (sources[step:] == sources[:-step]))
        if not len(here):
            break
        there = here + step
        weight = np.exp(-0.5 * ((middles[there] - middles[here]) / WIDTH_WORDS) ** 2)
        total[here] += weight * evidence[there]
        total[there] += weight * evidence[here]
    return total
