"""The tables: numbered SQL files, applied in order by who writes; who reads refuses what it was not made for."""

from __future__ import annotations

from importlib.resources import files

import psycopg

from index.errors import NoSnapshotError, SnapshotError, StoreError
from index.postgres.connect import Connection

NEWEST = 2
"""The number of the last migration."""
_OLDEST_PGVECTOR = (0, 8)  # what scans on where a filter took most of what an index gave
_LONGEST_VECTOR = 4000  # that an index of halfvec takes
_NEWER = f"the index in PostgreSQL is of version {{}}, and this On Record knows {NEWEST}: upgrade On Record"
_MIGRATING = 0x6F6E7265  # a number for the advisory lock


def migrate(connection: Connection, model: str, dimension: int) -> None:
    """Makes or brings up to date the tables, for vectors of one model; two at a time wait for each other."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MIGRATING,))
        version = _version(connection)
        if version > NEWEST:
            raise SnapshotError(_NEWER.format(version))
        if version < NEWEST:
            if dimension > _LONGEST_VECTOR:
                raise StoreError(f"pgvector indexes vectors of up to {_LONGEST_VECTOR}, and {model} makes {dimension}")
            _create_extension(connection)
            connection.execute("CREATE SCHEMA IF NOT EXISTS onrecord")
            connection.execute("CREATE TABLE IF NOT EXISTS onrecord.migration (version integer PRIMARY KEY)")
        for number in range(version + 1, NEWEST + 1):
            connection.execute(_migration(number).replace("{dimension}", str(dimension)).encode())
            connection.execute("INSERT INTO onrecord.migration VALUES (%s)", (number,))
        connection.execute(
            "INSERT INTO onrecord.holdings (model, dimension) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            (model, dimension),
        )
        held = connection.execute("SELECT model, dimension FROM onrecord.holdings").fetchone()
    if held != (model, dimension):
        raise SnapshotError(
            f"this database holds vectors of the model {held and held[0]}, and {model} is asked for: "
            "name another database, or the model that is there"
        )


def check(connection: Connection) -> None:
    """Raises NoSnapshotError where nothing was ingested, SnapshotError where the tables are not this program's."""
    version = _version(connection)
    if version > NEWEST:
        raise SnapshotError(_NEWER.format(version))
    if version == 0:
        raise NoSnapshotError("no index in this database yet: run `onrecord ingest` first")
    if version < NEWEST:
        raise SnapshotError(
            f"the index in PostgreSQL is of version {version}, and this On Record reads {NEWEST}: "
            "run `onrecord ingest`, which brings it up to date"
        )
    found = connection.execute("SELECT generation FROM onrecord.holdings").fetchone()
    if found is None or found[0] == 0:
        raise NoSnapshotError("nothing has been ingested into this database yet: run `onrecord ingest` first")


def _version(connection: Connection) -> int:
    """The number of the last migration applied, 0 before the first."""
    there = connection.execute("SELECT to_regclass('onrecord.migration') IS NOT NULL").fetchone()
    if there is None or not there[0]:
        return 0
    found = connection.execute("SELECT coalesce(max(version), 0) FROM onrecord.migration").fetchone()
    return found[0] if found else 0


def _create_extension(connection: Connection) -> None:
    """Raises StoreError where pgvector is not there, and may not be made, or is too old."""
    query = "SELECT extversion FROM pg_extension WHERE extname = 'vector'"
    found = connection.execute(query).fetchone()
    if found is None:
        try:
            connection.execute("CREATE EXTENSION vector")
        except psycopg.errors.InsufficientPrivilege as error:
            raise StoreError("pgvector is missing: have a superuser run `CREATE EXTENSION vector`") from error
        except (psycopg.errors.FeatureNotSupported, psycopg.errors.UndefinedFile) as error:
            raise StoreError(
                "pgvector is not installed on the database server; it has packages for each system"
            ) from error
        found = connection.execute(query).fetchone()
    version = str(found[0] if found else "0")
    if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST_PGVECTOR:
        wanted = ".".join(map(str, _OLDEST_PGVECTOR))
        raise StoreError(f"pgvector is of version {version}, and {wanted} is needed: `ALTER EXTENSION vector UPDATE`")


def _migration(number: int) -> str:
    (file,) = [file for file in files("index.postgres").iterdir() if file.name.startswith(f"{number:04d}_")]
    return file.read_text(encoding="utf-8")
