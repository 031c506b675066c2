"""Question files: a JSON object a line, each checked, every fault with its line and field."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from app.errors import AnswerError
from app.schemas import MAX_TEXT


class EvaluationError(AnswerError):
    """A question file, or the result of an earlier run, cannot be used; the message says where and why."""


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be blank")
    return text


_Seconds = Annotated[float, Field(ge=0)]
_Name = Annotated[str, AfterValidator(_not_blank)]


class Gold(BaseModel):
    """Where an answer stands: the cues that start in these seconds, both included."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    start: _Seconds
    end: _Seconds

    @model_validator(mode="after")
    def _ordered(self) -> Gold:
        if self.end < self.start:
            raise ValueError("end must not be before start")
        return self


class Question(BaseModel):
    """A line; fields that are not named here are passed over.

    `source` is a source id or the file's stem, null where all sources are asked; `speaker` is the person whose own
    words are asked for. An answerable question without `gold` counts for abstention and citations only.
    """

    model_config = ConfigDict(strict=True)

    id: _Name
    question: Annotated[str, StringConstraints(max_length=MAX_TEXT), AfterValidator(_not_blank)]
    source: _Name | None = None
    speaker: _Name | None = None
    gold: tuple[Gold, ...] = ()
    answerable: bool
    split: _Name | None = None
    kind: _Name | None = None


def read_questions(path: Path) -> dict[int, Question]:
    """The questions by line number, from 1; blank lines are passed over. Raises EvaluationError, or OSError."""
    questions: dict[int, Question] = {}
    lines = path.read_bytes().removeprefix(codecs.BOM_UTF8).split(b"\n")
    ids: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            question = Question.model_validate_json(line)
        except ValidationError as error:
            raise EvaluationError(f"{path}:{number}: {reason(error)}") from error
        if question.id in ids:
            raise EvaluationError(f"{path}:{number}: id: {question.id!r} is the id of line {ids[question.id]} too")
        ids[question.id] = number
        questions[number] = question
    if not questions:
        raise EvaluationError(f"{path} holds no question")
    return questions


def reason(error: ValidationError) -> str:
    """The first fault: its field and what is wrong with it."""
    fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "json_invalid":
        return f"is not valid JSON: {message.removeprefix('Invalid JSON: ')}"
    field = ".".join(map(str, fault["loc"]))
    return f"{field}: {message}" if field else message
