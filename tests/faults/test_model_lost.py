"""The model that writes answers cannot be reached, hangs or breaks off: the answer is in quotations, and says why."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import httpx2
import pytest

from tests.chat_server import MODEL, ChatServer, Hang, Reply, first_sentence
from tests.real_server import Server

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]

OKRS = "what did Beykpour say about OKRs?"
SOON = {"ONRECORD_LLM_MODEL": MODEL, "ONRECORD_LLM_TRY_SECONDS": "1", "ONRECORD_LLM_TOTAL_SECONDS": "3"}
OWN_WORDS = "These are the documents' own words."


def ask(server: Server) -> dict[str, object]:
    """An answer; the same as a stream, whose last event it is."""
    response = httpx2.post(f"{server.url}/v1/ask", json={"question": OKRS}, timeout=60)
    assert response.status_code == 200, response.text
    streamed = httpx2.post(f"{server.url}/v1/ask", json={"question": OKRS, "stream": True}, timeout=60)
    assert streamed.status_code == 200
    last = streamed.text.rpartition("event: done")[2].partition("data: ")[2].splitlines()[0]
    assert json.loads(last)["answerer"] == response.json()["answerer"]
    return dict(response.json())


def assert_in_quotations(answer: dict[str, object], reason: str) -> None:
    assert answer["status"] == "answered"
    assert answer["answerer"] == "quotes"
    assert answer["citations"]
    assert answer["degraded"] == f"{reason} {OWN_WORDS}"


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@pytest.mark.parametrize("host", ["127.0.0.1", "nowhere.invalid"])
def test_a_model_that_is_not_there(host: str, tmp_path: Path, sample_index: Path) -> None:
    settings = {**SOON, "OPENAI_BASE_URL": f"http://{host}:{unused_port()}/v1"}
    with Server(tmp_path, sample_index, settings=settings) as server:
        for _ in range(4):  # the last of them while it is left alone
            answer = ask(server)
            assert answer["answerer"] == "quotes"
            assert answer["citations"]
            assert str(answer["degraded"]).endswith(OWN_WORDS)
        assert server.status("/readyz") == 200
        log = server.log()
    assert "Traceback" not in log


def test_a_model_that_comes_and_goes(tmp_path: Path, sample_index: Path) -> None:
    with (
        ChatServer() as model,
        Server(tmp_path, sample_index, settings={**SOON, "OPENAI_BASE_URL": model.url}) as server,
    ):
        model.otherwise = first_sentence
        answer = ask(server)
        assert (answer["answerer"], answer["degraded"]) == ("llm", None)
        model.otherwise = Hang()
        assert_in_quotations(ask(server), "The language model did not answer in time.")
        model.otherwise = first_sentence
        assert ask(server)["answerer"] == "llm"
        model.otherwise = Reply("{", end="tear")
        assert_in_quotations(ask(server), "The language model broke off.")
        model.otherwise = first_sentence
        assert ask(server)["answerer"] == "llm"
        log = server.log()
    assert "Traceback" not in log
