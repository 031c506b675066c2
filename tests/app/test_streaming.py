"""Answers as Server-Sent Events."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from app.api import create_app
from app.settings import Settings
from index.embed import Embedder
from tests.chat_server import ChatServer, Reply
from tests.serving import served

OKRS = "what did Beykpour say about OKRs?"

Sent = tuple[str, Any]


@pytest.fixture(scope="module")
def client(sample_index: Path, embedder: Embedder) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(index_dir=sample_index), embedder)) as client:
        yield client


def read(text: str) -> list[Sent]:
    """The events of a stream, comments left out."""
    found: list[Sent] = []
    for block in re.split(r"\r?\n\r?\n", text.strip()):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            found.append((fields.get("event", "message"), json.loads(fields["data"])))
    return found


@pytest.mark.parametrize("how", [{"json": {"stream": True}}, {"headers": {"Accept": "text/event-stream"}}])
@pytest.mark.parametrize("question", [OKRS, "What did Beykpour say about Jira?", "What is the capital of France?", "?"])
def test_a_stream_is_the_answer_in_pieces(client: TestClient, how: dict[str, Any], question: str) -> None:
    body = {"question": question, "conversation_id": "one", **how.get("json", {})}
    response = client.post("/v1/ask", json=body, headers=how.get("headers"))
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["x-accel-buffering"] == "no"
    assert "no-store" in response.headers["cache-control"]
    events = read(response.text)
    names = [name for name, _ in events]
    assert names[0] == "passages"
    assert names[-1] == "done"
    assert set(names[1:-1]) <= {"token", "citation"}
    done = events[-1][1]
    assert "".join(data["text"] for name, data in events if name == "token") == done["answer"]
    assert [data for name, data in events if name == "citation"] == done["citations"]
    whole = client.post("/v1/ask", json={"question": question, "conversation_id": "one"}).json()
    for field in ("id", "took_ms"):
        del done[field], whole[field]
    assert done == whole
    cited = set[int]()
    for name, data in events:
        if name == "citation":
            cited.add(data["marker"])
        elif name == "token":
            assert {int(n) for n in re.findall(r"\[(\d+)\]", data["text"])} <= cited


def test_the_passages_come_first_with_the_ids_of_the_answer(client: TestClient) -> None:
    (_, passages), *_, (_, done) = read(client.post("/v1/ask", json={"question": OKRS, "stream": True}).text)
    assert (passages["id"], passages["conversation_id"]) == (done["id"], done["conversation_id"])
    assert done["citations"][0]["passage_id"] in {passage["id"] for passage in passages["passages"]}
    assert 0 < len(passages["passages"]) <= 8


@pytest.mark.parametrize(
    ("body", "status"), [({"question": ""}, 422), ({"question": "x", "source": "nowhere"}, 422), ({"question": 1}, 422)]
)
def test_what_is_wrong_before_the_stream_is_a_problem(client: TestClient, body: dict[str, Any], status: int) -> None:
    response = client.post("/v1/ask", json=body | {"stream": True})
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"


def test_without_an_index_a_stream_is_a_problem_too(tmp_path: Path, embedder: Embedder) -> None:
    with TestClient(create_app(Settings(index_dir=tmp_path), embedder)) as client:
        assert client.post("/v1/ask", json={"question": OKRS, "stream": True}).status_code == 503


@pytest.mark.enable_socket
@pytest.mark.allow_hosts(["127.0.0.1"])
@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_ends_the_call_to_the_model(
    stream: bool, sample_index: Path, embedder: Embedder, chat_server: ChatServer
) -> None:
    chat_server.otherwise = Reply("{", end="hang")
    settings = Settings(index_dir=sample_index, openai_base_url=chat_server.url, llm_model="scripted")
    with served(create_app(settings, embedder)) as url:
        leaving = threading.Event()

        def ask() -> None:
            body = {"question": OKRS, "stream": stream}
            with httpx2.Client(timeout=0.5) as http:
                try:
                    with http.stream("POST", f"{url}/v1/ask", json=body) as response:
                        for _ in response.iter_lines():
                            pass
                except httpx2.TimeoutException:
                    leaving.set()

        ask()
        assert leaving.is_set()
        assert chat_server.last.gone.wait(5)
