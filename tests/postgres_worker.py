"""Ingests in processes of their own, to be killed."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Lock

from index.changes import Report
from index.embed import Matrix
from index.postgres.ingest import ingest_postgres
from ingest.limits import Limits
from tests.hashing import HashingEmbedder

# Each is forked from a process that has imported all this, and nothing else.
_processes = get_context("forkserver")
_processes.set_forkserver_preload([__name__])


class SlowEmbedder(HashingEmbedder):
    """Takes its time over each passage, one after the other however many cores there are."""

    def __init__(self, pause: float) -> None:
        super().__init__()
        self._pause = pause
        self._lock = Lock()

    def embed_passage(self, text: str, ranges: Sequence[tuple[int, int]]) -> tuple[Matrix, Matrix]:
        with self._lock:
            time.sleep(self._pause)
        return super().embed_passage(text, ranges)


class Worker:
    """An ingest under way; `pause` is how many seconds it takes over each passage. Killed where it is not done."""

    def __init__(self, url: str, folder: Path, *, lease: float = 1.0, pause: float = 0.0) -> None:
        self._reports, told = _processes.Pipe(duplex=False)
        self._process = _processes.Process(target=_work, args=(url, folder, lease, pause, told))
        self._process.start()
        told.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def signal(self, number: int) -> None:
        """Sends it a signal."""
        assert self._process.pid
        os.kill(self._process.pid, number)

    def kill(self, after: float = 0.0) -> bool:
        """Ends it at once where it has not come to its end after so many seconds. Returns whether it had, and well."""
        self._process.join(after)
        self._process.kill()
        self._process.join()
        return self._process.exitcode == 0

    def report(self) -> Report:
        """Its report, when it has come to its end."""
        assert self.kill(after=120)
        return self._reports.recv()


def _work(url: str, folder: Path, lease: float, pause: float, told: Connection) -> None:
    told.send(ingest_postgres([folder], url, SlowEmbedder(pause), Limits(), lease_seconds=lease))
