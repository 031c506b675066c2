"""A real `onrecord serve`, in processes of its own: to ask, to load and to kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx2
import psutil

ROOT = Path(__file__).parent.parent
READY_SECONDS = 120
STOP_SECONDS = 60


def clean_environment(**settings: str) -> dict[str, str]:
    """This process's environment with these settings and no others of ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ONRECORD_", "OPENAI_", "OTEL_"))}
    return {**kept, **settings}


class Server:
    """Serves from its beginning until `stop` or `kill`. Its databases and its log lie in `folder`; the next server
    there goes on with them. `enter` makes of a command one that runs where it should.
    """

    def __init__(
        self,
        folder: Path,
        index_dir: Path,
        workers: int = 1,
        settings: Mapping[str, str] | None = None,
        *,
        ready: bool = True,
        enter: Callable[[list[str]], list[str]] = lambda command: command,
        **how: Any,
    ) -> None:
        """Waits until it is ready, or, where it is not going to be, until it listens; raises RuntimeError with what it
        says where it ends instead. `how` is for Popen.
        """
        self.conversations, self.feedback = folder / "conversations.sqlite", folder / "feedback.sqlite"
        self.log_file = folder / "log"
        files = {
            "ONRECORD_INDEX_DIR": str(index_dir),
            "ONRECORD_CONVERSATIONS": str(self.conversations),
            "ONRECORD_FEEDBACK": str(self.feedback),
        }
        command = [sys.executable, "-m", "app", "serve", "--port", "0", "--json"]
        with self.log_file.open("ab") as log:
            self._before = log.tell()
            self.process = subprocess.Popen(
                enter([*command, "--workers", str(workers)]),
                cwd=ROOT,
                env=clean_environment(**{"TMPDIR": str(folder), **files, **(settings or {})}),
                stdout=subprocess.PIPE,
                stderr=log,
                **how,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.url = str(json.loads(line)["url"]) if line else ""
        if not self.url:
            raise RuntimeError(f"exit code {self._reap()}: {self.log()}")
        until = time.monotonic() + READY_SECONDS
        while self.status("/healthz") != 200 or (
            ready and (self.log().count("index opened") < workers or self.status("/readyz") != 200)
        ):
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"exit code {self._reap()}: {self.log()}")
            time.sleep(0.05)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        if self.process.poll() is None:
            self.stop()

    def status(self, path: str) -> int:
        """The status of a GET; 0 where there is no answer."""
        try:
            return httpx2.get(f"{self.url}{path}", timeout=10).status_code
        except httpx2.TransportError:
            return 0

    def log(self) -> str:
        """What this server has logged."""
        with self.log_file.open("rb") as log:
            log.seek(self._before)
            return log.read().decode("utf-8", "replace")

    def processes(self) -> list[psutil.Process]:
        """The process that was started, and all that it has started."""
        first = psutil.Process(self.process.pid)
        return [first, *first.children(recursive=True)]

    def kill(self) -> None:
        """Ends all of its processes at once, as want of memory or a crash of the machine does."""
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._reap()

    def stop(self) -> int:
        """Ends it in order; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self._reap()

    def _reap(self) -> int:
        try:
            return self.process.wait(STOP_SECONDS)
        finally:
            self.process.kill()
            self.process.communicate()
