"""The index that a server answers from: opened once, replaced when an ingest has made a newer one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from threading import Lock

import structlog

from index.embed import Embedder
from index.errors import IndexingError, NoSnapshotError, SnapshotError, StoreError
from index.rerank import Reranker
from index.search import Index
from index.snapshot import REBUILD
from index.where import Where, live_id

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
    """The index as it is now, followed from one snapshot to the next without a request noticing.

    Safe to use from several threads at once; only one of them may call `refresh`.
    """

    def __init__(self, where: Where, embedder: Embedder, reranker: Reranker | None = None) -> None:
        self._where = where
        self._embedder = embedder
        self._reranker = reranker
        self._lock = Lock()
        self._current: _Counted | None = None
        self._reason = "the index has not been opened yet"
        self._refused: str | None = None
        self._checked: str | None = None
        self._lost: str | None = None

    @contextmanager
    def use(self, groups: frozenset[str] | None) -> Generator[Index]:
        """What members of these groups may read of the index, all of it for whoever owns it (null).

        It stays open for as long as it is used. Raises NoSnapshotError where none is loaded.
        """
        with self._lock:
            current = self._current
            if current is None:
                raise NoSnapshotError(self._reason)
            current.acquire()
        try:
            yield current.index.readable(groups)
        finally:
            current.release()

    def ready(self) -> str:
        """The id of the snapshot in use. Raises NoSnapshotError where there is none, or its server does not answer."""
        if self._lost:
            raise NoSnapshotError(self._lost)
        with self.use(None) as index:
            return index.holdings.id

    def refresh(self) -> None:
        """Opens the snapshot that is live now, where that is another than was opened, or refused, before.

        One that cannot be opened is logged, and the one before it stays in use.
        """
        current = self._current.index if self._current else None
        live: str | None = None
        try:
            live = current.store.live_id() if current else live_id(self._where)
            self._lost = None
            if live == self._refused or (current and live == current.holdings.id):
                return
            opened = current.newer() if current else Index.open(self._where, self._embedder, self._reranker)
            opened.readable(frozenset())  # what most may read is made before anybody waits for it
        except (IndexingError, OSError) as error:
            self._refuse(str(error))
            self._lost = str(error) if isinstance(error, StoreError) else None
            # A damaged snapshot does not heal; a lost server, and want of memory or file handles, may pass.
            self._refused = live if isinstance(error, SnapshotError) else None
        else:
            self._reason, self._refused = "", None
            self._replace(_Counted(opened))
            _log.info("index opened", snapshot=opened.holdings.id, passages=len(opened))

    def check(self) -> None:
        """Reads through what a large snapshot's opening did not, once; where that is damaged, it is used no more."""
        current = self._current.index if self._current else None
        if current is None or current.holdings.id == self._checked:
            return
        with self.use(None) as held:
            damage = held.store.damage()
        self._checked = held.holdings.id
        if damage:
            self._refused = held.holdings.id
            self._replace(None)
            self._refuse(f"the snapshot {held.holdings.id} is damaged ({damage[0]}); {REBUILD}")

    def close(self) -> None:
        """Lets the index go, once nobody uses it."""
        self._reason = "the server is shutting down"
        self._replace(None)

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
        for step in (live.check, live.refresh):
            try:
                await asyncio.to_thread(step)
            except Exception:  # noqa: BLE001  whatever is wrong with a newer index, the older one keeps serving
                _log.exception("index not refreshed")
        await asyncio.sleep(seconds)
