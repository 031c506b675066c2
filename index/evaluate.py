"""Measures of retrieval, attribution, citation and abstention, and how sure they are: pure functions.

A passage is the list of its words as positions in the source that was asked of; None for a word of another source.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from collections.abc import Set as AbstractSet
from itertools import chain, islice
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

Words = Sequence[int | None]
Numbers = NDArray[np.float64]
"""One for each question; NaN where it does not apply."""
Table = NDArray[np.float64]
"""A row for each question, a column for each thing noted of it."""
Statistic = Callable[[Table], float]
"""NaN where there is nothing to make the figure of."""

ROUNDS = 1000
LEVEL = 0.95
_MARKER = re.compile(r"\[(\d+)\]")


def span_recall(passages: Sequence[Words], gold: AbstractSet[int], budget: int) -> float:
    """|words read ∩ gold| / |gold|, where the passages are read in order until `budget` words have been read.

    A word met twice costs budget and earns nothing. `gold` must not be empty.
    """
    return len(gold & set(_read(passages, budget))) / len(gold)


def span_precision(passages: Sequence[Words], gold: AbstractSet[int], budget: int) -> float:
    """|words read ∩ gold| / number of words read, as `span_recall` reads them; 0 where nothing is read."""
    read = _read(passages, budget)
    return len(gold & set(read)) / len(read) if read else 0.0


def _read(passages: Sequence[Words], budget: int) -> list[int | None]:
    return list(islice(chain.from_iterable(passages), budget))


def ndcg(passages: Sequence[Words], gold: AbstractSet[int], k: int = 10) -> float:
    """DCG / ideal DCG, at most 1; DCG = Σ over the relevant of the first k passages of 1 / log2(rank + 1).

    A passage is relevant when at least half of its words are gold. The ideal ranking opens with as many relevant
    passages as the gold words fill at the mean length of these passages, at least 1 and at most k. Järvelin &
    Kekäläinen, "Cumulated gain-based evaluation of IR techniques", TOIS 2002.
    """
    mean = fmean(map(len, passages)) if passages else 1.0
    ideal = max(1, min(k, round(len(gold) / max(mean, 1.0))))
    ranks = (rank for rank, passage in enumerate(passages[:k], start=1) if _is_relevant(passage, gold))
    return min(1.0, _gain(ranks) / _gain(range(1, ideal + 1)))


def _gain(ranks: Iterator[int] | range) -> float:
    return sum(1 / math.log2(rank + 1) for rank in ranks)


def reciprocal_rank(passages: Sequence[Words], gold: AbstractSet[int]) -> float:
    """1 / rank of the first relevant passage (as in `ndcg`), 0 without one. Its mean over the questions is MRR."""
    return next((1 / rank for rank, passage in enumerate(passages, 1) if _is_relevant(passage, gold)), 0.0)


def _is_relevant(passage: Words, gold: Collection[int]) -> bool:
    return bool(passage) and sum(word in gold for word in passage) >= len(passage) / 2


def hit_at(stretches: Sequence[tuple[float, float] | None], moment: float, k: int) -> float:
    """1 where one of the first k passages holds the moment (start ≤ moment ≤ end, seconds), else 0.

    A passage of another source, or without a clock, is None.
    """
    return float(any(each is not None and each[0] <= moment <= each[1] for each in stretches[:k]))


def time_error(starts: Sequence[float], moment: float) -> float:
    """min |start - moment|, in seconds, over the turn starts of a passage; NaN where it has none."""
    return min((abs(start - moment) for start in starts), default=math.nan)


def speaker_precision(speakers: Sequence[str | None], wanted: Collection[str]) -> float:
    """Cited words that the person asked about says / cited words, from the speaker of each; NaN without any."""
    return fmean(speaker in wanted for speaker in speakers) if speakers else math.nan


def citation_precision(cited: Words, gold: Collection[int]) -> float:
    """Cited words that are gold / cited words; NaN where nothing is cited."""
    return fmean(word in gold for word in cited) if cited else math.nan


def citation_hit(cited: Words, gold: Collection[int]) -> float:
    """1 where at least one cited word is gold, else 0."""
    return float(any(word in gold for word in cited))


def markers_match(answer: str, markers: Sequence[int]) -> bool:
    """Whether the markers `[n]` of an answer and those of its citations are the same, each citation with its own."""
    return len(set(markers)) == len(markers) and {int(n) for n in _MARKER.findall(answer)} == set(markers)


def abstention_precision(answerable: Numbers, abstained: Numbers) -> float:
    """Right abstentions / abstentions, 0 without any. Here and below: 0 or 1 each; NaN where all can be answered."""
    return _over(_right_abstentions(answerable, abstained), abstained.sum()) if _tried(answerable) else math.nan


def abstention_recall(answerable: Numbers, abstained: Numbers) -> float:
    """Right abstentions / unanswerable questions."""
    return _over(_right_abstentions(answerable, abstained), _tried(answerable)) if _tried(answerable) else math.nan


def abstention_f1(answerable: Numbers, abstained: Numbers) -> float:
    """2 · right abstentions / (abstentions + unanswerable questions): the harmonic mean of precision and recall."""
    both = abstained.sum() + _tried(answerable)
    return _over(2 * _right_abstentions(answerable, abstained), both) if _tried(answerable) else math.nan


def answered_share(answerable: Numbers, abstained: Numbers) -> float:
    """Answerable questions that got an answer / answerable questions; NaN where there is none."""
    return _over((answerable * (1 - abstained)).sum(), answerable.sum()) if answerable.any() else math.nan


def _right_abstentions(answerable: Numbers, abstained: Numbers) -> float:
    return float(((1 - answerable) * abstained).sum())


def _tried(answerable: Numbers) -> float:
    return float((1 - answerable).sum())


def _over(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0


def auroc(answerable: Numbers, confidence: Numbers) -> float:
    """P(an answerable question's confidence > an unanswerable one's) + ½ P(equal); NaN where one sort is lacking.

    The Mann-Whitney U over the number of pairs.
    """
    above, below = confidence[answerable == 1], np.sort(confidence[answerable == 0])
    if not (above.size and below.size):
        return math.nan
    wins = np.searchsorted(below, above, "left") + np.searchsorted(below, above, "right")
    return float(wins.sum() / 2 / (above.size * below.size))


def nearest_rank(values: Numbers, share: float) -> float:
    """The ⌈share · n⌉-th smallest of n values; NaN ones do not count, and NaN is the answer where there is no other."""
    known = np.sort(values[~np.isnan(values)])
    return float(known[max(1, math.ceil(share * known.size)) - 1]) if known.size else math.nan


def mean(values: Numbers) -> float:
    """The arithmetic mean of the values that are not NaN; NaN where there is none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else math.nan


def bootstrap_interval(
    statistic: Statistic, table: Table, *, rounds: int = ROUNDS, level: float = LEVEL, seed: int = 0
) -> tuple[float, float]:
    """The percentile bootstrap interval: quantiles (1 ∓ level) / 2 of the statistic over questions drawn anew.

    As many questions as there are, with replacement, `rounds` times; draws without a figure do not count. Efron &
    Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    rng = np.random.default_rng(seed)
    drawn = [statistic(table[rng.integers(len(table), size=len(table))]) for _ in range(rounds)] if len(table) else []
    figures = np.asarray([figure for figure in drawn if not math.isnan(figure)])
    if not figures.size:
        return math.nan, math.nan
    low, high = np.quantile(figures, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def paired_p_value(statistic: Statistic, old: Table, new: Table, *, rounds: int = ROUNDS, seed: int = 0) -> float:
    """How likely a difference so large, either way, is where old and new are alike; NaN where one lacks the figure.

    The randomisation test: p = (1 + number of rounds with |d*| ≥ |d|) / (1 + rounds), d* after each question's two
    rows are exchanged or not by a coin. Row i is the same question in both tables. Smucker, Allan & Carterette, "A
    comparison of statistical significance tests for information retrieval evaluation", CIKM 2007.
    """
    difference = abs(statistic(new) - statistic(old))
    if math.isnan(difference):
        return math.nan
    if difference == 0:
        return 1.0  # no round has less
    rng = np.random.default_rng(seed)
    as_large = 0
    for _ in range(rounds):
        exchanged = (rng.random(len(old)) < 0.5)[:, None]
        drawn = abs(statistic(np.where(exchanged, old, new)) - statistic(np.where(exchanged, new, old)))
        as_large += not drawn < difference - 1e-12  # a draw without a figure speaks for neither
    return (1 + as_large) / (1 + rounds)
