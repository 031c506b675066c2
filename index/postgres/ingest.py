"""Files -> the store in PostgreSQL, by any number of workers at once."""

from __future__ import annotations

import random
import secrets
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import numpy as np

from index.changes import Progress, Report, find_changes, read_changed
from index.embed import Embedder
from index.embedded import Embedded, SourceEmbedder, Stored
from index.errors import StoreError
from index.postgres.connect import Connection, Database, connected
from index.postgres.jobs import (
    Job,
    claim,
    is_held,
    is_offered,
    known_sources,
    leases,
    left,
    offer,
    offer_removal,
    release,
    settle,
)
from index.postgres.rows import SOURCE, TURN, source_record, turn_from
from index.postgres.schema import migrate
from index.postgres.switch import switch
from index.prepare import Prepared, SourceRecord, prepare
from ingest.limits import Limits
from ingest.model import Document

LEASE_SECONDS = 60.0
"""A worker that has not been heard of for so long is taken for dead."""
_POLL_SECONDS = 0.2


def ingest_postgres(
    paths: Sequence[Path],
    url: str,
    embedder: Embedder,
    limits: Limits,
    progress: Progress = lambda done, known: None,
    *,
    lease_seconds: float = LEASE_SECONDS,
) -> Report:
    """Brings the store up to date with the files and folders `paths`, and leaves other sources as they are.

    Several may run at once, on several machines that see the files under the same paths: each document is read by one
    and embedded by one, and each ends when all under its paths is done, whoever did it. The report counts what this
    one did. A file that is gone from one of the folders is gone from the store; one that cannot be read is reported and
    is not there either. Whoever reads meets each document as it was or as it is.
    """
    began = time.monotonic()
    with connected(url) as connection:
        migrate(connection, embedder.fingerprint, embedder.dimension)
    database = Database(url, writing=True)
    worker = _Worker(database, [str(path.resolve()) for path in paths], embedder, progress)
    try:
        with leases(database, worker.name, lease_seconds):
            worker.offer(paths, limits)
            worker.work(lease_seconds)
        worker.finish()
    except BaseException:
        with suppress(StoreError):
            database.write(lambda connection: release(connection, worker.name), seconds=0)
        raise
    finally:
        database.close()
    worker.report.seconds = time.monotonic() - began
    return worker.report


class _Worker:
    def __init__(self, database: Database, covers: Sequence[str], embedder: Embedder, progress: Progress) -> None:
        self.name = secrets.token_hex(8)
        self.report = Report()
        self._database = database
        self._covers = covers
        self._embedder = embedder
        self._vectors = SourceEmbedder(embedder, self._known, self.report, progress)
        self._claimed: deque[Job] = deque()
        self._switched = 0

    def offer(self, paths: Sequence[Path], limits: Limits) -> None:
        """Reads what is new or changed and no other worker has read, and offers it; then settles the names."""
        changes = find_changes(paths, self._database.read(known_sources), self.report)
        self.report.removed = 0
        changed = list(changes.changed)
        random.shuffle(changed)  # so that two that begin together do not meet at each file
        for each in changed:
            if self._database.write(lambda c, each=each: is_offered(c, each)):
                continue
            read = Report()
            document = read_changed(each, limits, read)
            self.report.errors += read.errors
            self.report.warnings += read.warnings
            if document:
                self._database.write(lambda c, each=each, document=document: offer(c, each, document, changes.removed))
            elif each.known:
                self._database.write(lambda c, each=each: offer_removal(c, each.source_id, each.root, each.path))
        for record in changes.removed:
            source = record.source
            self._database.write(lambda c, s=source, r=record: offer_removal(c, s.id, r.root, s.path))

    def work(self, lease_seconds: float) -> None:
        """Does jobs until none is left for the files that this worker covers, and for names."""
        while True:
            for source in self._vectors.embed(self._prepared(lease_seconds)):
                self._switch(self._claimed.popleft(), source)
            count, unsettled = self._database.write(lambda c: left(c, self._covers))
            if not count:
                return
            if unsettled:
                self._database.write(settle)
            else:
                time.sleep(_POLL_SECONDS)

    def finish(self) -> None:
        """Says what there is now; after changes, has PostgreSQL look at the tables."""
        if self._switched:
            # An index alone tells of pages that a vacuum has seen; the graph is mended in PostgreSQL's own time.
            for statement in (
                "VACUUM (ANALYZE, SKIP_LOCKED) posting, spoken",
                "VACUUM (ANALYZE, SKIP_LOCKED, INDEX_CLEANUP off) passage",
                "ANALYZE (SKIP_LOCKED) turn, term, source",
            ):
                self._database.write(lambda c, s=statement: c.execute(s.encode()))
        # Where nothing was found, there is an index all the same.
        self._database.write(lambda c: c.execute("UPDATE holdings SET generation = 1 WHERE generation = 0"))
        query = "SELECT generation, passages FROM holdings"
        ((generation, self.report.passages),) = self._database.write(lambda c: c.execute(query).fetchall())
        self.report.snapshot = f"pg-{generation}"

    def _prepared(self, lease_seconds: float) -> Iterator[Prepared]:
        """Claims one job after another for as long as there is any; removals are done on the way."""
        while job := self._database.write(lambda c: claim(c, self.name, self._covers, lease_seconds)):
            prepared = self._prepare(job)
            if prepared:
                self._claimed.append(job)
                yield prepared
            else:
                self._switch(job, None)

    def _prepare(self, job: Job) -> Prepared | None:
        """What is to be written, or nothing where the source is to go."""
        if job.document:
            return prepare(job.source, job.root, job.digest, job.document, job.canonical, self._embedder)
        found = self._database.write(lambda c: _stored(c, job.source_id)) if job.work == "rename" else None
        if found is None:
            return None
        record, document = found
        return prepare(record.source, record.root, record.digest, document, job.canonical, self._embedder)

    def _known(self, digests: Sequence[str]) -> dict[str, Stored]:
        return self._database.write(lambda connection: _known_vectors(connection, digests))

    def _switch(self, job: Job, source: Embedded | None) -> None:
        """Does what the job is for, unless another worker has taken it by now."""

        def work(connection: Connection) -> bool | None:
            with connection.transaction():
                if not is_held(connection, job, self.name):
                    return None
                replaced = switch(connection, job.source_id, source)
                connection.execute("DELETE FROM job WHERE source_id = %s", (job.source_id,))
            return replaced

        replaced = self._database.write(work)
        if replaced is None:
            return
        self._switched += 1
        match job.work:
            case "write":
                self.report.updated += replaced
                self.report.added += not replaced
            case "remove":
                self.report.removed += replaced
            case _:
                pass


def _stored(connection: Connection, source_id: str) -> tuple[SourceRecord, Document] | None:
    """A source and its document as it was read, before names were made canonical."""
    query = f"SELECT {SOURCE} FROM source WHERE id = %s"
    fields = connection.execute(query, (source_id,)).fetchone()
    if fields is None:
        return None
    record = source_record(*fields[1:])
    query = f"SELECT name, {TURN} FROM turn WHERE source = %s ORDER BY number"
    turns = tuple(turn_from(*each) for each in connection.execute(query, fields[:1]))
    s = record.source
    return record, Document(s.title, s.kind, turns, s.people, s.url, s.date, record.warnings, s.access)


def _known_vectors(connection: Connection, digests: Sequence[str]) -> dict[str, Stored]:
    """The vectors of texts that are in the store already."""
    query = """
        SELECT DISTINCT ON (digest) digest, vector, sentence_vectors FROM passage WHERE digest = ANY(%s)"""
    found = connection.execute(query, ([UUID(digest) for digest in digests],), binary=True).fetchall()
    known: dict[str, Stored] = {}
    for digest, half, sentences in found:
        vector = half.to_numpy().astype(np.float32)
        known[digest.hex] = vector, np.frombuffer(sentences, np.int8).reshape(-1, len(vector))
    return known
