"""What Prometheus reads at `/metrics`: requests, answers and their stages, and which snapshot is being served."""

from __future__ import annotations

import os
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import datetime
from http import HTTPStatus
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.answer import Answer
from app.last_ingest import read_last_ingest
from app.live import LiveIndex
from app.llm import Usage
from app.stages import REQUEST_ID, STAGES, Stage, Watcher, watching
from app.writing import Tally
from index.errors import NoSnapshotError

_log = structlog.get_logger()

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_MODEL_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40)
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_STAGE_SECONDS = (0.0001, 0.00025, 0.0005, *_SECONDS, 20, 40)
_PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
"""Asked for every few seconds, by programs: logged where they go wrong."""
_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Metrics:
    """The meters of one app."""

    def __init__(self, live: LiveIndex, index_dir: Path) -> None:
        """`index_dir` is where ingests leave word of how they ended."""
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "onrecord_http_requests", "HTTP requests", ["method", "route", "status"], registry=self._registry
        )
        self._latency = Histogram(
            "onrecord_http_request_seconds",
            "Time to the end of a response",
            ["method", "route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._answers = Counter("onrecord_answers", "Answers given", ["status", "answerer"], registry=self._registry)
        self._degraded = Counter(
            "onrecord_answers_degraded",
            "Answers that a lesser answerer gave, or that broke off",
            registry=self._registry,
        )
        self._sentences = Counter(
            "onrecord_model_sentences",
            "Sentences that a model wrote, by what became of them",
            ["outcome"],
            registry=self._registry,
        )
        self._dropped = Counter(
            "onrecord_model_dropped_ids", "Ids cited by a model that it was not offered", registry=self._registry
        )
        self._tokens = Counter("onrecord_model_tokens", "Tokens read and written", ["kind"], registry=self._registry)
        self._calls = Histogram(
            "onrecord_model_call_seconds",
            "Time of a call to the model, by its outcome",
            ["outcome"],
            buckets=_MODEL_SECONDS,
            registry=self._registry,
        )
        stages = Histogram(
            "onrecord_stage_seconds",
            "Time of a stage of an answer, of those inside it too",
            ["stage"],
            buckets=_STAGE_SECONDS,
            registry=self._registry,
        )
        self._stages = {stage: stages.labels(stage) for stage in STAGES}
        self._slack = Counter(
            "onrecord_slack_outcomes",
            "What became of deliveries from Slack, of answers there, and of calls to it",
            ["step", "outcome"],
            registry=self._registry,
        )
        self._shown = self._registry
        # Then each process counts in files of its own, and whichever is asked tells the sums.
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            self._shown = CollectorRegistry()
            MultiProcessCollector(self._shown)
        else:
            ProcessCollector(registry=self._registry)
            tasks = Gauge("onrecord_tasks", "Tasks of the event loop", registry=self._registry)
            tasks.set_function(lambda: self.tasks)
        self._shown.register(_Snapshot(live, index_dir))
        self.tasks = 0

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Counts a request; `route` is a template, or there would be a series for every address ever tried."""
        method = method if method in _METHODS else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._latency.labels(method, route).observe(seconds)

    def answer(self, answer: Answer, tally: Tally | None) -> None:
        """Counts an answer, and what became of the sentences where a model wrote some."""
        self._answers.labels(answer.status, answer.answerer).inc()
        self._degraded.inc(answer.degraded is not None)
        if tally:
            self._dropped.inc(tally.dropped_ids)
            self._sentences.labels("shown").inc(tally.shown)
            self._sentences.labels("repaired").inc(tally.repaired)
            self._sentences.labels("removed").inc(tally.removed)

    def model_call(self, outcome: str, seconds: float, usage: Usage | None) -> None:
        """Counts and times a call to the model; the outcome is `ok` or the kind of its error."""
        self._calls.labels(outcome).observe(seconds)
        if usage:
            self._tokens.labels("prompt").inc(usage.prompt_tokens)
            self._tokens.labels("completion").inc(usage.completion_tokens)

    def stage(self, stage: Stage, seconds: float) -> None:
        """Times a stage of an answer."""
        self._stages[stage].observe(seconds)

    def slack(self, step: str, outcome: str) -> None:
        """Counts how a step of the Slack bot ended; the steps are `delivery`, `answer` and `call`."""
        self._slack.labels(step, outcome).inc()

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self._shown)


class _Snapshot(Collector):
    """Reads the live index, and how the last ingest ended, when it is asked: no series of an older one stays behind."""

    def __init__(self, live: LiveIndex, index_dir: Path) -> None:
        self._live = live
        self._index_dir = index_dir

    def collect(self) -> Iterator[InfoMetricFamily | GaugeMetricFamily]:
        yield from self._ingest()
        try:
            with self._live.use(None) as index:
                holdings = index.holdings
        except NoSnapshotError:
            return
        described = {"id": holdings.id, "created": holdings.created, "model": holdings.model}
        yield InfoMetricFamily("onrecord_snapshot", "The snapshot being served", described)
        yield _gauge(
            "onrecord_snapshot_created_timestamp_seconds",
            "When the snapshot being served was made",
            datetime.fromisoformat(holdings.created).timestamp(),
        )
        held = GaugeMetricFamily("onrecord_snapshot_records", "Records in the snapshot", labels=["kind"])
        for kind, count in holdings.counts.items():
            held.add_metric([kind], count)
        yield held

    def _ingest(self) -> Iterator[GaugeMetricFamily]:
        last = read_last_ingest(self._index_dir)
        if last is None:
            return
        yield _gauge("onrecord_ingest_ended_timestamp_seconds", "When the last ingest ended", last.ended)
        yield _gauge("onrecord_ingest_seconds", "How long the last ingest took", last.seconds)
        yield _gauge("onrecord_ingest_ok", "1 where the last ingest came to its end, 0 where it failed", last.ok)
        sources = GaugeMetricFamily(
            "onrecord_ingest_sources", "Documents, by what the last ingest did with them", labels=["outcome"]
        )
        for outcome, count in last.sources.items():
            sources.add_metric([outcome], count)
        yield sources
        yield _gauge("onrecord_ingest_embedded_passages", "Passages that the last ingest embedded", last.embedded)


def _gauge(name: str, described: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, described, value)


class Observe:
    """ASGI middleware: every request is counted, timed, traced and logged by its route and outcome, under its id.

    The id is the one it came with in X-Request-Id, where that is fit to be one, and goes back in the same header.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, watcher: Watcher) -> None:
        self._app = app
        self._metrics = metrics
        self._watcher = watcher

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, method, traces = Headers(scope=scope), scope["method"], self._watcher.traces
        given = headers.get(REQUEST_ID, "")
        request_id = given if _GIVEN_ID.fullmatch(given) else uuid.uuid4().hex
        # Never unbound: what the server logs of an error that got through belongs to the request, and so does its task.
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        status = 500

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        began = time.perf_counter()
        with watching(self._watcher), traces.request(method, headers, request_id) if traces else nullcontext() as span:
            try:
                await self._app(scope, receive, observed)
            finally:
                seconds = time.perf_counter() - began
                route = getattr(scope.get("route"), "path", "none")
                self._metrics.request(method, route, status, seconds)
                if not _goes_without_saying(route, status):
                    caller = scope.get("state", {}).get("caller")
                    told = {"caller": caller.name} if caller else {}
                    _log.info("request", method=method, route=route, status=status, ms=round(seconds * 1000, 1), **told)
                if span:
                    span.update_name(f"{method} {route}")
                    span.set_attributes({"http.route": route, "http.response.status_code": status})


def _goes_without_saying(route: str, status: int) -> bool:
    return route in _PROBES and status == HTTPStatus.OK
