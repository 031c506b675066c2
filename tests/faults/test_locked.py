"""SQLite's files are held by another program: answers go on without being kept, and are kept again afterwards."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import httpx2
import pytest

from app.slack_ledger import Ledger, LedgerError, SlackQuestion
from tests.real_server import Server

OKRS = "what did Beykpour say about OKRs?"


@contextmanager
def held(*paths: Path) -> Iterator[None]:
    """While somebody else writes to these files, and does not come to an end."""
    connections = [sqlite3.connect(path, isolation_level=None) for path in paths]
    try:
        for each in connections:
            each.execute("BEGIN EXCLUSIVE")
        yield
    finally:
        for each in connections:
            each.close()


def ask(server: Server, question: str = OKRS, conversation_id: str = "c") -> httpx2.Response:
    body = {"question": question, "conversation_id": conversation_id}
    return httpx2.post(f"{server.url}/v1/ask", json=body, timeout=60)


def rate(server: Server, answer_id: str) -> httpx2.Response:
    return httpx2.post(f"{server.url}/v1/feedback", json={"answer_id": answer_id, "rating": "up"}, timeout=60)


@pytest.mark.enable_socket
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_answers_do_not_wait_in_line_for_a_file_that_is_held(tmp_path: Path, sample_index: Path) -> None:
    with Server(tmp_path, sample_index) as server:
        first = ask(server).json()["id"]
        with held(server.conversations, server.feedback), ThreadPoolExecutor(24) as pool:
            # One after the other for as long as the file may be held, they would not be done within a minute.
            asked = list(pool.map(lambda number: ask(server, conversation_id=f"held-{number}"), range(24)))
            assert {each.status_code for each in asked} == {200}
            assert {each.json()["status"] for each in asked} == {"answered"}
            refused = rate(server, first)
            assert refused.status_code == 503
            assert int(refused.headers["retry-after"]) > 0
            assert server.status("/readyz") == 200
            assert server.status("/metrics") == 200
        assert rate(server, first).status_code == 201
        following = ask(server, "And about customers?").json()
        assert following["reading"]["question"] == "What did Kayvon Beykpour say about customers?"
        log = server.log()
    assert "conversation not kept" in log
    assert "database is locked" in log
    assert "Traceback" not in log


def test_what_slack_delivers_is_not_taken_while_it_cannot_be_written_down(tmp_path: Path) -> None:
    path = tmp_path / "slack.sqlite"
    with closing(Ledger(str(path))) as ledger:
        question = SlackQuestion("k", "message", "T1", "C1", "1.0", "1.0", "U1", OKRS)
        with held(path), pytest.raises(LedgerError, match="database is locked; ONRECORD_SLACK_LEDGER"):
            ledger.receive(question, 0)
        assert ledger.receive(question, 0) == "taken"
