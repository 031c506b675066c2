"""Logs: one line an event, on stderr. Nobody's question is ever among what is logged."""

from __future__ import annotations

import logging
import sys

import structlog


def log_to_stderr() -> None:
    """Our own events on standard error, for commands that are soon done: their output is the answer."""
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))


def configure_logs() -> None:
    """Our own events and those of the libraries (uvicorn) in one format."""
    shared: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    # Plain tracebacks: the pretty ones show local variables, and a question would be one of them.
    renderer = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=shared))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for chatty in ("httpx2", "mcp", "faiss"):
        logging.getLogger(chatty).setLevel(logging.WARNING)  # lines for every request, and for every try to load
