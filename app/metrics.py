"""What Prometheus reads at `/metrics`: requests, answers, and which snapshot is being served."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.answer import Answer
from app.live import LiveIndex
from app.writing import Tally
from index.errors import NoSnapshotError

_log = structlog.get_logger()

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_MODEL_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40)
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """The meters of one app."""

    def __init__(self, live: LiveIndex) -> None:
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
        self._shown = self._registry
        # Then each process counts in files of its own, and whichever is asked tells the sums.
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            self._shown = CollectorRegistry()
            MultiProcessCollector(self._shown)
        self._shown.register(_Snapshot(live))

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
            self._tokens.labels("prompt").inc(tally.usage.prompt_tokens)
            self._tokens.labels("completion").inc(tally.usage.completion_tokens)

    def model_call(self, outcome: str, seconds: float) -> None:
        """Counts and times a call to the model; the outcome is `ok` or the kind of its error."""
        self._calls.labels(outcome).observe(seconds)

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self._shown)


class _Snapshot(Collector):
    """Reads the live index when it is asked, so that no series of an older snapshot stays behind."""

    def __init__(self, live: LiveIndex) -> None:
        self._live = live

    def collect(self) -> Iterator[InfoMetricFamily | GaugeMetricFamily]:
        try:
            with self._live.use() as index:
                holdings = index.holdings
        except NoSnapshotError:
            return
        described = {"id": holdings.id, "created": holdings.created, "model": holdings.model}
        yield InfoMetricFamily("onrecord_snapshot", "The snapshot being served", described)
        held = GaugeMetricFamily("onrecord_snapshot_records", "Records in the snapshot", labels=["kind"])
        for kind, count in holdings.counts.items():
            held.add_metric([kind], count)
        yield held


class Observe:
    """ASGI middleware: every request is counted and timed, and its route and outcome are logged."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        began = time.perf_counter()
        try:
            await self._app(scope, receive, observed)
        finally:
            seconds = time.perf_counter() - began
            route = getattr(scope.get("route"), "path", "none")
            self._metrics.request(scope["method"], route, status, seconds)
            _log.info("request", method=scope["method"], route=route, status=status, ms=round(seconds * 1000, 1))
