"""Answers over HTTP as they come: Server-Sent Events, and the end of an answer that nobody waits for any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

import structlog
from fastapi import Request
from pydantic import BaseModel
from sse_starlette import EventSourceResponse, ServerSentEvent

from app.answer import Answer, Answerer, Asked, Event, stream
from app.events import Cited, Passages, Token
from app.live import LiveIndex
from app.problems import ClientGoneError, Problem
from app.schemas import AskResponse, CitationOut, PassagesEvent, TokenEvent, passage_out
from app.settings import Settings

HEARTBEAT_SECONDS = 10
BREAK_OFF_SECONDS = 2
"""So long before the server itself would, a stream is broken off where the server is to end."""

_T = TypeVar("_T")
_log = structlog.get_logger()


async def unless_gone(request: Request, work: Coroutine[Any, Any, _T]) -> _T:
    """The result of the work, which is cancelled when the client goes away: then raises ClientGoneError."""
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_disconnect(request))
    try:
        await asyncio.wait([working, leaving], return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGoneError
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.wait([working, leaving])


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def events_of(
    live: LiveIndex, groups: frozenset[str] | None, answerer: Answerer, asked: Asked
) -> AsyncGenerator[Event]:
    """The events of an answer from what these groups may read of the index of now, which stays open for as long."""
    with live.use(groups) as index:
        async with aclosing(stream(index, answerer, asked)) as events:
            async for event in events:
                yield event


async def event_stream(events: AsyncGenerator[ServerSentEvent], settings: Settings) -> EventSourceResponse:
    """A response that sends the events, with heartbeats. What fails before the first of them is raised."""
    first = await anext(events)

    async def all_of_them() -> AsyncGenerator[ServerSentEvent]:
        async with aclosing(events):
            yield first
            async for event in events:
                yield event

    grace = max(0.0, settings.drain_seconds + settings.stop_seconds - BREAK_OFF_SECONDS)
    return EventSourceResponse(all_of_them(), ping=HEARTBEAT_SECONDS, shutdown_grace_period=grace)


def described_stream(description: str, *names: str) -> dict[str, Any]:
    """What the OpenAPI document says of a response that may be events, of these names if they have any."""
    event: dict[str, Any] = {"event": {"enum": list(names)}} if names else {}
    event["data"] = {"type": "string", "contentMediaType": "application/json"}
    item = {"type": "object", "properties": event, "required": list(event)}
    return {"description": description, "content": {"text/event-stream": {"itemSchema": item}}}


async def ask_events(events: AsyncGenerator[Event]) -> AsyncGenerator[ServerSentEvent]:
    """`passages`, then `citation` and `token`, and last `done`; or `error`, a problem document, once it has begun."""
    begun = False
    async with aclosing(events):
        try:
            async for event in events:
                yield _server_sent(event)
                begun = True
        except Exception:
            if not begun:
                raise
            _log.exception("answer broke off")
            detail = "Something went wrong here; the server's log has the details."
            yield sent("error", Problem(title="Internal Server Error", status=500, detail=detail))


def _server_sent(event: Event) -> ServerSentEvent:
    match event:
        case Passages(answer_id, conversation_id, hits):
            passages = [passage_out(hit) for hit in hits]
            return sent("passages", PassagesEvent(id=answer_id, conversation_id=conversation_id, passages=passages))
        case Token(text):
            return sent("token", TokenEvent(text=text))
        case Cited(citation):
            return sent("citation", CitationOut.model_validate(citation))
        case Answer():
            return sent("done", AskResponse.model_validate(event))


def sent(name: str | None, body: BaseModel) -> ServerSentEvent:
    """An event with a JSON document as its data."""
    return ServerSentEvent(body.model_dump_json(), event=name)
