"""What readers think of answers: thumbs up or down and a word, kept in a SQLite file with the answer they are about."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from dataclasses import dataclass
from sqlite3 import Connection
from typing import Annotated, Literal

import structlog
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, StringConstraints
from starlette.exceptions import HTTPException

from app.answer import Answer
from app.database import ROOM, Database, Schema, storable
from app.errors import AnswerError
from app.problems import problem_responses
from app.schemas import Body, CitationOut

UNRATED_KEPT = 10_000
"""Answers without feedback that are kept, the last ones, and up to ROOM more."""
UNRATED_DAYS = 7.0
"""How long after an answer there may be feedback on it."""
LONGEST_COMMENT = 2000

_DAY = 86_400
SCHEMA = Schema(
    application=0x4F6E5266,
    version=1,
    statements=(
        # The last four columns are null until somebody rates.
        "CREATE TABLE answer (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, given REAL NOT NULL,"
        " snapshot TEXT NOT NULL, question TEXT NOT NULL, understood TEXT, status TEXT NOT NULL, text TEXT NOT NULL,"
        " citations TEXT NOT NULL, answerer TEXT NOT NULL, model TEXT, confidence REAL NOT NULL,"
        " feedback TEXT UNIQUE, rating TEXT CHECK (rating IN ('up', 'down')), comment TEXT, rated REAL)",
        "CREATE INDEX answer_rated ON answer (rated, given)",
    ),
)
_log = structlog.get_logger()

Rating = Literal["up", "down"]


class FeedbackError(AnswerError):
    """The file of feedback cannot be read or written; the message names it and its setting."""

    def __init__(self, path: str, reason: object) -> None:
        super().__init__(f"feedback cannot be kept in {path}: {reason}; ONRECORD_FEEDBACK names another file")


@dataclass(frozen=True, slots=True)
class Rated:
    """An answer with what a reader thought of it.

    `id` is that of the feedback. `given` is in seconds since 1970, `citations` are JSON, `understood` is how the
    question was read where it did not stand alone, or where a name was guessed.
    """

    id: str
    given: float
    snapshot: str
    question: str
    understood: str | None
    status: Literal["answered", "no_answer"]
    text: str
    citations: str
    answerer: str
    model: str | None
    confidence: float
    rating: Rating
    comment: str | None


class Feedback:
    """Answers as they were given, and what readers thought of them. Safe to use from several threads and processes.

    An answer that nobody rates is forgotten after UNRATED_DAYS, or when UNRATED_KEPT have followed it; one that was
    rated, `days` after that, or never where `days` is 0.
    """

    def __init__(self, path: str, days: float) -> None:
        """Opens the file, made with its folder where there is none; `:memory:` keeps nothing beyond the process.

        Raises FeedbackError for a file that is no such database, is of another version, or cannot be written.
        """
        self._days = days
        self._file = Database(path, SCHEMA, FeedbackError)
        try:
            with self._file.writing() as db:
                self._forget(db)
        except BaseException:
            self._file.close()
            raise

    def remember(self, question: str, snapshot: str, answer: Answer) -> None:
        """Keeps an answer, so that it can be rated. Where that fails it is logged: the answer itself is worth more."""
        citations = json.dumps([CitationOut.model_validate(each).model_dump() for each in answer.citations])
        row = (
            *(answer.id, time.time(), snapshot, storable(question)),
            answer.reading and storable(answer.reading.question),
            *(answer.status, storable(answer.answer), citations, answer.answerer, answer.model, answer.confidence),
        )
        try:
            with self._file.writing() as db:
                self._forget(db)
                db.execute(
                    "INSERT INTO answer (id, given, snapshot, question, understood, status, text, citations, answerer,"
                    " model, confidence) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    row,
                )
        except FeedbackError as error:
            _log.error("answer not kept", reason=str(error))

    def rate(self, answer_id: str, rating: Rating, comment: str | None) -> str | None:
        """Keeps what a reader thinks, in place of what was thought before: its id; null for an unknown answer."""
        with self._file.writing() as db:
            self._forget(db)
            found = db.execute(
                "UPDATE answer SET feedback = coalesce(feedback, ?), rating = ?, comment = ?, rated = ? WHERE id = ?"
                " RETURNING feedback",
                (uuid.uuid4().hex, rating, comment, time.time(), answer_id),
            ).fetchall()
        return found[0][0] if found else None

    def rated(self) -> list[Rated]:
        """The answers that were rated, oldest first."""
        columns = (
            "feedback, given, snapshot, question, understood, status, text, citations, answerer, model, confidence,"
            " rating, comment"
        )
        rows = self._file.read(f"SELECT {columns} FROM answer WHERE rated IS NOT NULL ORDER BY number")  # noqa: S608
        return [Rated(*row) for row in rows]

    def purge(self, before: float | None) -> tuple[int, int]:
        """Deletes the answers given before a moment, in seconds since 1970, or all; how many, and how many were rated.

        Those that nobody rated are among them. Nothing of what is deleted is left in the file.
        """
        with self._file.writing() as db:
            chosen, values = ("1", ()) if before is None else ("given < ?", (before,))
            (rated,) = db.execute(f"SELECT count(rated) FROM answer WHERE {chosen}", values).fetchone()  # noqa: S608
            return self._file.delete(f"DELETE FROM answer WHERE {chosen}", values), rated  # noqa: S608

    def close(self) -> None:
        """Closes the file; what is in it stays."""
        self._file.close()

    def _forget(self, db: Connection) -> None:
        now = time.time()
        self._file.delete("DELETE FROM answer WHERE rated IS NULL AND given < ?", (now - UNRATED_DAYS * _DAY,))
        self._file.delete(
            "DELETE FROM answer WHERE number IN"
            " (SELECT number FROM answer WHERE rated IS NULL ORDER BY given DESC LIMIT -1 OFFSET ?)"
            " AND EXISTS (SELECT 1 FROM answer WHERE rated IS NULL LIMIT 1 OFFSET ?)",
            (UNRATED_KEPT, UNRATED_KEPT + ROOM),
        )
        if self._days:
            self._file.delete("DELETE FROM answer WHERE rated < ?", (now - self._days * _DAY,))


class FeedbackRequest(Body):
    """What somebody thinks of an answer."""

    model_config = ConfigDict(extra="forbid", strict=True)

    answer_id: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    rating: Rating
    comment: Annotated[str, StringConstraints(max_length=LONGEST_COMMENT, strip_whitespace=True)] | None = None


class FeedbackResponse(BaseModel):
    """The id stays when the same answer is rated again."""

    id: str


def feedback_router(feedback: Feedback) -> APIRouter:
    """The route that takes feedback."""
    router = APIRouter()

    @router.post("/v1/feedback", status_code=201, responses=problem_responses(400, 404, 413, 415, 422, 503))
    async def rate(rated: FeedbackRequest) -> FeedbackResponse:
        """Keeps whether an answer helped; a second time in place of the first."""
        try:
            feedback_id = await asyncio.to_thread(feedback.rate, rated.answer_id, rated.rating, rated.comment or None)
        except FeedbackError as error:
            _log.error("feedback not kept", reason=str(error))
            raise HTTPException(503, "Feedback cannot be kept at the moment.", {"Retry-After": "5"}) from error
        if feedback_id is None:
            raise HTTPException(404, f"There is no answer {rated.answer_id!r} that can still be rated.")
        return FeedbackResponse(id=feedback_id)

    return router
