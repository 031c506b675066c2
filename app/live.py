"""The index that a server answers from: opened once, replaced when an ingest has made a newer one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from threading import Lock

import structlog

from index.embed import Embedder
from index.errors import NoSnapshotError, SnapshotError
from index.rerank import Reranker
from index.search import Index
from index.snapshot import CURRENT

_log = structlog.get_logger()


class _Counted:
    """An open index, closed when the last of its users lets go."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self._users = 1
        self._lock = Lock()

    def acquire(self) -> None:
        with self._lock:
            self._users += 1

    def release(self) -> None:
        with self._lock:
            self._users -= 1
            unused = self._users == 0
        if unused:
            self.index.close()


class LiveIndex:
    """The live snapshot of an index folder, followed from one to the next without a request noticing.

    Safe to use from several threads at once; only one of them may call `refresh`.
    """

    def __init__(self, index_dir: Path, embedder: Embedder, reranker: Reranker | None = None) -> None:
        self._index_dir = index_dir
        self._embedder = embedder
        self._reranker = reranker
        self._lock = Lock()
        self._current: _Counted | None = None
        self._reason = f"the index in {index_dir} has not been opened yet"
        self._looked_at: tuple[int, int] | None = None

    @contextmanager
    def use(self) -> Generator[Index]:
        """The index, which stays open for as long as it is used. Raises NoSnapshotError where none is loaded."""
        with self._lock:
            current = self._current
            if current is None:
                raise NoSnapshotError(self._reason)
            current.acquire()
        try:
            yield current.index
        finally:
            current.release()

    def refresh(self) -> None:
        """Opens the snapshot that CURRENT names, if CURRENT was replaced since it was last looked at.

        One that cannot be opened is logged, and the one before it stays in use.
        """
        written = self._written()
        if written is not None and written == self._looked_at:
            return
        try:
            opened = Index.open(self._index_dir, self._embedder, self._reranker)
        except NoSnapshotError as error:
            self._refuse(str(error))
        except (SnapshotError, OSError) as error:
            self._refuse(str(error))
            # A damaged snapshot does not heal; want of memory or file handles may pass.
            self._looked_at = written if isinstance(error, SnapshotError) else None
        else:
            self._looked_at, self._reason = written, ""
            self._replace(_Counted(opened))
            _log.info("index opened", snapshot=opened.holdings.id, passages=len(opened))

    def close(self) -> None:
        """Lets the index go, once nobody uses it."""
        self._reason = "the server is shutting down"
        self._replace(None)

    def _written(self) -> tuple[int, int] | None:
        """What changes whenever CURRENT is replaced."""
        try:
            status = (self._index_dir / CURRENT).stat()
        except OSError:
            return None
        return status.st_ino, status.st_ctime_ns

    def _refuse(self, reason: str) -> None:
        if reason != self._reason:
            _log.warning("index not opened", reason=reason, serving_older=self._current is not None)
            self._reason = reason

    def _replace(self, newer: _Counted | None) -> None:
        with self._lock:
            older, self._current = self._current, newer
        if older is not None:
            older.release()


@asynccontextmanager
async def followed(live: LiveIndex, seconds: float) -> AsyncGenerator[None]:
    """Opens the live snapshot, looks for a newer one every so many seconds, and in the end lets the index go."""
    await asyncio.to_thread(live.refresh)
    following = asyncio.create_task(_follow(live, seconds))
    try:
        yield
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
        live.close()


async def _follow(live: LiveIndex, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await asyncio.to_thread(live.refresh)
        except Exception:  # noqa: BLE001  whatever is wrong with a newer index, the older one keeps serving
            _log.exception("index not refreshed")
