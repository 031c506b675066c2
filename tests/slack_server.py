"""A real HTTP server that speaks Slack's Web API and Socket Mode, keeps what is posted, and makes trouble when told."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

BOT_TOKEN, APP_TOKEN, SIGNING_SECRET = "xoxb-of-a-test", "xapp-of-a-test", "8f742231b10e8888abcd99yyyzzz85a5"
TEAM, BOT_USER, BOT_ID = "T0001", "U0BOT", "B0BOT"
SCOPES = "app_mentions:read,assistant:write,channels:history,chat:write,commands,groups:history,im:history,mpim:history"


@dataclass(frozen=True, slots=True)
class Call:
    """A call as it came: its method, its fields, when, and whose."""

    method: str
    fields: Mapping[str, Any]
    at: float
    token: str
    request_id: str


@dataclass(slots=True)
class Trouble:
    """What happens to the next calls of a method instead of, or beside, what it does.

    With `carried_out` the call is carried out, and only its response is lost.
    """

    status: int = 200
    error: str | None = None
    retry_after: int | None = None
    seconds: float = 0.0
    carried_out: bool = False
    times: int = 1


@dataclass(slots=True)
class Posted:
    """A message in a channel, as it is now; `texts` are all that it has said."""

    channel: str
    ts: str
    thread_ts: str | None
    text: str
    blocks: list[dict[str, Any]]
    metadata: dict[str, Any]
    bot_id: str = BOT_ID
    user: str | None = None
    texts: list[str] = field(default_factory=list[str])


class SlackServer:
    """A server on 127.0.0.1, in a thread of its own, for as long as it is a context.

    `trouble` is what happens to the next calls of a method, `chance` says what happens to any other.
    """

    def __init__(self) -> None:
        self.url = ""
        self.calls: list[Call] = []
        self.messages: dict[tuple[str, str], Posted] = {}
        self.deleted: list[Posted] = []
        self.responses: list[tuple[str, dict[str, Any]]] = []
        self.acknowledged: list[str] = []
        self.trouble: dict[str, list[Trouble]] = {}
        self.chance: Callable[[str], Trouble | None] = lambda method: None
        self.scopes = SCOPES
        self._last_ts = time.time()
        self._lock = threading.Lock()
        self._sockets: list[web.WebSocketResponse] = []
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> SlackServer:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(10)
        assert not self._thread.is_alive()

    def of(self, method: str) -> list[Call]:
        """The calls of a method."""
        return [call for call in list(self.calls) if call.method == method]

    def answers(self, thread_ts: str | None = None) -> list[Posted]:
        """What the bot posted, in the order of time; with a `thread_ts` only in that thread."""
        posted = [each for each in list(self.messages.values()) if each.bot_id == BOT_ID]
        return [each for each in posted if thread_ts in (None, each.thread_ts)]

    def next_ts(self) -> str:
        """A timestamp that no message has yet."""
        with self._lock:
            self._last_ts = max(self._last_ts + 0.000001, time.time())
            return f"{self._last_ts:017.6f}"

    def wait_for(self, what: Callable[[], Any], seconds: float = 20.0) -> Any:
        """What `what` gives, once that is true."""
        until = time.monotonic() + seconds
        while not (found := what()):
            assert time.monotonic() < until, "it never came"
            time.sleep(0.01)
        return found

    def send(self, envelope: Mapping[str, Any]) -> None:
        """Delivers an envelope over Socket Mode, to the newest connection."""
        [*_, socket] = self.wait_for(lambda: [each for each in self._sockets if not each.closed])
        asyncio.run_coroutine_threadsafe(socket.send_str(json.dumps(envelope)), self._loop).result(10)

    def hang_up(self) -> None:
        """Closes all connections of Socket Mode, as Slack does from time to time."""
        for socket in self._sockets:
            asyncio.run_coroutine_threadsafe(socket.close(), self._loop).result(10)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        app = web.Application()
        app.router.add_route("*", "/api/{method}", self._method)
        app.router.add_post("/respond/{name}", self._respond)
        app.router.add_get("/socket", self._socket)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port: int = runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}"
        self._started.set()
        await self._ended.wait()
        for socket in self._sockets:
            await socket.close()
        await runner.cleanup()

    async def _method(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        fields: dict[str, Any] = dict(request.query)
        if request.content_type == "application/json":
            fields |= await request.json()
        else:
            fields |= dict(await request.post())
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        request_id = request.headers.get("X-Request-Id", "")
        self.calls.append(Call(method, fields, time.monotonic(), token, request_id))
        waiting = self.trouble.get(method, [])
        trouble = waiting[0] if waiting else self.chance(method)
        if trouble:
            trouble.times -= 1
            if waiting and trouble.times <= 0:
                waiting.pop(0)
            await asyncio.sleep(trouble.seconds)
            if trouble.status == 429:
                return web.json_response(
                    {"ok": False, "error": "ratelimited"}, status=429, headers={"Retry-After": str(trouble.retry_after)}
                )
            if trouble.carried_out:
                self._carry_out(method, fields, token)
            if trouble.status != 200:
                return web.Response(status=trouble.status, text="upstream connect error")
            if trouble.error:
                return web.json_response({"ok": False, "error": trouble.error})
        answer = self._carry_out(method, fields, token)
        return web.json_response(answer, headers={"X-OAuth-Scopes": self.scopes})

    def _carry_out(self, method: str, fields: Mapping[str, Any], token: str) -> dict[str, Any]:
        known = APP_TOKEN if method == "apps.connections.open" else BOT_TOKEN
        if token != known:
            return {"ok": False, "error": "invalid_auth"}
        match method:
            case "auth.test":
                said = {"url": "https://test.slack.com/", "team": "Test", "team_id": TEAM, "user": "onrecord"}
                return {"ok": True, **said, "user_id": BOT_USER, "bot_id": BOT_ID}
            case "chat.postMessage":
                return self._post(fields)
            case "chat.update":
                return self._update(fields)
            case "chat.delete":
                posted = self.messages.pop((fields["channel"], fields["ts"]), None)
                if posted is None:
                    return {"ok": False, "error": "message_not_found"}
                self.deleted.append(posted)
                return {"ok": True}
            case "conversations.replies":
                return self._replies(fields)
            case "apps.connections.open":
                return {"ok": True, "url": f"{self.url.replace('http', 'ws')}/socket"}
            case "chat.postEphemeral":
                return {"ok": True, "message_ts": self.next_ts()}
            case "assistant.threads.setStatus" | "assistant.threads.setSuggestedPrompts":
                return {"ok": True}
            case "reactions.add" | "reactions.remove":
                return {"ok": True}
            case _:
                return {"ok": False, "error": "unknown_method"}

    def _post(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        if wrong := fault(fields):
            return {"ok": False, "error": wrong}
        ts = self.next_ts()
        posted = Posted(
            fields["channel"],
            ts,
            fields.get("thread_ts"),
            fields["text"],
            fields.get("blocks") or [],
            fields.get("metadata") or {},
            texts=[fields["text"]],
        )
        self.messages[(posted.channel, ts)] = posted
        return {"ok": True, "channel": posted.channel, "ts": ts, "message": {"text": posted.text}}

    def _update(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        posted = self.messages.get((fields["channel"], fields["ts"]))
        if posted is None:
            return {"ok": False, "error": "message_not_found"}
        if wrong := fault(fields):
            return {"ok": False, "error": wrong}
        posted.text, posted.blocks = fields["text"], fields.get("blocks") or []
        posted.metadata = fields.get("metadata") or {}
        posted.texts.append(posted.text)
        return {"ok": True, "channel": posted.channel, "ts": posted.ts, "text": posted.text}

    def _replies(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """A thread in pages of two, so that whoever reads only the first is found out."""
        thread = [
            {
                **{"type": "message", "ts": each.ts, "thread_ts": each.thread_ts, "text": each.text},
                **({"bot_id": each.bot_id} if each.bot_id else {"user": each.user}),
                **({"metadata": each.metadata} if each.metadata and fields.get("include_all_metadata") else {}),
            }
            for each in list(self.messages.values())
            if each.channel == fields["channel"] and fields["ts"] in (each.thread_ts, each.ts)
            if each.ts >= fields.get("oldest", "0")
        ]
        begin = int(fields.get("cursor") or 0)
        more = begin + 2 < len(thread)
        after = {"response_metadata": {"next_cursor": str(begin + 2)}} if more else {}
        return {"ok": True, "messages": thread[begin : begin + 2], "has_more": more, **after}

    async def _respond(self, request: web.Request) -> web.Response:
        name, body = request.match_info["name"], await request.json()
        waiting = self.trouble.get("respond", [])
        if waiting:
            trouble = waiting.pop(0)
            return web.Response(status=trouble.status, text="trouble")
        self.responses.append((name, body))
        return web.Response(text="ok")

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(json.dumps({"type": "hello", "num_connections": 1}))
        self._sockets.append(socket)
        with suppress(ConnectionError):
            async for message in socket:
                if message.type == WSMsgType.TEXT:
                    self.acknowledged.append(json.loads(message.data)["envelope_id"])
        return socket


def fault(fields: Mapping[str, Any]) -> str | None:
    """What Slack would refuse in a message."""
    blocks: list[dict[str, Any]] = fields.get("blocks") or []
    if len(blocks) > 50:
        return "invalid_blocks"
    total = 0
    for block in blocks:
        if block["type"] not in ("rich_text", "context", "actions") or not block["elements"]:
            return "invalid_blocks"
        size = 0
        for element in _elements(block):
            text = element.get("text", "")
            shown: str = text if isinstance(text, str) else text["text"]
            if "text" in element and not shown:
                return "invalid_blocks"
            if element["type"] == "link" and not element["url"].startswith(("https://", "http://", "mailto:")):
                return "invalid_blocks"
            size += len(shown.encode("utf-16-le")) // 2
        if size > 3000:
            return "invalid_blocks"
        total += size
    if total > 13_000:
        return "msg_blocks_too_long"
    return None if fields.get("text") or blocks else "no_text"


def _elements(part: Mapping[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for element in part["elements"]:
        found += _elements(element) if "elements" in element else [element]
    return found
