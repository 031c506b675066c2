from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.api import create_app
from app.metrics import Observe
from app.settings import Settings
from app.stages import Watcher, onward, span, stage, watching
from app.traces import Traces, open_traces
from index.embed import Embedder
from index.rerank import CrossEncoderReranker
from tests.chat_server import MODEL, ChatServer, Reply
from tests.serving import served
from tests.slack_server import BOT_TOKEN, SIGNING_SECRET, SlackServer
from tests.slack_workspace import Workspace

if importlib.util.find_spec("opentelemetry.sdk") is None:
    pytest.skip("the extra otel is not installed: make test installs it", allow_module_level=True)

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SentSpan
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

OKRS = "what did Beykpour say about OKRs?"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
sockets = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]


@pytest.fixture
def memory() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def watcher(memory: InMemorySpanExporter) -> Watcher:
    return Watcher(lambda name, seconds: None, Traces(SimpleSpanProcessor(memory)))


def under(spans: tuple[ReadableSpan, ...]) -> dict[str, str | None]:
    """Each span's name, and that of the span around it."""
    names = {each.context.span_id: each.name for each in spans}
    return {each.name: names.get(each.parent.span_id) if each.parent else None for each in spans}


def test_stages_are_spans_inside_each_other(memory: InMemorySpanExporter, watcher: Watcher) -> None:
    with watching(watcher), span("slack answer"), stage("quote"), stage("retrieve"):
        pass
    assert under(memory.get_finished_spans()) == {"slack answer": None, "quote": "slack answer", "retrieve": "quote"}


def test_what_fails_is_told_by_its_type_alone(memory: InMemorySpanExporter, watcher: Watcher) -> None:
    with watching(watcher), pytest.raises(ValueError, match="marmalade"), stage("quote"):
        raise ValueError("who hosts the marmalade podcast?")
    [told] = memory.get_finished_spans()
    assert (told.status.status_code, told.status.description) == (StatusCode.ERROR, "ValueError")
    assert not told.events


def test_calls_onward_are_part_of_the_trace(memory: InMemorySpanExporter, watcher: Watcher) -> None:
    with watching(watcher), stage("generate"):
        sent = onward()
    [told] = memory.get_finished_spans()
    assert sent["traceparent"].split("-")[1:3] == [f"{told.context.trace_id:032x}", f"{told.context.span_id:016x}"]


def test_the_service_has_a_name_that_can_be_changed(
    memory: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "archive")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
    with Traces(SimpleSpanProcessor(memory)).span("one"):
        pass
    attributes = memory.get_finished_spans()[0].resource.attributes
    assert (attributes["service.name"], attributes["deployment.environment"]) == ("archive", "test")


def test_without_an_address_there_are_none_and_nothing_is_loaded() -> None:
    assert open_traces(Settings()) is None
    loaded = "import sys, app.api; from app.traces import open_traces; from app.settings import Settings"
    code = f"{loaded}; open_traces(Settings()); print('opentelemetry.sdk' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"


def test_addresses_are_read_as_opentelemetry_does() -> None:
    base = {"otel_endpoint": "http://collector:4318/"}
    assert Settings(**base).traces_endpoint == "http://collector:4318/v1/traces"
    assert Settings(**base, otel_traces_endpoint="http://other/x").traces_endpoint == "http://other/x"
    assert Settings(otel_endpoint="").traces_endpoint is None


class Collector:
    """A server that takes spans as OpenTelemetry's collector does, and keeps them."""

    def __init__(self) -> None:
        self.spans: list[SentSpan] = []
        self.resources: list[dict[str, str]] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/v1/traces":
                    for each in ExportTraceServiceRequest.FromString(body).resource_spans:
                        attributes = each.resource.attributes
                        collector.resources.append({a.key: a.value.string_value for a in attributes})
                        collector.spans += [sent for scope in each.scope_spans for sent in scope.spans]
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> Collector:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()

    def under(self) -> set[tuple[str, str | None]]:
        """The names of all spans, each with that of the span around it."""
        names = {each.span_id: each.name for each in self.spans}
        return {(each.name, names.get(each.parent_span_id)) for each in self.spans}

    def attributes(self, name: str) -> dict[str, Any]:
        """Those of the one span of that name."""
        [found] = [each for each in self.spans if each.name == name]
        return {a.key: a.value.string_value or a.value.int_value for a in found.attributes}


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as running:
        yield running


@contextmanager
def opened(
    folder: Path, index: Path, embedder: Embedder, reranker: CrossEncoderReranker | None = None, **others: Any
) -> Generator[httpx2.Client]:
    """A client of the service; when it is closed all spans have been sent."""
    kept = {"conversations": str(folder / "c.sqlite"), "feedback": str(folder / "f.sqlite")}
    app = create_app(Settings(index_dir=index, **{"llm_model": "", **kept, **others}), embedder, reranker)
    with served(app) as url, httpx2.Client(base_url=url, timeout=60) as client:
        yield client


class TestSent:
    pytestmark = sockets

    def test_a_request_is_a_trace_of_its_stages(
        self,
        collector: Collector,
        chat_server: ChatServer,
        tmp_path: Path,
        sample_index: Path,
        embedder: Embedder,
        cross_encoder: Path,
    ) -> None:
        said = '{"answered": true, "sentences": [{"cites": [1], "text": "OKRs are unhelpful at the limit."}]}'
        chat_server.otherwise = Reply(said)
        model = {"openai_base_url": chat_server.url, "openai_api_key": "sk-the-secret-key", "llm_model": MODEL}
        reranker = CrossEncoderReranker(str(cross_encoder))
        with opened(tmp_path, sample_index, embedder, reranker, otel_endpoint=collector.url, **model) as client:
            headers = {"traceparent": PARENT, "X-Request-Id": "the-request"}
            answered = client.post("/v1/ask", json={"question": OKRS}, headers=headers)
            client.get("/who-hosts-the-marmalade-podcast?q=marmalade")
        assert answered.status_code == 200
        assert collector.under() >= {
            ("POST /v1/ask", None),
            ("quote", "POST /v1/ask"),
            ("retrieve", "quote"),
            ("rerank", "retrieve"),
            ("generate", "POST /v1/ask"),
            ("verify", "generate"),
        }
        told = collector.attributes("POST /v1/ask")
        assert told == {
            "http.request.method": "POST",
            "http.route": "/v1/ask",
            "http.response.status_code": 200,
            "onrecord.request_id": "the-request",
        }
        [request] = [each for each in collector.spans if each.name == "POST /v1/ask"]
        assert request.kind == SpanKind.SERVER.value + 1  # they count from 1 where they are sent
        assert request.trace_id.hex() == PARENT.split("-")[1]
        assert request.parent_span_id.hex() == PARENT.split("-")[2]
        [generate, *_] = [each for each in collector.spans if each.name == "generate"]
        called = chat_server.requests[0].headers["traceparent"].split("-")
        assert called[1:3] == [generate.trace_id.hex(), generate.span_id.hex()]
        assert collector.resources[0]["service.name"] == "onrecord"
        for words in ("OKR", "Beykpour", "marmalade", "sk-the-secret"):
            assert words not in str(collector.spans)

    def test_streams_and_answers_in_slack_are_traced(
        self, collector: Collector, tmp_path: Path, sample_index: Path, embedder: Embedder
    ) -> None:
        with SlackServer() as slack:
            bot = {
                "slack_ledger": str(tmp_path / "slack.sqlite"),
                "slack_bot_token": BOT_TOKEN,
                "slack_signing_secret": SIGNING_SECRET,
                "slack_api_url": f"{slack.url}/api/",
            }
            with opened(tmp_path, sample_index, embedder, otel_endpoint=collector.url, **bot) as client:
                client.post("/v1/ask", json={"question": OKRS, "stream": True})
                ts = Workspace(slack, str(client.base_url), client).asks(OKRS)
                slack.wait_for(lambda: slack.answers(ts))
        assert collector.under() >= {
            ("POST /v1/ask", None),
            ("quote", "POST /v1/ask"),
            ("POST /slack/events", None),
            ("slack answer", None),
            ("quote", "slack answer"),
        }
        assert "OKR" not in str(collector.spans)

    def test_where_nobody_takes_them_answers_come_all_the_same(
        self, tmp_path: Path, sample_index: Path, embedder: Embedder
    ) -> None:
        with (
            ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as silent,
            opened(tmp_path, sample_index, embedder, otel_endpoint=f"http://127.0.0.1:{silent.server_port}") as client,
        ):
            assert client.post("/v1/ask", json={"question": OKRS}).status_code == 200


def test_a_request_that_fails_is_an_error_in_its_trace(memory: InMemorySpanExporter, watcher: Watcher) -> None:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.routing import Route
    from starlette.testclient import TestClient

    from app.metrics import Metrics

    def fail(request: Request) -> None:
        raise ValueError("marmalade")

    class NoIndex:
        pass

    app = Starlette(routes=[Route("/fails", fail)])
    app.add_middleware(Observe, metrics=Metrics(NoIndex(), Path()), watcher=watcher)  # type: ignore[arg-type]
    TestClient(app, raise_server_exceptions=False).get("/fails")
    [told] = memory.get_finished_spans()
    assert (told.status.status_code, told.status.description) == (StatusCode.ERROR, "ValueError")
    assert told.attributes is not None
    assert told.attributes["http.response.status_code"] == 500
