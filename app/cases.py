"""Feedback as questions for `onrecord eval`: what each rated answer says about how the question should be answered.

| rating and answer | `answerable` | `source`, `gold` | `review` |
| --- | --- | --- | --- |
| up, answered | true | where it cites, if all in one source | |
| up, no answer | false | | |
| down, answered | true | | to add them, or to say that there is no answer |
| down, no answer | true | | to add them |
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, TypeAdapter

from app.feedback import Rated, Rating
from app.question_set import Gold, Question
from app.schemas import MAX_TEXT
from ingest.speakers import bare_name

NOT_THIS = "Not this answer: add source and gold where the right one stands, or set answerable to false."
NOT_NONE = "There is an answer, readers say: add source and gold where it stands, or set answerable to false."

_MILLISECOND = 0.001


class _CitedSource(BaseModel):
    id: str
    title: str


class CitedWords(BaseModel):
    """What a case shows of a citation, for whoever completes it."""

    quote: str
    speaker: str | None
    start: float | None
    end: float | None
    locator: str | None
    source: _CitedSource


class Case(Question):
    """A line of a question set, with what a person wants to know of where it comes from.

    `split` is the rating. `asked` is the question as it was asked, where that needs others before it to be understood.
    `review` says what only a person can add; null where the case is complete.
    """

    review: str | None
    rating: Rating
    comment: str | None
    asked: str | None
    status: Literal["answered", "no_answer"]
    answer: str
    citations: list[CitedWords]
    given: datetime
    snapshot: str
    answerer: str
    model: str | None
    confidence: float


_Citations = TypeAdapter(list[CitedWords])


def eval_case(rated: Rated) -> Case:
    """The question that a rated answer becomes; its id is that of the feedback."""
    citations = _Citations.validate_json(rated.citations)
    understood = rated.understood if rated.understood and len(rated.understood) <= MAX_TEXT else rated.question
    good, answered = rated.rating == "up", rated.status == "answered"
    sources = {citation.source.id for citation in citations}
    told = good and len(sources) == 1
    return Case(
        id=rated.id,
        question=understood,
        source=next(iter(sources)) if told else None,
        speaker=_speaker(understood, citations) if told else None,
        gold=_gold(citations) if told else (),
        answerable=answered or not good,
        split=rated.rating,
        review=None if good else NOT_THIS if answered else NOT_NONE,
        rating=rated.rating,
        comment=rated.comment,
        asked=rated.question if understood != rated.question else None,
        status=rated.status,
        answer=rated.text,
        citations=citations,
        given=datetime.fromtimestamp(rated.given, UTC),
        snapshot=rated.snapshot,
        answerer=rated.answerer,
        model=rated.model,
        confidence=rated.confidence,
    )


def _speaker(question: str, citations: Sequence[CitedWords]) -> str | None:
    """Whose own words are asked for: the one who is cited, if the question says a part of the name."""
    speakers = {citation.speaker for citation in citations}
    speaker = speakers.pop() if len(speakers) == 1 else None
    if speaker is None or not set(bare_name(speaker).split()) & set(bare_name(question).split()):
        return None
    return speaker


def _gold(citations: Sequence[CitedWords]) -> tuple[Gold, ...]:
    """Where the cited words stand, in order. Whatever starts only when they end is none of them."""
    places = {
        (c.start, c.start if c.end is None else max(c.start, c.end - _MILLISECOND))
        for c in citations
        if c.start is not None
    }
    return tuple(Gold(start=start, end=round(end, 3)) for start, end in sorted(places))
