"""HTTP connections of which nobody makes the server wait for ever."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10
"""How long the head of a request may take to come, and how long a new connection may be silent."""
MOST_HEAD_BYTES = 32 * 1024
"""The address and all headers of a request; more is refused with 400."""


class ImpatientProtocol(H11Protocol):
    """uvicorn's own waits for the first request of a connection, and for the rest of a head that has begun, as long as
    the client likes: a thousand clients that say nothing would have all there is of file handles.
    """

    head_seconds: float = HEAD_SECONDS
    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """As uvicorn's; the clock begins to run."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """As uvicorn's; the clock runs while there is less than a head."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """As uvicorn's."""
        self._stop()
        super().connection_lost(exc)

    def _watch(self) -> None:
        answered = self.cycle is None or self.cycle.response_complete  # pyright: ignore[reportUnnecessaryComparison]
        if not (answered and self.conn.their_state is h11.IDLE):
            self._stop()
        elif self._patience is None:
            self._patience = self.loop.call_later(self.head_seconds, self.transport.close)

    def _stop(self) -> None:
        if self._patience:
            self._patience.cancel()
            self._patience = None
