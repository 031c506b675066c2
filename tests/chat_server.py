"""A real HTTP server that speaks OpenAI's chat protocol and plays a script, all kinds of trouble included."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

MODEL = "scripted"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, streamed if that is asked for; a plain string goes character by character.

    `thoughts` come first, as `reasoning_content`. `seconds` pass before each delta. After the last of them the answer
    ends with `finish` as it should, or the connection hangs, or is torn. The tokens counted are the deltas.
    """

    deltas: Sequence[str] = "Hello."
    thoughts: Sequence[str] = ()
    refusal: str | None = None
    finish: str | None = "stop"
    seconds: float = 0.0
    end: Literal["whole", "hang", "tear"] = "whole"


@dataclass(frozen=True, slots=True)
class Raw:
    """A response of any kind, byte for byte."""

    status: int
    body: str
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


class Hang:
    """Nothing is ever said, not even a status."""


class Tear:
    """The connection is closed before a status is said."""


Messages = list[dict[str, str]]
Behaviour = Reply | Raw | Hang | Tear | Callable[[Messages], str | Reply]
"""How one request is answered. A function makes the answer, or its text, from the messages."""


def refusal(
    status: int, message: str, *, code: str | int | None = None, param: str | None = None, **headers: str
) -> Raw:
    """An error as OpenAI words it; `retry_after="1"` is the header Retry-After."""
    body = {"error": {"message": message, "type": "error", "param": param, "code": code}}
    return Raw(status, json.dumps(body), headers={name.replace("_", "-"): value for name, value in headers.items()})


def events(*data: str) -> Raw:
    """An event stream of just these data lines."""
    return Raw(200, "".join(f"data: {line}\n\n" for line in data), "text/event-stream")


def first_sentence(messages: Messages) -> str:
    """The first sentence that a model is offered, cited: an answer that is borne out."""
    found = re.search(r"^\[1\] (.+)$", messages[-1]["content"], re.MULTILINE)
    return f"{found[1]} [1]" if found else ""


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came; `gone` is set once the client has left before the answer was whole."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]
    gone: threading.Event = field(default_factory=threading.Event)


class ChatServer:
    """A server on 127.0.0.1, in a thread of its own, for as long as it is a context.

    Each chat request takes the next behaviour of `script`, and `otherwise` when none is left. A request that has a
    parameter of `refuses` is answered as that says, and takes nothing of the script.
    """

    def __init__(self) -> None:
        self.script: list[Behaviour] = []
        self.otherwise: Behaviour = refusal(501, "the script has ended")
        self.refuses: dict[str, Raw] = {}
        self.requests: list[Request] = []
        self.url = ""
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> ChatServer:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(10)
        assert not self._thread.is_alive()

    @property
    def last(self) -> Request:
        """The newest request."""
        return self.requests[-1]

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        self._started.set()
        async with server:
            await self._ended.wait()
            # Those that hang; the others have come to their end.
            serving = asyncio.all_tasks() - {asyncio.current_task()}
            for task in serving:
                task.cancel()
            await asyncio.gather(*serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await _read(reader)
            if request is not None:
                self.requests.append(request)
                playing = asyncio.create_task(_play(self._behaviour(request), request, writer))
                leaving = asyncio.create_task(reader.read())
                try:
                    await asyncio.wait({playing, leaving}, return_when=asyncio.FIRST_COMPLETED)
                    if not playing.done():
                        request.gone.set()
                finally:
                    playing.cancel()
                    leaving.cancel()
                    await asyncio.gather(playing, leaving, return_exceptions=True)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    def _behaviour(self, request: Request) -> Behaviour:
        if request.path == "/v1/models":
            return Raw(200, json.dumps({"object": "list", "data": [{"id": MODEL, "object": "model"}]}))
        if request.path != "/v1/chat/completions":
            return refusal(404, f"there is no {request.path}")
        for parameter, refused in self.refuses.items():
            if parameter in request.body:
                return refused
        return self.script.pop(0) if self.script else self.otherwise


async def _read(reader: asyncio.StreamReader) -> Request | None:
    """The request of a connection; None where the client says nothing."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(first.split()[1], headers, json.loads(body or b"{}"))


async def _play(behaviour: Behaviour, request: Request, writer: asyncio.StreamWriter) -> None:
    match behaviour:
        case Hang():
            await asyncio.Event().wait()
        case Tear():
            writer.transport.abort()
        case Raw():
            await _send(writer, behaviour)
        case Reply():
            await _answer(writer, behaviour, request)
        case _:
            made = behaviour(request.body["messages"])
            await _answer(writer, made if isinstance(made, Reply) else Reply(made), request)


async def _send(writer: asyncio.StreamWriter, raw: Raw) -> None:
    body = raw.body.encode()
    headers = {"Content-Type": raw.content_type, "Content-Length": str(len(body)), **raw.headers}
    writer.write(_head(raw.status, headers) + body)
    await writer.drain()


async def _answer(writer: asyncio.StreamWriter, reply: Reply, request: Request) -> None:
    usage = {"prompt_tokens": len(request.body["messages"]), "completion_tokens": len(reply.deltas)}
    if not request.body.get("stream"):
        message = {"role": "assistant", "content": "".join(reply.deltas), "refusal": reply.refusal}
        choice = {"index": 0, "message": message, "finish_reason": reply.finish}
        whole = {"id": "1", "object": "chat.completion", "created": 0, "model": MODEL}
        await _send(writer, Raw(200, json.dumps({**whole, "choices": [choice], "usage": usage})))
        return
    writer.write(_head(200, {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"}))
    for delta in _deltas(reply):
        await asyncio.sleep(reply.seconds)
        await _event(writer, {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
    if reply.end == "tear":
        writer.transport.abort()
        return
    if reply.end == "hang":
        await asyncio.Event().wait()
    if reply.finish:
        await _event(writer, {"choices": [{"index": 0, "delta": {}, "finish_reason": reply.finish}]})
    if request.body.get("stream_options", {}).get("include_usage"):
        await _event(writer, {"choices": [], "usage": usage})
    await _chunk(writer, b"data: [DONE]\n\n")
    writer.write(b"0\r\n\r\n")
    await writer.drain()


def _deltas(reply: Reply) -> Iterator[dict[str, str]]:
    yield {"role": "assistant", "content": ""}
    for thought in reply.thoughts:
        yield {"reasoning_content": thought, "reasoning": thought}
    for delta in reply.deltas:
        yield {"content": delta}
    if reply.refusal:
        yield {"refusal": reply.refusal}


async def _event(writer: asyncio.StreamWriter, fields: dict[str, Any]) -> None:
    data = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": MODEL, **fields}
    await _chunk(writer, f"data: {json.dumps(data)}\n\n".encode())


async def _chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
    await writer.drain()


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} Whatever\r\n{lines}Connection: close\r\n\r\n".encode()
