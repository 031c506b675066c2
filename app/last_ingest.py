"""How the last ingest ended: a small file in the index folder, which servers show to Prometheus.

An ingest is soon over and nobody can ask it anything; and where nothing changed, no snapshot tells that there was one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from index.changes import Report

FILE = "last_ingest.json"


class LastIngest(BaseModel):
    """`ended` is in seconds since 1970. `ok` says that it came to its end, though single files may have `failed`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ended: float
    seconds: float
    ok: bool
    sources: dict[str, int] = {}
    embedded: int = 0


def kept(index_dir: Path, ingest: Callable[[], Report]) -> Report:
    """What the ingest reports, once it is written down how it ended. Raises what the ingest raises."""
    began = time.monotonic()
    try:
        report = ingest()
    except BaseException:
        _write(index_dir, _last_ingest(time.monotonic() - began, None))
        raise
    _write(index_dir, _last_ingest(time.monotonic() - began, report))
    return report


def _last_ingest(seconds: float, report: Report | None) -> LastIngest:
    if report is None:
        return LastIngest(ended=time.time(), seconds=seconds, ok=False)
    sources = {
        "added": report.added,
        "updated": report.updated,
        "unchanged": report.unchanged,
        "removed": report.removed,
        "failed": len(report.errors),
    }
    return LastIngest(ended=time.time(), seconds=seconds, ok=True, sources=sources, embedded=report.embedded)


def _write(index_dir: Path, last: LastIngest) -> None:
    """Leaves the file before it where it cannot: a disk that is full is the ingest's to tell of."""
    new = index_dir / f"{FILE}.{os.getpid()}"
    try:
        index_dir.mkdir(parents=True, exist_ok=True)
        new.write_text(last.model_dump_json(), encoding="utf-8")
        new.replace(index_dir / FILE)
    except OSError:
        with suppress(OSError):
            new.unlink(missing_ok=True)


def read_last_ingest(index_dir: Path) -> LastIngest | None:
    """Null where there was none, or what is there cannot be read."""
    try:
        return LastIngest.model_validate_json((index_dir / FILE).read_bytes())
    except (OSError, ValidationError):
        return None
