"""The index goes while it is served: what is open goes on, readiness tells, and the next ingest mends it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from index.snapshot import CURRENT, current_folder
from tests.faults.command import assert_says, run
from tests.real_server import Server

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]

OKRS = "what did Beykpour say about OKRs?"


@pytest.fixture
def index_dir(sample_index: Path, tmp_path: Path) -> Path:
    return shutil.copytree(sample_index, tmp_path / "snapshots")


@pytest.fixture
def server(index_dir: Path, tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path, index_dir, settings={"ONRECORD_RELOAD_SECONDS": "0.05"}) as running:
        yield running
        log = running.log()
    assert "Traceback" not in log


def answered(server: Server) -> bool:
    """Whether it answers as ever, over every route that reads of the index."""
    found = httpx2.post(f"{server.url}/v1/search", json={"query": OKRS}, timeout=60)
    given = httpx2.post(f"{server.url}/v1/ask", json={"question": OKRS}, timeout=60)
    listed = httpx2.get(f"{server.url}/v1/sources", timeout=60)
    read = [
        httpx2.get(f"{server.url}/v1/sources/{each['id']}", timeout=60).json()["turns"]
        for each in listed.json()["sources"]
    ]
    return bool(found.json()["passages"] and given.json()["citations"] and len(read) == 3 and all(read))


def wait_for(what: Callable[[], bool], server: Server) -> None:
    until = time.monotonic() + 60
    while not what():
        assert time.monotonic() < until, server.log()
        time.sleep(0.02)


def again(index_dir: Path, tmp_path: Path) -> None:
    """Another document, ingested."""
    (tmp_path / "ships.txt").write_text("Ann Lee (00:00:01):\nShips are built of oak, and of nothing else.\n")
    ran = run("ingest", tmp_path / "ships.txt", "--index", index_dir)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("lost", ["the snapshot", "its vectors", "CURRENT", "all of it"])
def test_what_is_deleted_underneath_is_still_answered_from(
    lost: str, server: Server, index_dir: Path, tmp_path: Path
) -> None:
    folder = current_folder(index_dir)
    if lost == "its vectors":
        next(folder.rglob("vectors.faiss")).unlink()
    elif lost == "CURRENT":
        (index_dir / CURRENT).unlink()
    else:
        shutil.rmtree(index_dir if lost == "all of it" else folder)
    if lost != "its vectors":
        wait_for(lambda: "index not opened" in server.log(), server)
    assert answered(server)
    assert server.status("/readyz") == 200
    again(index_dir, tmp_path)
    wait_for(lambda: server.log().count("index opened") == 2, server)
    listed = httpx2.get(f"{server.url}/v1/sources", timeout=60).json()["sources"]
    assert "ships" in [each["id"] for each in listed]


def test_a_server_without_its_index_says_so_and_takes_the_next(index_dir: Path, tmp_path: Path) -> None:
    (index_dir / CURRENT).write_text("20260101T000000Z-00000000\n")
    settings = {"ONRECORD_RELOAD_SECONDS": "0.05"}
    with Server(tmp_path, index_dir, settings=settings, ready=False) as server:
        for path in ("/readyz", "/v1/sources", "/v1/speakers"):
            response = httpx2.get(f"{server.url}{path}", timeout=60)
            assert response.status_code == 503
            assert (
                "names a snapshot that is not there; build it anew with `onrecord ingest`" in response.json()["detail"]
            )
            assert int(response.headers["retry-after"]) > 0
        assert server.status("/healthz") == 200
        assert server.status("/metrics") == 200
        assert server.status("/") == 200
        again(index_dir, tmp_path)
        wait_for(lambda: server.status("/readyz") == 200, server)
        log = server.log()
    assert "Traceback" not in log


@pytest.mark.parametrize("command", [("ask", OKRS), ("search", OKRS), ("sources",), ("speakers",), ("status",)])
def test_a_command_without_its_index_says_so(command: tuple[str, ...], index_dir: Path) -> None:
    shutil.rmtree(current_folder(index_dir))
    ran = run(*command, "--index", index_dir)
    assert_says(ran, f"{index_dir / CURRENT} names a snapshot that is not there", "`onrecord ingest`")
