"""What can go wrong between a question and its answer.

AnswerError
├── UnknownFilterError    a question is limited to a speaker or source that the index does not hold
├── EvaluationError       a question set cannot be read (`app/question_set.py`): file, line, field
├── ConversationError     conversations cannot be kept (`app/conversation.py`)
├── FeedbackError         feedback cannot be kept (`app/feedback.py`)
├── LedgerError           what Slack delivers cannot be written down (`app/slack_ledger.py`)
├── KeyFileError          the file of API keys cannot be read or written (`app/keys.py`)
├── BackupError           a backup cannot be made or restored (`app/backup.py`)
├── SlackError            Slack cannot be reached, or refuses (`app/slack_api.py`)
├── ModelSettingError     a language model cannot be opened with what is set
└── ModelError            a language model gave no answer (`app/llm.py`)
    ├── KeyRefusedError         401, 403
    ├── UnknownModelError       404
    ├── ContextOverflowError    the messages are longer than the model can read
    ├── ContentFilterError      the server, or the model itself, refuses to go on
    ├── EmptyCompletionError    nothing but blanks was written
    ├── TornStreamError         the answer began and was not brought to its end
    ├── InvalidResponseError    what came is not what the protocol says
    ├── ModelTimeoutError       a try, a pause or the whole call took too long
    ├── RateLimitedError        429, to the last try
    ├── ModelUnavailableError   5xx, or no connection
    ├── ModelRequestError       every other 4xx
    ├── ModelPausedError        after too many failures in a row, for a while
    └── ModelBusyError          too many calls at the same time
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar


class AnswerError(Exception):
    """Base of all errors of this package."""


class UnknownFilterError(AnswerError):
    """`field` is `speaker` or `source`; the message says what there is instead."""

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        super().__init__(message)


class KeyFileError(AnswerError):
    """Nobody can be let in or turned away by it; the message says why, and holds no key."""

    def __init__(self, path: Path, reason: object) -> None:
        super().__init__(f"the keys in {path} cannot be used: {reason}")


class ModelSettingError(AnswerError):
    """The message names the variable at fault, and never repeats its value, which may hold a secret."""


class ModelError(AnswerError):
    """One call to a language model failed; one subclass for each way.

    `kind` is for logs and metrics. `retryable` says that the same call may succeed later. `status` is the HTTP status,
    where there was one. The message is for users, and the same for all errors of a class: nothing of what a server
    wrote is in it.
    """

    kind: ClassVar[str] = "failed"
    retryable: ClassVar[bool] = False
    reason: ClassVar[str] = "The language model failed."

    def __init__(self, status: int | None = None) -> None:
        self.status = status
        super().__init__(self.reason)


class KeyRefusedError(ModelError):
    kind = "key refused"
    reason = "The language model's server refused the key."


class UnknownModelError(ModelError):
    kind = "unknown model"
    reason = "The language model's server does not know that model."


class ContextOverflowError(ModelError):
    kind = "context overflow"
    reason = "The question and what was found for it are too long for the language model."


class ContentFilterError(ModelError):
    kind = "content filter"
    reason = "The language model refused to answer."


class EmptyCompletionError(ModelError):
    kind = "empty"
    reason = "The language model wrote nothing."


class TornStreamError(ModelError):
    kind = "torn"
    retryable = True
    reason = "The language model broke off."


class InvalidResponseError(ModelError):
    kind = "invalid response"
    reason = "The language model's server sent something that is no answer."


class ModelTimeoutError(ModelError):
    kind = "timeout"
    retryable = True
    reason = "The language model did not answer in time."


class RateLimitedError(ModelError):
    kind = "rate limited"
    retryable = True
    reason = "The language model's server takes no more requests for now."


class ModelUnavailableError(ModelError):
    kind = "unavailable"
    retryable = True
    reason = "The language model cannot be reached."


class ModelRequestError(ModelError):
    kind = "bad request"
    reason = "The language model's server did not accept the request."


class ModelPausedError(ModelError):
    kind = "paused"
    retryable = True
    reason = "The language model has failed too often and is left alone for a while."


class ModelBusyError(ModelError):
    kind = "busy"
    retryable = True
    reason = "The language model is busy with other questions."
