from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import closing
from pathlib import Path

from app.answer import Asked, Event
from app.settings import Settings
from app.slack_ledger import Ledger, SlackQuestion
from app.slack_work import SlackWorker

QUESTION = SlackQuestion("T1:C1:1.000001", "message", "T1", "C1", "1.000001", "1.000001", "U1", "what of it?")


async def never(asked: Asked) -> AsyncGenerator[Event]:
    await asyncio.Event().wait()
    raise AssertionError
    yield


def test_what_comes_in_as_it_stops_does_not_keep_it(tmp_path: Path) -> None:
    """The question wakes the worker at the moment at which it is told to end."""
    settings = Settings(slack_bot_token="xoxb-of-a-test", slack_api_url="http://127.0.0.1:9/api/")  # type: ignore[arg-type]

    async def stopped(ledger: Ledger) -> None:
        worker = SlackWorker(settings, ledger, never, list, lambda step, outcome: None)
        await worker.start()
        await asyncio.sleep(0.1)  # it has looked, and waits for more
        await worker.receive(QUESTION)
        async with asyncio.timeout(30):
            await worker.stop()

    with closing(Ledger(str(tmp_path / "slack.sqlite"))) as ledger:
        asyncio.run(stopped(ledger))
        claim = ledger.claim("the next")
    assert claim is not None
    assert claim.question == QUESTION
