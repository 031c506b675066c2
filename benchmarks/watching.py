"""What watching costs: a stage of an answer that is timed, and traced, and a line in the log.

python -m benchmarks.watching
PROMETHEUS_MULTIPROC_DIR=$(mktemp -d) python -m benchmarks.watching    # as with several workers
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from timeit import repeat

import structlog
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from app.live import LiveIndex
from app.logs import configure_logs
from app.metrics import Metrics
from app.settings import Settings
from app.stages import Watcher, stage, watching
from app.traces import Traces
from index.embed import load_embedder

TIMES = 20_000


def main() -> None:
    folder = Path(tempfile.gettempdir())
    metrics = Metrics(LiveIndex(folder, load_embedder()), folder)
    traces = Traces(BatchSpanProcessor(InMemorySpanExporter()))
    told("a stage that nobody watches", passed)
    with watching(Watcher(metrics.stage)):
        told("a stage that is timed", passed)
    with watching(Watcher(metrics.stage, traces)):
        told("a stage that is timed and traced", passed)
    traces.close()
    for form in ("console", "json"):
        with contextlib.redirect_stderr(io.StringIO()):
            configure_logs(Settings(log_format=form))
            told(f"a line in the log, {form}", logged)


def told(what: str, work: Callable[[], None]) -> None:
    seconds = min(repeat(work, number=TIMES, repeat=5)) / TIMES
    print(f"{what}: {seconds * 1e6:.1f} microseconds")


def passed() -> None:
    with stage("quote"):
        pass


def logged() -> None:
    log = structlog.get_logger()
    log.info("request", method="POST", route="/v1/ask", status=200, ms=28.9, caller="key intranet", request_id="0" * 32)


if __name__ == "__main__":
    main()
