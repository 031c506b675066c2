"""What an ingest has to do: which files are new, changed or gone, and what it says when it is done."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from index.prepare import SourceRecord
from ingest.corpus import Found, sidecar_digest, walk
from ingest.errors import ReadError
from ingest.limits import Limits
from ingest.model import Document, Source
from ingest.readers import read_document
from ingest.sidecar import sidecar_path

Progress = Callable[[int, int], None]
"""Called with the number of passages embedded so far, and of all that are known to have to be."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """What was wrong with a file. `line` is 1-based, null where no single line is at fault."""

    path: str
    line: int | None
    error: str


@dataclass(slots=True)
class Report:
    """What an ingest did. `errors` name files that are not in the index, `warnings` flaws of files that are.

    `notices` say what else embedded passages than the model's default program.
    """

    snapshot: str = ""
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0
    passages: int = 0
    embedded: int = 0
    seconds: float = 0.0
    errors: list[Flaw] = field(default_factory=list[Flaw])
    warnings: list[Flaw] = field(default_factory=list[Flaw])
    notices: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True)
class Changed:
    """A file to read: `known` where the index holds an older state of it. `sidecar` is the sidecar's digest."""

    file: Path
    source_id: str
    root: str
    path: str
    digest: str
    sidecar: str | None
    known: bool

    def source(self, document: Document) -> Source:
        """What the index says of it."""
        d = document
        return Source(self.source_id, self.path, d.title, d.kind, d.url, d.date, d.people, d.access)


@dataclass(frozen=True, slots=True)
class Changes:
    """Files to read, by source id, and of what the index holds the sources that stay, and those that are gone."""

    changed: tuple[Changed, ...]
    kept: tuple[SourceRecord, ...]
    removed: tuple[SourceRecord, ...]


def find_changes(paths: Sequence[Path], known: Iterable[SourceRecord], report: Report) -> Changes:
    """Compares files and folders with the sources of earlier ingests. A file is told by its digest to be as it was.

    Sources that the paths do not cover stay. A source keeps the id it has; a new one gets that of its path, unless a
    file of another ingest has it taken.
    """
    old = {_file(record.root, record.source.path): record for record in known}
    walked = walk(paths)
    report.errors += [Flaw(str(error.path), error.line, error.reason) for error in walked.errors]
    covers = {str(path.resolve()) for path in paths}
    folders = tuple(_file(cover, "") for cover in covers)
    found = {_file(str(entry.root), entry.relative): entry for entry in walked.found}
    covered = {file for file in old if file in covers or file.startswith(folders)}
    kept = {
        file: record
        for file, record in old.items()
        if file not in covered or (file in found and found[file].digest == record.digest)
    }
    report.unchanged = sum(file in found for file in kept)
    removed = [record for file, record in old.items() if file in covered and file not in found]
    report.removed = len(removed)
    taken = {record.source.id for record in kept.values()} | {old[file].source.id for file in found if file in old}
    changed = [_changed(entry, old.get(file), taken) for file, entry in found.items() if file not in kept]
    return Changes(tuple(sorted(changed, key=lambda each: each.source_id)), tuple(kept.values()), tuple(removed))


def _file(root: str, path: str) -> str:
    """As text: of the many files that an index may hold, paths would take longer than all the rest."""
    return f"{root.rstrip('/')}/{path}"


def read_changed(changed: Changed, limits: Limits, report: Report) -> Document | None:
    """The document, counted and its flaws told; nothing where it cannot be read, which is an error of the report."""
    try:
        document = read_document(changed.file, limits)
        if sidecar_digest(changed.file) != changed.sidecar:
            # Gone for the moment in which an editor writes it, it would be taken to say that everybody may read.
            raise ReadError(sidecar_path(changed.file), "was changed while its document was read: ingest it again")
    except ReadError as error:
        report.errors.append(Flaw(str(error.path), error.line, error.reason))
        return None
    report.added += not changed.known
    report.updated += changed.known
    report.warnings += [Flaw(str(changed.file), line, reason) for line, reason in document.warnings]
    return document


def _changed(entry: Found, known: SourceRecord | None, taken: Container[str]) -> Changed:
    if known:
        return Changed(
            entry.path, known.source.id, known.root, known.source.path, entry.digest, entry.sidecar, known=True
        )
    source_id, root, path = entry.source_id, str(entry.root), entry.relative
    if source_id in taken:
        source_id = other_id(source_id, root, path)
    return Changed(entry.path, source_id, root, path, entry.digest, entry.sidecar, known=False)


def other_id(source_id: str, root: str, path: str) -> str:
    """The id for a file whose own another file has taken."""
    return f"{source_id}-{hashlib.sha256(str(Path(root, path)).encode()).hexdigest()[:8]}"
