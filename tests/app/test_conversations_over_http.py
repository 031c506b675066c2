"""Follow-up questions, as a client asks them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.api import create_app
from app.settings import Settings
from index.embed import Embedder
from tests.chat_server import ChatServer, Messages, refusal

OKRS = "what did Beykpour say about OKRs?"
JTBD = "and what did he say about jobs-to-be-done?"


@pytest.fixture
def settings(sample_index: Path, tmp_path: Path) -> Settings:
    return Settings(index_dir=sample_index, conversations=str(tmp_path / "conversations.sqlite"))


@pytest.fixture
def client(settings: Settings, embedder: Embedder) -> Iterator[TestClient]:
    with TestClient(create_app(settings, embedder)) as client:
        yield client


def ask(client: TestClient, question: str, conversation: str | None = None, **headers: str) -> dict[str, Any]:
    response = client.post("/v1/ask", json={"question": question, "conversation_id": conversation}, headers=headers)
    assert response.status_code == 200, response.text
    return response.json()


def test_a_follow_up_is_understood_and_shown_as_it_was(client: TestClient) -> None:
    first = ask(client, OKRS)
    assert first["reading"] is None
    given = ask(client, JTBD, first["conversation_id"])
    assert given["conversation_id"] == first["conversation_id"]
    assert given["reading"]["speaker"] == "Kayvon Beykpour"
    assert "Kayvon Beykpour" in given["reading"]["question"]
    assert "jobs-to-be-done" in given["citations"][0]["quote"]


def test_a_chain_of_follow_ups(client: TestClient) -> None:
    conversation = ask(client, OKRS)["conversation_id"]
    ask(client, "what about jobs-to-be-done?", conversation)
    third = ask(client, "why?", conversation)
    assert "jobs-to-be-done" in third["reading"]["question"]
    assert "Beykpour" in third["reading"]["question"]


def test_he_may_be_somebody_whom_nobody_knows(client: TestClient) -> None:
    ask(client, OKRS, "stranger")
    ask(client, "What did Zaphod Quux say about simplicity?", "stranger")
    given = ask(client, "what does he mean by that?", "stranger")
    assert given["reading"]["question"] == "What does Zaphod Quux mean by simplicity?"
    assert given["status"] == "no_answer"


def test_a_topic_shift_is_not_polluted(client: TestClient) -> None:
    conversation = ask(client, OKRS)["conversation_id"]
    question = "What is the product death cycle?"
    shifted, alone = ask(client, question, conversation), ask(client, question)
    assert shifted["reading"] is None
    assert shifted["citations"] == alone["citations"]


def test_another_client_cannot_use_it(settings: Settings, embedder: Embedder) -> None:
    keys = Settings(api_keys="one:the-key-of-the-first-client,two:the-key-of-the-second-client").api_keys
    one, two = "Bearer the-key-of-the-first-client", "Bearer the-key-of-the-second-client"
    with TestClient(create_app(settings.model_copy(update={"api_keys": keys}), embedder)) as client:
        ask(client, OKRS, "ours", authorization=one)
        assert ask(client, JTBD, "ours", authorization=one)["reading"]
        assert ask(client, JTBD, "ours", authorization=two)["reading"] is None
        assert ask(client, JTBD, authorization=one)["reading"] is None


def test_it_outlives_the_server(settings: Settings, embedder: Embedder) -> None:
    with TestClient(create_app(settings, embedder)) as client:
        ask(client, OKRS, "kept")
    with TestClient(create_app(settings, embedder)) as client:
        assert ask(client, JTBD, "kept")["reading"]


def test_it_is_forgotten(settings: Settings, embedder: Embedder) -> None:
    brief = settings.model_copy(update={"conversation_hours": 1e-9})
    with TestClient(create_app(brief, embedder)) as client:
        ask(client, OKRS, "brief")
        assert ask(client, JTBD, "brief")["reading"] is None


@pytest.mark.enable_socket
@pytest.mark.allow_hosts(["127.0.0.1"])
@pytest.mark.parametrize(
    ("reply", "question"),
    [
        ("What did Kayvon Beykpour say about jobs-to-be-done?", "What did Kayvon Beykpour say about jobs-to-be-done?"),
        ("<think>He is Beykpour.</think>\nQuestion: What of Beykpour on OKRs?", "What of Beykpour on OKRs?"),
        ("What did Zaphod say about jobs-to-be-done?", None),
        ("", None),
        (refusal(500, "oh dear"), None),
    ],
)
def test_a_model_rewrites_what_depends_on_the_past(
    reply: Any, question: str | None, settings: Settings, embedder: Embedder, chat_server: ChatServer
) -> None:
    def model(messages: Messages) -> str:
        if "New question:" in messages[-1]["content"]:
            return str(reply)
        cited = re.findall(r"^\[(\d+)\]", messages[1]["content"], re.MULTILINE)
        return json.dumps({"answered": bool(cited), "sentences": []})

    more = {"openai_base_url": chat_server.url, "llm_model": "scripted", "llm_retries": 0}
    by_rule = "What did Kayvon Beykpour say about jobs-to-be-done?"
    with TestClient(create_app(settings.model_copy(update=more), embedder)) as client:
        chat_server.otherwise = model
        ask(client, OKRS, "rewritten")
        chat_server.otherwise = model if isinstance(reply, str) else reply
        given = ask(client, JTBD, "rewritten")
        assert given["reading"]["question"] == (question or by_rule)
        before = len(chat_server.requests)
        ask(client, "What is the product death cycle?", "rewritten")
        asked = [request.body["messages"][-1]["content"] for request in chat_server.requests[before:]]
        assert not any("New question:" in each for each in asked)
