"""Where an index is kept: in a folder of this machine, or on a PostgreSQL server. Here alone the two are told apart."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from index.errors import StoreError, WriteError

if TYPE_CHECKING:  # whoever only asks where the index is loads no engine, and no reader of files
    from index.changes import Progress, Report
    from index.embed import Embedder
    from index.store import Store
    from ingest.limits import Limits


@dataclass(frozen=True, slots=True)
class Server:
    """A PostgreSQL server by its URL; what only reads asks `replica_url` first, where there is one."""

    url: str
    replica_url: str | None = None

    def __str__(self) -> str:
        with _client():
            from index.postgres.connect import address
        return address(self.url)


Where = Path | Server


@contextmanager
def _client() -> Generator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise StoreError("an index on PostgreSQL needs its client: pip install 'onrecord[postgres]'") from error


def open_store(where: Where) -> Store:
    """The index as it is now. Raises NoSnapshotError, SnapshotError, or StoreError where a server cannot be reached."""
    if isinstance(where, Server):
        with _client():
            from index.postgres.store import open_postgres
        return open_postgres(where.url, where.replica_url)
    from index.local import open_local

    return open_local(where)


def live_id(where: Where) -> str:
    """The id of the index as it is now; raises as `open_store` does."""
    if isinstance(where, Server):
        with _client():
            from index.postgres.store import live_id
        return live_id(where.url, where.replica_url)
    from index.snapshot import current_folder

    return current_folder(where).name


def verify(where: Where) -> list[str]:
    """Every flaw that a look at the whole of it finds, a sentence each; raises as `open_store` does."""
    if isinstance(where, Server):
        with _client():
            from index.postgres.verify import verify_postgres
        return verify_postgres(where.url)
    from index.local import verify_local

    return verify_local(where)


def ingest(
    paths: Sequence[Path],
    where: Where,
    embedder: Embedder,
    limits: Limits,
    progress: Progress = lambda done, known: None,
) -> Report:
    """Brings the index up to date with the files and folders `paths`, and leaves other sources as they are.

    A file that is gone from one of the folders is gone from the index. A file that cannot be read is reported and is
    not in the index either. Nothing is written where nothing changed. Raises WriteError where the disk fails: then the
    index is as it was before.
    """
    if isinstance(where, Server):
        with _client():
            from index.postgres.ingest import ingest_postgres
        return ingest_postgres(paths, where.url, embedder, limits, progress)
    from index.build import ingest as ingest_local

    try:
        return ingest_local(paths, where, embedder, limits, progress)
    except (OSError, sqlite3.Error) as error:
        raise WriteError(
            f"the index in {where} cannot be written: {_reason(error)}. It is as it was before; mend that, and run "
            "`onrecord ingest` again"
        ) from error


def _reason(error: OSError | sqlite3.Error) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror} ({error.filename})" if error.filename else error.strerror
    return str(error)
