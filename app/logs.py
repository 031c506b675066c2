"""Logs: one line an event, on stderr, for people or as JSON. Nobody's question is among what is logged, nor anything
that may repeat one, unless the settings say so; a key never is.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import traceback
from collections.abc import Callable, MutableMapping
from types import TracebackType
from typing import Any
from urllib.parse import unquote, urlsplit

import structlog
from pydantic import SecretStr

from app.settings import Settings

SHORTEST_SECRET = 6
"""Shorter ones are not looked for: they are parts of words."""
HIDDEN = "[secret]"

_TRUSTED = ("uvicorn",)
"""Whose messages are known to hold nothing of a request."""
_FIRST = ("timestamp", "level", "event")

_log = structlog.get_logger()
_Event = MutableMapping[str, Any]
_questions = False


def log_to_stderr(settings: Settings) -> None:
    """Our own warnings on standard error, for commands that are soon done: their output is the answer."""
    structlog.configure(
        processors=[*_described(settings), _renderer(settings)],
        logger_factory=lambda *_: structlog.WriteLogger(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
    )


def configure_logs(settings: Settings) -> None:
    """Our own events and those of the libraries in one format."""
    global _questions
    _questions = settings.log_questions
    shared = _described(settings)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.INFO)  # whatever a library sets for itself: some log whole requests, keys too
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _renderer(settings)],
            foreign_pre_chain=[_of_library, *shared],
            pass_foreign_args=True,
            use_get_message=False,
        )
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)
    # Python's own would write the messages of errors, and lines that are no events.
    sys.excepthook = lambda kind, error, trace: _log.critical("ended by an error", exc_info=error)
    threading.excepthook = lambda ended: _log.error("thread ended by an error", exc_info=ended.exc_value)
    sys.unraisablehook = lambda ignored: _log.error("error ignored", exc_info=ignored.exc_value)
    for chatty in ("httpx2", "mcp", "faiss", "slack_bolt", "slack_sdk"):
        logging.getLogger(chatty).setLevel(logging.WARNING)  # lines for every request, and for every try to load


def asked(text: str) -> dict[str, str]:
    """The fields of an event that tell what was asked: none, unless the settings say that logs may hold it."""
    return {"question": text} if _questions else {}


def _described(settings: Settings) -> list[structlog.typing.Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        structlog.processors.ExceptionRenderer(_Told(settings.log_questions)),
    ]


def _of_library(logger: object, method: str, event: _Event) -> _Event:
    """A library's message as it stands in its code, without what it was filled with, which may be anybody's words.

    Where it came filled in, only the place in the code is told. A key or a token may be in it, too.
    """
    record: logging.LogRecord = event["_record"]
    arguments = event.pop("positional_args", None)
    event.update(event=str(event["event"]).strip(), logger=record.name, at=f"{record.module}:{record.lineno}")
    if not arguments and record.name.partition(".")[0] not in _TRUSTED:
        event["event"] = "message withheld"
    return event


class _Told:
    """An exception and what led to it: the places in the code and the types, since messages may be anybody's words."""

    def __init__(self, messages: bool) -> None:
        self._messages = messages

    def __call__(self, exc_info: tuple[type[BaseException], BaseException, TracebackType | None]) -> str:
        told: list[str] = []
        error: BaseException | None = exc_info[1]
        seen = set[int]()
        while error is not None and id(error) not in seen:
            seen.add(id(error))
            told.append("".join([*traceback.format_tb(error.__traceback__), self._named(error)]))
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        whole = "\nthen\n".join(reversed(told))
        return "\n".join(f"  {_visible(line)}" for line in whole.split("\n"))

    def _named(self, error: BaseException) -> str:
        name = type(error).__qualname__
        if isinstance(error, BaseExceptionGroup):
            return f"{name} of {', '.join(self._named(each) for each in error.exceptions)}"  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType, reportUnknownVariableType]
        if self._messages:
            return f"{name}: {_visible(str(error))}"
        if isinstance(error, OSError) and type(error).__module__ == "builtins" and error.strerror:
            return f"{name}: {_visible(error.strerror)}"
        return name


def _renderer(settings: Settings) -> structlog.typing.Processor:
    """Writes an event as one line, a traceback below it; whatever it holds, it cannot seem to be another line."""
    hidden = _hidden(settings)
    if settings.log_format == "json":
        render = structlog.processors.JSONRenderer(_json)
        return lambda logger, method, event: hidden(str(render(logger, method, {**dict.fromkeys(_FIRST), **event})))
    console = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    return lambda logger, method, event: hidden(str(console(logger, method, _readable(event))))


def _json(event: object, **how: Any) -> str:
    return json.dumps(event, **how).replace("\x7f", "\\u007f")


def _readable(event: _Event) -> _Event:
    """The event with nothing in it that a terminal would obey; an exception is so already."""
    shown = {name: _visible(value if isinstance(value, str) else repr(value)) for name, value in event.items()}
    return shown | {"exception": event["exception"]} if "exception" in event else shown


def _visible(text: str) -> str:
    """The text on one line, with signs that do not show themselves (line ends, escapes, overrides) spelled out."""
    return text if text.isprintable() else "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def _hidden(settings: Settings) -> Callable[[str], str]:
    """What blots out all that is secret in the settings: a last guard, nothing is known to need it."""
    values = [getattr(settings, name) for name in type(settings).model_fields]
    secrets = [value.get_secret_value() for value in values if isinstance(value, SecretStr)]
    passwords = [_password(address) for address in [*secrets, settings.openai_base_url or ""]]
    found = {each.strip() for each in [*secrets, *passwords] if len(each.strip()) >= SHORTEST_SECRET}
    if not found:
        return lambda line: line
    # The longest first: one may be part of another.
    pattern = re.compile("|".join(re.escape(each) for each in sorted(found, key=len, reverse=True)))
    return lambda line: pattern.sub(HIDDEN, line)


def _password(address: str) -> str:
    try:
        return unquote(urlsplit(address).password or "")
    except ValueError:  # no address, then
        return ""
