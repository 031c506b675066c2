"""`onrecord serve --workers 2`: real processes, stopped and killed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.feedback import Feedback
from app.server import listen
from app.widget_access import TOKEN_HEADER
from tests.chat_server import MODEL, ChatServer, Reply
from tests.slack_server import BOT_TOKEN, BOT_USER, SIGNING_SECRET, SlackServer
from tests.slack_workspace import Workspace, event

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]

OKRS = "what did Beykpour say about OKRs?"
PAGE = "https://blog.example"


class Server:
    """A running `onrecord serve`, and what it has logged."""

    def __init__(self, folder: Path, index: Path, workers: int = 2, **settings: str) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ONRECORD_", "OPENAI_"))}
        given = {
            "ONRECORD_INDEX_DIR": str(index),
            "ONRECORD_CONVERSATIONS": str(folder / "conversations.sqlite"),
            "ONRECORD_FEEDBACK": str(folder / "feedback.sqlite"),
            "TMPDIR": str(folder),  # one that is killed leaves its counts there
            **settings,
        }
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "app", "serve", "--workers", str(workers), "--port", "0", "--json"],
                env={**kept, **given},
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self.process.stdout is not None
        self.url: str = json.loads(self.process.stdout.readline())["url"]

    def log(self) -> str:
        return self._log.read_text()

    def wait_for(self, what: Callable[[], Any]) -> Any:
        """What it gives, once that is true."""
        until = time.monotonic() + 60
        while not (found := what()):
            assert time.monotonic() < until, self.log()
            time.sleep(0.02)
        return found

    def started(self) -> list[int]:
        """All workers that ever were, when each had opened the index."""
        self.wait_for(lambda: 2 <= self.log().count("worker started") == self.log().count("index opened"))
        return [int(found) for found in re.findall(r"worker started\s+worker=(\d+)", self.log())]

    def workers(self) -> list[int]:
        """The two that there are."""
        return [worker for worker in self.started() if runs(worker)]

    @contextmanager
    def without(self, worker: int) -> Generator[None]:
        """While another worker has to answer."""
        os.kill(worker, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(worker, signal.SIGCONT)

    def post(self, path: str, body: dict[str, Any], **headers: str) -> httpx2.Response:
        """Over a connection of its own, which any worker may take."""
        return httpx2.post(f"{self.url}{path}", json=body, headers=headers, timeout=60)

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        """Its exit code."""
        try:
            return self.process.wait(60)
        finally:
            self.process.kill()
            self.process.communicate()


@pytest.fixture(scope="module")
def slack() -> Iterator[SlackServer]:
    with SlackServer() as server:
        yield server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, sample_index: Path, slack: SlackServer) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("workers")
    running = Server(
        folder,
        sample_index,
        ONRECORD_WIDGET_ORIGINS=PAGE,
        ONRECORD_SLACK_LEDGER=str(folder / "slack.sqlite"),
        ONRECORD_SLACK_BOT_TOKEN=BOT_TOKEN,
        ONRECORD_SLACK_SIGNING_SECRET=SIGNING_SECRET,
        ONRECORD_SLACK_API_URL=f"{slack.url}/api/",
    )
    yield running
    if running.process.returncode is None:
        running.end()
    assert "Traceback" not in running.log()


def test_what_one_worker_was_told_the_other_knows(server: Server) -> None:
    first, second = server.workers()
    with server.without(second):
        answer = server.post("/v1/ask", {"question": OKRS, "conversation_id": "c"}).json()
        token = server.post("/v1/widget-token", {}, Origin=PAGE).json()["token"]
    with server.without(first):
        following = server.post("/v1/ask", {"question": "And about customers?", "conversation_id": "c"}).json()
        rated = server.post("/v1/feedback", {"answer_id": answer["id"], "rating": "up"})
        embedded = server.post("/v1/search", {"query": "OKRs"}, **{"Origin": PAGE, TOKEN_HEADER: token})
    assert following["reading"]["question"] == "What did Kayvon Beykpour say about customers?"
    assert rated.status_code == 201
    assert embedded.status_code == 200


def test_any_worker_tells_what_all_have_counted(server: Server) -> None:
    first, second = server.workers()
    told: list[str] = []
    for stopped in (first, second):
        with server.without(stopped):
            assert server.post("/v1/search", {"query": "OKRs", "top_k": 0}).status_code == 422
            told.append(httpx2.get(f"{server.url}/metrics", timeout=60).text)
    counted = 'onrecord_http_requests_total{method="POST",route="/v1/search",status="422"}'
    assert f"{counted} 1.0" in told[0]
    assert f"{counted} 2.0" in told[1]
    assert 'onrecord_snapshot_records{kind="sources"} 3.0' in told[1]


def test_what_slack_delivers_several_times_is_answered_once(server: Server, slack: SlackServer) -> None:
    def deliver(body: dict[str, Any]) -> int:
        with httpx2.Client(timeout=60) as client:
            return Workspace(slack, server.url, client).deliver(body)

    asked = [slack.next_ts() for _ in range(8)]
    said = f"<@{BOT_USER}> {OKRS}"
    bodies = [event("app_mention", said, ts, channel=f"C{ts}", user=f"U{ts}") for ts in asked]
    with ThreadPoolExecutor(12) as senders:
        assert set(senders.map(deliver, bodies * 3)) == {200}
    slack.wait_for(lambda: all(slack.answers(ts) for ts in asked), 60)
    assert [len(slack.answers(ts)) for ts in asked] == [1] * len(asked)


def test_a_worker_that_dies_is_replaced_and_missed_by_nobody(server: Server) -> None:
    first, second = server.workers()
    os.kill(first, signal.SIGKILL)
    assert server.post("/v1/search", {"query": "OKRs"}).status_code == 200
    server.wait_for(lambda: server.log().count("worker started") == 3)
    assert re.search(rf"worker ended\s+exitcode=-9 worker={first}\n", server.log())
    assert first not in server.workers()
    with server.without(second):
        assert server.post("/v1/search", {"query": "OKRs"}).status_code == 200


def test_workers_end_when_whoever_started_them_is_killed(server: Server) -> None:
    workers = server.workers()
    assert server.end(signal.SIGKILL) == -signal.SIGKILL
    server.wait_for(lambda: not any(map(runs, workers)))
    listen("127.0.0.1", int(server.url.rpartition(":")[2])).close()


def test_what_is_under_way_comes_to_its_end(tmp_path: Path, sample_index: Path) -> None:
    with ChatServer() as model:
        model.otherwise = Reply(["They ", "wait ", "for ", "it. ", "[1]"], seconds=0.3)
        server = Server(tmp_path, sample_index, OPENAI_BASE_URL=model.url, ONRECORD_LLM_MODEL=MODEL)
        workers = server.workers()
        ended: list[int] = []
        ending = threading.Thread(target=lambda: ended.append(server.end()))
        body = {"question": OKRS, "stream": True}
        with httpx2.stream("POST", f"{server.url}/v1/ask", json=body, timeout=60) as response:
            lines = response.iter_lines()
            assert next(lines) == "event: passages"
            ending.start()
            assert "event: done" in list(lines)
        ending.join()
    assert ended == [0]
    assert not any(map(runs, workers))
    assert "Traceback" not in server.log()


@pytest.mark.parametrize("workers", [1, 2])
def test_whoever_sends_requests_here_is_told_before_the_door_closes(
    workers: int, tmp_path: Path, sample_index: Path
) -> None:
    server = Server(tmp_path, sample_index, workers, ONRECORD_DRAIN_SECONDS="10")
    server.wait_for(lambda: server.log().count("index opened") == workers)
    with httpx2.Client(base_url=server.url, timeout=60) as client:
        assert client.get("/readyz").status_code == 200
        server.process.terminate()
        server.wait_for(lambda: httpx2.get(f"{server.url}/readyz", timeout=60).status_code == 503)
        answered = server.wait_for(lambda: [client.post("/v1/ask", json={"question": OKRS})])[0]
        assert answered.json()["status"] == "answered"
        assert httpx2.get(f"{server.url}/v1/models", timeout=60).headers["connection"] == "close"
        assert "about to end" in httpx2.get(f"{server.url}/readyz", timeout=60).json()["detail"]
    assert server.ended() == 0
    assert "Traceback" not in server.log()


def test_no_feedback_is_lost_that_was_acknowledged(tmp_path: Path, sample_index: Path) -> None:
    server = Server(tmp_path, sample_index, ONRECORD_DRAIN_SECONDS="0.2")
    server.started()
    answers = [server.post("/v1/ask", {"question": OKRS}).json()["id"] for _ in range(20)]
    acknowledged: set[str] = set()

    def rate(number: int) -> None:
        answer = answers[number % len(answers)]
        with suppress(httpx2.HTTPError):  # the door is closed
            response = server.post("/v1/feedback", {"answer_id": answer, "rating": "up", "comment": f"number {number}"})
            if response.status_code == 201:
                acknowledged.add(response.json()["id"])
        if number == len(answers) // 2:
            server.process.terminate()

    with ThreadPoolExecutor(4) as readers:
        list(readers.map(rate, range(200)))
    assert server.ended() == 0
    kept = Feedback(str(tmp_path / "feedback.sqlite"), 1)
    try:
        rated = {each.id for each in kept.rated()}
    finally:
        kept.close()
    assert acknowledged
    assert acknowledged <= rated
    assert "Traceback" not in server.log()


def test_a_proxy_is_believed_where_it_is_trusted(tmp_path: Path, sample_index: Path) -> None:
    limit = {"ONRECORD_ADDRESS_REQUESTS_PER_MINUTE": "5"}

    def statuses(server: Server, forwarded: str) -> list[int]:
        headers = {"X-Forwarded-For": forwarded}
        asked = range(12)
        return [httpx2.get(f"{server.url}/v1/models", headers=headers, timeout=60).status_code for _ in asked]

    for trusted, refused in (("127.0.0.1", True), ("192.0.2.99", False)):
        folder = tmp_path / trusted
        folder.mkdir()
        server = Server(folder, sample_index, 1, ONRECORD_TRUSTED_PROXIES=trusted, **limit)
        try:
            assert (429 in statuses(server, "192.0.2.1")) is refused
            assert (429 in statuses(server, "127.0.0.1, 192.0.2.2")) is refused, (
                "what a client says of itself counts for nothing"
            )
            assert 429 not in statuses(server, "127.0.0.1")
        finally:
            assert server.end() == 0


def test_a_worker_that_cannot_start_is_the_end_and_says_why(tmp_path: Path, sample_index: Path) -> None:
    (tmp_path / "feedback.sqlite").write_text("Dear diary, this is no database, though it is long enough." * 20)
    server = Server(tmp_path, sample_index)
    assert server.ended() == 1
    assert "feedback cannot be kept in" in server.log()
    assert "Traceback" not in server.log()


def test_workers_share_no_memory(tmp_path: Path) -> None:
    env = {**os.environ, "ONRECORD_INDEX_DIR": str(tmp_path), "ONRECORD_CONVERSATIONS": ":memory:"}
    command = [sys.executable, "-m", "app", "serve", "--workers", "2", "--port", "0"]
    ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert "--workers" in ended.stderr


def runs(process: int) -> bool:
    """Whether there is such a process, other than as a name that nobody has asked after."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{process}/status")
    return not (status.exists() and "State:\tZ" in status.read_text())
