"""What is too much: requests, bodies, values in them, headers, and time."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from mcp import Client
from starlette.requests import Request
from starlette.testclient import TestClient

from app.api import SEARCHES_AT_ONCE, create_app
from app.deadline import deadline
from app.load import MOST_VALUES, BodyLimit, Load
from app.settings import Settings
from index.embed import Embedder
from tests.chat_server import MODEL, ChatServer, Reply
from tests.held import Held
from tests.serving import served

OKRS = {"question": "what did Beykpour say about OKRs?"}
CHAT = {"model": "onrecord", "messages": [{"role": "user", "content": OKRS["question"]}]}
LISTS = "[" + "[]," * 300_000 + "[]]"
DEEP = ",".join(["[" * 400 + "]" * 400] * 1000)
NUMBERS = "1," * 400_000 + "1"
NAMES = ",".join(f'"{number}":1' for number in range(60_000))


def settings(index: Path, **more: Any) -> Settings:
    return Settings(index_dir=index, conversations=":memory:", feedback=":memory:", min_confidence=0.0, **more)


def test_beyond_the_queue_everybody_is_sent_away_at_once(sample_index: Path, embedder: Embedder) -> None:
    held, most = Held(embedder), SEARCHES_AT_ONCE + 2
    with (
        TestClient(create_app(settings(sample_index, max_waiting=most), held)) as client,
        ThreadPoolExecutor(most) as clients,
    ):
        searches = [clients.submit(client.post, "/v1/search", json={"query": f"customers {n}"}) for n in range(most)]
        try:
            for _ in range(SEARCHES_AT_ONCE):
                assert held.begun.acquire(timeout=60)
            refused = client.get("/v1/models")
            while refused.status_code == 200:  # until the last of them has come in
                refused = client.get("/v1/models")
            assert refused.status_code == 503
            assert refused.headers["retry-after"] == "5"
            assert refused.json()["error"]["code"] == "overloaded"
            assert client.post("/v1/ask", json=OKRS).headers["content-type"] == "application/problem+json"
            for path in ("/healthz", "/readyz", "/metrics"):
                assert client.get(path).status_code == 200
        finally:
            held.may_go_on.set()
        assert {search.result().status_code for search in searches} == {200}
        assert client.get("/v1/models").status_code == 200


@pytest.mark.parametrize(("path", "body"), [("/v1/search", {"query": "OKRs"}), ("/v1/ask", OKRS)])
def test_what_takes_too_long_is_ended(path: str, body: Any, sample_index: Path, embedder: Embedder) -> None:
    held = Held(embedder)
    with TestClient(create_app(settings(sample_index, request_seconds=0.5, max_waiting=1), held)) as client:
        try:
            late = client.post(path, json=body)
            assert held.begun.acquire(timeout=60)
        finally:
            held.may_go_on.set()
        assert late.status_code == 503
        assert late.headers["retry-after"]
        assert "0.5 seconds" in late.json()["detail"]
        assert client.get("/v1/models").status_code == 200, "its place is free again"


@pytest.mark.enable_socket
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_tool_that_takes_too_long_says_so(sample_index: Path, embedder: Embedder) -> None:
    held = Held(embedder)

    async def search(url: str) -> Any:
        async with Client(f"{url}/mcp") as client:
            return await client.call_tool("search", {"query": "OKRs"})

    with served(create_app(settings(sample_index, request_seconds=2), held)) as url:
        try:
            result = asyncio.run(search(url))
        finally:
            held.may_go_on.set()
    assert result.is_error
    assert "too long" in result.content[0].text


@pytest.mark.enable_socket
@pytest.mark.allow_hosts(["127.0.0.1"])
class TestTheModel:
    """A model that says nothing: the answer comes all the same, in time, and nobody goes on waiting for the model."""

    @pytest.fixture
    def app(self, chat_server: ChatServer, sample_index: Path, embedder: Embedder) -> FastAPI:
        chat_server.otherwise = Reply(["never"], seconds=3600)
        model = {"openai_base_url": chat_server.url, "llm_model": MODEL, "llm_retries": 0}
        patient = {"llm_try_seconds": 3000, "llm_total_seconds": 3000}
        return create_app(settings(sample_index, request_seconds=4, **model, **patient), embedder)

    def in_quotations(self, given: dict[str, Any]) -> bool:
        return given["answerer"] == "quotes" and "in time" in given["degraded"] and bool(given["citations"])

    def test_over_http(self, app: FastAPI) -> None:
        with TestClient(app) as client:
            assert self.in_quotations(client.post("/v1/ask", json=OKRS).json())
            events = client.post("/v1/ask", json={**OKRS, "stream": True}).text.replace("\r", "")
            assert self.in_quotations(json.loads(events.partition("event: done\ndata: ")[2].partition("\n")[0]))

    def test_for_openais_clients(self, app: FastAPI) -> None:
        with TestClient(app) as client:
            assert self.in_quotations(client.post("/v1/chat/completions", json=CHAT).json()["onrecord"])

    def test_for_mcp_clients(self, app: FastAPI) -> None:
        async def ask(url: str) -> Any:
            async with Client(f"{url}/mcp") as client:
                return (await client.call_tool("ask", OKRS)).structured_content

        with served(app) as url:
            assert self.in_quotations(asyncio.run(ask(url)))


def test_a_deadline_is_the_requests_own() -> None:
    app = FastAPI()

    @app.get("/{name:path}")
    async def left(name: str) -> float:
        return deadline() - asyncio.get_running_loop().time()

    app.add_middleware(Load, most=9, seconds=50.0)
    with TestClient(app) as client:
        assert 0 < client.get("/one").json() <= 50
        for endless in ("/healthz", "/slack/events"):
            assert client.get(endless).json() is None, "infinite"


def test_a_stream_that_outlasts_its_time_is_broken_off() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(3600)

    async def run() -> list[str]:
        sent: list[str] = []

        async def send(message: Any) -> None:
            sent.append(message["type"])

        await Load(app, most=1, seconds=0.05)({"type": "http", "path": "/v1/ask"}, asyncio.Event().wait, send)  # type: ignore[arg-type]
        return sent

    assert asyncio.run(run()) == ["http.response.start"]


@pytest.mark.parametrize(
    "body",
    [
        *(LISTS, f"[{DEEP}]", f"[{NUMBERS}]", f"{{{NAMES}}}"),
        *(f'{{"question": {each}}}' for each in (LISTS, f"[{DEEP}]", f"[{NUMBERS}]", f"{{{NAMES}}}")),
        f'{{"model": "onrecord", "messages": {LISTS}}}',
        f'{{"model": "onrecord", "messages": [{{"role": "user", "content": "x"}}], "metadata": [{DEEP}]}}',
        f'{{"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {LISTS}}}',
        '["' + '","' * 200_000 + '"]',
        "," * 20_000 + '"' + r"\"" * 300_000,
    ],
)
@pytest.mark.parametrize("path", ["/v1/ask", "/v1/feedback", "/v1/chat/completions", "/mcp", "/nowhere"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_too_many_values_are_not_read(client: TestClient, path: str, body: str, encoding: str) -> None:
    sent = body.encode(encoding)[:1_000_000]
    refused = client.post(path, content=sent, headers={"Content-Type": "application/json"})
    assert refused.status_code == 413
    assert str(MOST_VALUES) in refused.json()["detail"]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, embedder: Embedder) -> Any:
    with TestClient(create_app(settings(tmp_path_factory.mktemp("none")), embedder)) as client:
        yield client


values = st.recursive(
    st.none() | st.integers() | st.text('[]{},"\\ab é\n') | st.just('[{,"\\' * 4000),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('[,"\\x'), inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_what_is_in_strings_does_not_count(value: Any) -> None:
    async def run() -> bytes:
        taken: list[bytes] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            taken.append(await Request(scope, receive).body())

        pieces = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Any:
            return pieces.pop()

        await BodyLimit(app, 1 << 24)({"type": "http", "path": "/"}, receive, receive)  # type: ignore[arg-type]
        return taken[0]

    body = json.dumps(value, ensure_ascii=False).encode()
    assert asyncio.run(run()) == body


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    async def run() -> list[Any]:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            await asyncio.sleep(0.01)
            return {"type": "http.request", "body": b" ", "more_body": True}

        app = BodyLimit(FastAPI(), 1 << 20, seconds=0.2)
        await app({"type": "http", "path": "/v1/ask"}, receive, send)
        return sent

    start, _ = asyncio.run(run())
    assert start["status"] == 408
    assert (b"connection", b"close") in start["headers"]


def test_searches_and_questions_are_bounded(client: TestClient) -> None:
    for path, body in (
        ("/v1/ask", {"question": "x" * 4001}),
        ("/v1/ask", {"question": "x", "top_k": 101}),
        ("/v1/search", {"query": "x", "speaker": "x" * 201}),
        ("/v1/feedback", {"answer_id": "x" * 201, "rating": "up"}),
    ):
        assert client.post(path, json=body).status_code == 422
    large = {**CHAT, "messages": [{"role": "user", "content": "x" * 4001}]}
    assert client.post("/v1/chat/completions", json=large).status_code == 400
    assert client.post("/v1/chat/completions", json={**CHAT, "top_k": 101}).status_code == 400
