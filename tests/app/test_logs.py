"""What logs hold, and never hold, in both formats."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.api import create_app
from app.logs import HIDDEN, configure_logs, log_to_stderr
from app.settings import Settings
from index.embed import Embedder, Matrix
from tests.chat_server import MODEL, ChatServer, Reply, refusal
from tests.serving import served
from tests.slack_server import APP_TOKEN, BOT_TOKEN, BOT_USER, SIGNING_SECRET, SlackServer, Trouble
from tests.slack_workspace import Workspace, event

ASKED = "who hosts the marmalade podcast?"
OKRS = "what did Beykpour say about OKRs?"
KEY = "sk-the-secret-key"
ROOT = Path(__file__).parent.parent.parent
FORMATS = ("console", "json")
# A line of ours begins so on the console; one of a traceback is set in.
BEGINS = re.compile(r"\d{4}-\d\d-\d\dT\S+Z \[\w+ *\] ")
HOSTILE = [
    "\n2026-11-22T10:48:04.774232Z [info     ] request route=/v1/ask status=200",
    '\r\n{"event": "request", "status": 200}',
    "\x1b[2J\x1b[1;31mroot\x1b[0m",
    "\x9b2J\x7f\x08\x00",
    "\u2028forged\u2029\u0085\v\f",
    "\u202eelif\u202c \u2066\u2069 \ud800",
    '" status=200 x="',
]
sockets = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]

Read = Callable[[], str]


@pytest.fixture
def logs(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Read]]:
    """Sets up logs; what that gives tells what has been written since it was last asked."""
    root = logging.getLogger()
    kept = [*root.handlers], root.level, structlog.get_config()
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook

    def set_up(**given: Any) -> Read:
        configure_logs(Settings(**given))
        return lambda: capsys.readouterr().err

    yield set_up
    root.handlers, level, config = kept
    root.setLevel(level)
    logging.captureWarnings(False)
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
    structlog.configure(**config)
    structlog.contextvars.clear_contextvars()


def lines_of(written: str, form: str) -> list[str]:
    """The lines, each of which must be one event."""
    lines = written.splitlines()
    for line in lines:
        assert line.isprintable(), line
        if form == "json":
            assert isinstance(json.loads(line), dict)
        else:
            assert BEGINS.match(line), line
    return lines


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("hostile", HOSTILE)
def test_nothing_that_is_logged_can_seem_to_be_another_line(logs: Callable[..., Read], form: str, hostile: str) -> None:
    read = logs(log_format=form)
    log = structlog.get_logger()
    log.info("request", route=hostile, values=[hostile], thing=Named(hostile))
    log.warning(hostile)
    structlog.contextvars.bind_contextvars(request_id=hostile)
    log.info("bound")
    logging.getLogger("uvicorn.error").warning(hostile)
    logging.getLogger("slack_bolt").warning(hostile)
    logging.getLogger("aiohttp").warning("%s" + hostile, hostile)
    assert len(lines_of(read(), form)) == 6


class Named:
    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


@pytest.mark.parametrize("form", FORMATS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(codec=None), min_size=1))
def test_any_text_is_one_line(logs: Callable[..., Read], form: str, text: str) -> None:
    read = logs(log_format=form)
    structlog.get_logger().info("seen", value=text)
    [line] = lines_of(read(), form)
    if form == "json":
        assert json.loads(line)["value"] == text


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("questions", [False, True])
def test_an_exception_is_told_by_types_and_places(logs: Callable[..., Read], form: str, questions: bool) -> None:
    read = logs(log_format=form, log_questions=questions)
    try:
        try:
            raise KeyError(f"{ASKED}{HOSTILE[0]}{HOSTILE[2]}")
        except KeyError as error:
            raise ValueError(ASKED) from error
    except ValueError:
        structlog.get_logger().exception("went wrong")
    written = read()
    assert "KeyError" in written
    assert "ValueError" in written
    assert "test_an_exception_is_told_by_types_and_places" in written
    assert written.count(ASKED) == (2 if questions else 0)
    if form == "json":
        [line] = lines_of(written, form)
        assert json.loads(line)["event"] == "went wrong"
    else:
        first, *others = written.splitlines()
        assert BEGINS.match(first)
        assert all(line.startswith("  ") or line == "" for line in others)
    assert "\x1b" not in written


def test_errors_of_the_system_say_what_they_are(logs: Callable[..., Read]) -> None:
    read = logs()
    try:
        Path("/no/such/marmalade").read_text()
    except OSError:
        structlog.get_logger().exception("not read")
    written = read()
    assert "FileNotFoundError: No such file or directory" in written
    assert "marmalade\n" not in written


def test_several_errors_at_once_are_all_named(logs: Callable[..., Read]) -> None:
    read = logs()
    group = ExceptionGroup(ASKED, [ValueError(ASKED), ExceptionGroup(ASKED, [TypeError(ASKED)])])
    structlog.get_logger().error("went wrong", exc_info=group)
    written = read()
    assert "ExceptionGroup of ValueError, ExceptionGroup of TypeError" in written
    assert ASKED not in written


@pytest.mark.parametrize("questions", [False, True])
def test_libraries_are_quoted_as_they_are_written_and_not_as_they_are_filled(
    logs: Callable[..., Read], questions: bool
) -> None:
    read = logs(log_format="json", log_questions=questions)
    library = logging.getLogger("slack_sdk.web.async_client")
    library.warning(f"Failed to send {ASKED}")
    library.warning("Failed to send %s", ASKED)
    library.info("Sent %s", ASKED)
    logging.getLogger("openai").setLevel(logging.DEBUG)  # as OPENAI_LOG=debug does
    logging.getLogger("openai").debug("Request options: %s", ASKED)
    try:
        raise ValueError(f"{KEY} {ASKED}") from None
    except ValueError as error:
        library.exception(f"Failed to run listener function (error: {error})")
    first, second, third = map(json.loads, read().splitlines())
    assert (first["event"], first["logger"]) == ("message withheld", "slack_sdk.web.async_client")
    assert re.fullmatch(r"test_logs:\d+", first["at"])
    assert second["event"] == "Failed to send %s"
    assert third["event"] == "message withheld"
    assert (ASKED in third["exception"]) == questions
    assert ASKED not in json.dumps([first, second])


def test_what_is_secret_in_the_settings_is_blotted_out_wherever_it_turns_up(logs: Callable[..., Read]) -> None:
    read = logs(
        openai_api_key=KEY,
        openai_base_url="https://user:pass%2Fword@model.example/v1",
        store="postgresql://onrecord:hunter22@db.example/onrecord",
        slack_bot_token=BOT_TOKEN,
        secret="the-secret-of-the-widget",
        log_questions=True,
    )
    log = structlog.get_logger()
    log.info(f"calling with {KEY}", header=f"Bearer {KEY}", deep={"key": [KEY]})
    message = f"{KEY} pass/word hunter22 {BOT_TOKEN} the-secret-of-the-widget"
    try:
        raise ValueError(message)
    except ValueError:
        log.exception("went wrong")
    written = read()
    for secret in (KEY, "pass/word", "hunter22", BOT_TOKEN, "the-secret-of-the-widget"):
        assert secret not in written
    assert written.count(HIDDEN) == 8


def test_an_address_that_is_none_is_no_reason_to_fail(logs: Callable[..., Read]) -> None:
    logs(openai_base_url="http://[::1")


@pytest.mark.parametrize("form", FORMATS)
def test_commands_that_are_soon_done_only_warn(
    logs: Callable[..., Read], capsys: pytest.CaptureFixture[str], form: str
) -> None:
    logs()
    log_to_stderr(Settings(log_format=form))  # type: ignore[arg-type]
    log = structlog.get_logger()
    log.info("answer")
    log.warning("slow", why=HOSTILE[0])
    ran = capsys.readouterr()
    assert ran.out == ""
    [line] = lines_of(ran.err, form)
    assert "slow" in line


class Failing:
    """An embedder that repeats in an error what it was to embed, as libraries may."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self.fingerprint, self.dimension = embedder.fingerprint, embedder.dimension
        self.max_tokens = embedder.max_tokens
        self.count_tokens, self.embed_passage = embedder.count_tokens, embedder.embed_passage

    def embed(self, texts: Sequence[str]) -> Matrix:
        raise ValueError(f"cannot embed {texts}")


@contextmanager
def opened(folder: Path, index: Path, embedder: Embedder, **others: Any) -> Generator[httpx2.Client]:
    """A client of the service on a real socket."""
    kept = {"conversations": str(folder / "c.sqlite"), "feedback": str(folder / "f.sqlite")}
    app = create_app(Settings(index_dir=index, **{"llm_model": "", **kept, **others}), embedder)
    with served(app) as url, httpx2.Client(base_url=url, timeout=60) as client:
        client.headers |= {"X-Request-Id": "the-request", "Connection": "close"}
        yield client


class TestOverHttp:
    pytestmark = sockets

    @pytest.mark.parametrize("questions", [False, True])
    def test_no_failure_repeats_what_was_asked(
        self,
        logs: Callable[..., Read],
        tmp_path: Path,
        sample_index: Path,
        embedder: Embedder,
        questions: bool,
    ) -> None:
        read = logs(log_format="json", log_questions=questions)
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
        told = {"Accept": "application/json, text/event-stream"}
        with opened(tmp_path, sample_index, Failing(embedder)) as client:
            asked = [
                client.post("/v1/ask", json={"question": ASKED}),
                client.post("/v1/ask", json={"question": ASKED, "stream": True}),
                client.post("/v1/search", json={"query": ASKED}),
                client.post(
                    "/v1/chat/completions", json={"model": "onrecord", "messages": [{"role": "user", "content": ASKED}]}
                ),
                client.post(
                    "/mcp", json={**call, "params": {"name": "ask", "arguments": {"question": ASKED}}}, headers=told
                ),
                client.post("/v1/ask", json={"question": ASKED, "speaker": ASKED}),
                client.post("/v1/ask", json={"question": [ASKED]}),
                client.post("/v1/ask", content=f'{{"question": "{ASKED}'.encode()),
                client.get(f"/v1/sources/{ASKED}"),
                client.get(f"/{ASKED}"),
            ]
        assert [response.status_code for response in asked[:4]] == [500] * 4
        assert all(response.headers["x-request-id"] == "the-request" for response in asked)
        written = read()
        assert ("marmalade" in written) == questions
        failures = [each for each in map(json.loads, written.splitlines()) if "exception" in each]
        assert len(failures) == 5
        assert all("ValueError" in each["exception"] for each in failures)
        assert {each["request_id"] for each in failures} == {"the-request"}

    @pytest.mark.parametrize("questions", [False, True])
    def test_what_was_asked_is_told_where_that_is_set(
        self, logs: Callable[..., Read], tmp_path: Path, sample_index: Path, embedder: Embedder, questions: bool
    ) -> None:
        read = logs(log_format="json", log_questions=questions)
        with opened(tmp_path, sample_index, embedder) as client:
            client.post("/v1/ask", json={"question": ASKED})
            client.post("/v1/search", json={"query": ASKED})
        events = [json.loads(line) for line in read().splitlines()]
        told = [each["event"] for each in events if each.get("question") == ASKED]
        assert told == (["answer", "search"] if questions else [])
        [answered] = [each for each in events if each["event"] == "answer"]
        assert answered.keys() >= {"status", "answerer", "citations", "confidence", "ms", "request_id"}

    def test_neither_a_model_nor_its_key_is_told_of(
        self, logs: Callable[..., Read], tmp_path: Path, sample_index: Path, embedder: Embedder, chat_server: ChatServer
    ) -> None:
        read = logs(log_format="json", openai_api_key=KEY)
        echo = refusal(500, f"{KEY} {OKRS}", retry_after="0")
        chat_server.script = [echo, echo, Reply('{"answered": true, "sentences": ["Marmalade [1]."]}')]
        chat_server.otherwise = echo
        model = {"openai_base_url": chat_server.url, "openai_api_key": KEY, "llm_model": MODEL, "llm_retries": 1}
        with opened(tmp_path, sample_index, embedder, **model) as client:
            for _ in range(2):
                assert client.post("/v1/ask", json={"question": OKRS}).status_code == 200
        written = read()
        assert "no answer from the model" in written
        for said in (KEY, "OKRs", "Marmalade"):
            assert said not in written
        assert {request.headers["x-request-id"] for request in chat_server.requests} == {"the-request"}
        failed = [each for each in map(json.loads, written.splitlines()) if "kind" in each]
        assert {each["request_id"] for each in failed} == {"the-request"}

    def test_probes_are_logged_where_they_go_wrong(
        self, logs: Callable[..., Read], tmp_path: Path, embedder: Embedder
    ) -> None:
        read = logs(log_format="json")
        with opened(tmp_path, tmp_path / "no-index", embedder) as client:
            for path in ("/healthz", "/readyz", "/metrics"):
                client.get(path)
        told = [each for each in map(json.loads, read().splitlines()) if each["event"] == "request"]
        assert [(each["route"], each["status"]) for each in told] == [("/readyz", 503)]

    @pytest.mark.parametrize("given", [b"", b"x" * 65, b"two words", b"semi;colon", b"\xfc"])
    def test_an_id_that_is_none_is_not_taken(
        self, tmp_path: Path, sample_index: Path, embedder: Embedder, given: bytes
    ) -> None:
        with opened(tmp_path, sample_index, embedder) as client:
            ids = [client.get("/healthz", headers={"X-Request-Id": given}).headers["x-request-id"] for _ in range(2)]
        assert len({*ids}) == 2
        assert all(re.fullmatch("[0-9a-f]{32}", each) for each in ids)

    def test_requests_at_the_same_time_keep_their_ids(
        self, logs: Callable[..., Read], tmp_path: Path, sample_index: Path, embedder: Embedder
    ) -> None:
        read = logs(log_format="json")

        def ask(number: int) -> str:
            body = {"question": OKRS, "stream": number % 2 == 0}
            response = client.post("/v1/ask", json=body, headers={"X-Request-Id": f"request-{number}"})
            return response.headers["x-request-id"]

        with opened(tmp_path, sample_index, embedder) as client, ThreadPoolExecutor(8) as pool:
            ids = [*pool.map(ask, range(16))]
        assert ids == [f"request-{number}" for number in range(16)]
        events = [json.loads(line) for line in read().splitlines()]
        for name in ("answer", "request"):
            assert sorted(each["request_id"] for each in events if each["event"] == name) == sorted(ids)


class TestInSlack:
    pytestmark = sockets

    @pytest.fixture
    def slack(self) -> Iterator[SlackServer]:
        with SlackServer() as server:
            yield server

    @pytest.mark.parametrize("questions", [False, True])
    def test_a_question_can_be_followed_and_is_not_repeated(
        self,
        logs: Callable[..., Read],
        slack: SlackServer,
        tmp_path: Path,
        sample_index: Path,
        embedder: Embedder,
        questions: bool,
    ) -> None:
        read = logs(log_format="json", log_questions=questions)
        bot = {
            "slack_ledger": str(tmp_path / "slack.sqlite"),
            "slack_bot_token": BOT_TOKEN,
            "slack_signing_secret": SIGNING_SECRET,
            "slack_api_url": f"{slack.url}/api/",
        }
        unsure, gone = Trouble(status=500, error="fatal_error"), Trouble(error="channel_not_found")
        slack.trouble["chat.postMessage"] = [unsure, gone]
        with opened(tmp_path, sample_index, embedder, **bot) as client:
            workspace = Workspace(slack, str(client.base_url), client)
            ts = workspace.asks(ASKED)
            slack.wait_for(lambda: not slack.trouble["chat.postMessage"] and slack.of("chat.postMessage"))
            broken = event("app_mention", ASKED, slack.next_ts(), channel="C1", user="U1")
            broken["event"]["text"] = {"text": ASKED}  # not what Slack sends, and what a library tells of whole
            assert workspace.deliver(broken) == 500
            shortcut = {"type": "shortcut", "callback_id": ASKED, "user": {"id": "U1"}, "token": "verification"}
            form = urlencode({"payload": json.dumps(shortcut)})
            workspace.post("/slack/interactions", form, "application/x-www-form-urlencoded")
            heard = slack.wait_for(lambda: "slack question not answered" in (text := read()) and text)
        written = heard + read()
        assert ("marmalade" in written) == questions
        for secret in (BOT_TOKEN, SIGNING_SECRET, "verification"):
            assert secret not in written
        events = [json.loads(line) for line in written.splitlines()]
        [taken] = [each for each in events if each["event"] == "slack question taken"]
        [given_up] = [each for each in events if each["event"] == "slack question not answered"]
        assert taken["key"] == given_up["key"] == f"T0001:C0001:{ts}"
        assert taken["request_id"] == "the-request"
        assert given_up["request_id"].startswith("slack-")
        [answered] = [each for each in events if each["event"] == "answer"]
        assert answered["request_id"] == given_up["request_id"]
        assert {call.request_id for call in slack.of("chat.postMessage")} == {given_up["request_id"]}


UNCAUGHT = """
import threading
from app.logs import configure_logs
from app.settings import Settings
configure_logs(Settings())

class Dropped:
    def __del__(self):
        raise TypeError("{asked}")

def fail():
    raise KeyError("{asked}")

Dropped()
thread = threading.Thread(target=fail)
thread.start()
thread.join()
import warnings
warnings.warn("{asked}")
raise ValueError("{asked}")
"""


class TestProcesses:
    pytestmark = sockets

    def test_what_nobody_catches_is_an_event_too(self) -> None:
        env = {**os.environ, "ONRECORD_LOG_FORMAT": "json"}
        code = UNCAUGHT.format(asked=ASKED)
        ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True)
        assert ran.returncode == 1
        assert "marmalade" not in ran.stderr
        told = [json.loads(line) for line in ran.stderr.splitlines()]
        events = ["error ignored", "thread ended by an error", "message withheld", "ended by an error"]
        assert [each["event"] for each in told] == events
        errors = [each["exception"].split()[-1] for each in told if "exception" in each]
        assert errors == ["TypeError", "KeyError", "ValueError"]

    def test_all_that_servers_write_are_events(self, tmp_path: Path, sample_index: Path) -> None:
        env = environment(tmp_path, sample_index)
        command = [sys.executable, "-m", "app", "serve", "--workers", "2", "--port", "0", "--json"]
        with (tmp_path / "log").open("w") as log:
            process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            assert process.stdout is not None
            url = json.loads(process.stdout.readline())["url"]
            with httpx2.Client(base_url=url, timeout=60) as client:
                while client.get("/readyz").status_code != 200:
                    pass
                assert client.post("/v1/ask", json={"question": OKRS}).status_code == 200
                client.get("/v1/sources/%0a%1b[31m")
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
            process.communicate()
        told = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
        assert {"worker started", "index opened", "answer", "request"} <= {each["event"] for each in told}
        assert all(each.keys() >= {"timestamp", "level", "event"} for each in told)

    def test_what_comes_over_a_connection_of_slack_has_an_id(self, tmp_path: Path, sample_index: Path) -> None:
        with SlackServer() as slack:
            bot = {"slack_bot_token": BOT_TOKEN, "slack_app_token": APP_TOKEN, "slack_api_url": f"{slack.url}/api/"}
            env = environment(tmp_path, sample_index, **bot, slack_ledger=str(tmp_path / "slack.sqlite"))
            with (tmp_path / "log").open("w") as log:
                process = subprocess.Popen([sys.executable, "-m", "app", "slack"], cwd=ROOT, env=env, stderr=log)
            try:
                ts = slack.next_ts()
                body = event("app_mention", f"<@{BOT_USER}> {OKRS}", ts, channel="C0001", user="U0001")
                envelope = {"type": "events_api", "payload": body, "accepts_response_payload": False}
                slack.send({**envelope, "envelope_id": "the-envelope"})
                slack.wait_for(lambda: slack.answers(ts), 60)
            finally:
                process.send_signal(signal.SIGTERM)
                assert process.wait(60) == 0
        told = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
        [taken] = [each for each in told if each["event"] == "slack question taken"]
        assert taken["request_id"] == "the-envelope"
        [answered] = [each for each in told if each["event"] == "answer"]
        assert answered["request_id"].startswith("slack-")


def environment(folder: Path, index: Path, **given: str) -> dict[str, str]:
    """For a command of ours that logs as JSON, and nothing else that is set here."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ONRECORD_", "OPENAI_", "OTEL_"))}
    files = {"conversations": str(folder / "conversations.sqlite"), "feedback": str(folder / "feedback.sqlite")}
    settings = {"index_dir": str(index), "log_format": "json", **files, **given}
    return {**kept, "TMPDIR": str(folder), **{f"ONRECORD_{name.upper()}": value for name, value in settings.items()}}
