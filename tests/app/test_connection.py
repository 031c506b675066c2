"""Connections over which nothing comes, or too much."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from fastapi import FastAPI

from app.connection import MOST_HEAD_BYTES, ImpatientProtocol

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]


class Impatient(ImpatientProtocol):
    head_seconds = 0.3


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    app = FastAPI()

    @app.post("/slow")
    def slow(body: dict[str, int]) -> dict[str, int]:
        time.sleep(1.0)
        return body

    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(
            app, http=Impatient, h11_max_incomplete_event_size=MOST_HEAD_BYTES, log_config=None, timeout_keep_alive=5
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=lambda: server.run(sockets=[listening]))
        thread.start()
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


SLOW = b'POST /slow HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n{"a": 1}'


def all_of(connection: socket.socket) -> bytes:
    """What comes until the other side closes it."""
    read = b""
    while more := connection.recv(65536):
        read += more
    return read


@pytest.mark.parametrize("sent", [b"", b"POST /slow HT", SLOW[:40]])
def test_nobody_waits_for_a_request_that_does_not_come(port: int, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        connection.sendall(sent)
        assert all_of(connection) == b""


def test_nor_for_the_rest_of_a_second_one(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        connection.sendall(SLOW + SLOW[:40])
        assert all_of(connection).count(b"200 OK") == 1


def test_a_request_that_takes_its_time_is_answered_and_so_is_the_next(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        for _ in range(2):
            connection.sendall(SLOW)
            read = b""
            while not read.endswith(b'{"a":1}'):
                read += connection.recv(65536)
            assert b"200 OK" in read
        time.sleep(0.6)  # kept alive for the time that is set for that
        connection.sendall(SLOW)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def test_headers_without_end_are_refused(port: int) -> None:
    for head in (b"GET /slow?" + b"x" * 2 * MOST_HEAD_BYTES, b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * MOST_HEAD_BYTES):
        with socket.create_connection(("127.0.0.1", port), 60) as connection:
            connection.sendall(head)
            assert connection.recv(100).startswith(b"HTTP/1.1 400")
