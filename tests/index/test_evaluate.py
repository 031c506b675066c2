from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.evaluate import (
    Table,
    abstention_f1,
    abstention_precision,
    abstention_recall,
    answered_share,
    auroc,
    bootstrap_interval,
    citation_hit,
    citation_precision,
    hit_at,
    markers_match,
    mean,
    ndcg,
    nearest_rank,
    paired_p_value,
    reciprocal_rank,
    span_precision,
    span_recall,
    speaker_precision,
    time_error,
)

# Four words a passage; gold are the positions 10 to 17, so two passages fill it.
GOLD = frozenset(range(10, 18))
MISS, HALF, WHOLE, FOREIGN = [0, 1, 2, 3], [8, 9, 10, 11], [12, 13, 14, 15], [None] * 4
NAN = math.nan


def column(*values: float) -> Table:
    return np.asarray(values, dtype=float)


@pytest.mark.parametrize(
    ("passages", "budget", "recall", "precision"),
    [
        ([MISS, HALF, WHOLE], 4, 0, 0),
        ([MISS, HALF, WHOLE], 7, 1 / 8, 1 / 7),  # the second passage is cut after its first gold word
        ([MISS, HALF, WHOLE], 100, 6 / 8, 6 / 12),
        ([WHOLE, WHOLE, HALF], 100, 6 / 8, 6 / 12),  # a word met again costs budget and earns nothing
        ([WHOLE, WHOLE, HALF], 8, 4 / 8, 4 / 8),
        ([FOREIGN, WHOLE], 8, 4 / 8, 4 / 8),
        ([[], WHOLE], 2, 2 / 8, 2 / 2),
        ([], 500, 0, 0),
    ],
)
def test_recall_and_precision_of_the_words_read(
    passages: list[list[int | None]], budget: int, recall: float, precision: float
) -> None:
    assert span_recall(passages, GOLD, budget) == pytest.approx(recall)
    assert span_precision(passages, GOLD, budget) == pytest.approx(precision)


@pytest.mark.parametrize(
    ("passages", "gain", "reciprocal"),
    [
        # The ideal is two relevant passages of four words: 1 / log2(2) + 1 / log2(3) = 1.63093.
        ([WHOLE, HALF, MISS], 1, 1),
        ([MISS, WHOLE, HALF], (0.63093 + 0.5) / 1.63093, 1 / 2),
        ([MISS, FOREIGN, MISS, HALF], 0.43068 / 1.63093, 1 / 4),
        ([MISS, FOREIGN], 0, 0),
        ([[], WHOLE], 0.63093 / (1 + 0.63093 + 0.5 + 0.43068), 1 / 2),  # a mean of two words: four would be ideal
        ([[9, 10, 8], [10]], 0.63093 / (1 + 0.63093 + 0.5 + 0.43068), 1 / 2),  # a third of the words is not half
        ([WHOLE, WHOLE, WHOLE], 1, 1),  # more than ideal is ideal
        ([MISS] * 10 + [WHOLE], 0, 1 / 11),
        ([], 0, 0),
    ],
)
def test_gain_and_reciprocal_rank(passages: list[list[int | None]], gain: float, reciprocal: float) -> None:
    assert ndcg(passages, GOLD) == pytest.approx(gain, abs=1e-5)
    assert reciprocal_rank(passages, GOLD) == pytest.approx(reciprocal)


def test_the_ideal_ranking_is_never_longer_than_k() -> None:
    assert ndcg([[0], [1]], frozenset(range(50)), k=2) == 1
    assert ndcg([[0]], frozenset(range(50)), k=2) == pytest.approx(1 / 1.63093, abs=1e-5)


@pytest.mark.parametrize(("k", "hit"), [(1, 0), (2, 0), (3, 1), (10, 1)])
def test_a_hit_holds_the_moment(k: int, hit: float) -> None:
    stretches = [(0.0, 9.9), None, (10.0, 20.0), (5.0, 30.0)]
    assert hit_at(stretches, 10.0, k) == hit
    assert hit_at(stretches[:1], 9.9, k) == 1


def test_the_time_error_is_that_of_the_nearest_turn() -> None:
    assert time_error([3.0, 11.0, 30.0], 10.0) == 1
    assert time_error([12.5], 10.0) == 2.5
    assert math.isnan(time_error([], 10.0))


def test_shares_of_the_cited_words() -> None:
    assert speaker_precision(["Ann", "Ann", "Ben", None], {"Ann"}) == 0.5
    assert speaker_precision(["A. Lee", "Ann"], {"Ann", "A. Lee"}) == 1
    assert math.isnan(speaker_precision([], {"Ann"}))
    assert citation_precision([9, 10, None, 11], GOLD) == 0.5
    assert math.isnan(citation_precision([], GOLD))
    assert [citation_hit(cited, GOLD) for cited in ([9, 10], [9, None], [])] == [1, 0, 0]


@pytest.mark.parametrize(
    ("answer", "markers", "match"),
    [
        ("“A” [1] and “B” [2], so “A” again [1]", [1, 2], True),
        ("“A” [1]", [1, 2], False),
        ("“A” [1] [3]", [1], False),
        ("“A” [1]", [1, 1], False),
        ("nothing", [], True),
        ("a [note] of theirs", [], True),
    ],
)
def test_markers_and_citations(answer: str, markers: list[int], match: bool) -> None:
    assert markers_match(answer, markers) is match


def test_abstention() -> None:
    answerable = column(1, 1, 1, 1, 1, 0, 0, 0)
    abstained = column(0, 0, 0, 0, 1, 1, 1, 0)
    assert abstention_precision(answerable, abstained) == pytest.approx(2 / 3)
    assert abstention_recall(answerable, abstained) == pytest.approx(2 / 3)
    assert abstention_f1(answerable, abstained) == pytest.approx(2 / 3)
    assert answered_share(answerable, abstained) == pytest.approx(4 / 5)
    always = np.ones(8)
    assert abstention_precision(answerable, always) == 3 / 8
    assert abstention_recall(answerable, always) == 1
    assert abstention_f1(answerable, always) == pytest.approx(2 * (3 / 8) / (11 / 8))
    assert answered_share(answerable, always) == 0
    never = np.zeros(8)
    assert (abstention_precision(answerable, never), abstention_f1(answerable, never)) == (0, 0)


def test_abstention_needs_questions_to_abstain_from() -> None:
    for figure in (abstention_precision, abstention_recall, abstention_f1):
        assert math.isnan(figure(column(1, 1), column(0, 1)))
    assert math.isnan(answered_share(column(0, 0), column(0, 1)))


def test_auroc_counts_the_pairs_in_order() -> None:
    # Of six pairs, .9 beats both, .5 beats one and ties with the other, .1 ties with one: 2 + 1.5 + .5 = 4.
    assert auroc(column(1, 0, 1, 0, 1), column(0.9, 0.5, 0.5, 0.1, 0.1)) == pytest.approx(4 / 6)
    assert auroc(column(1, 0, NAN), column(0.9, 0.5, 0.1)) == 1
    assert math.isnan(auroc(column(1, 1), column(0.9, 0.5)))


@given(st.lists(st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from([0.1, 0.2, 0.3])), min_size=1, max_size=20))
def test_auroc_is_the_probability_over_all_pairs(rows: list[tuple[float, float]]) -> None:
    above = [score for label, score in rows if label]
    below = [score for label, score in rows if not label]
    pairs = [(a > b) + 0.5 * (a == b) for a in above for b in below]
    figure = auroc(*np.asarray(rows).T)
    assert figure == pytest.approx(sum(pairs) / len(pairs)) if pairs else math.isnan(figure)


def test_means_and_nearest_ranks_pass_over_what_does_not_apply() -> None:
    assert mean(column(1, NAN, 2)) == 1.5
    assert math.isnan(mean(column(NAN)))
    hundred = np.arange(100.0, 0, -1)
    assert [nearest_rank(hundred, share) for share in (0.5, 0.99, 1.0, 0.001)] == [50, 99, 100, 1]
    assert nearest_rank(column(3, NAN, 1), 0.5) == 1
    assert math.isnan(nearest_rank(column(NAN), 0.5))


def first(table: Table) -> float:
    return mean(table[:, 0])


def test_an_interval_is_about_as_wide_as_theory_has_it() -> None:
    values = np.random.default_rng(1).normal(5, 2, (400, 1))
    low, high = bootstrap_interval(first, values)
    half = 1.96 * values.std() / math.sqrt(400)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.04)
    assert bootstrap_interval(first, values) == (low, high)
    assert bootstrap_interval(first, values, seed=1) != (low, high)
    narrow = bootstrap_interval(first, values, level=0.5)
    assert low < narrow[0] < narrow[1] < high


def test_an_interval_of_one_value_or_none() -> None:
    assert bootstrap_interval(first, np.full((5, 1), 0.25)) == (0.25, 0.25)
    assert all(map(math.isnan, bootstrap_interval(first, np.empty((0, 1)))))
    assert all(map(math.isnan, bootstrap_interval(first, np.full((3, 1), NAN))))


def test_a_difference_that_chance_would_not_make_is_significant() -> None:
    rng = np.random.default_rng(2)
    old = rng.random((200, 1))
    noisy = old + rng.normal(0, 0.2, old.shape)
    assert paired_p_value(first, old, noisy + 0.1) < 0.01
    assert paired_p_value(first, old, old) == 1
    # By hand: the signs of ten equal differences fall all one way in 2 of 1,024 cases, of four in 2 of 16.
    assert paired_p_value(first, np.zeros((10, 1)), np.ones((10, 1)), rounds=20_000) == pytest.approx(2 / 1024, rel=0.5)
    four = np.vstack([np.ones((4, 1)), np.zeros((50, 1))])
    assert paired_p_value(first, np.zeros((54, 1)), four, rounds=4000) == pytest.approx(2 / 16, rel=0.15)


def test_chance_alone_is_seldom_significant() -> None:
    rng = np.random.default_rng(3)
    runs = [(rng.random((40, 1)), rng.random((40, 1))) for _ in range(60)]
    found = [paired_p_value(first, old, new, rounds=200) < 0.05 for old, new in runs]
    assert sum(found) <= 9


def test_no_difference_can_be_told_without_a_figure() -> None:
    assert math.isnan(paired_p_value(first, np.full((3, 1), NAN), np.ones((3, 1))))
