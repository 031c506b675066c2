"""The messages of one answer in its thread: each posted once, though calls fail and processes die."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from pydantic import BaseModel

from app.slack_api import Repeat, SlackApi, SlackError
from app.slack_blocks import Message
from app.slack_ledger import Claim

EVENT_TYPE = "onrecord_answer"
"""The metadata by which a message of ours is known, with the key of its question and the number of the part."""
POST_TRIES = 5
DRAFT_SECONDS = 1.0
"""Between two edits that only show how far answers are, of all answers: Slack counts them together."""
PAGE = 200

_UNSHOWABLE = frozenset({"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long"})
_log = structlog.get_logger()


class UnwantedError(Exception):
    """Another worker has the question now, or nobody wants an answer to it."""


@dataclass(frozen=True, slots=True)
class Held:
    """What the ledger says of a question that is being answered; each is false where it must not go on."""

    wanted: Callable[[], Awaitable[bool]]
    begin_posting: Callable[[], Awaitable[bool]]
    posted: Callable[[Sequence[str]], Awaitable[bool]]


class _Metadata(BaseModel):
    event_type: str = ""
    event_payload: dict[str, Any] = {}


class _Posted(BaseModel):
    ts: str
    bot_id: str | None = None
    metadata: _Metadata = _Metadata()


class _Cursor(BaseModel):
    next_cursor: str = ""


class _Page(BaseModel):
    """What `conversations.replies` gives, as far as it is read."""

    messages: list[_Posted] = []
    response_metadata: _Cursor = _Cursor()


class Reply:
    """The messages of one answer in its thread. Raises UnwantedError where it must not go on, SlackError else."""

    def __init__(self, api: SlackApi, held: Held, claim: Claim) -> None:
        self._api = api
        self._held = held
        self._question = claim.question
        self._parts = list(claim.parts)
        self._shown: Message | None = None

    async def look(self) -> None:
        """Finds what was posted before anybody could write that down."""
        known = dict(enumerate(self._parts)) | await self._find()
        self._parts = [known[number] for number in sorted(known)]

    async def show_draft(self, message: Message) -> None:
        """Posts it, or puts it in place of the one before; if Slack does not want that now, there will be another."""
        loop = asyncio.get_running_loop()
        if not self._parts:
            await self._post(message)
        else:
            await self._go_on()
            if message == self._shown or loop.time() < self._api.drafts_from:
                return
            self._api.drafts_from = loop.time() + DRAFT_SECONDS
            try:
                await self._update(0, message, "never")
            except SlackError as error:
                self._api.drafts_from = loop.time() + error.retry_after
        self._shown = message

    async def show_last(self, messages: Sequence[Message]) -> None:
        """Makes these messages, and no others, the answer."""
        for number, message in enumerate(messages):
            if number < len(self._parts):
                await self._go_on()
                await self._update(number, message, "always")
            else:
                await self._post(message)
        await self._delete(self._parts[len(messages) :])

    async def remove(self) -> None:
        """Leaves nothing of the answer."""
        await self.look()
        await self._delete(self._parts)

    async def _go_on(self) -> None:
        if not await self._held.wanted():
            raise UnwantedError

    async def _post(self, message: Message) -> None:
        """Where it is not known whether a message was posted, looks before it is posted again."""
        number, tries = len(self._parts), 0
        ts: str | None = None
        while ts is None:
            if not await self._held.begin_posting():
                raise UnwantedError
            try:
                ts = await self._send(number, message)
            except SlackError as error:
                tries += 1
                if not error.uncertain or tries == POST_TRIES:
                    raise
                await asyncio.sleep(2.0 ** (tries - 1))
                ts = (await self._find()).get(number)
        self._parts.append(ts)
        if not await self._held.posted(self._parts):
            raise UnwantedError

    async def _send(self, number: int, message: Message) -> str:
        place: dict[str, object] = {"thread_ts": self._question.thread, "unfurl_links": False, "unfurl_media": False}
        return str((await self._show("chat.postMessage", number, message, "too early", place))["ts"])

    async def _update(self, number: int, message: Message, repeat: Repeat) -> None:
        await self._show("chat.update", number, message, repeat, {"ts": self._parts[number]})

    async def _show(
        self, method: str, number: int, message: Message, repeat: Repeat, place: dict[str, object]
    ) -> Mapping[str, Any]:
        metadata = {"event_type": EVENT_TYPE, "event_payload": {"key": self._question.key, "part": number}}
        fields = {**place, "channel": self._question.channel, "metadata": metadata, "parse": "none"}
        try:
            return await self._api.post(method, repeat, text=message.text, blocks=message.blocks, **fields)
        except SlackError as error:
            if error.error not in _UNSHOWABLE:
                raise
            _log.error("slack refuses the blocks", key=self._question.key, reason=error.error)
            return await self._api.post(method, repeat, text=message.text, blocks=[], **fields)

    async def _delete(self, parts: Sequence[str]) -> None:
        for ts in parts:
            try:
                await self._api.post("chat.delete", channel=self._question.channel, ts=ts)
            except SlackError as error:
                if error.error != "message_not_found":
                    raise

    async def _find(self) -> dict[int, str]:
        """The messages of this answer that are in the thread, by their number."""
        found: dict[int, str] = {}
        bot_id, page = await self._api.bot_id(), _Page()
        while True:
            try:
                page = _Page.model_validate(
                    await self._api.get(
                        "conversations.replies",
                        channel=self._question.channel,
                        ts=self._question.thread,
                        oldest=self._question.ts,
                        inclusive=True,
                        include_all_metadata=True,
                        limit=PAGE,
                        cursor=page.response_metadata.next_cursor,
                    )
                )
            except SlackError as error:
                if error.error == "thread_not_found":
                    return found
                raise
            for posted in page.messages:
                payload = posted.metadata.event_payload
                ours = posted.bot_id == bot_id and posted.metadata.event_type == EVENT_TYPE
                if ours and payload.get("key") == self._question.key:
                    found[int(payload["part"])] = posted.ts
            if not page.response_metadata.next_cursor:
                return found
