"""The quotes answerer: picks the sentences that answer and quotes them verbatim, without a model.

Which sentences: `docs/evaluation.md` has the figures behind the weights.
"""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace

from app.citations import ANSWER_SENTENCES, Citation, cite, quoted_span
from index.embed import Matrix
from index.lexical import terms
from index.search import Hit
from index.store import Store
from ingest.model import Span, Turn

COVERAGE_WEIGHT = 0.2
PASSAGE_WEIGHT = 0.2
NOBODY_PENALTY = 0.25
"""Words of nobody in particular (a summary, a biography) come after what people said."""
QUESTION_PENALTY = 0.10
SHORT_PENALTY = 0.15
SHORT_WORDS = 6
UNFINISHED_PENALTY = 0.05
PROCEDURE_PENALTY = 0.10
"""Sentences that only hand over to the next item or speaker echo the question best of all, and answer nothing."""
ANSWER_SHARE = 0.85
"""The first sentences after a question count as this much of how well the question fits."""
WHOLE_TURN_WORDS = 60
"""A turn up to this length is quoted whole, a longer one by sentences up to this length."""
CUTOFF = 0.4
"""How far below the best sentence another may score and still be quoted."""
MIN_SIMILARITY = 0.4
MIN_COVERAGE = 0.1
"""A further quotation must reach one of the two: beside a good answer a loose one only distracts."""
SAME_WORDS = 0.6
"""Share of words in common from which two quotations say the same thing."""

_NO_ANTECEDENT = re.compile(
    r"(?:(?:and|but|so|because|then)\s+)?(?:it|that|this|these|those|they|he|she|which)(?:['’]s|['’]re)?\b",
    re.IGNORECASE,
)
_PROCEDURE = re.compile(
    r"\b(?:mov(?:e|ing) on|turn(?:ing)? (?:now )?to|go(?:ing)? (?:now )?to talk|over to|hand(?:ing)? (?:it )?over"
    r"|next (?:item|question|slide|topic|speaker|point)|questions? from|thank you)\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"\w+(?:['’]\w+)*")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sentence of a passage, by its index; `similarity` is its cosine with the topic.

    One of the first to answer a question has at least a share of that question's.
    """

    hit: Hit
    index: int
    similarity: float


@dataclass(frozen=True, slots=True)
class Scored:
    """Consecutive sentences of one turn of a passage, and how well the best of them answers.

    `coverage` is the share of the topic's words held; `score` weighs in all that makes a good quotation.
    """

    hit: Hit
    first: int
    last: int
    score: float
    similarity: float
    coverage: float

    @property
    def speaker(self) -> str | None:
        """Who says them."""
        return self.hit.turns[self.hit.passage.sentences[self.first].turn].speaker


class Topic:
    """What is asked about, in both of the forms in which sentences are compared with it."""

    def __init__(self, text: str, vector: Matrix, store: Store) -> None:
        self.vector = vector
        self._idf = store.idf(terms(text))
        self.mass = sum(self._idf.values())

    def coverage(self, text: str) -> float:
        """Share of the topic's words, weighted by how rare they are, that a text holds; 0 to 1."""
        return self.share(set(terms(text)))

    def share(self, held: Set[str]) -> float:
        """The same of a text's terms."""
        return sum(idf for term, idf in self._idf.items() if term in held) / self.mass if self.mass else 0.0


def candidates(topic: Topic, hits: Sequence[Hit], speakers: Set[str] | None = None) -> list[Candidate]:
    """All sentences of the hits in order, only of `speakers` where given."""
    found: list[Candidate] = []
    for hit in hits:
        similarities = hit.similarities(topic.vector)
        for i, answered in enumerate(_answered(hit, similarities)):
            if speakers is None or hit.turns[hit.passage.sentences[i].turn].speaker in speakers:
                found.append(Candidate(hit, i, max(similarities[i], ANSWER_SHARE * answered)))
    return found


def score_sentences(topic: Topic, sentences: Sequence[Candidate]) -> list[Scored]:
    """The sentences, best first, each by itself."""
    scored: list[Scored] = []
    best = max((sentence.hit.score for sentence in sentences), default=1.0)
    for candidate in sentences:
        hit, i = candidate.hit, candidate.index
        sentence = hit.passage.sentences[i]
        turn = hit.turns[sentence.turn]
        text = turn.text[sentence.begin : sentence.end]
        coverage = topic.coverage(f"{text} {turn.context}")
        score = candidate.similarity + COVERAGE_WEIGHT * coverage + PASSAGE_WEIGHT * hit.score / best
        scored.append(Scored(hit, i, i, score - _penalty(text, turn), candidate.similarity, coverage))
    return sorted(scored, key=lambda s: -s.score)


def _answered(hit: Hit, similarities: Sequence[float]) -> list[float]:
    """For each sentence, the similarity of the question that it is among the first to answer, else 0."""
    answered: list[float] = []
    question, asker, left = 0.0, -1, 0
    for sentence, similarity in zip(hit.passage.sentences, similarities, strict=True):
        answers = left > 0 and sentence.turn != asker
        answered.append(question if answers else 0.0)
        if hit.turns[sentence.turn].text.endswith("?", 0, sentence.end):
            question, asker, left = similarity, sentence.turn, ANSWER_SENTENCES
        elif answers:
            left -= 1
    return answered


def _penalty(text: str, turn: Turn) -> float:
    return (
        NOBODY_PENALTY * (turn.speaker is None)
        + QUESTION_PENALTY * text.endswith("?")
        + PROCEDURE_PENALTY * (_PROCEDURE.search(text) is not None)
        + SHORT_PENALTY * (len(text.split()) < SHORT_WORDS)
        + UNFINISHED_PENALTY * text[-1].isalnum()
    )


def choose_quotes(scored: Sequence[Scored], limit: int) -> list[Citation]:
    """Up to `limit` quotations, the best first, none that says what an earlier one says, grouped for reading.

    Those of one speaker in one source stand together in the order of time, but that the best of all comes first.
    """
    chosen: list[Scored] = []
    for candidate in scored:
        if len(chosen) == limit or candidate.score < scored[0].score - CUTOFF:
            break
        if chosen and candidate.similarity < MIN_SIMILARITY and candidate.coverage < MIN_COVERAGE:
            continue
        whole = _completed(candidate)
        if not any(_overlap(whole, other) or _same(whole, other) for other in chosen):
            chosen.append(whole)
    ordered = sorted(chosen[1:], key=lambda s: _reading_order(s, chosen)) if chosen else []
    return [cite(s.hit, s.first, s.last, marker) for marker, s in enumerate([*chosen[:1], *ordered], start=1)]


def _reading_order(quote: Scored, chosen: Sequence[Scored]) -> tuple[int, int, int]:
    group = [_group(other) for other in chosen].index(_group(quote))
    return group, quote.hit.passage.ordinal, quote.first


def _group(quote: Scored) -> tuple[str | None, str]:
    return quote.speaker, quote.hit.source.id


def _completed(candidate: Scored) -> Scored:
    """With what a reader needs to understand it: short words whole, else the sentence before a bare "it" or "that"."""
    sentences = candidate.hit.passage.sentences
    turn = candidate.hit.turns[sentences[candidate.first].turn]
    run = [candidate.first]
    while run[0] > 0 and _continues(turn, sentences[run[0] - 1], sentences[run[0]]):
        run.insert(0, run[0] - 1)
    while run[-1] + 1 < len(sentences) and _continues(turn, sentences[run[-1]], sentences[run[-1] + 1]):
        run.append(run[-1] + 1)
    words = [len(turn.text[sentences[i].begin : sentences[i].end].split()) for i in run]
    if sum(words) <= WHOLE_TURN_WORDS:
        return replace(candidate, first=run[0], last=run[-1])
    first = candidate.first
    text = turn.text[sentences[first].begin : sentences[first].end]
    before = run.index(first) - 1
    if before >= 0 and _NO_ANTECEDENT.match(text) and words[before] + words[before + 1] <= WHOLE_TURN_WORDS:
        first -= 1
    return replace(candidate, first=first)


def _continues(turn: Turn, one: Span, other: Span) -> bool:
    """Whether two sentences stand together in a turn: the second begins in the cue in which the first ends."""
    return one.turn == other.turn and turn.cue_at(one.end - 1) == turn.cue_at(other.begin)


def _overlap(one: Scored, other: Scored) -> bool:
    return one.hit.passage.id == other.hit.passage.id and one.first <= other.last and other.first <= one.last


def _same(one: Scored, other: Scored) -> bool:
    a, b = _words(one), _words(other)
    return len(a & b) >= SAME_WORDS * min(len(a), len(b))


def _words(quote: Scored) -> set[str]:
    span = quoted_span(quote.hit, quote.first, quote.last)
    return {word.casefold() for word in _WORD.findall(quote.hit.turns[span.turn].text[span.begin : span.end])}
