"""Disks that are full, read-only, or closed to us: what is there stays, what fails says so, and answers go on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from tests.faults.command import assert_says, run
from tests.faults.disks import Disk
from tests.real_server import Server

OKRS = "what did Beykpour say about OKRs?"
SHARES = (0.0, 0.15, 0.3, 0.45, 0.6, 0.75, 0.85, 0.95)
"""Of what an ingest writes, how much there is room for: each of its steps is one at which there is none left."""

MakeDisk = Callable[[int], Disk]
Enter = Callable[[list[str]], list[str]]


def write_corpus(folder: Path, number: int) -> Path:
    folder.mkdir(exist_ok=True)
    for talk in range(6):
        said = (
            f"Speaker {i} (00:{i:02d}:00):\nIn year {number} of talk {talk} we moved {i} boats up the river. " * 4
            for i in range(12)
        )
        (folder / f"talk-{talk}.txt").write_text("\n\n".join(said))
    return folder


def live(disk: Disk) -> str:
    return (disk.seen / "snapshots" / "CURRENT").read_text()


def assert_whole(disk: Disk) -> None:
    """That nothing is damaged, and nothing half-written is left."""
    verified = run("verify", "--index", disk.folder / "snapshots", enter=disk.inside)
    assert (verified.returncode, verified.stdout) == (0, "ok\n"), verified
    left = {path.name for path in (disk.seen / "snapshots").iterdir()}
    assert left <= {"CURRENT", "LOCK", "last_ingest.json", live(disk).strip()}


def test_an_ingest_that_fills_the_disk_leaves_the_index_as_it_was(small: MakeDisk, tmp_path: Path) -> None:
    disk, corpus = small(50_000), write_corpus(tmp_path / "corpus", 0)
    command = "ingest", corpus, "--index", disk.folder / "snapshots"
    assert run(*command, enter=disk.inside).returncode == 0
    needed, before = disk.used(), live(disk)
    for number, share in enumerate(SHARES, 1):
        write_corpus(corpus, number)
        disk.resize(needed + int(share * needed))
        failed = run(*command, enter=disk.inside)
        assert_says(failed, f"the index in {disk.folder}/snapshots cannot be written: ", "`onrecord ingest` again")
        assert "No space left on device" in failed.stderr or "disk is full" in failed.stderr
        assert live(disk) == before
        disk.resize(50_000)
        assert_whole(disk)
    assert run(*command, enter=disk.inside).returncode == 0
    assert live(disk) != before
    assert_whole(disk)


def test_a_first_ingest_that_fills_the_disk_leaves_no_index(small: MakeDisk, tmp_path: Path) -> None:
    disk, corpus = small(60), write_corpus(tmp_path / "corpus", 0)
    command = "ingest", corpus, "--index", disk.folder / "snapshots"
    assert_says(run(*command, enter=disk.inside), "cannot be written: ")
    assert run("status", "--index", disk.folder / "snapshots", enter=disk.inside).returncode == 3
    disk.resize(50_000)
    assert run(*command, enter=disk.inside).returncode == 0
    assert_whole(disk)


def test_a_read_only_disk_is_read(small: MakeDisk, tmp_path: Path) -> None:
    disk, corpus = small(50_000), write_corpus(tmp_path / "corpus", 0)
    index = "--index", disk.folder / "snapshots"
    assert run("ingest", corpus, *index, enter=disk.inside).returncode == 0
    disk.close_for_writing()
    write_corpus(corpus, 1)
    assert_says(run("ingest", corpus, *index, enter=disk.inside), "cannot be written: Read-only file system")
    asked = run("ask", "what did Speaker 3 say about boats?", "--json", *index, enter=disk.inside)
    assert asked.returncode == 0, asked
    assert json.loads(asked.stdout)["status"] == "answered"
    assert_whole(disk)


@pytest.mark.enable_socket
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_server_on_a_read_only_disk_keeps_its_databases_elsewhere(small: MakeDisk, tmp_path: Path) -> None:
    disk, corpus = small(50_000), write_corpus(tmp_path / "corpus", 0)
    assert run("ingest", corpus, "--index", disk.folder / "snapshots", enter=disk.inside).returncode == 0
    disk.close_for_writing()
    there = {"ONRECORD_CONVERSATIONS": "", "ONRECORD_FEEDBACK": ""}
    with pytest.raises(RuntimeError) as refused:
        Server(tmp_path, disk.folder / "snapshots", settings=there, enter=disk.inside)
    assert "exit code 1" in str(refused.value)
    assert "conversations cannot be kept in" in str(refused.value)
    assert "ONRECORD_CONVERSATIONS names another file" in str(refused.value)
    assert "Traceback" not in str(refused.value)
    with Server(tmp_path, disk.folder / "snapshots", enter=disk.inside) as server:
        assert ask(server, "what did Speaker 3 say about boats?").status_code == 200


def ask(server: Server, question: str = OKRS, **further: str) -> httpx2.Response:
    return httpx2.post(f"{server.url}/v1/ask", json={"question": question, **further}, timeout=60)


def rate(server: Server, answer_id: str) -> httpx2.Response:
    body = {"answer_id": answer_id, "rating": "up"}
    return httpx2.post(f"{server.url}/v1/feedback", json=body, timeout=60)


@pytest.mark.enable_socket
@pytest.mark.allow_hosts(["127.0.0.1"])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_goes_on_answering_while_its_disk_is_full(
    small: MakeDisk, tmp_path: Path, sample_index: Path, workers: int
) -> None:
    disk = small(50_000)
    files = {
        "ONRECORD_CONVERSATIONS": str(disk.folder / "conversations.sqlite"),
        "ONRECORD_FEEDBACK": str(disk.folder / "feedback.sqlite"),
        "TMPDIR": str(disk.folder),
    }
    with Server(tmp_path, sample_index, workers, files, enter=disk.inside) as server:
        answered = ask(server, conversation_id="c").json()["id"]
        disk.fill()
        for _ in range(40):
            assert ask(server, conversation_id="full").json()["status"] == "answered"
        refused = rate(server, answered)
        assert refused.status_code == 503
        assert refused.headers["content-type"] == "application/problem+json"
        assert int(refused.headers["retry-after"]) > 0
        assert server.status("/readyz") == 200, server.log()
        assert server.status("/metrics") == 200
        disk.free()
        assert rate(server, answered).status_code == 201
        following = ask(server, "And about customers?", conversation_id="c").json()
        assert following["reading"]["question"] == "What did Kayvon Beykpour say about customers?"
        log = server.log()
    assert "conversation not kept" in log
    assert "feedback not kept" in log
    assert "disk is full" in log
    assert "Traceback" not in log
    assert "worker ended" not in log


def test_a_folder_that_is_closed_to_us_is_named(tmp_path: Path, sample_index: Path, bound: Enter) -> None:
    index, corpus = tmp_path / "snapshots", write_corpus(tmp_path / "corpus", 0)
    shutil.copytree(sample_index, index)
    closed = index, *index.rglob("*")
    for path in closed:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        failed = run("ingest", corpus, "--index", index, enter=bound)
        assert_says(failed, f"the index in {index} cannot be written: Permission denied")
        assert run("ask", OKRS, "--index", index, enter=bound).returncode == 0
        (index / "CURRENT").chmod(0)
        assert_says(run("ask", OKRS, "--index", index, enter=bound), f"{index}/CURRENT", "Permission denied")
    finally:
        for path in closed:
            path.chmod(0o755 if path.is_dir() else 0o644)


def test_a_document_that_is_closed_to_us_is_named_and_keeps_no_other_out(tmp_path: Path, bound: Enter) -> None:
    corpus = write_corpus(tmp_path / "corpus", 0)
    (corpus / "talk-0.txt").chmod(0)
    ran = run("ingest", corpus, "--index", tmp_path / "snapshots", enter=bound)
    assert ran.returncode == 1
    assert f"{corpus}/talk-0.txt: cannot be read: Permission denied" in ran.stderr
    assert "5 added, 0 updated, 0 unchanged, 0 removed, 1 failed" in ran.stdout
