"""What ingests have to do, kept in the database so that any number of workers share it.

A worker claims a job for a while and renews the lease as long as it lives; the lease of one that died runs out, and
another takes the job. A source has one job at most: what is offered later takes the place of what was offered before.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from threading import Event, Thread
from typing import Any, LiteralString

from index.changes import Changed, other_id
from index.errors import StoreError
from index.postgres.connect import Connection, Database
from index.postgres.rows import SOURCE, document_from, document_json, dump, naming_from, naming_json, source_record
from index.prepare import SourceRecord
from index.snapshot import FORMAT_VERSION
from ingest.model import Document, Source
from ingest.speakers import Naming, merge_speakers

_OFFERING = 0x6F666665  # a number for the advisory lock
_COVERED: LiteralString = """EXISTS (
    SELECT FROM unnest(%(covers)s::text[]) AS cover
    WHERE root || '/' || path = cover OR starts_with(root || '/' || path, rtrim(cover, '/') || '/'))"""
_FREE: LiteralString = "canonical IS NOT NULL AND (lease IS NULL OR lease < now())"


@dataclass(frozen=True, slots=True)
class Job:
    """A job that a worker has claimed. `document` is what was read, where the work is to write it."""

    source_id: str
    work: str
    root: str
    path: str
    digest: str
    canonical: dict[str, str]
    document: Document | None

    @property
    def source(self) -> Source:
        """What the index is to say of the document."""
        d = self.document
        if d is None:
            raise ValueError(f"{self.source_id} has no document to write")
        return Source(self.source_id, self.path, d.title, d.kind, d.url, d.date, d.people, d.access)


def known_sources(connection: Connection) -> list[SourceRecord]:
    """The sources as they will be when all jobs are done; what another On Record has read is as if it had changed."""
    query = f"""
        SELECT {SOURCE}, format FROM source
        WHERE NOT EXISTS (SELECT FROM job WHERE source_id = id AND work <> 'rename')"""
    records = [
        replace(record, digest=record.digest if made_by == FORMAT_VERSION else "")
        for _, *fields, made_by in connection.execute(query, binary=True)
        for record in [source_record(*fields)]
    ]
    offered = connection.execute("SELECT source_id, root, path, digest FROM job WHERE work = 'write'").fetchall()
    return records + [
        SourceRecord(Source(source_id, path, "", "transcript"), root, digest, Naming({}), {}, 0, 0)
        for source_id, root, path, digest in offered
    ]


def is_offered(connection: Connection, changed: Changed) -> bool:
    """Whether another worker has read that file as it is now, or even written it."""
    found = connection.execute(
        "SELECT digest FROM source WHERE root = %(root)s AND path = %(path)s AND format = %(format)s UNION ALL"
        " SELECT digest FROM job WHERE root = %(root)s AND path = %(path)s AND work = 'write'",
        {"root": changed.root, "path": changed.path, "format": FORMAT_VERSION},
    )
    return (changed.digest,) in found.fetchall()


def offer(connection: Connection, changed: Changed, document: Document, removed: Sequence[SourceRecord]) -> None:
    """A document to be written. Its id is another where a file that stays has it by now."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_OFFERING,))
        source_id = changed.source_id
        going = {(record.root, record.source.path) for record in removed}
        holders = connection.execute(
            "SELECT root, path FROM source WHERE id = %(id)s"
            " UNION ALL SELECT root, path FROM job WHERE source_id = %(id)s",
            {"id": source_id},
        )
        if {*holders} - going - {(changed.root, changed.path)}:
            source_id = other_id(source_id, changed.root, changed.path)
        naming = naming_json(Naming.of(document))
        _put(
            connection,
            (source_id, "write", changed.root, changed.path, changed.digest, document_json(document), naming),
        )


def offer_removal(connection: Connection, source_id: str, root: str, path: str) -> None:
    """A source to be removed, unless another file has taken its id."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_OFFERING,))
        holders = connection.execute(
            "SELECT root, path FROM source WHERE id = %(id)s"
            " UNION ALL SELECT root, path FROM job WHERE source_id = %(id)s AND work = 'write'",
            {"id": source_id},
        )
        if not {*holders} - {(root, path)}:
            _put(connection, (source_id, "remove", root, path, "", None, None))


def _put(connection: Connection, fields: tuple[Any, ...]) -> None:
    connection.execute(
        "INSERT INTO job (source_id, work, root, path, digest, document, naming) VALUES (%s, %s, %s, %s, %s, %s, %s)"
        " ON CONFLICT (source_id) DO UPDATE SET (work, root, path, digest, document, naming, canonical, worker, lease)"
        " = (excluded.work, excluded.root, excluded.path, excluded.digest, excluded.document, excluded.naming,"
        " NULL, NULL, NULL)",
        fields,
    )


def settle(connection: Connection) -> None:
    """Merges the names of all documents, and offers those sources anew in which somebody now has another name.

    A job whose names change is taken from who works on it.
    """
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_OFFERING,))
        jobs = {
            source_id: (work, naming, canonical)
            for source_id, work, naming, canonical in connection.execute(
                "SELECT source_id, work, naming, canonical FROM job ORDER BY source_id FOR UPDATE"
            )
        }
        stored = {
            source_id: (naming_from([naming, people, access]), canonical)
            for source_id, naming, people, access, canonical in connection.execute(
                "SELECT id, naming, people, access, canonical FROM source"
            )
        }
        namings = {source_id: naming for source_id, (naming, _) in stored.items()}
        for source_id, (work, naming, _) in jobs.items():
            if work == "write":
                namings[source_id] = naming_from(naming)
            elif work == "remove":
                namings.pop(source_id, None)
        ids = sorted(namings)
        speakers, merged = merge_speakers([namings[source_id] for source_id in ids])
        canonical = dict(zip(ids, merged, strict=True))
        with connection.cursor() as cursor:
            cursor.executemany(
                "UPDATE job SET canonical = %s, worker = NULL, lease = NULL WHERE source_id = %s",
                [
                    (dump(canonical.get(source_id, {})), source_id)
                    for source_id, (_, _, names) in jobs.items()
                    if names != canonical.get(source_id, {})
                ],
            )
            cursor.executemany(
                "INSERT INTO job (source_id, work, root, path, canonical)"
                " SELECT id, 'rename', root, path, %s FROM source WHERE id = %s",
                [
                    (dump(canonical[source_id]), source_id)
                    for source_id, (_, names) in stored.items()
                    if source_id not in jobs and names != canonical[source_id]
                ],
            )
            cursor.execute("DELETE FROM speaker WHERE name <> ALL(%s)", ([speaker.name for speaker in speakers],))
            cursor.executemany(
                "INSERT INTO speaker VALUES (%s, %s, %s) ON CONFLICT (name) DO UPDATE"
                " SET (aliases, roles) = (excluded.aliases, excluded.roles)",
                [(speaker.name, dump(speaker.aliases), dump(speaker.roles)) for speaker in speakers],
            )


def claim(connection: Connection, worker: str, covers: Sequence[str], seconds: float) -> Job | None:
    """A job that nobody works on, for a file under `covers` or for names. Removals come last: a file may have moved."""
    query = f"""
        UPDATE job SET worker = %(worker)s, lease = now() + %(seconds)s * interval '1 second' WHERE source_id = (
            SELECT source_id FROM job WHERE {_FREE} AND (work = 'rename' OR {_COVERED})
            ORDER BY work = 'remove', source_id LIMIT 1 FOR UPDATE SKIP LOCKED)
        RETURNING source_id, work, root, path, digest, canonical, document"""
    values = {"worker": worker, "seconds": seconds, "covers": covers}
    found = connection.execute(query, values).fetchone()
    if found is None:
        return None
    source_id, kind, root, path, digest, canonical, document = found
    return Job(source_id, kind, root, path, digest, canonical, document_from(document) if document else None)


def is_held(connection: Connection, job: Job, worker: str) -> bool:
    """Whether the worker still has the job; until the end of the transaction nobody else can take it."""
    found = connection.execute("SELECT worker FROM job WHERE source_id = %s FOR UPDATE", (job.source_id,))
    return found.fetchone() == (worker,)


def release(connection: Connection, worker: str) -> None:
    """Lets others have what the worker has not done."""
    connection.execute("UPDATE job SET worker = NULL, lease = NULL WHERE worker = %s", (worker,))


def left(connection: Connection, covers: Sequence[str]) -> tuple[int, bool]:
    """How many jobs there are for files under `covers`, or for names; and whether any still waits to be settled."""
    query = f"""
        SELECT count(*), coalesce(bool_or(canonical IS NULL), false) FROM job WHERE work = 'rename' OR {_COVERED}"""
    found = connection.execute(query, {"covers": covers}).fetchone()
    return (found[0], found[1]) if found else (0, False)


def _renew(connection: Connection, worker: str, seconds: float) -> None:
    query = "UPDATE job SET lease = now() + %s * interval '1 second' WHERE worker = %s"
    connection.execute(query, (seconds, worker))


@contextmanager
def leases(database: Database, worker: str, seconds: float) -> Generator[None]:
    """Renews the leases of a worker in the background, for as long as the process lives."""
    done = Event()

    def renew() -> None:
        while not done.wait(seconds / 3):
            with suppress(StoreError):  # who needs the database for more will say so
                database.write(lambda connection: _renew(connection, worker, seconds), seconds=0)

    thread = Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
