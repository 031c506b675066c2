from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from starlette.concurrency import run_in_threadpool
from structlog.contextvars import bound_contextvars

from app.stages import STAGES, Stage, WatchedReranker, Watcher, onward, span, stage, watching


class Seen:
    """What a watcher was told."""

    def __init__(self) -> None:
        self.stages: list[Stage] = []
        self.seconds: list[float] = []
        self.watcher = Watcher(self.took)

    def took(self, name: Stage, seconds: float) -> None:
        self.stages.append(name)
        self.seconds.append(seconds)


def test_nobody_is_told_where_nobody_watches() -> None:
    with stage("quote"), span("a span"):
        assert onward() == {}


def test_stages_are_told_from_the_innermost_out_and_count_for_those_around_them() -> None:
    seen = Seen()
    with watching(seen.watcher), stage("quote"), stage("retrieve"), stage("rerank"):
        pass
    assert seen.stages == ["rerank", "retrieve", "quote"]
    assert sorted(seen.seconds) == seen.seconds
    with stage("verify"):
        pass
    assert len(seen.stages) == 3


def test_a_stage_that_fails_is_told_too() -> None:
    seen = Seen()
    with watching(seen.watcher), pytest.raises(ValueError, match="torn"), stage("generate"):
        raise ValueError("torn")
    assert seen.stages == ["generate"]


def test_threads_and_tasks_are_watched_by_whoever_watched_when_they_began() -> None:
    first, second = Seen(), Seen()

    @stage("quote")
    def quote() -> None:
        with stage("retrieve"):
            pass

    async def request(seen: Seen) -> None:
        with watching(seen.watcher):
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.to_thread(quote))
                group.create_task(run_in_threadpool(quote))

    async def both() -> None:
        await asyncio.gather(request(first), request(second))

    asyncio.run(both())
    assert sorted(first.stages) == sorted(second.stages) == ["quote", "quote", "retrieve", "retrieve"]


def test_calls_that_are_made_for_a_request_bear_its_id() -> None:
    with bound_contextvars(request_id="the-request"):
        assert onward() == {"X-Request-Id": "the-request"}
    assert onward() == {}


def test_a_reranker_is_watched_and_gives_what_it_gave() -> None:
    class Longest:
        def rerank(self, query: str, texts: Sequence[str]) -> list[float]:
            return [float(len(text)) for text in texts]

    seen = Seen()
    with watching(seen.watcher):
        assert WatchedReranker(Longest()).rerank("q", ["a", "bb"]) == [1.0, 2.0]
    assert seen.stages == ["rerank"]
    assert set(seen.stages) < set(STAGES)
