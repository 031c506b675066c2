"""Backup and restore, in one file, of what a server keeps: conversations, feedback, Slack's ledger, the live snapshot.

The file is a ZIP that nothing is compressed in, so that it can be looked into with any tool and cannot inflate:

    backup.json             when it was made, and of every other file its bytes and its sha256
    conversations.sqlite    as each was at one moment, also while a server wrote it
    feedback.sqlite
    slack.sqlite
    snapshot/…              the files of the snapshot, its manifest included
"""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from app import conversation, feedback, slack_ledger
from app.database import MEMORY, Database, Schema
from app.errors import AnswerError
from app.settings import Settings
from index.errors import SnapshotError
from index.snapshot import (
    CURRENT,
    MANIFEST,
    HeldSnapshot,
    Manifest,
    delete_unread,
    fsync,
    hold_current,
    new_snapshot,
    publish,
    writer_lock,
)

CONTENTS = "backup.json"
_KEPT = ("conversations.sqlite", "feedback.sqlite", "slack.sqlite")
_SNAPSHOT = "snapshot/"
_LONGEST_CONTENTS = 16 << 20
_CHUNK = 1 << 20
_PART = re.compile(r"[0-9A-Za-z_.-]{1,200}")


class BackupError(AnswerError):
    """There is nothing to back up, or a backup cannot be restored; the message says why, and what to do."""


def _within(name: str) -> str:
    """Only names that lie inside whatever folder they are put in, on any file system."""
    if any(part in (".", "..") or not _PART.fullmatch(part) for part in name.split("/")):
        raise ValueError("is no name of a file in a backup")
    return name


class _Entry(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    bytes: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Contents(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    format: Literal[1] = 1
    version: str
    created: str
    files: dict[Annotated[str, AfterValidator(_within)], _Entry]


@dataclass(frozen=True, slots=True)
class _Kept:
    """A file that a server keeps: its name in a backup, and where the settings have it."""

    entry: str
    path: str
    schema: Schema
    error: Callable[[str, object], AnswerError]

    @property
    def name(self) -> str:
        return self.entry.removesuffix(".sqlite")

    @property
    def is_there(self) -> bool:
        return self.path != MEMORY and Path(self.path).exists()


@dataclass(frozen=True, slots=True)
class Moved:
    """What went into a backup or came out of it. `kept` are of conversations, feedback and slack those that did;
    `snapshot` is the snapshot's id where it lies now, null where there is none; `notices` say what was left out.
    """

    snapshot: str | None
    kept: tuple[str, ...]
    notices: tuple[str, ...]


def backup(file: Path, settings: Settings, *, force: bool = False) -> Moved:
    """Writes a new file that only its owner can read; it is there when it is whole. A server may run meanwhile.

    A snapshot that this version cannot read is left out of it. Raises BackupError where there is nothing to back up,
    or where the file is there and `force` is not given; SnapshotError where a file of the snapshot is damaged.
    """
    if file.exists() and not force:
        raise BackupError(f"{file} is there already: name another file, or say --force")
    kept = [each for each in _kept(settings) if each.is_there]
    notices = [] if settings.store is None else ["the index in PostgreSQL is not in it: pg_dump backs that up"]
    with TemporaryDirectory(dir=file.parent, prefix=f".{file.name}-") as made, ExitStack() as held:
        whole = Path(made) / "whole"
        descriptor = os.open(whole, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        entries = dict[str, _Entry]()
        snapshot = None
        with os.fdopen(descriptor, "w+b") as out, zipfile.ZipFile(out, "w") as archive:
            for each in kept:
                copy = Path(made) / each.entry
                with closing(Database(each.path, each.schema, each.error)) as source:
                    source.save(copy)
                entries[each.entry] = _put(archive, each.entry, copy)
                copy.unlink()
            if current := _hold(settings, bool(entries), notices):
                held.enter_context(closing(current))
                snapshot = current.manifest.id
                for name in (*current.manifest.files, MANIFEST):
                    entry = entries[_SNAPSHOT + name] = _put(archive, _SNAPSHOT + name, current.folder / name)
                    if entry.sha256 != current.manifest.files.get(name, entry.sha256):
                        raise SnapshotError(f"{current.folder / name} is damaged; see `onrecord verify`")
            if not entries:
                raise BackupError(f"there is nothing to back up in {settings.index_dir}: no index, and no file of ours")
            contents = _Contents(
                version=version("onrecord"), created=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", files=entries
            )
            archive.writestr(CONTENTS, contents.model_dump_json(indent=1) + "\n")
        fsync(whole)
        whole.replace(file)
        fsync(file.parent)
    return Moved(snapshot, tuple(each.name for each in kept), tuple(notices))


def restore(file: Path, settings: Settings, *, force: bool = False) -> Moved:
    """Puts what a backup holds where the settings have it, once all of it has been checked.

    Each part is switched at once: a crash leaves of each the old or the new, and servers go on with the new. What is
    not in the backup stays as it is. Raises BackupError where the file is no whole backup, or where something would
    be replaced and `force` is not given; LockedError while an ingest writes.
    """
    with _opened(file) as (archive, contents):
        kept = [each for each in _kept(settings) if each.entry in contents.files]
        notices = [f"{each.name}: kept in memory, and left out" for each in kept if each.path == MEMORY]
        kept = [each for each in kept if each.path != MEMORY]
        manifest = None
        try:
            manifest = _manifest(archive, contents)
        except SnapshotError as error:
            if not kept:
                raise
            notices.append(f"the snapshot was left out: {error}")
        if manifest and settings.store is not None:
            manifest = None
            notices.append("the snapshot was left out: ONRECORD_STORE is set, and the index is in PostgreSQL")
        taken = [each.path for each in kept if each.is_there]
        if manifest and (settings.index_dir / CURRENT).exists():
            taken.append(f"the index in {settings.index_dir}")
        if taken and not force:
            raise BackupError(f"{', '.join(taken)}: there already; --force puts what is in the backup in their place")
        # In a folder that the next writer clears away, should this process be killed.
        with (
            writer_lock(settings.index_dir),
            new_snapshot(settings.index_dir) as building,
            new_snapshot(settings.index_dir) as copies,
        ):
            for each in kept:
                _take(archive, contents, each.entry, copies / each.entry)
                with closing(Database(MEMORY, each.schema, each.error)) as trial:
                    trial.load(copies / each.entry)
            for name in manifest.files if manifest else ():
                _take(archive, contents, _SNAPSHOT + name, building / name)
            with ExitStack() as opened:
                targets = [opened.enter_context(closing(Database(each.path, each.schema, each.error))) for each in kept]
                for target, each in zip(targets, kept, strict=True):
                    target.load(copies / each.entry)
            snapshot = None
            if manifest:
                snapshot = publish(
                    building,
                    model=manifest.model,
                    dimension=manifest.dimension,
                    corpus_hash=manifest.corpus_hash,
                    counts=manifest.counts,
                ).id
                delete_unread(settings.index_dir, keep=snapshot)
    return Moved(snapshot, tuple(each.name for each in kept), tuple(notices))


def _kept(settings: Settings) -> tuple[_Kept, ...]:
    conversations, rated, ledger = _KEPT
    return (
        _Kept(conversations, settings.conversations_path, conversation.SCHEMA, conversation.ConversationError),
        _Kept(rated, settings.feedback_path, feedback.SCHEMA, feedback.FeedbackError),
        _Kept(ledger, settings.slack_ledger_path, slack_ledger.SCHEMA, slack_ledger.LedgerError),
    )


def _hold(settings: Settings, optional: bool, notices: list[str]) -> HeldSnapshot | None:
    """The live snapshot; null where there is none here, and where it is `optional` and cannot be read."""
    if settings.store is not None or not (settings.index_dir / CURRENT).exists():
        return None
    try:
        return hold_current(settings.index_dir)
    except SnapshotError as error:
        if not optional:
            raise
        notices.append(f"the snapshot was left out: {error}")
        return None


def _put(archive: zipfile.ZipFile, name: str, path: Path) -> _Entry:
    with path.open("rb") as source, archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as target:
        return _copy(source, target)


def _take(archive: zipfile.ZipFile, contents: _Contents, name: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(name) as source, path.open("xb") as target:
        if _copy(source, target) != contents.files[name]:
            raise BackupError(f"{archive.filename} is damaged: {name} is not what was backed up")


def _copy(source: IO[bytes], target: IO[bytes]) -> _Entry:
    seen, length = hashlib.sha256(), 0
    while chunk := source.read(_CHUNK):
        target.write(chunk)
        seen.update(chunk)
        length += len(chunk)
    return _Entry(bytes=length, sha256=seen.hexdigest())


@contextmanager
def _opened(file: Path) -> Generator[tuple[zipfile.ZipFile, _Contents]]:
    """A file that holds what it says, as far as that shows without reading all of it: nothing more, nothing twice,
    nothing that takes more room than it has in the file.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            listed = {each.filename: each for each in archive.infolist()}
            if any(each.header_offset < 0 for each in archive.infolist()):
                raise BackupError(f"{file} is damaged: it begins before its beginning")
            if CONTENTS not in listed:
                raise BackupError(f"{file} is no backup: there is no {CONTENTS} in it")
            if listed[CONTENTS].file_size > _LONGEST_CONTENTS:
                raise BackupError(f"{file} is no backup: its {CONTENTS} is too long")
            contents = _contents(file, archive.read(CONTENTS))
            listed.pop(CONTENTS)
            if (
                len(archive.infolist()) != len(contents.files) + 1
                or {name: each.file_size for name, each in listed.items()}
                != {name: each.bytes for name, each in contents.files.items()}
                or any(each.compress_type != zipfile.ZIP_STORED for each in listed.values())
                or sum(each.bytes for each in contents.files.values()) > file.stat().st_size
            ):
                raise BackupError(f"{file} is damaged: it does not hold what its {CONTENTS} says")
            if unknown := [name for name in contents.files if not (name in _KEPT or name.startswith(_SNAPSHOT))]:
                raise BackupError(f"{file} holds {unknown[0]}, which this On Record does not know")
            yield archive, contents
    except (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError, RuntimeError) as error:
        # All that zipfile raises for what is damaged, of another kind, or encrypted.
        raise BackupError(f"{file} is damaged, or no backup: {error}") from error


def _contents(file: Path, data: bytes) -> _Contents:
    try:
        return _Contents.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise BackupError(
            f"{file} is damaged, or of another version of On Record: {CONTENTS}: {where}: {first['msg']}"
        ) from error


def _manifest(archive: zipfile.ZipFile, contents: _Contents) -> Manifest | None:
    """That of the snapshot in a backup; null where there is none. Raises SnapshotError for one of another format."""
    damaged = BackupError(f"{archive.filename} is damaged: the snapshot in it is not whole")
    inside = {
        name.removeprefix(_SNAPSHOT): entry.sha256
        for name, entry in contents.files.items()
        if name.startswith(_SNAPSHOT)
    }
    if not inside:
        return None
    name = _SNAPSHOT + MANIFEST
    if name not in contents.files or contents.files[name].bytes > _LONGEST_CONTENTS:
        raise damaged
    data = archive.read(name)
    if hashlib.sha256(data).hexdigest() != inside.pop(MANIFEST):
        raise damaged
    manifest = Manifest.from_bytes(data, Path(name))
    if inside != manifest.files:
        raise damaged
    return manifest
