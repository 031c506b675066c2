"""The server process: one listening socket, uvicorn on it, and an orderly end."""

from __future__ import annotations

import signal
import socket
from types import FrameType

import uvicorn

from app.api import create_app
from app.logs import configure_logs
from app.settings import Settings
from index.embed import Embedder
from index.rerank import Reranker

GRACE_SECONDS = 10
"""How long requests under way may take to end."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections, which wait until `run`. Raises OSError, saying which address was meant."""
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {host} port {port}: {error.strerror}") from error
    # asyncio does this for sockets of its own making: without it the second write of a response waits 40 ms for an ACK.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def run(settings: Settings, embedder: Embedder, reranker: Reranker | None, listening: socket.socket) -> None:
    """Serves until SIGTERM or SIGINT, then raises SystemExit(0) when the requests under way are answered."""
    configure_logs()
    # uvicorn ends in order on either, and then raises the signal again for whoever handled it before.
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    config = uvicorn.Config(
        create_app(settings, embedder, reranker),
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    uvicorn.Server(config).run(sockets=[listening])


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)
