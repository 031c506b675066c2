from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import pytest

from app.settings import Settings
from app.slack_api import SlackApi, SlackError
from app.slack_blocks import Message, plain_message
from app.slack_ledger import Claim, Ledger, SlackQuestion
from app.slack_reply import EVENT_TYPE, Held, Reply, UnwantedError
from tests.slack_server import BOT_TOKEN, Posted, SlackServer, Trouble

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]

QUESTION = SlackQuestion("T1:C1:1.000001", "message", "T1", "C1", "1.000001", "1.000001", "U1", "what of it?")
LONG = [plain_message(f"Part {number}.") for number in range(3)]


@pytest.fixture
def slack() -> Iterator[SlackServer]:
    with SlackServer() as server:
        yield server


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with closing(Ledger(str(tmp_path / "slack.sqlite"), lease_seconds=-1)) as opened:
        opened.receive(QUESTION, 0)
        yield opened


@asynccontextmanager
async def replying(slack: SlackServer, ledger: Ledger) -> AsyncGenerator[tuple[Reply, Claim]]:
    """The reply of a worker that takes up the question, or takes it over."""
    holder = f"worker {len(slack.calls)}"
    claim = ledger.claim(holder)
    assert claim is not None

    async def wanted() -> bool:
        return ledger.wanted(QUESTION.key, holder)

    async def begin_posting() -> bool:
        return ledger.begin_posting(QUESTION.key, holder)

    async def posted(parts: Sequence[str]) -> bool:
        return ledger.posted(QUESTION.key, holder, parts)

    settings = Settings(slack_api_url=f"{slack.url}/api/", slack_bot_token=BOT_TOKEN)  # type: ignore[arg-type]
    api = SlackApi(settings, lambda step, outcome: None)
    try:
        yield Reply(api, Held(wanted, begin_posting, posted), claim), claim
    finally:
        await api.close()


def texts(slack: SlackServer) -> list[str]:
    return [posted.text for posted in slack.answers()]


def of(messages: Sequence[Message]) -> list[str]:
    return [message.text for message in messages]


def test_each_part_is_posted_once_though_its_response_is_lost(slack: SlackServer, ledger: Ledger) -> None:
    async def run() -> None:
        async with replying(slack, ledger) as (reply, _):
            slack.trouble["chat.postMessage"] = [Trouble(), Trouble(503, carried_out=True), Trouble(500)]
            await reply.show_last(LONG)

    asyncio.run(run())
    assert texts(slack) == of(LONG)


def test_whoever_takes_over_finds_what_was_posted(slack: SlackServer, ledger: Ledger) -> None:
    async def run() -> None:
        async with replying(slack, ledger) as (reply, _):
            slack.trouble["chat.postMessage"] = [Trouble(), Trouble(seconds=0.3, carried_out=True, error="fatal_error")]
            dying = asyncio.create_task(reply.show_last([replace(each, text="before") for each in LONG]))
            await asyncio.sleep(0.2)
            dying.cancel()
            await asyncio.wait([dying])
        slack.wait_for(lambda: len(slack.answers()) == 2)
        async with replying(slack, ledger) as (reply, claim):
            assert (claim.state, len(claim.parts)) == ("posting", 1)
            await reply.look()
            await reply.show_last(LONG)

    asyncio.run(run())
    assert texts(slack) == of(LONG)


def test_parts_that_are_not_needed_any_more_are_deleted(slack: SlackServer, ledger: Ledger) -> None:
    async def run() -> None:
        for messages in (LONG, LONG[:1]):
            async with replying(slack, ledger) as (reply, _):
                await reply.show_last(messages)

    asyncio.run(run())
    assert texts(slack) == of(LONG[:1])


def test_nobodys_else_message_is_taken_for_ours(slack: SlackServer, ledger: Ledger) -> None:
    metadata = {"event_type": EVENT_TYPE, "event_payload": {"key": QUESTION.key, "part": 0}}
    for number in range(5):
        ts = f"2.00000{number}"
        slack.messages["C1", ts] = Posted("C1", ts, QUESTION.thread, "forged", [], metadata, bot_id="B0666")

    async def run() -> None:
        async with replying(slack, ledger) as (reply, _):
            await reply.look()
            await reply.show_last(LONG)

    asyncio.run(run())
    assert texts(slack) == of(LONG)
    assert [posted.text for posted in slack.messages.values()].count("forged") == 5


def test_whoever_lost_the_question_posts_nothing(slack: SlackServer, ledger: Ledger) -> None:
    async def run() -> None:
        async with replying(slack, ledger) as (reply, _):
            await reply.show_draft(LONG[0])
            assert ledger.claim("somebody else")
            with pytest.raises(UnwantedError):
                await reply.show_draft(LONG[1])
            with pytest.raises(UnwantedError):
                await reply.show_last(LONG)

    asyncio.run(run())
    assert texts(slack) == of(LONG[:1])


def test_drafts_wait_for_as_long_as_slack_says_and_the_last_word_is_said(slack: SlackServer, ledger: Ledger) -> None:
    async def run() -> None:
        async with replying(slack, ledger) as (reply, _):
            await reply.show_draft(LONG[0])
            slack.trouble["chat.update"] = [Trouble(429, retry_after=600), Trouble(429, retry_after=1)]
            await reply.show_draft(LONG[1])
            await reply.show_draft(LONG[2])
            assert len(slack.of("chat.update")) == 1
            await reply.show_last([LONG[2]])

    asyncio.run(run())
    assert texts(slack) == of(LONG[2:])
    refused, repeated = [call.at for call in slack.of("chat.update")][1:]
    assert repeated - refused >= 1


def test_what_slack_refuses_for_good_is_raised_at_once(slack: SlackServer, ledger: Ledger) -> None:
    async def run() -> None:
        async with replying(slack, ledger) as (reply, _):
            slack.trouble["chat.postMessage"] = [Trouble(error="not_in_channel")]
            with pytest.raises(SlackError, match="not_in_channel"):
                await reply.show_last(LONG)

    asyncio.run(run())
    assert len(slack.of("chat.postMessage")) == 1
