from __future__ import annotations

from math import exp
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from index.dense import Rows, Scores
from index.fuse import DENSE_WEIGHT, NEIGHBOURS, OWN_WEIGHT, WIDTH_WORDS, fuse, smooth, standardise, union

Ranking = tuple[Rows, Scores]
RANKINGS = st.dictionaries(st.integers(0, 60), st.floats(-5, 30, width=32), max_size=40)


def ranking(scores: dict[int, float]) -> Ranking:
    best = sorted(scores, key=lambda row: (-scores[row], row))
    return np.asarray(best, np.int64), np.asarray([scores[row] for row in best], np.float32)


def fused(lexical: Ranking, dense: Ranking) -> tuple[Rows, NDArray[np.float64]]:
    rows = union(lexical, dense)
    return rows, fuse(rows, lexical, dense)


def naive_smooth(
    rows: list[int], evidence: list[float], sources: list[int], middles: list[float]
) -> NDArray[np.float64]:
    """Every pair of rows looked at."""
    total = [(1 + OWN_WEIGHT) * own for own in evidence]
    for i, here in enumerate(rows):
        for j, there in enumerate(rows):
            if i != j and sources[i] == sources[j] and abs(here - there) <= NEIGHBOURS:
                distance = (middles[i] - middles[j]) / WIDTH_WORDS
                total[i] += exp(-(distance**2) / 2) * evidence[j]
    return np.asarray(total)


def test_standardised_scores() -> None:
    assert standardise(np.asarray([4, 2, 0], np.float32)).tolist() == pytest.approx([1.5**0.5, 0, -(1.5**0.5)])
    assert standardise(np.asarray([3, 3], np.float32)).tolist() == [0, 0]
    assert standardise(np.asarray([7], np.float32)).tolist() == [0]


def test_two_rankings_by_hand() -> None:
    # By words rows 2, 5 and 9 score 0, 3 and 1: mean 4/3, variance 42/27. By vectors .6, .6 (the lowest) and .8.
    rows, evidence = fused(ranking({5: 3, 9: 1}), ranking({9: 0.8, 2: 0.6}))
    assert rows.tolist() == [2, 5, 9]
    words = [(score - 4 / 3) / (42 / 27) ** 0.5 for score in (0, 3, 1)]
    vectors = [-(0.5**0.5), -(0.5**0.5), 2**0.5]
    expected = [exp((1 - DENSE_WEIGHT) * w + DENSE_WEIGHT * v) for w, v in zip(words, vectors, strict=True)]
    assert evidence.tolist() == pytest.approx(expected, rel=1e-5)


def test_a_word_that_one_passage_alone_holds_counts() -> None:
    _, evidence = fused(ranking({3: 5.0}), ranking({1: 0.5, 2: 0.4, 3: 0.3}))
    assert evidence.argmax() == 2


def test_one_ranking_alone_keeps_its_order() -> None:
    nothing = ranking({})
    for both in ((ranking({5: 3, 9: 1, 7: 2}), nothing), (nothing, ranking({5: 3, 9: 1, 7: 2}))):
        rows, evidence = fused(*both)
        assert rows[np.argsort(-evidence)].tolist() == [5, 7, 9]
    rows, evidence = fused(nothing, nothing)
    assert (rows.size, evidence.size) == (0, 0)


@given(RANKINGS, RANKINGS)
def test_fusion_keeps_every_row_once_in_order(lexical: dict[int, float], dense: dict[int, float]) -> None:
    rows, evidence = fused(ranking(lexical), ranking(dense))
    assert rows.tolist() == sorted(lexical.keys() | dense.keys())
    assert len(evidence) == len(rows)
    assert (evidence > 0).all()
    assert np.isfinite(evidence).all()


@given(RANKINGS, RANKINGS, st.randoms(use_true_random=False))
def test_the_order_of_candidates_does_not_matter(
    lexical: dict[int, float], dense: dict[int, float], random: Random
) -> None:
    def shuffled(found: Ranking) -> Ranking:
        order = list(range(len(found[0])))
        random.shuffle(order)
        return found[0][order], found[1][order]

    rows, evidence = fused(ranking(lexical), ranking(dense))
    again, same = fused(shuffled(ranking(lexical)), shuffled(ranking(dense)))
    assert again.tolist() == rows.tolist()
    assert same.tolist() == pytest.approx(evidence.tolist(), rel=1e-5)


@given(RANKINGS, RANKINGS, st.floats(0.125, 8))
def test_the_scale_of_a_ranking_does_not_matter(
    lexical: dict[int, float], dense: dict[int, float], factor: float
) -> None:
    lexical = {row: round(score) for row, score in lexical.items()}
    scaled = {row: score * factor for row, score in lexical.items()}
    one, other = fused(ranking(lexical), ranking(dense))[1], fused(ranking(scaled), ranking(dense))[1]
    if len(set(lexical.values())) > 1:
        assert other.tolist() == pytest.approx(one.tolist(), rel=1e-3)


def test_neighbours_by_hand() -> None:
    # Rows 0 and 1 are one width apart in one source, row 2 is another's.
    middles = np.asarray([50.0, 50 + WIDTH_WORDS, 10])
    total = smooth(np.asarray([0, 1, 2]), np.asarray([1.0, 2, 4]), np.asarray([7, 7, 8]), middles)
    assert total.tolist() == pytest.approx([2 + 2 * exp(-0.5), 4 + exp(-0.5), 8])


@given(
    st.lists(st.tuples(st.integers(1, 200), st.booleans(), st.booleans(), st.floats(0, 50)), min_size=1, max_size=60)
)
def test_smoothing_is_that_of_every_pair(passages: list[tuple[int, bool, bool, float]]) -> None:
    """Passages are (words, begins a source, is a candidate, evidence)."""
    sources, middles, source, end = [], [], 0, 0.0
    for words, begins, _, _ in passages:
        source, end = (source + 1, 0.0) if begins else (source, end)
        sources.append(source)
        middles.append(end + words / 2)
        end += words
    rows = [row for row, (_, _, candidate, _) in enumerate(passages) if candidate]
    evidence = [passages[row][3] for row in rows]
    mine = [sources[row] for row in rows], [middles[row] for row in rows]
    smoothed = smooth(np.asarray(rows, np.int64), np.asarray(evidence), *map(np.asarray, mine))
    assert smoothed.tolist() == pytest.approx(naive_smooth(rows, evidence, *mine).tolist(), rel=1e-9)


def test_evidence_all_around_outweighs_a_lone_match() -> None:
    rows = np.asarray([0, 1, 2, 3, 40])
    total = smooth(rows, np.asarray([2.0, 2, 2, 2, 3]), np.zeros(5, np.int64), np.asarray([75.0, 225, 375, 525, 6075]))
    assert rows[np.argsort(-total, kind="stable")].tolist()[:2] == [1, 2]
    assert rows[np.argmin(total)] == 40
