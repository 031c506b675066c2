"""How much is taken on: so many requests at once, each of a bounded size and for a bounded time."""

from __future__ import annotations

import asyncio
import math
import re

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.deadline import until
from app.problems import RETRY_AFTER_SECONDS, refusal

BODY_SECONDS = 10
"""How long a client may take to send a body."""
MOST_VALUES = 10_000
"""What a body may hold of lists, objects and entries of them. Each costs far more than its bytes to read, and while a
body is read nobody else is served: a million bytes of brackets took a second."""

_SLACK = "/slack/"
_PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
# To the end where there is no end of it: one that did not match would be looked through again from each quote in it.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.?[^"\\]*+)*+(?:"|\Z)', re.DOTALL)
_log = structlog.get_logger()


class Load:
    """ASGI middleware: beyond so many requests waiting or under way, others are sent away at once; what takes longer
    than `seconds` is ended.

    A server that takes on more than it can do is late with everything.
    """

    def __init__(self, app: ASGIApp, most: int, seconds: float) -> None:
        self._app = app
        self._most = most
        self._seconds = seconds
        self._inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _PROBES:
            await self._app(scope, receive, send)
        elif self._inside >= self._most:
            await _later(scope, "Too much is being asked at the moment.", "overloaded")(scope, receive, send)
        else:
            self._inside += 1
            try:
                await self._in_time(scope, receive, send)
            finally:
                self._inside -= 1

    async def _in_time(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        limit = asyncio.timeout(self._seconds)
        try:
            async with limit:
                # What Slack delivers is answered later, and takes its own time.
                with until(math.inf if scope["path"].startswith(_SLACK) else limit.when() or 0.0):
                    await self._app(scope, receive, watched)
        except TimeoutError:
            if not limit.expired():
                raise
            _log.warning("request took too long", begun=begun)
            if not begun:
                detail = f"This took longer than {self._seconds:g} seconds."
                await _later(scope, detail, "timeout")(scope, receive, send)


def _later(scope: Scope, detail: str, code: str) -> ASGIApp:
    return refusal(scope, 503, detail, code, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})


class BodyLimit:
    """ASGI middleware: a body is taken in whole, up to a number of bytes, of values in it, and of seconds."""

    def __init__(self, app: ASGIApp, most: int, seconds: float = BODY_SECONDS) -> None:
        self._app = app
        self._most = most
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self._seconds):
                body = await self._body(receive)
        except TimeoutError:
            detail = f"The body did not come within {self._seconds:g} seconds."
            await refusal(scope, 408, detail, "timeout", headers={"Connection": "close"})(scope, receive, send)
            return
        if body is None:
            return
        fault = f"is larger than {self._most} bytes" if len(body) > self._most else _too_many(body)
        if fault:
            refused = refusal(scope, 413, f"The request {fault}.", "too_large", headers={"Connection": "close"})
            await refused(scope, receive, send)
            return
        whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return whole.pop() if whole else await receive()

        await self._app(scope, replay, send)

    async def _body(self, receive: Receive) -> bytes | None:
        """As much as shows whether it is too large; null where the client has gone."""
        body = bytearray()
        more = True
        while more and len(body) <= self._most:
            message = await receive()
            if message["type"] != "http.request":
                return None
            body += message.get("body", b"")
            more = message.get("more_body", False)
        return bytes(body)


def _too_many(body: bytes) -> str | None:
    """Whether it holds too many values of JSON: counted with what is in strings, and where that are many, without."""
    if _values(body) <= MOST_VALUES:
        return None
    if b"\0" not in body and _values(_STRING.sub(b"", body)) <= MOST_VALUES:  # UTF-16 has its quotes elsewhere
        return None
    return f"holds more than {MOST_VALUES} values"


def _values(body: bytes) -> int:
    return sum(map(body.count, (b"[", b"{", b",")))
