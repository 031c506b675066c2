"""The stages of an answer: each is timed, and is a span of a trace where traces are made, for whoever watches."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from structlog.contextvars import get_contextvars

from index.rerank import Reranker

if TYPE_CHECKING:
    from app.traces import Traces

Stage = Literal["quote", "retrieve", "rerank", "generate", "verify"]
"""`quote`: the whole answer in quotations, of which `retrieve` is one search for passages, and of that `rerank` what
the reranker takes. `generate`: one call to a language model, to its last word. `verify`: one sentence that it wrote,
held against the passages."""
STAGES: tuple[Stage, ...] = get_args(Stage)
REQUEST_ID = "X-Request-Id"


@dataclass(frozen=True, slots=True)
class Watcher:
    """Who is told: `took` how many seconds each stage took."""

    took: Callable[[Stage, float], None]
    traces: Traces | None = None


_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def watching(watcher: Watcher) -> Generator[None]:
    """Whatever is done inside is watched, in threads and tasks that are begun there too."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


@contextmanager
def stage(name: Stage) -> Generator[None]:
    """Times what is done inside; a stage inside another counts for both."""
    watcher = _watcher.get()
    if watcher is None:
        yield
        return
    with span(name):
        began = time.perf_counter()
        try:
            yield
        finally:
            watcher.took(name, time.perf_counter() - began)


def span(name: str) -> AbstractContextManager[object]:
    """A part of a trace that is no stage of an answer; nothing where no traces are made."""
    watcher = _watcher.get()
    return watcher.traces.span(name) if watcher and watcher.traces else nullcontext()


def onward() -> dict[str, str]:
    """Headers for calls that are made for a request: by them logs and traces elsewhere can be laid beside ours."""
    watcher = _watcher.get()
    headers = watcher.traces.headers() if watcher and watcher.traces else {}
    request_id = get_contextvars().get("request_id")
    return {**headers, REQUEST_ID: str(request_id)} if request_id else headers


class WatchedReranker:
    """A reranker whose every use is a stage."""

    def __init__(self, reranker: Reranker) -> None:
        self._reranker = reranker

    def rerank(self, query: str, texts: Sequence[str]) -> list[float]:
        """As of any reranker."""
        with stage("rerank"):
            return self._reranker.rerank(query, texts)
