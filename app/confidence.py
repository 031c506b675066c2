"""How sure it is that the corpus answers a question: a few signs of evidence, weighed by two logistic regressions.

Similarity alone cannot tell a false attribution ("What did A say about T?", where only B speaks of T) from a true one,
so whether the topic is there and whether this person speaks of it are judged apart, and the weaker judgement decides.
The weights come from `benchmarks/calibrate.py`; `docs/evaluation.md` says on what they were fitted and how they did.
"""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from dataclasses import astuple, dataclass

from app.quotes import Candidate, Topic
from index.lexical import terms
from index.search import Hit


@dataclass(frozen=True, slots=True)
class TopicSigns:
    """Evidence that the topic is spoken of in the scope of a question.

    `sentence` and `passage` are the best cosines; `window` and `scope` the shares of the topic's idf mass that the best
    passage holds and that the passages found hold together; `size` and `mass` are the natural logarithms of the number
    of passages in scope and of the topic's idf mass.
    """

    sentence: float
    passage: float
    window: float
    scope: float
    size: float
    mass: float


@dataclass(frozen=True, slots=True)
class SpeakerSigns:
    """Evidence that the person asked for speaks of the topic, next to everybody else in the same scope.

    `sentence` is the best cosine in the person's own sentences, `behind` how far that is behind the best of all,
    `window` and `lacking` the same for the share of the topic's idf mass in one passage.
    """

    sentence: float
    behind: float
    window: float
    lacking: float


TOPIC_WEIGHTS = (-6.492, 5.487, 8.272, 6.055, 1.498, -0.367, -0.263)
SPEAKER_WEIGHTS = (-5.327, 10.526, -0.624, 4.585, -1.305)
"""Intercept first, then a weight for each sign in order."""


def topic_signs(topic: Topic, hits: Sequence[Hit], sentences: Sequence[Candidate], scope: int) -> TopicSigns:
    """The signs in what a search without a speaker found, in a scope of so many passages."""
    held = [frozenset(terms(hit_text(hit))) for hit in hits]
    return TopicSigns(
        sentence=best_similarity(sentences),
        passage=max((hit.similarity for hit in hits), default=0.0),
        window=max(map(topic.share, held), default=0.0),
        scope=topic.share(frozenset[str]().union(*held)),
        size=math.log(max(scope, 1)),
        mass=math.log1p(topic.mass),
    )


def speaker_signs(
    topic: Topic, hits: Sequence[Hit], sentences: Sequence[Candidate], speakers: Set[str], everybody: TopicSigns
) -> SpeakerSigns:
    """The signs in what a search for `speakers` alone found, next to those in what was found of everybody."""
    sentence = best_similarity(sentences)
    window = max((topic.coverage(hit_text(hit, speakers)) for hit in hits), default=0.0)
    return SpeakerSigns(
        sentence=sentence,
        behind=max(0.0, everybody.sentence - sentence),
        window=window,
        lacking=max(0.0, everybody.window - window),
    )


def confidence(topic: TopicSigns, speaker: SpeakerSigns | None) -> float:
    """0 to 1, higher is surer that the corpus answers."""
    judged = _logistic(TOPIC_WEIGHTS, astuple(topic))
    return judged if speaker is None else min(judged, _logistic(SPEAKER_WEIGHTS, astuple(speaker)))


def best_similarity(sentences: Sequence[Candidate]) -> float:
    """The highest cosine among sentences."""
    return max((sentence.similarity for sentence in sentences), default=0.0)


def hit_text(hit: Hit, speakers: Set[str] | None = None) -> str:
    """The words of a passage, notes included, without speakers' names.

    Only those of `speakers` where given, with the questions that they answer.
    """
    texts: list[str] = []
    question = ""
    for span in hit.passage.spans:
        turn = hit.turns[span.turn]
        words = turn.text[span.begin : span.end]
        if speakers is None or turn.speaker in speakers:
            texts += [question, words, turn.context]
        question = words if words.endswith("?") else ""
    return " ".join(texts)


def _logistic(weights: Sequence[float], signs: Sequence[float]) -> float:
    total = weights[0] + sum(weight * sign for weight, sign in zip(weights[1:], signs, strict=True))
    return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, total))))
