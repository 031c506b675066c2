"""The Slack bot's doors: what Slack sends over HTTP or Socket Mode is checked, written down and acknowledged."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import structlog
from fastapi import APIRouter, Request, Response
from slack_bolt.adapter.starlette.async_handler import AsyncSlackRequestHandler
from slack_bolt.async_app import AsyncApp, AsyncBoltContext
from slack_bolt.authorization import AuthorizeResult
from slack_sdk.web.async_client import AsyncWebClient

from app.answer import Asked, Event
from app.feedback import Feedback, FeedbackError, Rating
from app.settings import Settings
from app.slack_api import Count
from app.slack_blocks import (
    GREETING,
    LOOKING,
    NOT_HERE,
    NOT_RATED,
    RATE_DOWN,
    RATE_UP,
    RATED,
    SHARE,
    TOO_MANY,
)
from app.slack_events import Command, Delivery, Press, is_allowed, question_of
from app.slack_ledger import Ledger, SlackQuestion
from app.slack_work import SlackWorker

ROUTES = ("/slack/events", "/slack/commands", "/slack/interactions")

_log = structlog.get_logger()
_Ack = Callable[..., Awaitable[Any]]
_Body = dict[str, Any]


class SlackBot:
    """One set of handlers for both ways in. Whatever is acknowledged is in the ledger before."""

    def __init__(
        self,
        settings: Settings,
        ask: Callable[[Asked], AsyncGenerator[Event]],
        suggest: Callable[[], Sequence[str]],
        feedback: Feedback,
        count: Count,
    ) -> None:
        """`ask` gives the events of an answer, `suggest` questions to begin with; `count` is told how steps end.

        Raises LedgerError where the ledger cannot be opened.
        """
        self._settings = settings
        self._feedback = feedback
        self._count = count
        self._ledger = Ledger(settings.slack_ledger_path)
        self._worker = SlackWorker(settings, self._ledger, ask, suggest, count)
        self.app = self._bolt()

    async def start(self) -> None:
        """Begins to answer, with what was left at the last end."""
        await self._worker.start()

    async def stop(self) -> None:
        """Ends in order; what is unfinished is taken up at the next start."""
        await self._worker.stop()
        self._ledger.close()

    def router(self) -> APIRouter:
        """The routes that Slack sends to; what it did not sign, or not in the last five minutes, gets a 401."""
        router = APIRouter(include_in_schema=False)
        handler = AsyncSlackRequestHandler(self.app)

        async def deliver(request: Request) -> Response:
            return await handler.handle(request)

        for path in ROUTES:
            router.add_api_route(path, deliver, methods=["POST"])
        return router

    def _bolt(self) -> AsyncApp:
        secret, token = self._settings.slack_signing_secret, self._settings.slack_bot_token
        bot_token = token.get_secret_value() if token else ""

        async def authorize(context: AsyncBoltContext) -> AuthorizeResult:
            # Bolt's own asks Slack first, and where that fails acknowledges what it then drops.
            return AuthorizeResult(enterprise_id=context.enterprise_id, team_id=context.team_id, bot_token=bot_token)

        app = AsyncApp(
            logger=logging.getLogger("slack_bolt"),
            name="onrecord",
            # Acknowledged when the handler has ended, not before: what is not in the ledger is delivered again.
            process_before_response=True,
            signing_secret=secret.get_secret_value() if secret else "",
            client=AsyncWebClient(base_url=self._settings.slack_api_url),
            authorize=authorize,
        )
        handlers: Any = app  # its decorators are not fully typed
        handlers.event(re.compile("^(?:app_mention|message)$"))(self._said)
        handlers.event("assistant_thread_started")(self._pane_opened)
        handlers.command(re.compile(""))(self._commanded)
        handlers.action(RATE_UP)(self._rated_up)
        handlers.action(RATE_DOWN)(self._rated_down)
        handlers.action(SHARE)(self._shared)
        # Bolt would log the whole of what nobody handles.
        handlers.event(re.compile(""))(_nothing)
        handlers.action(re.compile(""))(_nothing)
        return app

    async def _said(self, body: _Body) -> None:
        delivery = Delivery.model_validate(body)
        event = delivery.event
        if event.subtype == "message_deleted" and event.deleted_ts:
            await self._worker.keep(partial(self._ledger.withdraw, delivery.key(event.deleted_ts)))
            return
        question = question_of(delivery)
        if question is None or not await self._is_for_us(delivery, question):
            return
        if not is_allowed(self._settings, event.channel, delivery.team_id, event.user_team):
            self._not_here(delivery.team_id, event.channel)
            return
        if await self._worker.receive(question) == "refused":
            self._worker.spawn(self._refuse(question))

    def _not_here(self, team: str, channel: str) -> None:
        _log.info("slack question refused", team=team, channel=channel)
        self._count("delivery", "not here")

    async def _is_for_us(self, delivery: Delivery, question: SlackQuestion) -> bool:
        """A mention, a direct message, or a word in a thread that the bot takes part in."""
        event = delivery.event
        if event.type == "app_mention" or event.channel.startswith("D"):
            return True
        if event.thread_ts is None or not self._settings.slack_follow_ups:
            return False
        thread = (delivery.team_id, event.channel, event.thread_ts)
        return await self._worker.keep(partial(self._ledger.takes_part, *thread))

    async def _refuse(self, question: SlackQuestion) -> None:
        said = TOO_MANY.format(most=self._settings.slack_questions_per_hour)
        fields: dict[str, object] = {"channel": question.channel, "user": question.user, "text": said}
        if question.thread != question.ts:
            fields["thread_ts"] = question.thread
        await self._worker.api.post("chat.postEphemeral", "always", **fields)

    async def _pane_opened(self, body: _Body) -> None:
        delivery = Delivery.model_validate(body)
        thread = delivery.event.assistant_thread
        if thread and is_allowed(self._settings, thread.channel_id, delivery.team_id):
            self._worker.spawn(self._greet(thread.channel_id, thread.thread_ts))

    async def _greet(self, channel: str, thread: str) -> None:
        prompts = [{"title": question, "message": question} for question in await self._worker.suggested()]
        if prompts:
            await self._worker.api.post(
                "assistant.threads.setSuggestedPrompts",
                channel_id=channel,
                thread_ts=thread,
                title=GREETING,
                prompts=prompts,
            )

    async def _commanded(self, ack: _Ack, body: _Body) -> None:
        command = Command.model_validate(body)
        if not is_allowed(self._settings, command.channel_id, command.team_id):
            self._not_here(command.team_id, command.channel_id)
            await ack(NOT_HERE, response_type="ephemeral")
            return
        match await self._worker.receive(command.question(_now())):
            case "taken":
                await ack(LOOKING, response_type="ephemeral")
            case "refused":
                said = TOO_MANY.format(most=self._settings.slack_questions_per_hour)
                await ack(said, response_type="ephemeral")
            case _:
                await ack()

    async def _shared(self, ack: _Ack, body: _Body) -> None:
        press = Press.model_validate(body)
        if is_allowed(self._settings, press.channel.id, press.team.id):
            await self._worker.receive(press.share(_now()))
        await ack()

    async def _rated_up(self, ack: _Ack, body: _Body) -> None:
        await self._rated(Press.model_validate(body), "up")
        await ack()

    async def _rated_down(self, ack: _Ack, body: _Body) -> None:
        await self._rated(Press.model_validate(body), "down")
        await ack()

    async def _rated(self, press: Press, rating: Rating) -> None:
        if not is_allowed(self._settings, press.channel.id, press.team.id):
            return
        try:
            kept = await self._worker.keep(partial(self._feedback.rate, press.value, rating, None))
        except FeedbackError as error:
            _log.error("feedback not kept", reason=str(error))
            kept = None
        said = RATED if kept else NOT_RATED
        told = self._worker.api.respond(
            press.response_url, response_type="ephemeral", replace_original=False, text=said
        )
        self._worker.spawn(told)


async def _nothing(ack: _Ack) -> None:
    await ack()


def _now() -> str:
    """The time of now, as Slack writes times."""
    return f"{time.time():017.6f}"
