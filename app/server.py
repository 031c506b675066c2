"""The server: one listening socket, uvicorn on it in one process or several, and an orderly end."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import secrets
import signal
import socket
import sys
import time
from ipaddress import ip_address
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from tempfile import TemporaryDirectory
from threading import Thread
from types import FrameType

import structlog
import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr
from uvicorn.config import STARTUP_FAILURE

from app.connection import MOST_HEAD_BYTES, ImpatientProtocol
from app.counts import FOLDER, reserve_counts
from app.errors import AnswerError
from app.logs import configure_logs
from app.settings import Settings
from index.embed import Embedder, load_embedder
from index.errors import IndexingError
from index.rerank import Reranker, load_reranker

BACKLOG = 2048
"""Connections that may wait to be taken."""

_log = structlog.get_logger()
_spawn = multiprocessing.get_context("spawn")


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections, which wait until `run`. Raises OSError, saying which address was meant."""
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {host} port {port}: {error.strerror}") from error
    # asyncio does this for sockets of its own making: without it the second write of a response waits 40 ms for an ACK.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def is_loopback(listening: socket.socket) -> bool:
    """Whether only this machine reaches it."""
    return ip_address(listening.getsockname()[0]).is_loopback


def run(settings: Settings, embedder: Embedder, reranker: Reranker | None, listening: socket.socket) -> None:
    """Serves until SIGTERM or SIGINT, then raises SystemExit(0) when the requests under way are answered."""
    configure_logs(settings)
    _say_who_may_ask(settings, listening)
    # uvicorn ends in order on either, and then raises the signal again for whoever handled it before.
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    _Server(_app(settings, embedder, reranker), settings, shares=False).run(sockets=[listening])


def run_workers(settings: Settings, workers: int, listening: socket.socket) -> bool:
    """The same in so many processes, which share the socket and the index; one that dies is replaced.

    False where one cannot start; the log says why.
    """
    configure_logs(settings)
    _say_who_may_ask(settings, listening)
    if settings.secret is None:
        settings = settings.model_copy(update={"secret": SecretStr(secrets.token_urlsafe(32))})
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    with TemporaryDirectory(prefix="onrecord-") as counts:
        os.environ[FOLDER] = counts

        def start() -> SpawnProcess:
            process = _spawn.Process(target=_work, args=(settings, listening))
            process.start()
            _log.info("worker started", worker=process.pid)
            return process

        processes = [start() for _ in range(workers)]
        try:
            while True:
                wait([process.sentinel for process in processes])
                for number, process in enumerate(processes):
                    if process.exitcode == STARTUP_FAILURE:
                        return False
                    if process.exitcode is not None:
                        _log.error("worker ended", worker=process.pid, exitcode=process.exitcode)
                        processes[number] = start()
        finally:
            listening.close()
            for process in processes:
                process.terminate()
            for process in processes:
                process.join()


def _say_who_may_ask(settings: Settings, listening: socket.socket) -> None:
    if settings.api_keys is None:
        _log.warning("no key is set", may_ask="this machine alone" if is_loopback(listening) else "whoever reaches it")


class _Server(uvicorn.Server):
    """Ends in order: first it says that it is not ready, and for a while takes what still comes; then it closes its
    doors, and ends when what is under way is done.
    """

    def __init__(self, app: FastAPI, settings: Settings, *, shares: bool) -> None:
        super().__init__(_config(app, settings, backlog=1 if shares else BACKLOG))
        self._app = app
        self._drain_seconds = settings.drain_seconds
        self._shares = shares

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's. Where others share the socket, one connection is taken at a time, so that the next may go to
        another process: clients keep theirs for long, and whoever came first would have them all.
        """
        await super().startup(sockets)
        for listening in (sockets or ()) if self._shares else ():
            listening.listen(BACKLOG)  # asyncio's one number is how many may wait, too

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, once the load balancer has had time to notice."""
        self._app.state.stopping = True
        # Clients that keep their connection come back by another, which may lead elsewhere.
        self.server_state.default_headers = [*self.server_state.default_headers, (b"connection", b"close")]
        until = time.monotonic() + self._drain_seconds
        while time.monotonic() < until and not self.force_exit:
            await asyncio.sleep(0.05)
        await super().shutdown(sockets)


def _work(settings: Settings, listening: socket.socket) -> None:
    """One of several processes, to its end."""
    configure_logs(settings)
    Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent passes it on
    if error := reserve_counts():
        _log.error("worker counts for itself alone", reason=str(error))
    try:
        app = _app(settings, load_embedder(settings.embedding_model), load_reranker(settings.reranker_model))
    except Exception as error:  # noqa: BLE001  whatever it is, the next one would fail the same way
        foreseen = isinstance(error, (AnswerError, IndexingError))
        _log.error("worker not started", reason=str(error), exc_info=not foreseen)
        sys.exit(STARTUP_FAILURE)
    _Server(app, settings, shares=True).run(sockets=[listening])


def _end_with_parent() -> None:
    """Ends a process in order whose parent was killed: it would hold the address for ever."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _app(settings: Settings, embedder: Embedder, reranker: Reranker | None) -> FastAPI:
    from app.api import create_app  # slow to load, and the parent of workers needs nothing of it

    app = create_app(settings, embedder, reranker)
    # All that is loaded by now stays: each time the collector looked through it, everybody would wait for 0.1 s.
    gc.freeze()
    return app


def _config(app: FastAPI, settings: Settings, backlog: int) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=ImpatientProtocol,
        h11_max_incomplete_event_size=MOST_HEAD_BYTES,
        ws="none",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        forwarded_allow_ips=list(settings.trusted_proxies),
        backlog=backlog,
        timeout_graceful_shutdown=settings.stop_seconds,
    )


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)
