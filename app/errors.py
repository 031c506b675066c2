"""What can go wrong between a question and its answer.

AnswerError
├── UnknownFilterError    a question is limited to a speaker or source that the index does not hold
└── EvaluationError       a question set cannot be read (`app/question_set.py`): file, line, field
"""

from __future__ import annotations


class AnswerError(Exception):
    """Base of all errors of this package."""


class UnknownFilterError(AnswerError):
    """`field` is `speaker` or `source`; the message says what there is instead."""

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        super().__init__(message)
